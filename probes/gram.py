"""Sums of squares and products of features and labels, in float64, a slab of rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

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


@dataclass(frozen=True, kw_only=True)
class Gram:
    """X'X and X'Y of the scaled features Z (d, d), (d, t), with y centred."""

    xx: Array
    xy: Array


def slabs(X: Array) -> Iterator[slice]:
    """Yield the row ranges in which X is walked through."""
    for start in range(0, len(X), ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, len(X)))


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


def scaled_gram(X: Array, Y: Array, scaling: Scaling) -> Gram:
    """Gram of the scaled features with Y (n, t), which must be centred."""
    d = X.shape[1]
    xx, xy = np.zeros((d, d)), np.zeros((d, Y.shape[1]))
    for rows in slabs(X):
        Z = scaling.apply(X[rows])
        xx += Z.T @ Z
        xy += Z.T @ Y[rows]
    return Gram(xx=xx, xy=xy)
