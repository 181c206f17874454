"""How much of a score is left when features are made otherwise: differences and shares, on the same resampled stars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import NO_INTERVAL, Interval, Resamples
from .paired import holm, paired_table
from .share_intervals import share_intervals

Array = np.ndarray[Any, np.dtype[Any]]


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

    A share means something where R2 of the reference is clearly above 0 alone; `with_share` asks for it. Its interval
    is that of `share_intervals.share_intervals`, with the squared residuals of the reference as the bound.
    """
    k = y_hat.shape[1]
    table = paired_table(resamples, y, np.column_stack([reference, y_hat]))
    share, spans = None, [NO_INTERVAL] * k
    if with_share:
        squared = (y_hat - y[:, None]) ** 2
        share, spans = share_intervals(resamples, y, (reference - y) ** 2, squared)
    return Survival(
        difference=-table.difference[:k],
        difference_intervals=[_negative(interval) for interval in table.intervals[:k]],
        p=table.p[:k],
        p_holm=holm(table.p[:k]),
        share=share,
        share_intervals=spans,
    )


def _negative(interval: Interval) -> Interval:
    if interval.lo is None or interval.hi is None:
        return interval
    return Interval(-interval.hi, -interval.lo)
