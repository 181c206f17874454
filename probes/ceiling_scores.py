"""A ceiling as figures with intervals, and what share of it probes reach, on the same rows and resamples of stars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bins import Bins, quantile_bins
from .bootstrap import Interval, Resamples
from .metrics import r2
from .paired import paired_table
from .rounding import all_significant, significant
from .score_intervals import score_intervals
from .share_intervals import median_r2, share_intervals

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """A label of n rows and the variances of it that a spectrum leaves: y, prior_aware, unbiased (n,) float64.

    `unbiased` may be inf. `stars` (n,) any integer type.
    """

    y: Array
    stars: Array
    prior_aware: Array
    unbiased: Array

    def where(self, rows: Array) -> "Bounded":
        """The rows of a mask (n,) of bool."""
        return Bounded(
            y=self.y[rows],
            stars=self.stars[rows],
            prior_aware=self.prior_aware[rows],
            unbiased=self.unbiased[rows],
        )

    def ceiling(self) -> float:
        """1 - mean of the prior-aware variances / mean squared deviation of y; NaN where y is constant."""
        return r2(self.y, as_prediction(self.y, self.prior_aware))


def as_prediction(y: Array, variances: Array) -> Array:
    """A prediction whose squared residuals are the variances: its R2 is the ceiling, with the intervals of any R2."""
    return np.asarray(y + np.sqrt(variances))


def figures(bounded: Bounded) -> dict[str, dict[str, Any] | None]:
    """The three named figures, each {value, interval}, rounded; the unbiased mean is None where a variance is inf."""
    y, resamples = bounded.y, Resamples(bounded.stars)
    median, of_median = median_r2(resamples, y, bounded.unbiased)
    unbiased = None
    if np.isfinite(bounded.unbiased).all():
        unbiased = _figure(*_mean_r2(resamples, y, bounded.unbiased))
    return {
        "prior_aware_mean": _figure(*_mean_r2(resamples, y, bounded.prior_aware)),
        "unbiased_median": _figure(median, of_median),
        "unbiased_mean": unbiased,
    }


def row_items(
    bounded: Bounded, runs: Sequence[str], y_hat: Array, why_not: Sequence[str | None]
) -> list[dict[str, Any]]:
    """What is said of each probe, `y_hat` (n, k): its R2, and where the ceiling holds for it share and gap.

    gap = ceiling - R2; `above`: its whole interval lies below 0. The share is None where the ceiling is not clear of 0.
    """
    y, resamples = bounded.y, Resamples(bounded.stars)
    spans = score_intervals(resamples, np.broadcast_to(y[:, None], y_hat.shape), y_hat)["r2"]
    _, of_ceiling = _mean_r2(resamples, y, bounded.prior_aware)
    clear = of_ceiling.lo is not None and of_ceiling.lo > 0
    items = []
    for run, column, span, why in zip(runs, y_hat.T, spans, why_not, strict=True):
        item = {
            "run": run,
            "r2": significant(r2(y, column)),
            "interval": all_significant(span.as_list()),
            "applicable": why is None,
            "why": why,
            **dict.fromkeys(("share", "share_interval", "gap", "gap_interval")),
            "above": False,
        }
        if why is None:
            item |= _against(resamples, bounded, column, clear=clear)
        items.append(item)
    return items


def binned_figures(
    bounded: Bounded, stored: Mapping[str, Array], *, runs: Sequence[str], y_hat: Array
) -> dict[str, Any]:
    """By quantity of `stored`: edges and number of stars of the bins, ceiling and unbiased median in each, shares.

    Bins are those of `bins.quantile_bins`, as in comparison records; R2 is against the mean of the bin. `runs`, `y_hat`
    (n, k): probes for which the ceiling holds.
    """
    return {name: _of_bins(bounded, quantile_bins(values), runs, y_hat) for name, values in stored.items()}


def _of_bins(bounded: Bounded, bins: Bins, runs: Sequence[str], y_hat: Array) -> dict[str, Any]:
    told: dict[str, Any] = {
        "edges": all_significant(bins.edges),
        "n": [],
        "ceiling": [],
        "unbiased_median": [],
        "share": {run: [] for run in runs},
    }
    for number in range(max(1, bins.edges.size - 1)):
        rows = bins.member == number
        part = bounded.where(rows)
        resamples = Resamples(part.stars)
        value, interval = _mean_r2(resamples, part.y, part.prior_aware)
        told["n"].append(resamples.n_stars)
        told["ceiling"].append([significant(value), *all_significant(interval.as_list())])
        told["unbiased_median"].append(significant(median_r2(resamples, part.y, part.unbiased)[0]))
        shares: list[list[float | None]] = [[None, None, None]] * len(runs)
        if runs and interval.lo is not None and interval.lo > 0:
            squared = (y_hat[rows] - part.y[:, None]) ** 2
            values, spans = share_intervals(resamples, part.y, part.prior_aware, squared)
            shares = [
                [significant(v), *all_significant(span.as_list())]
                for v, span in zip(values, spans, strict=True)
            ]
        for run, share in zip(runs, shares, strict=True):
            told["share"][run].append(share)
    return told


def _against(resamples: Resamples, bounded: Bounded, y_hat: Array, *, clear: bool) -> dict[str, Any]:
    y = bounded.y
    pair = np.stack([as_prediction(y, bounded.prior_aware), y_hat], axis=1)
    gap = paired_table(resamples, y, pair, n_flips=1)
    (span,) = gap.intervals
    told: dict[str, Any] = {
        "gap": significant(float(gap.difference[0])),
        "gap_interval": all_significant(span.as_list()),
        "above": span.hi is not None and span.hi < 0,
    }
    if clear:
        squared = (y_hat - y)[:, None] ** 2
        (share,), (of_share,) = share_intervals(resamples, y, bounded.prior_aware, squared)
        told |= {"share": significant(share), "share_interval": all_significant(of_share.as_list())}
    return told


def _mean_r2(resamples: Resamples, y: Array, variances: Array) -> tuple[float, Interval]:
    y_hat = as_prediction(y, variances)
    (interval,) = score_intervals(resamples, y[:, None], y_hat[:, None])["r2"]
    return r2(y, y_hat), interval


def _figure(value: float | None, interval: Interval) -> dict[str, Any]:
    return {"value": significant(value), "interval": all_significant(interval.as_list())}
