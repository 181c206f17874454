"""R2 of the rows in bins of a stored quantity, such as S/N or magnitude."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cache.errors import ProbeError

from .bootstrap import Array, Interval, Resamples
from .metrics import r2
from .score_intervals import score_intervals

N_BINS = 4


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Bin of each row, `member` (n,), in order of the quantity; bin k holds edges[k] <= value < edges[k + 1].

    The last bin holds its upper edge too.
    """

    edges: Array
    member: Array


def quantile_bins(values: Array, *, n_bins: int = N_BINS) -> Bins:
    """Bins with about as many rows each, by the quantiles of values (n,); fewer where values repeat.

    Raises ProbeError where a value is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    bad = int(np.sum(~np.isfinite(values)))
    if bad or not values.size:
        raise ProbeError(
            f"{bad} of {values.size} values are NaN or inf; rows can be binned by finite values only"
        )
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)))
    within = np.bincount(_member(edges, values), minlength=edges.size - 1)
    edges = np.delete(edges, np.flatnonzero(within == 0))  # an empty bin is part of the one before it
    return Bins(edges=edges, member=_member(edges, values))


def _member(edges: Array, values: Array) -> Array:
    return np.asarray(np.searchsorted(edges[1:-1], values, side="right"))


def binned_r2(
    y: Array, y_hat: Array, *, stars: Array, bins: Bins
) -> Iterator[tuple[int, list[tuple[float | None, Interval]]]]:
    """Yield of each bin its number of stars, and R2 with its interval of each prediction; y (n,), y_hat (n, m).

    R2 compares with the mean of the bin: a bin in which labels vary little has a low R2 for equal errors. Not defined
    where the labels of a bin are all equal.
    """
    for number in range(max(1, bins.edges.size - 1)):
        rows = bins.member == number
        resamples = Resamples(stars[rows])
        labels = np.broadcast_to(y[rows, None], y_hat[rows].shape)
        intervals = score_intervals(resamples, labels, y_hat[rows])["r2"]
        scores = [r2(y[rows], column) for column in y_hat[rows].T]
        yield (
            resamples.n_stars,
            [
                (value if np.isfinite(value) else None, interval)
                for value, interval in zip(scores, intervals, strict=True)
            ],
        )
