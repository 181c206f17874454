"""Ridge solutions for all penalties, labels and training sizes: what they share, and how well they predict."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cache.errors import ConfigError, ProbeError

from .blas import product
from .linear import in_units_of_x
from .moments import Moments, moments
from .scaling import Array, Scaling, column_scaling, slabs, slabs_of
from .shifted import ShiftedSystem

SCORED_ROWS = 1024
"""Rows predicted at a time."""


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


def path_r2(path: RidgePath, X: Array, Y: Array) -> Array:
    """R2 (a, t) of every solution of a path on X (n, d), Y (n, t); NaN where a label is constant."""
    return r2_of_blocks([path], [(X, Y)])[0]


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused
def r2_of_blocks(paths: Sequence[RidgePath], blocks: Iterable[tuple[Array, Array]]) -> list[Array]:
    """R2 (a, t) of every solution of each path on blocks of rows X (m, d), Y (m, t), in one pass over them.

    No bit depends on how the rows are cut into blocks, on the other paths or on the other labels. NaN where a label
    is constant. Raises ProbeError when labels or predictions are not finite.
    """
    residual = [np.zeros((len(path.alphas), path.coef.shape[1])) for path in paths]
    coefs = [np.ascontiguousarray(path.coef.transpose(1, 2, 0)) for path in paths]
    label_slabs: list[Array] = []
    for X, Y in slabs_of(blocks, SCORED_ROWS):
        label_slabs.append(Y.copy())
        for path, coef, sums in zip(paths, coefs, residual, strict=True):
            if coef.shape[:2] != (len(Y), X.shape[1]):
                raise ProbeError(
                    f"rows have {X.shape[1]} features and {len(Y)} labels, the path has {coef.shape[1]} and "
                    f"{len(coef)}"
                )
            for k, y in enumerate(Y):  # one by one, so that no bit depends on the others
                error = product(X, coef[k])
                error += path.intercept[:, k]
                error -= y[:, None]
                sums[:, k] += np.einsum("ij,ij->j", error, error)
    if not label_slabs:
        raise ProbeError("no rows came to be scored")
    labels = np.concatenate(label_slabs, axis=1)
    total = np.array([np.sum((y - y.mean()) ** 2) for y in labels])
    if not all(np.isfinite(sums).all() for sums in (total, *residual)):
        raise ProbeError("labels or predictions are not finite; drop those rows before scoring")
    constant = (np.ptp(labels, axis=1) == 0) | (total == 0)
    return [np.where(constant, np.nan, 1.0 - sums / np.where(constant, 1.0, total)) for sums in residual]


def checked_alphas(alphas: Sequence[float] | Array) -> Array:
    """Alphas as (a,) float64; ConfigError unless they are numbers >= 0."""
    penalties: Array = np.asarray(alphas, dtype=np.float64)
    if penalties.ndim != 1 or not penalties.size or not np.all(np.isfinite(penalties) & (penalties >= 0)):
        raise ConfigError(f"alphas are {penalties.tolist()!r}; expected one or more finite numbers >= 0")
    return penalties


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What ridge fits to the same n rows share, whatever the penalty.

    Primal: (Z'Z + alpha I) w = Z'y. Dual: w = Z'(Z Z' + alpha I)^-1 y, for n < d. `right` (t, m) holds Z'y or y.
    """

    n: int
    scaling: Scaling
    label_mean: Array
    right: Array
    system: ShiftedSystem
    Z: Array | None = None

    def path(self, alphas: Array, *, labels: Sequence[int] | None = None) -> RidgePath:
        """Solutions for these labels, or all; the bits of one do not depend on which others there are."""
        labels = range(len(self.right)) if labels is None else labels
        coef = np.empty((len(alphas), len(labels), len(self.scaling.mean)))
        intercept = np.empty((len(alphas), len(labels)))
        solutions = self.system.solve([self.right[k] for k in labels], alphas)
        for index, (k, solved) in enumerate(zip(labels, solutions, strict=True)):
            weights = solved if self.Z is None else product(solved, self.Z)
            coef[:, index], intercept[:, index] = in_units_of_x(weights, self.label_mean[k], self.scaling)
        return RidgePath(alphas=alphas, coef=coef, intercept=intercept)


def problems(X: Array, Y: Array, sizes: Iterable[int]) -> Iterator[Problem]:
    """Yield the problem of the first n rows for each of `sizes`, in increasing order; X (n, d), Y (n, t), finite."""
    wanted, d = sorted(set(sizes)), X.shape[1]
    yield from (_dual(X[:n], Y[:n]) for n in wanted if n < d)
    long = [n for n in wanted if n >= d]
    if long:
        yield from map(primal, moments([(X, Y)], sizes=long))


def primal(found: Moments) -> Problem:
    """The problem of rows of which only the moments are known."""
    scaling = found.scaling()
    inverse = np.where(scaling.constant, 0.0, 1.0 / scaling.scale)
    A = found.scatter * inverse
    A *= inverse[:, None]
    return Problem(
        n=found.n,
        scaling=scaling,
        label_mean=found.label_mean,
        right=found.cross * inverse,
        system=ShiftedSystem(A, cut=max(found.n, len(A))),
    )


def _dual(X: Array, Y: Array) -> Problem:
    scaling = column_scaling(X)
    Z = scaling.apply(X)
    right: Array = np.ascontiguousarray(Y.T)
    label_mean = np.array([labels.mean() for labels in right])
    return Problem(
        n=len(X),
        scaling=scaling,
        label_mean=label_mean,
        right=right - label_mean[:, None],
        system=ShiftedSystem(Z @ Z.T, cut=X.shape[1]),
        Z=Z,
    )
