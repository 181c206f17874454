"""Principal axes of the features, for probes that see only the directions of largest variance."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from cache.errors import ConfigError, ProbeError

from .base import checked_matrix
from .moments import moments
from .scaling import Array, slabs

FEW_ROWS = 3
"""Where there are so many times more columns than rows, singular values are faster (300 x 4096: 0.2 against 11 s)."""


@dataclass(frozen=True, kw_only=True)
class PrincipalAxes:
    """Orthonormal directions of largest variance: mean (d,), axes (k, d), explained_variance (k,), float64.

    Variances have divisor n - 1 and decrease; of each axis the entry of largest magnitude is positive.
    """

    mean: Array
    axes: Array
    explained_variance: Array
    total_variance: float
    """Of all d columns together."""

    def apply(self, X: Array) -> Array:
        """Coordinates (X - mean) axes', (n, k) float64, for X (n, d); ProbeError for other columns or non-finite X."""
        X = checked_matrix(X, "features")
        if X.shape[1] != self.mean.size:
            raise ProbeError(
                f"features have {X.shape[1]} columns, the principal axes {self.mean.size}; use the layers, "
                "poolings and directions they were made from, in the same order"
            )
        return np.concatenate([(X[rows] - self.mean) @ self.axes.T for rows in slabs(X)])


def principal_axes(X: Array, n_components: int) -> PrincipalAxes:
    """Principal component analysis of X (n, d) float32 or float64: eigenvectors of its covariance, in float64.

    Columns are centred, not scaled. The same X gives the same bits. Raises ConfigError unless
    1 <= n_components <= min(n - 1, d), which is the most directions that n rows can vary in, and ProbeError on
    anything not finite.
    """
    X = checked_matrix(X, "training features")
    n, d = X.shape
    if not 1 <= n_components <= min(n - 1, d):
        raise ConfigError(
            f"{n_components} principal components were asked for; {n} rows of {d} features have 1 to "
            f"{min(n - 1, d)}; ask for fewer, or give more rows"
        )
    mean, axes, squares, total = _of_rows(X) if FEW_ROWS * n <= d else _of_columns(X, n_components)
    axes, squares = np.ascontiguousarray(axes[:n_components]), squares[:n_components]
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(n_components), largest])[:, None]
    return PrincipalAxes(
        mean=mean,
        axes=axes,
        explained_variance=np.maximum(squares, 0.0) / (n - 1),
        total_variance=total / (n - 1),
    )


def _of_columns(X: Array, n_components: int) -> tuple[Array, Array, Array, float]:
    """Mean, axes (k, d), sums of squares along them (k,) and in all, from the scatter matrix (d, d)."""
    n, d = X.shape
    (found,) = moments([(X, np.empty((n, 0)))])
    values, vectors = scipy.linalg.eigh(
        found.scatter, subset_by_index=(d - n_components, d - 1), check_finite=False
    )
    return found.mean, vectors.T[::-1], values[::-1], float(np.trace(found.scatter))


def _of_rows(X: Array) -> tuple[Array, Array, Array, float]:
    """The same of all axes that the rows have, from their singular values: few rows need no matrix of (d, d)."""
    mean = X.mean(axis=0, dtype=np.float64)
    _, lengths, axes = scipy.linalg.svd(X - mean, full_matrices=False, check_finite=False)
    return mean, axes, lengths**2, float((lengths**2).sum())
