"""How sure the median bias and the robust scatter are: medians of every resample, without sorting any of them."""

from typing import Any

import numpy as np

from .bootstrap import LEVEL, Interval, Resamples, percentile_ends, widest
from .metrics import NORMAL_MAD

Array = np.ndarray[Any, np.dtype[Any]]

_HALVINGS = 40
"""Of the range of the deviations, on the way to their median: 2^-40 of it is left."""


def robust_intervals(
    resamples: Resamples, residual: Array, *, level: float = LEVEL
) -> dict[str, list[Interval]]:
    """By score, the percentile interval of each label; residual (n, t), rows those of `resamples`."""
    medians, scatters = np.stack(
        [np.concatenate(_replicates(resamples, column), axis=1) for column in residual.T], axis=-1
    )
    none = np.full((2, residual.shape[1]), np.nan)
    return {
        "bias_median": widest(percentile_ends(medians, level=level), none),
        "sigma_mad": widest(percentile_ends(scatters, level=level), none),
    }


def _replicates(resamples: Resamples, residual: Array) -> list[Array]:
    """Median and 1.4826 MAD of every resample of residuals (n,), (2, b) for each slab of b."""
    order = np.argsort(residual)
    ascending, member = residual[order], resamples.member[order]
    found = []
    for counts in resamples.counts():
        below = drawn_before(counts, member)
        median = median_drawn(ascending, below)
        found.append(np.stack([median, NORMAL_MAD * _median_deviation(ascending, below, median)]))
    return found


def drawn_before(counts: Array, member: Array) -> Array:
    """How often the first 0, 1, ... n rows were drawn, (b, n + 1) int32, of stars drawn counts (b, n_stars) times.

    `member` (n,) is the place of each row's star.
    """
    below = np.zeros((len(counts), member.size + 1), dtype=np.int32)
    np.cumsum(counts.take(member, axis=1), axis=1, out=below[:, 1:])
    return below


def _middle_ranks(below: Array) -> Array:
    """The two ranks from 1 on, (2, b), whose values' mean is the median; equal for an odd number of rows."""
    n = below[:, -1]
    return np.stack([(n + 1) // 2, n // 2 + 1])


def median_drawn(ascending: Array, below: Array) -> Array:
    """Median (b,) of values (n,) that were drawn; below (b, n + 1) counts the draws of the first values."""
    places = [np.sum(below[:, 1:] < rank[:, None], axis=1) for rank in _middle_ranks(below)]
    return np.asarray(ascending[np.stack(places)].mean(axis=0))


def _median_deviation(ascending: Array, below: Array, centre: Array) -> Array:
    """Median (b,) of |value - centre|: the smallest reach around the centre that holds half of the draws."""
    ranks = _middle_ranks(below)
    draw = np.arange(len(below))
    enough = np.broadcast_to(np.maximum(ascending[-1] - centre, centre - ascending[0]), ranks.shape)
    too_small = -enough  # so that 0 is tried first: it may be the answer
    for _ in range(_HALVINGS):
        reach = 0.5 * (too_small + enough)
        first = np.searchsorted(ascending, centre - reach, side="left")
        last = np.searchsorted(ascending, centre + reach, side="right")
        holds = below[draw, last] - below[draw, first] >= ranks
        too_small, enough = np.where(holds, too_small, reach), np.where(holds, reach, enough)
    return np.asarray(enough.mean(axis=0))
