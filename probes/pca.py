"""Principal axes of the features, for probes that see only the directions of largest variance."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from cache.errors import ConfigError, ProbeError

from .base import checked_matrix
from .moments import moments
from .scaling import Array, slabs


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
    """Principal component analysis of X (n, d) float32 or float64: eigenvectors of its float64 covariance.

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
    (found,) = moments([(X, np.empty((n, 0)))])
    values, vectors = scipy.linalg.eigh(
        found.scatter, subset_by_index=(d - n_components, d - 1), check_finite=False
    )
    axes: Array = np.ascontiguousarray(vectors.T[::-1])
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(n_components), largest])[:, None]
    return PrincipalAxes(
        mean=found.mean,
        axes=axes,
        explained_variance=np.maximum(values[::-1], 0.0) / (n - 1),
        total_variance=float(np.trace(found.scatter)) / (n - 1),
    )
