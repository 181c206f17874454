"""How much of a score is left when features are made otherwise: differences and shares, on the same resampled stars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import LEVEL, NO_INTERVAL, Interval, Resamples, percentile_ends, studentised_ends, widest
from .paired import holm, paired_table

Array = np.ndarray[Any, np.dtype[Any]]

_I, _J = np.triu_indices(5)
_TWICE = np.where(_I == _J, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class Survival:
    """Of k predictions, each against the same reference: `difference` (k,), R2 minus that of the reference.

    `share` (k,) is R2 over that of the reference, None where it was not asked for; `p_holm` holds for all k at once.
    """

    difference: Array
    difference_intervals: Sequence[Interval]
    p: Array
    p_holm: Array
    share: Array | None
    share_intervals: Sequence[Interval]


def survival(resamples: Resamples, y: Array, reference: Array, y_hat: Array, *, with_share: bool) -> Survival:
    """Compare predictions y_hat (n, k) with a reference (n,) of the same labels y (n,), rows those of `resamples`.

    A share means something where R2 of the reference is clearly above 0 alone; `with_share` asks for it.
    """
    k = y_hat.shape[1]
    table = paired_table(resamples, y, np.column_stack([reference, y_hat]))
    share, spans = None, [NO_INTERVAL] * k
    if with_share:
        share, spans = share_intervals(resamples, y, reference, y_hat)
    return Survival(
        difference=-table.difference[:k],
        difference_intervals=[_negative(interval) for interval in table.intervals[:k]],
        p=table.p[:k],
        p_holm=holm(table.p[:k]),
        share=share,
        share_intervals=spans,
    )


def share_intervals(
    resamples: Resamples, y: Array, reference: Array, y_hat: Array, *, level: float = LEVEL
) -> tuple[Array, list[Interval]]:
    """R2 of each prediction y_hat (n, k) over R2 of the reference (n,), (k,), with its intervals.

    share = (V - S) / (V - S0), with V the sum of squares of the label about its mean, S and S0 those of the residuals.
    Two intervals as everywhere (`bootstrap.widest`): percentile, and symmetric studentised with the standard error of
    the delta method.
    """
    centred = y - y.mean()
    label = resamples.star_sums(
        np.stack([np.ones_like(y), centred, centred**2, (reference - y) ** 2], axis=1)
    )
    squared = resamples.star_sums((y_hat - y[:, None]) ** 2)
    sums = np.stack([np.column_stack([label, column]) for column in squared.T], axis=1)
    both = np.concatenate([sums, sums[..., _I] * sums[..., _J]], axis=-1)
    value, error = (part[0] for part in _shares(both.sum(axis=0)[None]))
    replicates, errors = _shares(resamples.totals(both))
    percentile = percentile_ends(replicates, level=level)
    studentised = studentised_ends(value, error, replicates, errors, level=level)
    return value, widest(percentile, studentised)


def _shares(totals: Array) -> tuple[Array, Array]:
    """Shares and their standard errors, (b, k) each; NaN where R2 of the reference is not above 0.

    totals (b, k, 20): the sums of 1, y, y^2, S0 and S over stars, then the sums over stars of their products. The
    error is sqrt(sum over stars of (gradient . sums of the star)^2), the gradient that of the share by the totals.
    """
    n, first, second, squared_0, squared = np.moveaxis(totals[..., :5], -1, 0)
    mean = first / n
    spread = second - first * mean
    explained = np.where(spread > squared_0, spread - squared_0, np.nan)
    share = (spread - squared) / explained
    lost = 1 - share
    gradient = np.stack([lost * mean**2, -2 * lost * mean, lost, share, -np.ones_like(share)], axis=-1)
    square = np.sum(_TWICE * gradient[..., _I] * gradient[..., _J] * totals[..., 5:], axis=-1)
    return share, np.sqrt(np.maximum(square, 0.0)) / explained


def _negative(interval: Interval) -> Interval:
    if interval.lo is None or interval.hi is None:
        return interval
    return Interval(-interval.hi, -interval.lo)
