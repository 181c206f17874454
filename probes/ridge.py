"""Ridge regression for all penalties and labels at the price of one factorisation."""

from collections.abc import Sequence

import numpy as np

from cache.errors import ConfigError

from .base import checked_sample
from .linear import AllLabels, LinearFit, LinearHead
from .moments import Moments
from .ridge_solutions import RidgePath, checked_alphas, path_r2, primal, problems
from .scaling import Array
from .setting_checks import check_counts, check_numbers

PUBLISHED_ALPHA = 0.001
"""The penalty of the group's published tables, on standardised features (REFERENCE 5)."""

ALPHA_ON_VAL = "val"
"""Value of `alpha` that asks for a choice on val."""

EDGE_FLAG = "alpha at the edge of the grid"


def ridge_path(X: Array, Y: Array, alphas: Sequence[float] | Array) -> RidgePath:
    """Minimise |Y - 1 b' - Z W|^2 + alpha |W|^2 for every alpha, Z = (X - mean) / population std.

    X (n, d) float32 or float64, Y (n,) or (n, t), alphas (a,) >= 0; the intercept is not penalised. One
    eigendecomposition of the float64 Gram of Z (of Z Z' when n < d), or a Cholesky factorisation for each of a few
    alphas. Constant columns get coefficient 0; at alpha 0 directions without variance are dropped (the head `ols`
    resolves them better, not squaring the condition number). Raises ProbeError on anything not finite.
    """
    return ridge_paths(X, Y, alphas, sizes=[len(X)])[0]


def ridge_paths(
    X: Array, Y: Array, alphas: Sequence[float] | Array, *, sizes: Sequence[int]
) -> list[RidgePath]:
    """The `ridge_path` of the first n rows for each of `sizes`, to the very bits, by one pass over the rows.

    Raises ConfigError for a size below 2 or beyond the rows.
    """
    X, Y = checked_sample(X, Y, "training")
    penalties = checked_alphas(alphas)
    if not sizes or min(sizes) < 2 or max(sizes) > len(X):
        raise ConfigError(f"sizes are {list(sizes)}; expected numbers of rows from 2 to {len(X)}")
    found = {problem.n: problem.path(penalties) for problem in problems(X, Y, sizes)}
    return [found[n] for n in sizes]


def path_from_moments(found: Moments, alphas: Sequence[float] | Array) -> RidgePath:
    """The `ridge_path` of rows of which only the moments are known; to its bits, unless n < d (then to rounding).

    With `moments` over blocks of rows, X need not be in memory.
    """
    return primal(found).path(checked_alphas(alphas))


class Ridge(LinearHead):
    """Ridge with a fixed penalty (the published one by default), or `alpha="val"`: chosen per label on val.

    The grid of the choice is logarithmic, `n_alphas` from `alpha_min` to `alpha_max`; of equal val R2 the larger
    alpha wins.
    """

    def __init__(
        self,
        alpha: float | str = PUBLISHED_ALPHA,
        *,
        alpha_min: float = 1e-3,
        alpha_max: float = 1e7,
        n_alphas: int = 21,
    ) -> None:
        """Penalty on standardised features, or `val`."""
        self.alpha = alpha
        self.alpha_min = alpha_min
        self.alpha_max = alpha_max
        self.n_alphas = n_alphas

    def selection_rule(self) -> str:
        """`val_r2` when alpha is to be chosen."""
        return "val_r2" if self.alpha == ALPHA_ON_VAL else "fixed"

    def check_settings(self) -> None:
        """Refuse penalties that are no numbers, negative, or an empty grid."""
        if isinstance(self.alpha, str) and self.alpha != ALPHA_ON_VAL:
            raise ConfigError(f"alpha is {self.alpha!r}; expected a number >= 0 or {ALPHA_ON_VAL!r}")
        grid = {name: getattr(self, name) for name in ("alpha_min", "alpha_max", "n_alphas")}
        check_numbers(grid)
        check_counts({"n_alphas": self.n_alphas})
        if self.selection_rule() == "fixed":
            check_numbers({"alpha": self.alpha})
            checked_alphas([float(self.alpha)])
        elif not (0 < self.alpha_min < self.alpha_max and self.n_alphas >= 2):
            raise ConfigError(
                f"the grid of alpha is {self.n_alphas} values from {self.alpha_min} to {self.alpha_max}; "
                "expected at least 2 values and 0 < alpha_min < alpha_max"
            )

    def grid(self) -> tuple[float, ...]:
        """The penalties that are tried; one when nothing is chosen."""
        if self.selection_rule() == "fixed":
            return (float(self.alpha),)
        return tuple(np.geomspace(self.alpha_min, self.alpha_max, self.n_alphas).tolist())

    @classmethod
    def _fit_all(cls, fits: Sequence[LinearFit], X: Array, X_val: Array | None) -> None:
        labels = AllLabels.of(fits)
        for problem in problems(X[: len(labels.Y)], labels.Y, [len(fit.Y) for fit in fits]):
            by_grid: dict[tuple[float, ...], list[LinearFit]] = {}
            for fit in fits:
                if len(fit.Y) == problem.n:
                    by_grid.setdefault(_ridge(fit).grid(), []).append(fit)
            for grid, mine in by_grid.items():
                columns = list(dict.fromkeys(column for fit in mine for column in fit.columns))
                path = problem.path(np.array(grid), labels=[labels.slots[column] for column in columns])
                val_r2 = None if len(grid) == 1 else _r2_on_val(path, mine, columns, X_val)
                for fit in mine:
                    _take(_ridge(fit), path, val_r2, [columns.index(column) for column in fit.columns])


def _ridge(fit: LinearFit) -> Ridge:
    assert isinstance(fit.head, Ridge)
    return fit.head


def _take(head: Ridge, path: RidgePath, val_r2: Array | None, labels: list[int]) -> None:
    """Give a head the solutions for its labels: those that are best on val, or the only ones."""
    if val_r2 is None:
        head.coef_, head.intercept_ = path.coef[0, labels], path.intercept[0, labels]
        return
    curves = val_r2[:, labels]
    best = len(curves) - 1 - np.argmax(curves[::-1], axis=0)
    head.coef_, head.intercept_ = path.coef[best, labels], path.intercept[best, labels]
    head.chosen_ = {"alpha": path.alphas[best].tolist()}
    head.arrays_ = {"alpha": path.alphas, "val_r2": curves[:, 0] if head.single_label_ else curves}
    edges = {0, len(path.alphas) - 1}
    head.flags_ = [(EDGE_FLAG, label) for label, chosen in enumerate(best.tolist()) if chosen in edges]


def _r2_on_val(
    path: RidgePath, fits: Sequence[LinearFit], columns: Sequence[int], X_val: Array | None
) -> Array:
    """R2 on val (a, t) of every solution, for these columns of all labels."""
    assert X_val is not None  # a head that chooses has refused to go on without
    y_val: dict[int, Array] = {}
    for fit in fits:
        assert fit.Y_val is not None
        y_val |= dict(zip(fit.columns, fit.Y_val.T, strict=True))
    return path_r2(path, X_val, np.stack([y_val[column] for column in columns], axis=1))
