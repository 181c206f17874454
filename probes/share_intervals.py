"""How sure shares of a ceiling and medians over rows are: both from the same resamples of stars as every score."""

from typing import Any

import numpy as np

from .bootstrap import (
    LEVEL,
    NO_INTERVAL,
    Interval,
    Resamples,
    one_star_holds,
    percentile_ends,
    studentised_ends,
    widest,
)
from .robust_intervals import drawn_before, median_drawn
from .score_intervals import DOMINANT, standard_error, with_products

Array = np.ndarray[Any, np.dtype[Any]]

N_SUMS = 5


def share_intervals(
    resamples: Resamples, y: Array, bound: Array, squared: Array, *, level: float = LEVEL
) -> tuple[Array, list[Interval]]:
    """R2 of k predictions over the R2 of a bound, (k,), with their intervals.

    y (n,) labels, bound (n,) variances, squared (n, k) squared residuals, all float64, rows those of `resamples`. With
    S the sum of (y - mean)^2: share = (S - sum of squared) / (S - sum of bound), both sums over the same resampled
    stars; standard errors by the delta method, which are not used where one star holds more than DOMINANT of the
    squared residuals. The share has a meaning only where the bound's R2 is clear of 0: it is NaN where that is not
    above 0, and resamples where it is not are left out.
    """
    centred = y - y.mean()
    common = np.stack([np.ones_like(y), centred, centred**2, bound], axis=1)
    rows = np.concatenate(
        [np.broadcast_to(common[:, None], (*squared.shape, 4)), squared[..., None]], axis=-1
    )
    sums = resamples.star_sums(rows)
    totals = with_products(sums)
    value, error = (part[0] for part in _shares(totals.sum(axis=0)[None]))
    replicates, errors = _shares(resamples.totals(totals))
    percentile = percentile_ends(replicates, level=level)
    ends = studentised_ends(value, error, replicates, errors, level=level)
    studentised = np.where(one_star_holds(DOMINANT, sums[..., -1]), np.nan, ends)
    return value, widest(percentile, studentised)


def _shares(totals: Array) -> tuple[Array, Array]:
    """Share and its standard error, (b, k) each, from totals (b, k, 20): sums over stars, then of their products."""
    n, first, second, bound, squared = np.moveaxis(totals[..., :N_SUMS], -1, 0)
    mean = first / n
    spread = second - first * mean
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(spread > bound, spread - bound, np.nan)
        share = (spread - squared) / below
        by_spread = (1 - share) / below
        gradient = np.stack(
            [mean**2 * by_spread, -2 * mean * by_spread, by_spread, share / below, -1 / below], axis=-1
        )
        return share, standard_error(gradient, totals[..., N_SUMS:])


def median_r2(
    resamples: Resamples, y: Array, variances: Array, *, level: float = LEVEL
) -> tuple[float | None, Interval]:
    """Median over rows of 1 - variance / S, S the mean squared deviation of y from its mean; percentile interval.

    y, variances (n,); a variance may be inf. None where the median is not finite or all labels are equal; no interval
    where that of a resample is not finite.
    """
    if np.ptp(y) == 0:
        return None, NO_INTERVAL
    centred = y - y.mean()
    order = np.argsort(variances)
    ascending, member = variances[order], resamples.member[order]
    sums = resamples.star_sums(np.stack([np.ones_like(y), centred, centred**2], axis=1))
    n, first, second = resamples.totals(sums).T
    medians = np.concatenate(
        [median_drawn(ascending, drawn_before(counts, member)) for counts in resamples.counts()]
    )
    value = 1 - float(np.median(variances)) / float(np.mean(centred**2))
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = 1 - medians / ((second - first**2 / n) / n)
    if not (np.isfinite(value) and np.isfinite(replicates).all()):
        return (value if np.isfinite(value) else None), NO_INTERVAL
    lo, hi = percentile_ends(replicates[:, None], level=level)[:, 0]
    return value, Interval(float(lo), float(hi))
