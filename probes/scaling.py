"""The scale of each column of a matrix that is walked through in slabs of rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cache.errors import ProbeError

from .base import ROWS_AT_ONCE

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Mean and population standard deviation of each column; a constant column has scale 1."""

    mean: Array
    scale: Array
    constant: Array
    """True where a column does not vary beyond rounding; such a column is a zero column when scaled."""

    def apply(self, X: Array) -> Array:
        """(X - mean) / scale in float64, (n, d); constant columns are exactly 0."""
        Z: Array = (np.asarray(X, dtype=np.float64) - self.mean) / self.scale
        Z[:, self.constant] = 0.0
        return Z


def slabs(X: Array) -> Iterator[slice]:
    """Yield the row ranges in which X is walked through."""
    for start in range(0, len(X), ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, len(X)))


def slabs_of(blocks: Iterable[tuple[Array, Array]], n_rows: int) -> Iterator[tuple[Array, Array]]:
    """Cut blocks (X (m, d), Y (m, t)) of any lengths into slabs X (n_rows, d), Y (t, n_rows), float64.

    The last slab may be shorter. Each is overwritten by the next. Raises ProbeError for a block that is not as wide
    as the first.
    """
    rows, labels, filled = np.empty((0, 0)), np.empty((0, 0)), 0
    for index, (X, Y) in enumerate(blocks):
        if index == 0 and X.ndim == Y.ndim == 2:
            rows, labels = np.empty((n_rows, X.shape[1])), np.empty((Y.shape[1], n_rows))
        expected = (len(X), rows.shape[1]), (len(X), len(labels))
        if (X.shape, Y.shape) != expected:
            raise ProbeError(
                f"block {index} has features {X.shape} and labels {Y.shape}; expected {expected[0]} and "
                f"{expected[1]}: matrices with a row for each spectrum, as wide as the blocks before"
            )
        start = 0
        while start < len(X):
            stop = min(start + n_rows - filled, len(X))
            rows[filled : filled + stop - start] = X[start:stop]
            labels[:, filled : filled + stop - start] = Y[start:stop].T
            filled, start = filled + stop - start, stop
            if filled == n_rows:
                yield rows, labels
                filled = 0
    if filled:
        yield rows[:filled], labels[:, :filled]


def column_scaling(X: Array) -> Scaling:
    """Two-pass mean and population std of each column of X (n, d); constant columns as `scaling_of` says."""
    n = len(X)
    mean = sum(X[rows].sum(axis=0, dtype=np.float64) for rows in slabs(X)) / n
    first = np.zeros(X.shape[1])
    second = np.zeros(X.shape[1])
    for rows in slabs(X):
        centred = X[rows] - mean
        first += centred.sum(axis=0)
        second += np.einsum("ij,ij->j", centred, centred)
    mean = mean + first / n
    variance = np.maximum(second / n - (first / n) ** 2, 0.0)
    return scaling_of(mean, variance, n=n)


def scaling_of(mean: Array, variance: Array, *, n: int) -> Scaling:
    """The scaling of columns with these means and population variances over n rows, (d,) each.

    A column counts as constant by the rule of scikit-learn's StandardScaler: var <= n eps var + (n mean eps)^2.
    """
    eps = np.finfo(np.float64).eps
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return Scaling(mean=mean, scale=np.where(constant, 1.0, np.sqrt(variance)), constant=constant)
