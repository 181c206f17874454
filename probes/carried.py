"""How many stars carry a squared error or a difference: where few do, a sample says little of the next one."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .bootstrap import Resamples

Array = np.ndarray[Any, np.dtype[Any]]

LEAST_EFFECTIVE = 12
"""A difference that fewer stars carry does not hold; of 200 stars with normal errors 16 carry it or more in 95 %."""
LEAST_BEHIND_SCORE = 5
"""A squared error that fewer stars carry is flagged; of sets of 200 stars with normal errors 0.8 % are."""
DROPPED = 0.05
"""Share of stars that a difference is tried without: those that speak for it most."""
ERRORS_LEFT = 3.0
"""Standard errors that must be left of it then."""
LEAST_EQUAL, EQUAL_SHARE = 36, 1 / 15
"""So many stars of one difference, and so large a share of all, carry a sum whatever single stars say.

36 are 6 standard errors where stars are many. The share keeps many stars from making those of a small difference: it
asks for a mean of 0.27 standard deviations (docs/statistics.md, Limits).
"""
LEAST_STARS = 30
"""Below it intervals are too short, whatever the errors (docs/statistics.md)."""
CARRIED_FLAG = "squared error carried by few stars"
FEW_FLAG = f"fewer than {LEAST_STARS} test stars: intervals are too short"


def effective_stars(values: Array) -> Array:
    """(sum d^2)^2 / sum d^4, (k,), of values by star (n_stars, k), d being those minus their mean; 0 where d is.

    The number of stars that would move the sum as much, were all |d| equal and all others 0.
    """
    d = np.abs(values - values.mean(axis=0))
    largest = d.max(axis=0)
    squares = (d / np.where(largest > 0, largest, 1.0)) ** 2
    return np.asarray(squares.sum(axis=0) ** 2 / np.where(largest > 0, np.sum(squares**2, axis=0), 1.0))


def equal_stars(values: Array) -> Array:
    """(sum d)^2 / sum d^2, (k,), of values d by star (n_stars, k); 0 where their sum is not above 0.

    The number of stars that would have that sum and that sum of squares, were all d equal: n z^2 / (n + z^2) where the
    mean is z standard errors from 0.
    """
    largest = np.abs(values).max(axis=0)
    d = values / np.where(largest > 0, largest, 1.0)
    total, squares = d.sum(axis=0), np.sum(d**2, axis=0)
    return np.asarray(np.maximum(total, 0.0) ** 2 / np.where(squares > 0, squares, 1.0))


def carrying_stars(differences: Array) -> Array:
    """How many stars carry each sum of differences by star (n_stars, k): `effective_stars`, (k,).

    Where those are fewer than LEAST_EFFECTIVE, the stars without the share DROPPED that speaks most for the difference
    count as well; the largest number is told. Their `effective_stars`, if half of the difference is left there and
    stands by ERRORS_LEFT standard errors: a row that is better on nearly every star is not held back by the few where
    the other failed most. And their `equal_stars`, if those are LEAST_EQUAL and EQUAL_SHARE of all: nor by one that
    speaks against it, where seven such would not undo it.
    """
    n_eff = effective_stars(differences)
    few = n_eff < LEAST_EFFECTIVE
    if few.any():
        doubtful = differences[:, few]
        against_first = np.sort(doubtful * np.sign(doubtful.sum(axis=0)), axis=0)
        rest = against_first[: max(1, len(doubtful) - math.ceil(DROPPED * len(doubtful)))]
        error = rest.std(axis=0) / math.sqrt(len(rest))
        half = 2 * rest.sum(axis=0) > against_first.sum(axis=0)
        stands = half & (rest.mean(axis=0) > ERRORS_LEFT * error)
        n_rest = np.where(stands, effective_stars(rest), 0.0)
        equal = equal_stars(rest)
        many = equal >= max(LEAST_EQUAL, EQUAL_SHARE * len(doubtful))
        n_eff[few] = np.maximum.reduce([n_eff[few], n_rest, np.where(many, equal, 0.0)])
    return n_eff


def few_stars(n_stars: int) -> list[str]:
    """The flag of a score of so many test stars, where they are too few."""
    return [FEW_FLAG] if n_stars < LEAST_STARS else []


def doubts(labels: Sequence[str], y: Array, y_hat: Array, *, stars: Array) -> Iterator[str]:
    """Flags of scores on test whose intervals are too short: of few stars, or where few carry the squared error.

    y, y_hat (n, t), a column per label; stars (n,), any integer type.
    """
    resamples = Resamples(stars)
    if few := few_stars(resamples.n_stars):
        yield from few
        return
    behind = effective_stars(resamples.star_sums((y_hat - y) ** 2))
    for label, n_eff in zip(labels, behind.tolist(), strict=True):
        if 0 < n_eff < LEAST_BEHIND_SCORE:
            yield f"{CARRIED_FLAG}: n_eff {n_eff:.1f} of {resamples.n_stars} ({label})"
