"""Ridge regression for all penalties and labels at the price of one factorisation."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from cache.errors import ConfigError

from .base import check_numbers, checked_sample
from .gram import Array, Scaling, column_scaling, scaled_gram, slabs
from .linear import LinearHead, in_units_of_x
from .metrics import r2

PUBLISHED_ALPHA = 0.001
"""The penalty of the group's published tables, on standardised features (REFERENCE 5)."""

ALPHA_ON_VAL = "val"
"""Value of `alpha` that asks for a choice on val."""

EDGE_FLAG = "alpha at the edge of the grid"

_FEW_ALPHAS = 8
"""Up to here one Cholesky factorisation per alpha is cheaper than an eigendecomposition (about 13 x at d 2048)."""


@dataclass(frozen=True, kw_only=True)
class RidgePath:
    """Solutions for each alpha: coef (a, t, d) and intercept (a, t), float64, in the units of X."""

    alphas: Array
    coef: Array
    intercept: Array

    def predict(self, X: Array) -> Array:
        """Predictions (a, n, t) float64 for X (n, d)."""
        a, t, d = self.coef.shape
        stacked = self.coef.reshape(a * t, d).T
        flat = np.concatenate([X[rows] @ stacked for rows in slabs(X)])
        return flat.reshape(len(X), a, t).transpose(1, 0, 2) + self.intercept[:, None, :]


def ridge_path(X: Array, Y: Array, alphas: Sequence[float] | Array) -> RidgePath:
    """Minimise |Y - 1 b' - Z W|^2 + alpha |W|^2 for every alpha, Z = (X - mean) / population std.

    X (n, d) float32 or float64, Y (n,) or (n, t), alphas (a,) >= 0; the intercept is not penalised. One
    eigendecomposition of the float64 Gram of Z (of Z Z' when n < d), or a Cholesky factorisation for each of a few
    alphas. Constant columns get coefficient 0; at alpha 0 directions without variance are dropped (the head `ols`
    resolves them better, not squaring the condition number). Raises ProbeError on anything not finite.
    """
    X, Y = checked_sample(X, Y, "training")
    penalties = _checked_alphas(alphas)
    scaling = column_scaling(X)
    y_mean = Y.mean(axis=0)
    solve = _solve_dual if len(X) < X.shape[1] else _solve_primal
    weights = solve(X, Y - y_mean, scaling, penalties)
    coef, intercept = in_units_of_x(weights, y_mean, scaling)
    return RidgePath(alphas=penalties, coef=coef, intercept=intercept)


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
        if self.selection_rule() == "fixed":
            check_numbers({"alpha": self.alpha})
            _checked_alphas([float(self.alpha)])
        elif not (0 < self.alpha_min < self.alpha_max and self.n_alphas >= 2):
            raise ConfigError(
                f"the grid of alpha is {self.n_alphas} values from {self.alpha_min} to {self.alpha_max}; "
                "expected at least 2 values and 0 < alpha_min < alpha_max"
            )

    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        if X_val is None or Y_val is None or self.selection_rule() == "fixed":
            path = ridge_path(X, Y, [float(self.alpha)])
            self.coef_, self.intercept_ = path.coef[0], path.intercept[0]
            return
        path = ridge_path(X, Y, np.geomspace(self.alpha_min, self.alpha_max, self.n_alphas))
        val_r2 = path_r2(path, X_val, Y_val)
        best = len(val_r2) - 1 - np.argmax(val_r2[::-1], axis=0)
        every = np.arange(self.n_labels_)
        self.coef_, self.intercept_ = path.coef[best, every], path.intercept[best, every]
        self.chosen_ = {"alpha": path.alphas[best].tolist()}
        self.arrays_ = {"alpha": path.alphas, "val_r2": val_r2[:, 0] if self.single_label_ else val_r2}
        edges = {0, len(path.alphas) - 1}
        self.flags_ = [(EDGE_FLAG, label) for label, chosen in enumerate(best.tolist()) if chosen in edges]


def path_r2(path: RidgePath, X: Array, Y: Array) -> Array:
    """R2 (a, t) of every solution of a path on X (n, d), Y (n, t)."""
    return np.array(
        [[r2(Y[:, k], y_hat[:, k]) for k in range(Y.shape[1])] for y_hat in path.predict(X)], dtype=np.float64
    )


def _checked_alphas(alphas: Sequence[float] | Array) -> Array:
    penalties: Array = np.asarray(alphas, dtype=np.float64)
    if penalties.ndim != 1 or not penalties.size or not np.all(np.isfinite(penalties) & (penalties >= 0)):
        raise ConfigError(f"alphas are {penalties.tolist()!r}; expected one or more finite numbers >= 0")
    return penalties


def _solve_primal(X: Array, Y: Array, scaling: Scaling, alphas: Array) -> Array:
    """Weights (a, t, d) from (Z'Z + alpha I) W = Z'Y."""
    gram = scaled_gram(X, Y, scaling)
    return _solve_symmetric(gram.xx, gram.xy, alphas, cut=len(X)).transpose(0, 2, 1)


def _solve_dual(X: Array, Y: Array, scaling: Scaling, alphas: Array) -> Array:
    """Weights (a, t, d) from W = Z'(Z Z' + alpha I)^-1 Y, for n < d."""
    Z = scaling.apply(X)
    return _solve_symmetric(Z @ Z.T, Y, alphas, cut=X.shape[1]).transpose(0, 2, 1) @ Z


def _solve_symmetric(A: Array, B: Array, alphas: Array, *, cut: int) -> Array:
    """Solutions (a, m, t) of (A + alpha I) W = B for A (m, m) positive semidefinite, B (m, t).

    An alpha below the rounding of A, eps * trace(A), is as good as 0: then eigenvalues below `cut` (the longer side
    of Z) * eps of the largest are dropped.
    """
    eps = np.finfo(np.float64).eps
    rounding = eps * np.trace(A)
    if len(alphas) <= _FEW_ALPHAS and alphas.min() > rounding:
        with contextlib.suppress(scipy.linalg.LinAlgError):  # close to rounding; eigenvalues bear that
            return np.stack([_solve_shifted(A, B, float(alpha)) for alpha in alphas])
    values, vectors = np.linalg.eigh(A)
    values = np.maximum(values, 0.0)
    shifted = values + alphas[:, None]
    kept = (alphas[:, None] > rounding) | (values > values[-1] * cut * eps)
    inverse = np.where(kept, 1.0 / np.where(kept, shifted, 1.0), 0.0)
    return np.asarray(vectors @ (inverse[:, :, None] * (vectors.T @ B)))


def _solve_shifted(A: Array, B: Array, alpha: float) -> Array:
    shifted = A.copy()
    shifted[np.diag_indices_from(shifted)] += alpha
    factor = scipy.linalg.cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(scipy.linalg.cho_solve(factor, B, check_finite=False))
