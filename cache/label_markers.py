"""Numbers that stand in label columns for "missing", which would be fitted and scored as values."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NINES = (99, 99.9, 99.99, 99.999, 999, 999.9, 999.99, 9999, 9999.9, 9999.99, 99999, 999999)
"""Catalogues write these, and their negatives."""
HUGE = (
    *(1e20, 1e30, 1e35, 1e36, 9.969209968386869e36, 1e37, 1e38, 1e99, 1e300),
    *(float(np.finfo(kind).max) for kind in (np.float32, np.float64)),
)
"""FITS and netCDF tools fill with these, and their negatives."""
INTEGERS = (-32768, 32767, -2147483648, 2147483647, float(-(2**63)), float(2**63))
"""Ends of the integer types."""
MARKERS = (*NINES, *(-one for one in NINES), *HUGE, *(-one for one in HUGE), *INTEGERS)

SAME = 1e-7
"""Of a marker: what float32 rounds off."""
_SHOWN = 5


@dataclass(frozen=True)
class Marked:
    """Where a label (n,) is a marker: the value, and its places, ascending."""

    value: float
    places: NDArray[np.intp]


def marked(values: Array) -> tuple[Marked, ...]:
    """The markers among the values (n,) of a label, smallest first.

    A number of MARKERS may be a value: a temperature of 9999 K among others. It is a marker where it lies further from
    every other value than these lie from one another, apart from such numbers at their ends, and where it alone is
    negative: -999 K. NaN and inf are no values.
    """
    left = np.isfinite(values)
    ends: dict[float, Array] = {}
    for end in (np.min, np.max):
        while left.any() and (marker := _marker(float(end(values[left])))) is not None:
            with np.errstate(over="ignore"):  # from one end of float64 to the other
                ends[marker] = left & (np.abs(values - marker) <= SAME * abs(marker))
            left = left & ~ends[marker]
    rest = values[left]
    lo, hi = (float(rest.min()), float(rest.max())) if rest.size else (math.inf, -math.inf)
    return tuple(
        Marked(marker, np.flatnonzero(ends[marker]))
        for marker in sorted(ends)
        if max(lo - marker, marker - hi) > hi - lo or marker < 0 <= lo
    )


def _marker(value: float) -> float | None:
    """The number of MARKERS that a value is, but for rounding."""
    return next((one for one in MARKERS if abs(value - one) <= SAME * abs(one)), None)


def told(values: Array, rows: Array) -> str | None:
    """What is said of the markers in a label (n,): value, number, first `rows` (n,), what to do; None for none."""
    found = marked(values)
    if not found:
        return None
    listed = " and ".join(
        f"{one.value:.10g} in {one.places.size} of {values.size} rows "
        f"(first rows: {rows[one.places[:_SHOWN]].tolist()})"
        for one in found
    )
    others = np.isfinite(values)
    for one in found:
        others[one.places] = False
    rest = (
        f"all other values lie between {values[others].min():g} and {values[others].max():g}"
        if others.any()
        else "there is no other value"
    )
    return (
        f"is {listed}, and {rest}: this marks a missing label, and would be taken for a value. Write NaN there; "
        "--missing-labels drop (make: MISSING=drop) then leaves such stars out"
    )
