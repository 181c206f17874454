"""The digits of numbers in records."""

from collections.abc import Iterable

import numpy as np

DIGITS = 6
"""Significant digits that are kept; the bootstrap has three."""


def significant(value: float | None) -> float | None:
    """Rounded to DIGITS significant digits; None for what is not finite."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.{DIGITS}g}")


def all_significant(values: Iterable[float | None]) -> list[float | None]:
    """Each of them rounded by `significant`."""
    return [significant(value) for value in values]
