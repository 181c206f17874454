"""How sure R2, RMSE, MAE and the mean bias are: a bootstrap over stars, from sums over the rows of each star."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .bootstrap import LEVEL, Interval, Resamples, one_star_holds, percentile_ends, studentised_ends, widest

Array = np.ndarray[Any, np.dtype[Any]]

N_SUMS = 6
DOMINANT = 0.2
"""Share of the squared residuals; of 200 stars with normal errors the largest has 3 to 5 %."""
LEAST_ERROR = 0.25
"""Share of the standard error that a resample has at least; of ordinary scores 95 % have more (docs/statistics.md)."""

SCALES: Mapping[str, Callable[[Array], Array]] = {
    "r2": lambda log_unexplained: 1.0 - np.exp(log_unexplained),
    "rmse": np.exp,
    "mae": np.exp,
    "bias": lambda bias: bias,
}
"""From the scale on which a score is studentised to its own: log(1 - R2), log RMSE, log MAE, bias."""


def score_intervals(
    resamples: Resamples, y: Array, y_hat: Array, *, level: float = LEVEL
) -> dict[str, list[Interval]]:
    """By score, the interval of each label; y, y_hat (n, t) float64, rows those of `resamples`.

    Standard errors of resamples count as LEAST_ERROR of that of the sample at least: at the edge of what is possible
    (the mean predictor) they vanish in some resamples, which would take the studentised interval anywhere. R2 of a
    constant is at most 0 in every sample, and so is its interval.
    """
    sums = resamples.star_sums(_row_sums(y, y_hat))
    by_star = with_products(sums)
    replicates, estimate = _estimates(resamples.totals(by_star)), _estimates(by_star.sum(axis=0)[None])
    found = {}
    for name, scale in SCALES.items():
        value, error = (part[0] for part in estimate[name])
        values, errors = replicates[name]
        percentile = percentile_ends(scale(values), level=level)
        errors = np.maximum(errors, LEAST_ERROR * error)
        ends = studentised_ends(value, error, values, errors, level=level)
        with np.errstate(over="ignore"):
            studentised = np.sort(scale(ends), axis=0)
        usable = np.isfinite(studentised).all(axis=0) & ~one_star_holds(DOMINANT, sums[..., 3])
        studentised = np.where(usable, studentised, np.nan)
        found[name] = widest(percentile, studentised)
    constant = np.ptp(y_hat, axis=0) == 0
    found["r2"] = [
        _at_most_0(interval) if constant[k] else interval for k, interval in enumerate(found["r2"])
    ]
    return found


def _at_most_0(interval: Interval) -> Interval:
    return interval if interval.hi is None else replace(interval, hi=min(interval.hi, 0.0))


def _row_sums(y: Array, y_hat: Array) -> Array:
    """Of each row 1, y, y^2, residual^2, |residual|, residual: (n, t, N_SUMS).

    y is centred first: R2 does not change and its sums of squares do not cancel.
    """
    centred = y - y.mean(axis=0)
    residual = y_hat - y
    return np.stack([np.ones_like(y), centred, centred**2, residual**2, np.abs(residual), residual], axis=-1)


def _estimates(totals: Array) -> dict[str, tuple[Array, Array]]:
    """Value and standard error of every score on its scale of SCALES, (b, t) each; NaN where not defined.

    totals (b, t, 27): the sums of `_row_sums` over all stars, then the sums over stars of their products. The error is
    that of the delta method: sqrt(sum over stars of (gradient . sums of the star)^2), where the gradient is that of
    the value by the totals. All values are functions of ratios of totals, so gradient . totals = 0 but for the bias.
    """
    n, first, second, squared, absolute, signed = np.moveaxis(totals[..., :N_SUMS], -1, 0)
    mean = first / n
    spread = second - first * mean
    flat = spread <= 1e-12 * np.maximum(second, np.finfo(np.float64).tiny)
    spread = np.where(flat, np.nan, spread)
    zero = np.zeros_like(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        gradients = {
            "r2": (-(mean**2) / spread, 2 * mean / spread, -1 / spread, 1 / squared, zero, zero),
            "rmse": (-0.5 / n, zero, zero, 0.5 / squared, zero, zero),
            "mae": (-1 / n, zero, zero, zero, 1 / absolute, zero),
            "bias": (-signed / n**2, zero, zero, zero, zero, 1 / n),
        }
        values = {
            "r2": np.log(squared / spread),
            "rmse": 0.5 * np.log(squared / n),
            "mae": np.log(absolute / n),
            "bias": signed / n,
        }
        moments = totals[..., N_SUMS:]
        return {
            name: (values[name], standard_error(np.stack(gradient, axis=-1), moments))
            for name, gradient in gradients.items()
        }


def with_products(sums: Array) -> Array:
    """Sums by star (..., s), then the products of each two of them: the upper triangle, row by row."""
    one, other = np.triu_indices(sums.shape[-1])
    return np.concatenate([sums, sums[..., one] * sums[..., other]], axis=-1)


def standard_error(gradient: Array, moments: Array) -> Array:
    """sqrt(g' M g) for g (..., s) and the upper triangle of M, the sums over stars of `with_products`."""
    one, other = np.triu_indices(gradient.shape[-1])
    twice = np.where(one == other, 1.0, 2.0)
    squared = np.sum(twice * gradient[..., one] * gradient[..., other] * moments, axis=-1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))
