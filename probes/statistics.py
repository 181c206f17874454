"""How sure a score is, and a difference between two: bootstrap over stars, so that rows of one star stay together."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cache.errors import ProbeError, UnknownName

from .bootstrap import LEVEL, N_RESAMPLES, NO_INTERVAL, SEED, Interval, Resamples
from .carried import doubts
from .flips import N_FLIPS, flip_values
from .metrics import METRICS
from .paired import PairedTable, holm, paired_table
from .robust_intervals import robust_intervals
from .score_intervals import score_intervals

__all__ = [
    "INTERVAL_METHOD",
    "LEVEL",
    "NEGATIVE_FLAG",
    "N_FLIPS",
    "N_RESAMPLES",
    "PAIRED_METHOD",
    "SCORES_WITH_INTERVALS",
    "SEED",
    "Interval",
    "PairedDifference",
    "PairedTable",
    "Resamples",
    "Spread",
    "doubts",
    "flip_values",
    "holm",
    "intervals",
    "intervals_by_label",
    "intervals_on",
    "paired_difference",
    "paired_differences",
    "spread",
]

Array = np.ndarray[Any, np.dtype[Any]]

INTERVAL_METHOD = (
    "bootstrap over stars, the wider of percentile and symmetric studentised (standard errors of resamples a quarter "
    "of the sample's at least; percentile alone for medians, and where one star holds a fifth of the squared error; "
    "R2 of a constant at most 0), 95 %, 1000 resamples, seed 0"
)
"""What a record says about its intervals: the defaults of this package in words."""

PAIRED_METHOD = (
    "paired bootstrap over stars, the wider of percentile and symmetric studentised (4 standard errors at most; "
    "percentile alone where one star holds half of the difference), 95 %, 1000 resamples, seed 0; sign flips by star, "
    "9999 flips, seed 0, Holm"
)
"""What a comparison says about its intervals and p-values."""

SCORES_WITH_INTERVALS = {"val": ("r2", "rmse", "mae", "bias"), "test": tuple(METRICS)}
"""Val chooses; the intervals of its medians nobody asks for, and they are the dearest."""

NEGATIVE_FLAG = "train r2 negative"


@dataclass(frozen=True)
class PairedDifference:
    """R2 of a minus R2 of b on the same rows, with the interval of that difference and its sign-flip p-value."""

    difference: float
    interval: Interval
    p: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Scores of fits that differ in the seed alone: mean, standard deviation of one (n - 1), and the extremes."""

    n: int
    mean: float
    std: float
    lowest: float
    highest: float


def intervals(
    y: Array,
    y_hat: Array,
    *,
    stars: Array,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> list[dict[str, Interval]]:
    """Intervals of every score of `metrics.METRICS`, for each label.

    y, y_hat (n, t) or (n,); stars (n,), any integer type. Whole stars are drawn with replacement; the same draws
    serve all labels. Raises ProbeError on unequal shapes.
    """
    y, y_hat = _columns(y), _columns(y_hat)
    _check(y, y_hat, stars)
    return intervals_on(Resamples(stars, n_resamples=n_resamples, seed=seed), y, y_hat, level=level)


def intervals_on(
    resamples: Resamples,
    y: Array,
    y_hat: Array,
    *,
    scores: Collection[str] = tuple(METRICS),
    level: float = LEVEL,
) -> list[dict[str, Interval]]:
    """`intervals` of y, y_hat (n, t) or (n,) on draws that were made for these rows; the same bits.

    Medians (`bias_median`, `sigma_mad`) cost as much as all others together: they are left out unless named in
    `scores`. Raises UnknownName for a score that there is not, ProbeError on unequal shapes.
    """
    for name in scores:
        if name not in METRICS:
            raise UnknownName("score", name, tuple(METRICS))
    y, y_hat = _columns(y), _columns(y_hat)
    _check(y, y_hat, resamples.member)
    if resamples.n_stars == 1:  # every resample is that star
        return [{name: NO_INTERVAL for name in METRICS if name in scores} for _ in range(y.shape[1])]
    found = score_intervals(resamples, y, y_hat, level=level)
    if {"bias_median", "sigma_mad"} & set(scores):
        found |= robust_intervals(resamples, y_hat - y, level=level)
    found = {name: found[name] for name in METRICS if name in scores}
    return [{name: by_label[k] for name, by_label in found.items()} for k in range(y.shape[1])]


def intervals_by_label(
    labels: Sequence[str], resamples: Resamples, y: Array, y_hat: Array, *, split: str
) -> dict[str, dict[str, list[float | None]]]:
    """Ends of `intervals_on` by label and score, those that a record holds of this split."""
    found = intervals_on(resamples, y, y_hat, scores=SCORES_WITH_INTERVALS[split])
    return {
        label: {name: interval.as_list() for name, interval in of_label.items()}
        for label, of_label in zip(labels, found, strict=True)
    }


def paired_differences(
    y: Array,
    y_hat: Array,
    *,
    stars: Array,
    n_resamples: int = N_RESAMPLES,
    n_flips: int = N_FLIPS,
    level: float = LEVEL,
    seed: int = SEED,
) -> PairedTable:
    """Differences in R2 between all pairs of predictions y_hat (n, m) of the same labels y (n,).

    stars (n,), any integer type. Raises ProbeError on unequal shapes.
    """
    y, y_hat = np.asarray(y, dtype=np.float64), _columns(y_hat)
    _check(np.broadcast_to(_columns(y), (len(y), y_hat.shape[1])), y_hat, stars)
    resamples = Resamples(stars, n_resamples=n_resamples, seed=seed)
    return paired_table(resamples, y, y_hat, n_flips=n_flips, level=level, seed=seed)


def paired_difference(
    y: Array,
    y_hat_a: Array,
    y_hat_b: Array,
    *,
    stars: Array,
    n_resamples: int = N_RESAMPLES,
    n_flips: int = N_FLIPS,
    level: float = LEVEL,
    seed: int = SEED,
) -> PairedDifference:
    """R2(a) - R2(b) for two predictions (n,) of the same rows, both scored on the same resampled stars."""
    table = paired_differences(
        y,
        np.stack([np.asarray(y_hat_a), np.asarray(y_hat_b)], axis=1),
        stars=stars,
        n_resamples=n_resamples,
        n_flips=n_flips,
        level=level,
        seed=seed,
    )
    return PairedDifference(float(table.difference[0]), table.intervals[0], float(table.p[0]))


def spread(scores: Array) -> Spread:
    """Mean and spread of scores (n,) of fits with several seeds; ProbeError for fewer than two."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size < 2:
        raise ProbeError(f"scores have shape {values.shape}; a spread takes those of two seeds or more")
    return Spread(
        n=values.size,
        mean=float(values.mean()),
        std=float(values.std(ddof=1)),
        lowest=float(values.min()),
        highest=float(values.max()),
    )


def _columns(values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def _check(y: Array, y_hat: Array, stars: Array) -> None:
    if y.ndim != 2 or y.shape != y_hat.shape or np.shape(stars) != y.shape[:1] or not y.size:
        raise ProbeError(
            f"labels {y.shape}, predictions {y_hat.shape} and stars {np.shape(stars)} must have the same rows"
        )
