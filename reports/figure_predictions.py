"""How one probe predicts: against the truth, and its residuals by S/N and temperature."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .comparable import name_of
from .drawn import (
    R2,
    Drawn,
    data_note,
    in_unit,
    in_unit_with_interval,
    r2_text,
    stale_alarm,
    with_unit,
)
from .predicted import BY, LEAST_ROWS, Predicted, best_predicted
from .quantity_bins import Floats
from .render_markdown import estimate_text, number_text
from .resampling import change_of_scatter, robust_scatter, slope_of
from .source import Source
from .style import DENSITY, FAINT, INK, ONE_COLUMN, STYLES, TWO_COLUMNS, Words, new_figure, tell
from .table import Estimate
from .typesetting import NORMAL, wrapped
from .vocabulary import unit_of

PER_BIN, MOST_BINS = 25, 8
CELLS = 36
FRAME = 0.5
AXIS_ROOM = 1.3
"""Inches for the name of an axis."""
INNER = (15.865, 50.0, 84.135)
"""Percentiles: median, and one standard deviation to both sides were the distribution normal."""


def predicted_against_true(source: Source, label: str) -> list[Drawn]:
    """One figure: density of predictions over the truth, and residuals below."""
    found = best_predicted(source, label)
    if found is None or np.ptp(found.truth) == 0:
        return []
    row, truth, predicted = found.row, found.truth, found.predicted
    slope = estimate_text(slope_of(found.star, truth, predicted), 2)
    title = f"{label}: slope of predicted on true {slope}, {r2_text(row, digits=2)}"
    words = Words(title=title, note=_note(found), alarm=stale_alarm([row]))
    figure = new_figure(ONE_COLUMN, words.room(ONE_COLUMN) + 3.6)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (2, 1)})
    cells = _density(upper, truth, predicted, aspect=0.8)
    ends = np.array([truth.min(), truth.max()])
    upper.plot(ends, ends, color=INK, linewidth=0.9, label="predicted = true")
    upper.legend(loc="upper left")
    upper.set_ylabel(_axis("predicted", label))
    _density(lower, truth, found.residual, aspect=0.4)
    lower.axhline(0, color=FAINT, linewidth=0.8)
    _running(lower, truth, found.residual)
    lower.set_xlabel(_axis("true", label))
    lower.set_ylabel(_axis("residual", label))
    figure.colorbar(
        cells, ax=[upper, lower], label="test rows per cell", aspect=40, pad=0.02
    ).outline.set_visible(False)
    tell(figure, words)
    caption = (
        f"Predicted against true {with_unit(label)}, and the residual, predicted minus true. {words.note}"
    )
    return [Drawn(title=title, caption=caption, figure=figure)]


def residuals(source: Source, label: str) -> list[Drawn]:
    """One figure: residuals by S/N (else magnitude) and by T_eff, as far as these labels are stored."""
    found = best_predicted(source, label)
    if found is None:
        return []
    first = "snr" if _varies(found, "snr") else "mag"
    shown = [name for name in (first, "T_eff") if _varies(found, name)]
    if not shown:
        return []
    title = _residual_title(label, found, shown[0])
    words = Words(title=title, note=_note(found), alarm=stale_alarm([found.row]))
    width = TWO_COLUMNS if len(shown) > 1 else ONE_COLUMN
    figure = new_figure(width, words.room(width) + 2.2)
    grid = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(grid, shown, strict=True):
        good = np.isfinite(found.stored[name])
        cells = _density(axes, found.stored[name][good], found.residual[good], aspect=0.65)
        axes.axhline(0, color=FAINT, linewidth=0.8)
        _running(axes, found.stored[name][good], found.residual[good])
        axes.set_xlabel(BY[name])
    grid[0].set_ylabel(_axis("residual", label))
    _bar(figure, cells, list(grid))
    tell(figure, words)
    against = " and by ".join(BY[name] for name in shown)
    caption = f"Residual of {with_unit(label)}, predicted minus true, by {against}. {words.note}"
    return [Drawn(title=title, caption=caption, figure=figure)]


def _varies(found: Predicted, name: str) -> bool:
    values = found.stored.get(name, np.empty(0))
    values = values[np.isfinite(values)]
    return values.size >= LEAST_ROWS and bool(np.ptp(values) > 0)


def _residual_title(label: str, found: Predicted, name: str) -> str:
    """The scatter in the lowest and the highest bin of a quantity, and its change where that is beyond chance."""
    good = np.isfinite(found.stored[name])
    values, residual = found.stored[name][good], found.residual[good]
    parts = binned(values)
    first, last = (robust_scatter(residual[part]) for part in (parts[0], parts[-1]))
    if len(parts) == 1:
        return f"{label}: robust scatter {in_unit(first, label)}"
    change = change_of_scatter(found.star[good], residual, parts[0], parts[-1])
    places = [f"{number_text(float(np.median(values[part])), 1)}" for part in (parts[0], parts[-1])]
    quantity, unit = {"snr": ("S/N", ""), "mag": ("magnitude", ""), "T_eff": ("T_eff", " K")}[name]
    begin = f"{in_unit(first, label)} at {quantity} {places[0]}{unit}"
    end = f"{in_unit(last, label)} at {places[1]}{unit}"
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return f"{label}: robust scatter {begin} and {end}, not told apart"
    if change.high < 0:
        change = Estimate(-change.value, -change.high, -change.low)
        return (
            f"{label}: robust scatter falls by {in_unit_with_interval(change, label)}, from {begin} to {end}"
        )
    return f"{label}: robust scatter rises by {in_unit_with_interval(change, label)}, from {begin} to {end}"


def binned(values: Floats) -> list[npt.NDArray[np.intp]]:
    """Positions of the values in bins of about equal number, lowest first; at least PER_BIN each, or one bin."""
    n_bins = int(np.clip(values.size // PER_BIN, 1, MOST_BINS))
    return np.array_split(np.argsort(values, kind="stable"), n_bins)


def _running(axes: Axes, x: Floats, residual: Floats) -> None:
    """Median and 16th to 84th percentile of the residual in bins of x."""
    parts = binned(x)
    centres = [float(np.median(x[part])) for part in parts]
    low, middle, high = np.array([np.percentile(residual[part], INNER) for part in parts]).T
    color = STYLES[1][0]
    for ends in (low, high):
        axes.plot(centres, ends, color="white", linewidth=2.0)
        axes.plot(centres, ends, color=color, linewidth=1.0, linestyle=(0, (3, 1.5)))
    axes.plot(centres, middle, color="white", linewidth=3.0)
    axes.plot(centres, middle, color=color, linewidth=1.6)


def _density(axes: Axes, x: Floats, y: Floats, *, aspect: float) -> Any:
    """Hexagons coloured by the number of rows in them; empty ones stay white. `aspect`: height of the axes by width.

    Rows outside `frame_of_values` are left out, so that one of them does not press all others into a line.
    """
    (left, right), (low, high) = frame_of_values(x), frame_of_values(y)
    inside = (x >= left) & (x <= right) & (y >= low) & (y <= high)
    x, y = x[inside], y[inside]
    across = (CELLS, max(4, round(CELLS * aspect / 3**0.5)))
    return axes.hexbin(x, y, gridsize=across, mincnt=1, cmap=DENSITY, linewidths=0.1, rasterized=True)


def frame_of_values(values: Floats) -> tuple[float, float]:
    """Ends that hold all values, but none farther out than FRAME ranges of the inner 99 %."""
    low, high = np.percentile(values, (0.5, 99.5))
    margin = FRAME * (high - low)
    return max(float(values.min()), low - margin), min(float(values.max()), high + margin)


def _outside(found: Predicted) -> str:
    """How many rows no panel shows."""
    low, high = frame_of_values(found.residual)
    n = int(((found.residual < low) | (found.residual > high)).sum())
    return f" Outside the frame: {n} rows." if n else ""


def _bar(figure: Figure, cells: Any, axes: Sequence[Axes]) -> None:
    """The scale of a density, in whole rows."""
    ticks = MaxNLocator(integer=True, min_n_ticks=1)
    bar = figure.colorbar(cells, ax=list(axes), label="test rows per cell", aspect=35, pad=0.02, ticks=ticks)
    bar.outline.set_visible(False)


def _axis(what: str, label: str) -> str:
    text = f"{what} {with_unit(label)}" if unit_of(label) else f"{what} {label} (no unit)"
    return "\n".join(wrapped(text, AXIS_ROOM, size=NORMAL))


def _note(found: Predicted) -> str:
    row = found.row
    rows = "" if found.truth.size == row["n_test"] else f" in {found.truth.size} rows"
    return (
        f"{name_of(row)}, the latent row with the best val {R2}; {data_note([row])}{rows}. "
        f"Orange: median, and 16th and 84th percentile, in bins of equal number.{_outside(found)}"
    )
