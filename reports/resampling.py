"""What figures say of residuals, with 95 % percentile intervals: stars are drawn anew, with all their rows."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .table import Estimate

N_RESAMPLES, SEED = 1000, 0
ENDS = (2.5, 97.5)
SIGMA = 1.4826
"""MAD of a normal distribution times this is its standard deviation."""

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Stars = npt.NDArray[np.generic]


def slope_of(star: Stars, truth: Floats, predicted: Floats) -> Estimate:
    """Slope of the straight line of least squares through predictions over truths, (n,) each."""

    def slope(rows: Rows) -> float:
        centred = truth[rows] - truth[rows].mean()
        spread = float(centred @ centred)
        return float(centred @ predicted[rows]) / spread if spread > 0 else math.nan

    return _over_stars(star, slope)


def change_of_scatter(star: Stars, residual: Floats, first: Rows, last: Rows) -> Estimate:
    """Robust scatter of the rows `last` minus that of the rows `first`; residual (n,)."""
    of_part = np.zeros(residual.size, dtype=np.int64)
    of_part[first], of_part[last] = 1, 2

    def change(rows: Rows) -> float:
        drawn = of_part[rows]
        return robust_scatter(residual[rows[drawn == 2]]) - robust_scatter(residual[rows[drawn == 1]])

    return _over_stars(star, change)


def robust_scatter(residual: Floats) -> float:
    """1.4826 times the median absolute deviation about the median; NaN of nothing."""
    return SIGMA * float(np.median(np.abs(residual - np.median(residual)))) if residual.size else math.nan


def _over_stars(star: Stars, statistic: Callable[[Rows], float]) -> Estimate:
    """`statistic` of all rows, with its interval; it takes positions, each as often as its star is drawn.

    No interval where a resample leaves it undefined (NaN).
    """
    _, of_row = np.unique(star, return_inverse=True)
    n_stars, rows = int(of_row.max()) + 1, np.arange(star.size)
    rng = np.random.default_rng(SEED)
    values = np.empty(N_RESAMPLES)
    for k in range(N_RESAMPLES):
        times = np.bincount(rng.integers(n_stars, size=n_stars), minlength=n_stars)
        values[k] = statistic(np.repeat(rows, times[of_row]))
    if np.isnan(values).any():
        return Estimate(statistic(rows), None, None)
    low, high = np.percentile(values, ENDS)
    return Estimate(statistic(rows), float(low), float(high))
