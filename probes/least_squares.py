"""Least squares for several labels and sizes by one QR decomposition, walked through in slabs of rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import scipy.linalg

from .scaling import Array, Scaling, scaling_of, slabs_of


@dataclass(frozen=True, kw_only=True)
class Triangle:
    """Of n rows: R (k, d) with R'R the scatter of the features, and Q'y (t, k) of the centred labels."""

    n: int
    R: Array
    right: Array
    label_mean: Array
    scaling: Scaling

    def shortest(self) -> Array:
        """Least-squares weights (t, d) on scaled features; of all best solutions the shortest.

        By SVD; singular values below max(n, d) * eps of the largest are dropped. The bits of a label do not depend
        on the others.
        """
        scaled = np.where(self.scaling.constant, 0.0, self.R / self.scaling.scale)
        U, values, Vt = scipy.linalg.svd(scaled, full_matrices=False, check_finite=False)
        kept = values > values[0] * max(self.n, scaled.shape[1]) * np.finfo(np.float64).eps
        inverse = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
        return np.stack([(inverse * (right @ U)) @ Vt for right in self.right])


def triangles(X: Array, Y: Array, sizes: Sequence[int]) -> Iterator[Triangle]:
    """Yield the triangle of the first n rows for each of `sizes`, in increasing order; X (n, d), Y (n, t), finite.

    [1 X - origin] is reduced slab by slab, so that no condition number is squared and no second copy of X is made;
    the origin is the mean of the first slab. Without its first row and column the triangle is that of the centred
    columns, free of the rounding of their means, which would otherwise pass for a direction of its own when n <= d.
    Bits do not depend on the other sizes and labels.
    """
    width = 1 + X.shape[1]
    wanted = sorted(set(sizes))
    running = _Running(R=np.empty((0, width)), right=np.empty((Y.shape[1], 0)))
    for rows, labels in slabs_of([(X, Y)], 4 * width):
        while wanted and wanted[0] <= running.n + len(rows):
            n_more = wanted.pop(0) - running.n
            yield running.add(rows[:n_more], labels[:, :n_more]).triangle()
        if not wanted:
            return
        running = running.add(rows, labels)


@dataclass(frozen=True, kw_only=True)
class _Running:
    """R (k, 1 + d) of [1 X - origin] and Q'(y - origin), (t, k), after n rows."""

    R: Array
    right: Array
    n: int = 0
    origin: Array | None = None
    label_origin: Array = field(default_factory=lambda: np.empty(0))

    def add(self, X: Array, Y: Array) -> Self:
        """With the rows X (m, d), Y (t, m) below those taken."""
        origin, label_origin = self.origin, self.label_origin
        if origin is None:
            origin, label_origin = X.mean(axis=0), np.array([labels.mean() for labels in Y])
        above, d = len(self.R), X.shape[1]
        stacked = np.empty((above + len(X), 1 + d), order="F")
        stacked[:above], stacked[above:, 0] = self.R, 1.0
        np.subtract(X, origin, out=stacked[above:, 1:])
        reduced: Any = scipy.linalg.qr(stacked, mode="raw", overwrite_a=True, check_finite=False)
        (reflectors, tau), R = reduced
        right = np.empty((len(Y), len(R)))
        for k, labels in enumerate(Y):  # one by one, so that no bit depends on the others
            column = np.concatenate([self.right[k], labels - label_origin[k]])[:, None]
            right[k] = _apply_transposed(reflectors, tau, column)[: len(R), 0]
        return replace(self, n=self.n + len(X), R=R, right=right, origin=origin, label_origin=label_origin)

    def triangle(self) -> Triangle:
        """The triangle of the centred columns, and their scaling."""
        assert self.origin is not None
        R = self.R[1:, 1:]
        mean = self.origin + self.R[0, 1:] / self.R[0, 0]
        return Triangle(
            n=self.n,
            R=R,
            right=self.right[:, 1:],
            label_mean=self.label_origin + self.right[:, 0] / self.R[0, 0],
            scaling=scaling_of(mean, np.einsum("ij,ij->j", R, R) / self.n, n=self.n),
        )


def _apply_transposed(reflectors: Array, tau: Array, column: Array) -> Array:
    """Q' times a column (m, 1), Q as LAPACK's dgeqrf leaves it."""
    dormqr = scipy.linalg.lapack.dormqr
    reflectors = reflectors[:, : len(tau)]
    asked: Any = dormqr("L", "T", reflectors, tau, column, -1)
    applied: Any = dormqr("L", "T", reflectors, tau, column, int(asked[1][0]))
    return np.asarray(applied[0])
