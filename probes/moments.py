"""Means and scatter of features and labels in one pass over their rows, in float64."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg.blas

from cache.errors import ConfigError, ProbeError

from .gram import Array, Scaling, scaling_of

SLAB_ROWS = 256
"""Rows centred and multiplied at a time: at 384 columns a slab stays in the second-level cache."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of `n` rows: mean (d,), scatter (d, d), label_mean (t,), cross (t, d), all float64.

    scatter = sum of (x - mean)(x - mean)', cross = sum of (y - label_mean)(x - mean)'.
    """

    n: int
    mean: Array
    scatter: Array
    label_mean: Array
    cross: Array

    def scaling(self) -> Scaling:
        """Mean and population standard deviation of each column."""
        return scaling_of(self.mean, np.diagonal(self.scatter) / self.n, n=self.n)


def moments(
    blocks: Iterable[tuple[Array, Array]], *, sizes: Sequence[int] | None = None
) -> Iterator[Moments]:
    """Yield the moments of the first n rows for each of `sizes`, in increasing order; of all rows without `sizes`.

    Blocks are (X (m, d) float32 or float64, Y (m, t)), any m; t may be 0. No bit of the result depends on how the
    rows are cut into blocks, which other sizes are asked for, or (for the features and each label) which labels come
    along: slabs of SLAB_ROWS rows start at row 0, each is centred on its own mean, and the scatter within slabs is
    added to that between their means (Chan, Golub & LeVeque 1983, The American Statistician 37, 242), so that no
    digits cancel however the rows are ordered; means are kept as distances from that of the first slab, so that none
    are lost to a mean far from 0. Memory: two slabs, two (d, d) matrices, and the mean of each slab. Raises
    ConfigError for sizes below 2 and ProbeError for rows that are not finite, for blocks of other
    widths than the first, and for a stream that ends before the largest size.
    """
    wanted = _checked_sizes(sizes)
    running: _Running | None = None
    for X, Y in blocks:
        if X.ndim != 2 or Y.ndim != 2:
            raise ProbeError(
                f"a block has features {X.shape} and labels {Y.shape}; expected (m, d) and (m, t)"
            )
        running = running or _Running(X.shape[1], Y.shape[1])
        running.check(X, Y)
        start = 0
        while start < len(X):
            stop = start + running.room(len(X) - start, wanted)
            running.take(X[start:stop], Y[start:stop])
            start = stop
            if wanted and running.n == wanted[0]:
                wanted.pop(0)
                yield running.moments(last=sizes is not None and not wanted)
                if not wanted:
                    return
    n = 0 if running is None else running.n
    if running is None or n < 2 or wanted:
        raise ProbeError(
            f"{n} rows came, {wanted[0] if wanted else 2} were asked for; give more rows or ask for fewer"
        )
    yield running.moments(last=True)


def _checked_sizes(sizes: Sequence[int] | None) -> list[int]:
    wanted = sorted({int(n) for n in sizes or ()})
    if sizes is not None and (not wanted or wanted[0] < 2):
        raise ConfigError(f"sizes are {list(sizes)}; expected numbers of rows, at least 2 each")
    return wanted


@dataclass(frozen=True, kw_only=True)
class _Means:
    """Means of features (d,) and of labels (t,) over some rows."""

    x: Array
    y: Array


class _Running:
    """Sums over whole slabs, and the rows of the slab that is being filled."""

    def __init__(self, d: int, t: int) -> None:
        self.rows = np.empty((SLAB_ROWS, d))
        self.labels = np.empty((t, SLAB_ROWS))
        self.filled = 0
        self.centred = np.empty((SLAB_ROWS, d))
        self.within: Array = np.zeros((d, d), order="F")
        self.cross_within = np.zeros((t, d))
        self.origin: _Means | None = None
        self.slabs: list[_Means] = []

    @property
    def n(self) -> int:
        return len(self.slabs) * SLAB_ROWS + self.filled

    def check(self, X: Array, Y: Array) -> None:
        """Refuse a block that does not continue those before it."""
        expected = (len(X), self.rows.shape[1]), (len(X), len(self.labels))
        if (X.shape, Y.shape) != expected:
            raise ProbeError(
                f"a block has features {X.shape} and labels {Y.shape}; expected {expected[0]} and {expected[1]}, "
                "as wide as the blocks before it"
            )

    def room(self, n: int, wanted: Sequence[int]) -> int:
        """How many of n rows may be taken before the slab is full or a wanted size is reached."""
        room = min(n, SLAB_ROWS - self.filled)
        return min(room, wanted[0] - self.n) if wanted else room

    def take(self, X: Array, Y: Array) -> None:
        """Take rows that fit into the slab; a full one is added to the sums."""
        stop = self.filled + len(X)
        self.rows[self.filled : stop] = X
        self.labels[:, self.filled : stop] = Y.T
        self.filled = stop
        if stop == SLAB_ROWS:
            self.origin = self.origin or self._slab_means()
            self.slabs.append(self._add_slab(self.origin, self.within, self.cross_within))
            self.filled = 0

    def moments(self, *, last: bool) -> Moments:
        """The moments of all rows taken; `last` gives the sums away instead of a copy."""
        scatter = self.within if last else self.within.copy(order="F")
        cross = self.cross_within.copy()
        slabs, counts = list(self.slabs), [SLAB_ROWS] * len(self.slabs)
        origin = self.origin or self._slab_means()
        if self.filled:
            slabs.append(self._add_slab(origin, scatter, cross))
            counts.append(self.filled)
        weights = np.array(counts, dtype=np.float64)
        between = np.stack([slab.x for slab in slabs])
        mean = weights @ between / self.n
        between -= mean
        label_mean = np.empty(len(cross))
        for k in range(len(cross)):
            of_slabs = np.array([slab.y[k] for slab in slabs])
            label_mean[k] = weights @ of_slabs / self.n
            cross[k] += (weights * (of_slabs - label_mean[k])) @ between
        between *= np.sqrt(weights)[:, None]
        _add_products(scatter, between)
        _mirror(scatter)
        return Moments(
            n=self.n, mean=origin.x + mean, scatter=scatter, label_mean=origin.y + label_mean, cross=cross
        )

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused with its rows
    def _slab_means(self) -> _Means:
        """The means of the rows in the slab."""
        x = self.rows[: self.filled].sum(axis=0) / self.filled
        y = np.array([labels.sum() for labels in self.labels[:, : self.filled]]) / self.filled
        return _Means(x=x, y=y)

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused with its rows
    def _add_slab(self, origin: _Means, scatter: Array, cross: Array) -> _Means:
        """Add the products of the slab about its means to the upper triangle and to cross; its means from `origin`."""
        Z = np.subtract(self.rows[: self.filled], origin.x, out=self.centred[: self.filled])
        x: Array = Z.sum(axis=0) / self.filled
        if not np.isfinite(x).all():
            raise self._not_finite(self.rows[: self.filled], "features")
        Z -= x
        _add_products(scatter, Z)
        y = np.empty(len(cross))
        for k, labels in enumerate(self.labels[:, : self.filled]):
            centred = labels - origin.y[k]
            y[k] = centred.sum() / self.filled
            if not np.isfinite(y[k]):
                raise self._not_finite(labels[:, None], "labels")
            cross[k] += (centred - y[k]) @ Z
        return _Means(x=x, y=y)

    def _not_finite(self, values: Array, what: str) -> ProbeError:
        start = len(self.slabs) * SLAB_ROWS
        rows = f"rows {start} to {start + len(values) - 1}"
        bad = start + np.flatnonzero(~np.isfinite(values).all(axis=1))
        if not bad.size:
            return ProbeError(
                f"{what} of {rows} are so large that their sum is not finite; use a smaller unit"
            )
        return ProbeError(
            f"{what} are NaN or inf in {bad.size} of {rows} (first: {bad[:5].tolist()}); "
            "drop those rows or mend their source"
        )


def _add_products(scatter: Array, Z: Array) -> None:
    """Add Z'Z to the upper triangle of `scatter` (d, d), in Fortran order, in place."""
    scipy.linalg.blas.dsyrk(1.0, Z.T, beta=1.0, c=scatter, overwrite_c=1)


def _mirror(scatter: Array) -> None:
    """Copy the upper triangle to the lower one, in place, without a copy of the matrix."""
    d = len(scatter)
    for start in range(0, d, SLAB_ROWS):
        stop = min(start + SLAB_ROWS, d)
        scatter[stop:, start:stop] = scatter[start:stop, stop:].T
        square = scatter[start:stop, start:stop]
        square[...] = np.triu(square) + np.triu(square, 1).T
