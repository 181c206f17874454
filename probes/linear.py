"""Heads whose prediction is one matrix product; ordinary least squares is the plainest of them."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.linalg

from cache.errors import Damaged

from .base import Head
from .gram import Array, Scaling, column_scaling, slabs


class LinearHead(Head):
    """y_hat = X coef' + intercept, with coef_ (t, d) and intercept_ (t,) float64 in the units of X."""

    coef_: Array
    intercept_: Array

    def _predict(self, X: Array) -> Array:
        return np.concatenate([X[rows] @ self.coef_.T for rows in slabs(X)]) + self.intercept_

    def to_files(self) -> dict[str, bytes]:
        """One npz with `coef` and `intercept`."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, coef=self.coef_, intercept=self.intercept_)
        return {"weights.npz": buffer.getvalue()}

    def from_files(self, files: Mapping[str, bytes]) -> None:
        """Read what `to_files` gave; Damaged when the shapes are not those of the head."""
        with np.load(io.BytesIO(files["weights.npz"]), allow_pickle=False) as stored:
            self.coef_, self.intercept_ = stored["coef"], stored["intercept"]
        if self.coef_.shape != (self.n_labels_, self.n_features_in_):
            raise Damaged(
                f"weights.npz: coef has shape {self.coef_.shape}, expected "
                f"{(self.n_labels_, self.n_features_in_)}; fit the head again"
            )


class OLS(LinearHead):
    """Ordinary least squares, rank-aware: of all best solutions the shortest in standardised features.

    Dependent columns share their weight, constant ones get none. It is Ridge with alpha 0.
    """

    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        del X_val, Y_val  # nothing is chosen
        scaling = column_scaling(X)
        y_mean = Y.mean(axis=0)
        weights = shortest_least_squares(X, Y - y_mean, scaling)
        self.coef_, self.intercept_ = in_units_of_x(weights.T, y_mean, scaling)


class Mean(LinearHead):
    """The mean of the training labels, whatever the features say: the floor that every probe must clear."""

    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        del X_val, Y_val  # nothing is chosen
        self.coef_, self.intercept_ = np.zeros((Y.shape[1], X.shape[1])), Y.mean(axis=0)


def in_units_of_x(weights: Array, y_mean: Array, scaling: Scaling) -> tuple[Array, Array]:
    """Coefficients (..., t, d) and intercepts (..., t) for raw X from weights on scaled features."""
    coef = np.where(scaling.constant, 0.0, weights / scaling.scale)
    return coef, y_mean - coef @ scaling.mean


def shortest_least_squares(X: Array, Y: Array, scaling: Scaling) -> Array:
    """Least-squares weights (d, t) on scaled features; the shortest ones where the rank is deficient.

    [1 Z Y] is reduced to its triangle by QR, slab by slab, so that no condition number is squared and no second copy
    of X is made. Without its first row and column the triangle is that of the centred columns, free of the rounding
    of their means, which would otherwise pass for a direction of its own when n <= d. It is solved by SVD; singular
    values below max(n, d) * eps of the largest are dropped.
    """
    n, d = X.shape
    width = 1 + d + Y.shape[1]
    whole: Array = np.empty((0, width))
    for start in range(0, n, 4 * width):
        rows = slice(start, start + 4 * width)
        Z = scaling.apply(X[rows])
        block = np.concatenate([np.ones((len(Z), 1)), Z, Y[rows]], axis=1)
        whole = np.asarray(np.linalg.qr(np.concatenate([whole, block]), mode="r"))
    triangle = whole[1:, 1:]
    solved: Any = scipy.linalg.lstsq(
        triangle[:, :d], triangle[:, d:], cond=max(n, d) * float(np.finfo(np.float64).eps)
    )
    return np.asarray(solved[0])
