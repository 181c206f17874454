"""How sure a score is: bootstrap over stars, so that rows of one star stand or fall together."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cache.errors import ProbeError

Array = np.ndarray[Any, np.dtype[Any]]

N_RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
INTERVAL_METHOD = "bootstrap over stars, percentile, 95 %, 1000 resamples, seed 0"
"""What a record says about its intervals: the defaults of this module in words."""

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


@dataclass(frozen=True)
class PairedDifference:
    """R2 of a minus R2 of b on the same rows, with the interval of that difference."""

    difference: float
    interval: Interval


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
        """Yield how often each star was drawn, (b, n_stars) float64, a slab of resamples at a time."""
        if self._kept:
            yield from (counts.astype(np.float64) for counts in self._kept)
            return
        kept = []
        for counts in _drawn(self.n_stars, self.n_resamples, self.seed):
            if self.n_stars * self.n_resamples <= _COUNTS_KEPT:
                kept.append(counts.astype(np.min_scalar_type(int(counts.max()))))
            yield counts.astype(np.float64)
        self._kept = kept


def intervals(
    y: Array,
    y_hat: Array,
    *,
    stars: Array,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> list[dict[str, Interval]]:
    """Percentile intervals of r2, rmse and mae for each label.

    y, y_hat (n, t) or (n,); stars (n,), any integer type. Whole stars are drawn with replacement; the same draws
    serve all labels. Raises ProbeError on unequal shapes.
    """
    y, y_hat = _columns(y), _columns(y_hat)
    _check(y, y_hat, stars)
    return intervals_on(Resamples(stars, n_resamples=n_resamples, seed=seed), y, y_hat, level=level)


def intervals_on(
    resamples: Resamples, y: Array, y_hat: Array, *, level: float = LEVEL
) -> list[dict[str, Interval]]:
    """`intervals` of y, y_hat (n, t) or (n,) on draws that were made for these rows; the same bits."""
    y, y_hat = _columns(y), _columns(y_hat)
    _check(y, y_hat, resamples.member)
    sums = _star_sums(y, y_hat, resamples.member)
    replicates = [_replicate(total) for total in _resampled(sums, resamples)]
    r2, rmse, mae = (np.concatenate([part[k] for part in replicates]) for k in range(3))
    return [
        {
            "r2": _percentile(r2[:, k], level),
            "rmse": _percentile(rmse[:, k], level),
            "mae": _percentile(mae[:, k], level),
        }
        for k in range(y.shape[1])
    ]


def paired_difference(
    y: Array,
    y_hat_a: Array,
    y_hat_b: Array,
    *,
    stars: Array,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> PairedDifference:
    """R2(a) - R2(b) for two predictions (n,) of the same rows, both scored on the same resampled stars."""
    y, both = _columns(y), np.stack([np.asarray(y_hat_a), np.asarray(y_hat_b)], axis=1)
    y = np.repeat(y, 2, axis=1)
    _check(y, both, stars)
    resamples = Resamples(stars, n_resamples=n_resamples, seed=seed)
    sums = _star_sums(y, both, resamples.member)
    observed = _replicate(sums.sum(axis=0)[None])[0][0]
    r2 = np.concatenate([_replicate(total)[0] for total in _resampled(sums, resamples)])
    return PairedDifference(float(observed[0] - observed[1]), _percentile(r2[:, 0] - r2[:, 1], level))


def _columns(values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def _check(y: Array, y_hat: Array, stars: Array) -> None:
    if y.ndim != 2 or y.shape != y_hat.shape or np.shape(stars) != y.shape[:1] or not y.size:
        raise ProbeError(
            f"labels {y.shape}, predictions {y_hat.shape} and stars {np.shape(stars)} must have the same rows"
        )


def _star_sums(y: Array, y_hat: Array, member: Array) -> Array:
    """Sums over the rows of each star of (1, y, y^2, residual^2, |residual|), (n_stars, 5, t); member (n,) from 0 on.

    y is centred first: R2 does not change and its sums of squares do not cancel.
    """
    centred = y - y.mean(axis=0)
    residual = y_hat - y
    rows = np.stack([np.ones_like(y), centred, centred**2, residual**2, np.abs(residual)], axis=1)
    columns = rows.reshape(len(rows), -1).T
    sums = np.stack([np.bincount(member, weights=column) for column in columns], axis=1)
    return sums.reshape(-1, *rows.shape[1:])


def _resampled(sums: Array, resamples: Resamples) -> Iterator[Array]:
    """Yield sums over resampled stars, (b, 5, t), a slab of resamples at a time."""
    flat = sums.reshape(len(sums), -1)
    for counts in resamples.counts():
        yield (counts @ flat).reshape(len(counts), *sums.shape[1:])


def _drawn(n_stars: int, n_resamples: int, seed: int) -> Iterator[Array]:
    """Yield how often each of the stars is drawn, (b, n_stars) integers."""
    rng = np.random.default_rng(seed)
    slab = max(1, min(n_resamples, _COUNTS_AT_ONCE // n_stars))
    for start in range(0, n_resamples, slab):
        size = min(slab, n_resamples - start)
        drawn = rng.integers(0, n_stars, size=(size, n_stars)) + n_stars * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_stars).reshape(size, n_stars)


def _replicate(total: Array) -> tuple[Array, Array, Array]:
    """r2, rmse, mae, (b, t) each, from sums (b, 5, t); r2 is NaN where all labels drawn are equal."""
    n, first, second, squared, absolute = (total[:, k] for k in range(5))
    spread = second - first**2 / n
    flat = spread <= 1e-12 * np.maximum(second, np.finfo(np.float64).tiny)
    r2 = np.where(flat, np.nan, 1.0 - squared / np.where(flat, 1.0, spread))
    return r2, np.sqrt(squared / n), absolute / n


def _percentile(replicates: Array, level: float) -> Interval:
    """Percentile interval of the defined replicates; none where less than half of them are."""
    defined = replicates[np.isfinite(replicates)]
    if 2 * defined.size < replicates.size:
        return Interval(None, None)
    lo, hi = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(lo), float(hi))
