"""How sure the differences between probes on the same rows are: paired intervals, sign flips over stars, Holm."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .bootstrap import LEVEL, SEED, Interval, Resamples, percentile_ends, studentised_ends, widest
from .carried import effective_stars

Array = np.ndarray[Any, np.dtype[Any]]

N_FLIPS = 9999
DECISIVE = 0.5
"""Share of the absolute differences; of 25 stars with normal errors, one to five rows each, the largest has 20 %."""
_SIGNS_AT_ONCE = 4_000_000
_SAME = 1e-9
"""A flip that comes so near to the observed sum, relatively, has reached it: it may be the same sum, rounded."""


@dataclass(frozen=True, kw_only=True)
class PairedTable:
    """Differences in R2 between all pairs of m predictions.

    Every member holds the pairs (0, 1), (0, 2), ... (m - 2, m - 1), m (m - 1) / 2 of them: `difference`, R2 of the
    first minus R2 of the second; its `intervals`; `p`, two-sided sign-flip values; `p_holm`, those that hold for all
    pairs at once; `n_eff`, how many stars carry the difference (`carried.effective_stars`).
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
        ends = studentised_ends(value, error, replicates, errors, level=level)
        studentised = np.where(_one_star_decides(_later(squared, first)), np.nan, ends)
        intervals += widest(percentile, studentised)
        differences.append(value)
        n_eff.append(effective_stars(_later(squared, first)))
    p = flip_values(squared, n_flips=n_flips, seed=seed)
    return PairedTable(
        difference=np.concatenate([*differences, np.empty(0)]),
        intervals=intervals,
        p=p,
        p_holm=holm(p),
        n_eff=np.concatenate([*n_eff, np.empty(0)]),
    )


def flip_values(squared: Array, *, n_flips: int = N_FLIPS, seed: int = SEED) -> Array:
    """Two-sided p-values of all pairs, (m (m - 1) / 2,), from squared residuals summed by star (n_stars, m).

    Null hypothesis: the difference d of a star, one prediction's sum minus the other's, is as likely as -d. The sign
    of all rows of a star is flipped together; p = (1 + flips whose |sum d| reaches the observed one) / (1 + n_flips).
    That is symmetry of d about 0, which is more than equal R2: where few stars carry the difference it may fail while
    R2 is the same (`carried.LEAST_EFFECTIVE` guards against it). Where no flip reaches it, p is not above
    2 exp(-(sum d)^2 / (2 sum d^2)) (Hoeffding 1963, for random signs), so that small values are told apart and a
    correction for many pairs leaves something.
    """
    centred = squared - squared.mean(axis=1, keepdims=True)
    m = squared.shape[1]
    reached = [np.zeros(m - 1 - first) for first in range(m - 1)]
    sums = [_later(centred, first).sum(axis=0) for first in range(m - 1)]
    for signs in _signs(len(squared), n_flips, seed):
        flipped = signs @ centred
        for first in range(m - 1):
            reach = np.abs(_later(flipped, first)) >= (1 - _SAME) * np.abs(sums[first])
            reached[first] += reach.sum(axis=0)
    bound = [_hoeffding(sums[first], _later(centred, first)) for first in range(m - 1)]
    count = np.concatenate([*reached, np.empty(0)])
    p = (1 + count) / (1 + n_flips)
    return np.where(count == 0, np.minimum(p, np.concatenate([*bound, np.empty(0)])), p)


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
        value = _later(self.squared, first) / self.spread
        squared = self.total(_later(self.by_star, first) ** 2)
        cross = _later(self.cross, first)
        error = np.sqrt(np.maximum(squared - 2 * value * cross + value**2 * self.own, 0.0)) / self.spread
        return value, error


def _one_star_decides(differences: Array) -> Array:
    """Whether one star holds more than DECISIVE of a difference, of its absolute values by star (n_stars, k): (k,).

    The standard error is then that star's, so the percentile interval alone is left (see `one_star_dominates`).
    """
    size = np.abs(differences)
    return np.asarray(size.max(axis=0) > DECISIVE * size.sum(axis=0))


def _over_all_stars(sums: Array) -> Array:
    return np.asarray(sums.sum(axis=0)[None])


def _later(columns: Array, first: int) -> Array:
    """Each later column minus column `first`, (..., k)."""
    return np.asarray(columns[..., first + 1 :] - columns[..., first, None])


def _signs(n_stars: int, n_flips: int, seed: int) -> Iterator[Array]:
    """Yield random signs (b, n_stars), a slab of flips at a time."""
    rng = np.random.default_rng([seed, n_stars])
    slab = max(1, min(n_flips, _SIGNS_AT_ONCE // n_stars))
    for start in range(0, n_flips, slab):
        yield np.where(rng.random((min(slab, n_flips - start), n_stars)) < 0.5, -1.0, 1.0)


def _hoeffding(sums: Array, differences: Array) -> Array:
    """The bound 2 exp(-S^2 / (2 sum d^2)) for differences d (n_stars, k) that sum to S (k,); 1 where all are 0."""
    squares = np.sum(differences**2, axis=0)
    exponent = sums**2 / np.where(squares > 0, 2 * squares, np.inf)
    return np.asarray(np.minimum(1.0, 2 * np.exp(-exponent)))
