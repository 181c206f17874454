"""Means and scatter of features and labels in one pass over their rows, in float64."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from cache.errors import ConfigError, ProbeError

from .blas import add_gram, add_product
from .scaling import Array, Scaling, scaling_of, slabs_of

SLAB_ROWS = 512
"""Rows centred and multiplied at a time: enough work for two threads, few enough to stay in the cache."""


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
    are lost to a mean far from 0. Memory: two slabs, two (d, d) matrices, and the mean of each slab.

    Raises ConfigError for sizes below 2 and ProbeError for rows that are not finite, for blocks that are not as wide
    as the first, and for a stream that ends before the largest size.
    """
    wanted = _checked_sizes(sizes)
    running: _Running | None = None
    for X, Y in slabs_of(blocks, SLAB_ROWS):
        running = running or _Running.empty(X.shape[1], len(Y))
        while wanted and wanted[0] <= running.n + len(X):
            n_more = wanted.pop(0) - running.n
            upto = running.copy() if wanted else running
            upto.add(X[:n_more], Y[:, :n_more])
            yield upto.moments()
            if not wanted:
                return
        running.add(X, Y)
    n = 0 if running is None else running.n
    if running is None or n < 2 or wanted:
        at_least = wanted[0] if wanted else 2
        raise ProbeError(f"{n} rows came, at least {at_least} are needed; give more rows or ask for fewer")
    yield running.moments()


def _checked_sizes(sizes: Sequence[int] | None) -> list[int]:
    wanted = sorted({int(n) for n in sizes or ()})
    if sizes is not None and (not wanted or wanted[0] < 2):
        raise ConfigError(f"sizes are {list(sizes)}; expected numbers of rows, at least 2 each")
    return wanted


@dataclass(frozen=True, kw_only=True)
class _Slab:
    """Number of rows, and the means of their features (d,) and labels (t,)."""

    n: int
    x: Array
    y: Array


@dataclass(kw_only=True)
class _Running:
    """Sums of products within the slabs taken so far, and the means of those slabs from the origin."""

    within: Array
    cross: Array
    slabs: list[_Slab]
    origin: _Slab | None = None
    centred: Array
    n: int = 0

    @classmethod
    def empty(cls, d: int, t: int) -> Self:
        return cls(
            within=np.zeros((d, d), order="F"),
            cross=np.zeros((t, d)),
            slabs=[],
            centred=np.empty((SLAB_ROWS, d)),
        )

    def copy(self) -> Self:
        """Sums that go their own way."""
        return replace(
            self, within=self.within.copy(order="F"), cross=self.cross.copy(), slabs=list(self.slabs)
        )

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused with its rows
    def add(self, X: Array, Y: Array) -> None:
        """Add a slab, X (m, d) and Y (t, m), to the upper triangle of `within` and to `cross`."""
        n = len(X)
        if self.origin is None:
            self.origin = _Slab(n=n, x=X.sum(axis=0) / n, y=np.array([labels.sum() for labels in Y]) / n)
        Z = np.subtract(X, self.origin.x, out=self.centred[:n])
        x: Array = Z.sum(axis=0) / n
        if not np.isfinite(x).all():
            raise self._not_finite(X, "features")
        Z -= x
        add_gram(self.within, Z)
        y = np.empty(len(Y))
        for k, labels in enumerate(Y):  # one by one, so that no bit depends on the others
            centred = labels - self.origin.y[k]
            y[k] = centred.sum() / n
            if not np.isfinite(y[k]):
                raise self._not_finite(labels[:, None], "labels")
            centred -= y[k]
            add_product(self.cross[k], Z, centred)
        self.slabs.append(_Slab(n=n, x=x, y=y))
        self.n += n

    def moments(self) -> Moments:
        """The moments of all rows; the sums are given away, not copied."""
        assert self.origin is not None
        counts = np.array([slab.n for slab in self.slabs], dtype=np.float64)
        between = np.stack([slab.x for slab in self.slabs])
        mean = counts @ between / self.n
        between -= mean
        label_mean = np.empty(len(self.cross))
        for k in range(len(self.cross)):
            of_slabs = np.array([slab.y[k] for slab in self.slabs])
            label_mean[k] = counts @ of_slabs / self.n
            add_product(self.cross[k], between, counts * (of_slabs - label_mean[k]))
        between *= np.sqrt(counts)[:, None]
        add_gram(self.within, between)
        _mirror(self.within)
        return Moments(
            n=self.n,
            mean=self.origin.x + mean,
            scatter=self.within,
            label_mean=self.origin.y + label_mean,
            cross=self.cross,
        )

    def _not_finite(self, values: Array, what: str) -> ProbeError:
        start = self.n
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


def _mirror(scatter: Array) -> None:
    """Copy the upper triangle to the lower one, in place, without a copy of the matrix."""
    d = len(scatter)
    for start in range(0, d, SLAB_ROWS):
        stop = min(start + SLAB_ROWS, d)
        scatter[stop:, start:stop] = scatter[start:stop, stop:].T
        square = scatter[start:stop, start:stop]
        square[...] = np.triu(square) + np.triu(square, 1).T
