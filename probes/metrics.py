"""How far predictions are from labels; residual = y_hat - y everywhere."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cache.errors import ProbeError

Array = np.ndarray[Any, np.dtype[Any]]

NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation, 1/Phi^-1(3/4)."""


def r2(y: Array, y_hat: Array) -> float:
    """Coefficient of determination 1 - SS_res / SS_tot; NaN where y is constant (scikit-learn says 0 or 1)."""
    y, residual = _residual(y, y_hat)
    total = float(np.sum((y - y.mean()) ** 2))
    if np.all(y == y[0]) or total == 0.0:
        return math.nan
    return 1.0 - float(np.sum(residual**2)) / total


def rmse(y: Array, y_hat: Array) -> float:
    """Root of the mean squared residual, in the label's unit."""
    return float(np.sqrt(np.mean(_residual(y, y_hat)[1] ** 2)))


def mae(y: Array, y_hat: Array) -> float:
    """Mean absolute residual, in the label's unit."""
    return float(np.mean(np.abs(_residual(y, y_hat)[1])))


def bias(y: Array, y_hat: Array) -> float:
    """Mean residual, in the label's unit."""
    return float(np.mean(_residual(y, y_hat)[1]))


def bias_median(y: Array, y_hat: Array) -> float:
    """Median residual, in the label's unit."""
    return float(np.median(_residual(y, y_hat)[1]))


def sigma_mad(y: Array, y_hat: Array) -> float:
    """Robust scatter 1.4826 * MAD of the residuals about their median, in the label's unit."""
    residual = _residual(y, y_hat)[1]
    return float(NORMAL_MAD * np.median(np.abs(residual - np.median(residual))))


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "r2": r2,
    "rmse": rmse,
    "mae": mae,
    "bias": bias,
    "bias_median": bias_median,
    "sigma_mad": sigma_mad,
}


def scores(y: Array, y_hat: Array) -> dict[str, float | None]:
    """All metrics of one label, (n,) each; None where a metric is not defined, so that JSON can hold it."""
    values = {name: metric(y, y_hat) for name, metric in METRICS.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _residual(y: Array, y_hat: Array) -> tuple[Array, Array]:
    y = np.asarray(y, dtype=np.float64)
    y_hat = np.asarray(y_hat, dtype=np.float64)
    if y.ndim != 1 or y.shape != y_hat.shape or y.size == 0:
        raise ProbeError(
            f"labels {y.shape} and predictions {y_hat.shape} must be two equally long vectors; "
            "score one label at a time"
        )
    if not (np.isfinite(y).all() and np.isfinite(y_hat).all()):
        raise ProbeError("labels or predictions are not finite; drop those rows before scoring")
    return y, y_hat - y
