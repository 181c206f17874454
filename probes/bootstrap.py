"""Stars drawn with replacement, and intervals from what the draws gave; rows of one star stand or fall together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

N_RESAMPLES = 1000
LEVEL = 0.95
SEED = 0

_COUNTS_AT_ONCE = 4_000_000
_COUNTS_KEPT = 200_000_000
"""Up to so many draws are kept for the next score, a byte each; more are made again."""


@dataclass(frozen=True)
class Interval:
    """Both ends are None where too few resamples define the score (constant labels, a single star)."""

    lo: float | None
    hi: float | None

    def as_list(self) -> list[float | None]:
        """As records hold it."""
        return [self.lo, self.hi]


NO_INTERVAL = Interval(None, None)


class Resamples:
    """Stars drawn with replacement, for any number of scores of the same rows; drawing is what costs.

    The counts depend on the number of stars and the seed alone.
    """

    def __init__(self, stars: Array, *, n_resamples: int = N_RESAMPLES, seed: int = SEED) -> None:
        """Take the star (n,) of each row, any integer type; nothing is drawn yet."""
        unique, self.member = np.unique(stars, return_inverse=True)
        self.n_stars, self.n_resamples, self.seed = unique.size, n_resamples, seed
        self._kept: list[Array] = []

    def counts(self) -> Iterator[Array]:
        """Yield how often each star was drawn, (b, n_stars) small unsigned integers, a slab of resamples at a time."""
        if self._kept:
            yield from self._kept
            return
        kept = []
        for counts in _drawn(self.n_stars, self.n_resamples, self.seed):
            small = counts.astype(np.min_scalar_type(int(counts.max())))
            if self.n_stars * self.n_resamples <= _COUNTS_KEPT:
                kept.append(small)
            yield small
        self._kept = kept

    def star_sums(self, rows: Array) -> Array:
        """Sums over the rows of each star, (n_stars, ...), of values (n, ...)."""
        columns = rows.reshape(len(rows), -1).T
        sums = [np.bincount(self.member, weights=column, minlength=self.n_stars) for column in columns]
        return np.stack(sums, axis=1).reshape(-1, *rows.shape[1:])

    def totals(self, sums: Array) -> Array:
        """Sums over the stars of every resample, (n_resamples, ...), of sums by star (n_stars, ...)."""
        flat = sums.reshape(len(sums), -1)
        return np.concatenate([counts.astype(np.float64) @ flat for counts in self.counts()]).reshape(
            -1, *sums.shape[1:]
        )


def _drawn(n_stars: int, n_resamples: int, seed: int) -> Iterator[Array]:
    """Yield how often each of the stars is drawn, (b, n_stars) integers."""
    rng = np.random.default_rng(seed)
    slab = max(1, min(n_resamples, _COUNTS_AT_ONCE // n_stars))
    for start in range(0, n_resamples, slab):
        size = min(slab, n_resamples - start)
        drawn = rng.integers(0, n_stars, size=(size, n_stars)) + n_stars * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_stars).reshape(size, n_stars)


def one_star_holds(share: float, by_star: Array) -> Array:
    """Whether one star holds more than a share of the sum of values >= 0 by star (n_stars, k): (k,).

    The standard error is then that star's, and a studentised interval reaches anywhere; the percentile interval is
    left, which tells what happens with and without that star.
    """
    return np.asarray(by_star.max(axis=0) > share * by_star.sum(axis=0))


def percentile_ends(replicates: Array, *, level: float = LEVEL) -> Array:
    """Lower and upper end, (2, k), of the defined replicates (b, k); NaN where less than half of them are."""
    return _quantiles(replicates, [(1 - level) / 2, (1 + level) / 2])


def studentised_ends(
    value: Array,
    error: Array,
    replicates: Array,
    errors: Array,
    *,
    level: float = LEVEL,
    most: float = np.inf,
) -> Array:
    """Lower and upper end, (2, k), of the symmetric bootstrap-t interval; NaN where it is not defined.

    value, error (k,): estimate and its standard error; replicates, errors (b, k): the same of every resample. The ends
    are value -+ q error, where a share `level` of |replicate - value| / error of replicate is not above q (Hall 1988,
    Annals of Statistics 16, 927: of the bootstrap intervals, the one whose coverage errs least); q counts as `most` at
    most.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        (reach,) = _quantiles(np.abs(replicates - value) / errors, [level])
        reach = np.minimum(reach, most)
        ends = np.stack([value - reach * error, value + reach * error])
    return np.where((error > 0) & np.isfinite(ends).all(axis=0), ends, np.nan)


def widest(percentile: Array, studentised: Array) -> list[Interval]:
    """Of two intervals (2, k), whichever reaches further at each end; none where the first is not defined.

    Each repairs where the other fails. The percentile interval is a little too short on few stars, the studentised
    one has the right length; but where a score lies at the edge of what is possible (the mean predictor, R2 = 0 at
    most) its standard error vanishes and the percentile interval alone is left. docs/statistics.md has the coverage.
    """
    lo = np.fmin(percentile[0], studentised[0])
    hi = np.fmax(percentile[1], studentised[1])
    return [
        Interval(float(low), float(high)) if np.isfinite(first) else NO_INTERVAL
        for low, high, first in zip(lo, hi, percentile[0], strict=True)
    ]


def _quantiles(values: Array, shares: Sequence[float]) -> Array:
    """Quantiles (len(shares), k) of the finite values (b, k) of each column; NaN where less than half of them are.

    NaN too where some are not and the rest are one value: resamples of two stars, which tell nothing of others.
    """
    defined = np.isfinite(values)
    if defined.all():
        return np.asarray(np.quantile(values, shares, axis=0))
    found = np.full((len(shares), values.shape[1]), np.nan)
    for k in np.flatnonzero(2 * defined.sum(axis=0) >= len(values)):
        known = values[defined[:, k], k]
        if np.ptp(known) > 0:
            found[:, k] = np.quantile(known, shares)
    return found
