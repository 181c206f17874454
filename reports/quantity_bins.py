"""Bins of S/N or magnitude in figures: names of the quantities, values with their ends, places of several series."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

QUANTITIES: Mapping[str, str] = {"snr": "S/N (label snr, no unit)", "mag": "magnitude [mag]"}
"""Names of axes by what records bin by, in order of preference."""
WORDS: Mapping[str, str] = {"snr": "S/N", "mag": "magnitude"}
SPREAD = 0.5
"""Share of a bin's width over which several series are spread."""


def value_and_ends(triples: Sequence[Sequence[float | None]]) -> Floats:
    """[value, lower end, upper end] bin by bin as (bins, 3), NaN where undefined."""
    return np.array([[np.nan if x is None else x for x in triple] for triple in triples], dtype=np.float64)


def places(edges: Floats, index: int, n_series: int) -> Floats:
    """Where the points of the n-th of several series stand, (bins,), between edges (bins + 1,)."""
    centres, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    return np.asarray(centres + widths * SPREAD * (index - (n_series - 1) / 2) / n_series)


def bars(values: Floats) -> tuple[Floats, Floats]:
    """Lengths of the error bars below and above, (bins,) each, of `value_and_ends`."""
    value, low, high = values.T
    return np.maximum(value - low, 0), np.maximum(high - value, 0)
