"""How sure the differences between probes on the same rows are: paired intervals, sign flips over stars, Holm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .bootstrap import (
    LEVEL,
    SEED,
    Interval,
    Resamples,
    one_star_holds,
    percentile_ends,
    studentised_ends,
    widest,
)
from .carried import carrying_stars
from .flips import N_FLIPS, flip_values, later

Array = np.ndarray[Any, np.dtype[Any]]

DECISIVE = 0.5
"""Share of the absolute differences; of 25 stars with normal errors, one to five rows each, the largest has 20 %."""
MOST_ERRORS = 4.0
"""So many standard errors a studentised interval of a difference reaches at most.

Where one star holds the standard error, the many resamples without it have hardly any, and would take the interval
anywhere. Four let a sample with one such star reach to five of them: where five are expected, 4 % have one or none.
"""


@dataclass(frozen=True, kw_only=True)
class PairedTable:
    """Differences in R2 between all pairs of m predictions.

    Every member holds the pairs (0, 1), (0, 2), ... (m - 2, m - 1), m (m - 1) / 2 of them: `difference`, R2 of the
    first minus R2 of the second; its `intervals`; `p`, two-sided sign-flip values; `p_holm`, those that hold for all
    pairs at once; `n_eff`, how many stars carry the difference (`carried.carrying_stars`).
    """

    difference: Array
    intervals: list[Interval]
    p: Array
    p_holm: Array
    n_eff: Array


def paired_table(
    resamples: Resamples,
    y: Array,
    y_hat: Array,
    *,
    n_flips: int = N_FLIPS,
    level: float = LEVEL,
    seed: int = SEED,
) -> PairedTable:
    """Compare predictions y_hat (n, m) of the same labels y (n,), both float64, pair by pair.

    Rows are those of `resamples`; both members of a pair are scored on the same resampled stars. `seed` is that of
    the flips. Where labels are constant R2 is not defined: the differences are NaN and have no interval.
    """
    centred = y - y.mean()
    label = resamples.star_sums(np.stack([np.ones_like(y), centred, centred**2], axis=1))
    squared = resamples.star_sums((y_hat - y[:, None]) ** 2)
    observed = _Unexplained.of(_over_all_stars, label, squared)
    drawn = _Unexplained.of(resamples.totals, label, squared)
    differences, intervals, n_eff = [], [], []
    for first in range(y_hat.shape[1] - 1):
        value, error = (part[0] for part in observed.differences(first))
        replicates, errors = drawn.differences(first)
        percentile = percentile_ends(replicates, level=level)
        ends = studentised_ends(value, error, replicates, errors, level=level, most=MOST_ERRORS)
        studentised = np.where(one_star_holds(DECISIVE, np.abs(later(squared, first))), np.nan, ends)
        intervals += widest(percentile, studentised)
        differences.append(value)
        n_eff.append(carrying_stars(later(squared, first)))
    p = flip_values(squared, n_flips=n_flips, level=level, seed=seed)
    return PairedTable(
        difference=np.concatenate([*differences, np.empty(0)]),
        intervals=intervals,
        p=p,
        p_holm=holm(p),
        n_eff=np.concatenate([*n_eff, np.empty(0)]),
    )


def holm(p: Array) -> Array:
    """P-values (k,) that hold for all k at once, after Holm (1979): the largest of (k - rank) p up to each rank."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


@dataclass(frozen=True, kw_only=True)
class _Unexplained:
    """What the differences in R2 are made of, over all stars or over those of every resample (b of them).

    Over stars: `squared` (b, m), the sums of squared residuals; `spread` (b, 1), of squared deviations of the label
    from its mean; `cross` (b, m) and `own` (b, 1), of the products of a star's deviations with its residuals and with
    themselves. `by_star` (n_stars, m) are the squared residuals that `total` sums.
    """

    total: Callable[[Array], Array]
    by_star: Array
    squared: Array
    spread: Array
    cross: Array
    own: Array

    @classmethod
    def of(cls, total: Callable[[Array], Array], label: Array, squared: Array) -> Self:
        """From sums by star: label (n_stars, 3) of 1, y, y^2, and squared residuals (n_stars, m)."""
        n, first, second = np.moveaxis(total(label)[:, :, None], 1, 0)
        mean = first / n
        spread = second - first * mean
        flat = spread <= 1e-12 * np.maximum(second, np.finfo(np.float64).tiny)
        by_mean = np.stack([mean**2, -2 * mean, np.ones_like(mean)], axis=1)
        cross = total(label[:, :, None] * squared[:, None, :])
        own = total(label[:, :, None] * label[:, None, :])
        return cls(
            total=total,
            by_star=squared,
            squared=total(squared),
            spread=np.where(flat, np.nan, spread),
            cross=np.sum(by_mean * cross, axis=1),
            own=np.sum(by_mean * np.sum(by_mean.transpose(0, 2, 1) * own, axis=2, keepdims=True), axis=1),
        )

    def differences(self, first: int) -> tuple[Array, Array]:
        """R2 of one prediction minus R2 of each later one, and its standard error (delta method), (b, k) each."""
        value = later(self.squared, first) / self.spread
        squared = self.total(later(self.by_star, first) ** 2)
        cross = later(self.cross, first)
        error = np.sqrt(np.maximum(squared - 2 * value * cross + value**2 * self.own, 0.0)) / self.spread
        return value, error


def _over_all_stars(sums: Array) -> Array:
    return np.asarray(sums.sum(axis=0)[None])
