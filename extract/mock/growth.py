"""The curve of growth: equivalent width of a line from its opacity and damping."""

import functools

import numpy as np
from scipy.special import wofz

from .grid import FloatArray, frozen

# log10 of line-centre to continuum opacity without damping: first, last, number
LOG_OPACITY = (-4.0, 7.0, 111)
LOG_DAMPING = (-4.0, 1.0, 26)  # log10 of the Voigt parameter


@functools.cache
def growth_table() -> FloatArray:
    """log10 of equivalent width in Doppler widths for full central depth, (111, 26), read-only.

    W = integral of eta H(a, v) / (1 + eta H(a, v)) dv with the Voigt function H (Gray 2005, chapter 16).
    """
    half = np.concatenate([np.linspace(0.0, 6.0, 121), np.geomspace(6.2, 3e4, 260)])
    damping = 10.0 ** np.linspace(*LOG_DAMPING)
    profiles = wofz(half[None, :] + 1j * damping[:, None]).real
    rows = []
    for log_opacity in np.linspace(*LOG_OPACITY):
        ratio = 10.0**log_opacity * profiles
        rows.append(2.0 * np.trapezoid(ratio / (1.0 + ratio), half, axis=1))
    return frozen(np.log10(np.stack(rows)))


def log_equivalent_width(log_opacity: FloatArray, log_damping: FloatArray) -> FloatArray:
    """Bilinear look-up in `growth_table`, any shape; outside the table the border is used."""
    table = growth_table()
    column, right = _locate(log_damping, LOG_DAMPING)
    row, lower = _locate(log_opacity, LOG_OPACITY)
    flat = table.ravel()
    corner = row * table.shape[1] + column
    upper = flat[corner] * (1.0 - right) + flat[corner + 1] * right
    corner += table.shape[1]
    return np.asarray(
        upper * (1.0 - lower) + (flat[corner] * (1.0 - right) + flat[corner + 1] * right) * lower
    )


def _locate(value: FloatArray, axis: tuple[float, float, int]) -> tuple[np.ndarray, FloatArray]:
    first, last, number = axis
    position = np.clip((value - first) * ((number - 1) / (last - first)), 0.0, number - 1 - 1e-9)
    index = position.astype(np.intp)
    return index, position - index
