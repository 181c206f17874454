"""Which of several rows is best, and whether it is so beyond chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .comparisons import NOT_COMPARED, Judge
from .rows import Row
from .table import Estimate
from .vocabulary import CLEAN_FLUX, SHUFFLED_LABELS


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The best of several rows scored on the same test set, and the one that comes nearest to it.

    `clear`: the best row beats every other row clearly. `rival` is the next best among those that are not beaten so, or
    among all. `n_paired` of the others were compared with it in pairs.
    """

    best: Row
    rival: Row | None
    clear: bool
    n_paired: int = 0


def r2_estimate(row: Row) -> Estimate:
    """Test R2 of a scored row, with its interval."""
    return Estimate(row["test_r2"], row["test_r2_lo"], row["test_r2_hi"])


def scored(rows: Sequence[Row]) -> list[Row]:
    """The rows that have a test R2, best first; equal ones keep their order."""
    return sorted((row for row in rows if row["test_r2"] is not None), key=lambda row: -row["test_r2"])


def competing(rows: Sequence[Row]) -> list[Row]:
    """The rows of `_led` but those that see the flux without noise: these are references, no rivals."""
    return [row for row in _led(rows) if CLEAN_FLUX not in row["role"]]


def _led(rows: Sequence[Row]) -> list[Row]:
    """The rows of `scored`, shuffled labels last: they are scored on other labels, and lead nothing."""
    return sorted(scored(rows), key=lambda row: row["role"] == SHUFFLED_LABELS)


def contest(rows: Sequence[Row], paired: Judge = NOT_COMPARED) -> Contest | None:
    """The best row and its strongest rival; None when no row has a score.

    Shuffled labels are best only of their like, so that a rival of theirs may score above the best.
    """
    ranking = _led(rows)
    if not ranking:
        return None
    best, *others = ranking
    if not others:
        return Contest(best=best, rival=None, clear=False)
    unbeaten = [other for other in others if not beats_clearly(best, other, paired)]
    n_paired = sum(paired.between(best, other) is not None for other in others)
    return Contest(best=best, rival=scored(unbeaten or others)[0], clear=not unbeaten, n_paired=n_paired)


def beats_clearly(row: Row, other: Row, paired: Judge = NOT_COMPARED) -> bool:
    """Whether `row` is better than `other` beyond chance.

    By their paired difference, if they were compared; else if the whole interval of `row` lies above that of `other`;
    never without intervals.
    """
    pair = paired.between(row, other)
    if pair is not None:
        return pair.holds
    low, high = row["test_r2_lo"], other["test_r2_hi"]
    return low is not None and high is not None and bool(low > high)


def independent_apart(one: Estimate, other: Estimate) -> bool:
    """Whether scores on different stars differ: 0 is outside the interval of the difference, never without intervals.

    The ends that face each other add in quadrature.
    """
    lower, upper = sorted((one, other), key=lambda estimate: estimate.value)
    if lower.high is None or upper.low is None:
        return False
    return upper.value - lower.value > math.hypot(lower.high - lower.value, upper.value - upper.low)


def above_zero(row: Row) -> bool:
    """Whether a row scores better than the mean predictor by its interval, or, without one, by its value."""
    low = row["test_r2"] if row["test_r2_lo"] is None else row["test_r2_lo"]
    return bool(low > 0)
