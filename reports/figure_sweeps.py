"""R2 against what a sweep varies: training size, noise draws, principal axes."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.ticker import NullLocator

from .comparisons import Comparisons
from .contest import beats_clearly
from .drawn import (
    INTERVALS,
    R2,
    Drawn,
    counted,
    cut_note,
    data_note,
    error_bars,
    limit_r2,
    main_rows,
    r2_text,
    stale_alarm,
)
from .rows import Row
from .series import AXES, DRAWS, SIZE, Axis, Series, series_of
from .source import Source
from .style import ONE_COLUMN, Words, horizontal_grid, new_figure, style_of, tell
from .typesetting import SMALL, text_width

MOST_SERIES = 6


def against_size(source: Source, label: str) -> list[Drawn]:
    """One figure: test R2 against the number of training stars."""
    return _against(source, label, SIZE)


def against_draws(source: Source, label: str) -> list[Drawn]:
    """One figure: test R2 against the number of cached noise draws of train."""
    return _against(source, label, DRAWS)


def against_axes(source: Source, label: str) -> list[Drawn]:
    """One figure: test R2 against the number of principal axes kept."""
    return _against(source, label, AXES)


def _against(source: Source, label: str, axis: Axis) -> list[Drawn]:
    every = series_of(main_rows(source.frame, label), axis)
    if not every:
        return []
    shown = every[:MOST_SERIES]
    rows = [row for series in shown for row in series.rows]
    first = shown[0]
    words = Words(
        title=_title(label, first, axis, source.paired),
        note=(
            (
                f"{len(shown)} of {len(every)} series, those with most points. "
                if len(shown) < len(every)
                else ""
            )
            + f"Bars: {INTERVALS}; {data_note(rows)}.{cut_note(rows)}"
        ),
        alarm=stale_alarm(rows),
        key=tuple(series.name for series in shown),
    )
    figure = new_figure(ONE_COLUMN, words.room(ONE_COLUMN) + 2.2)
    axes = figure.subplots()
    handles = [draw_series(axes, series, index=index) for index, series in enumerate(shown)]
    _place_ticks(axes, sorted({x for series in shown for x in series.x}), ONE_COLUMN - 0.8)
    axes.set_xlabel(axis.name)
    finish(axes, rows)
    tell(figure, words, handles=handles)
    caption = f"Test {R2} of {label} against the number of {axis.words}. {words.note}"
    return [Drawn(title=words.title, caption=caption, figure=figure)]


def _title(label: str, series: Series, axis: Axis, paired: Comparisons) -> str:
    """How R2 changes from the first point to the last, where it does so beyond chance."""
    first, last = series.rows[0], series.rows[-1]
    ends = (
        f"{r2_text(first, digits=2)} on {_counted(series.x[0], axis)}",
        f"{bare_r2(last)} on {counted(series.x[-1])}",
    )
    return f"{label}: {short_name(first)} {changed(first, last, ends, paired)}"


def changed(first: Row, last: Row, ends: tuple[str, str], paired: Comparisons) -> str:
    """'rises from A to B', 'falls from A to B', or 'has A and B, not told apart', the ends being told as `ends`."""
    for upper, lower, verb in ((last, first, "rises"), (first, last, "falls")):
        if beats_clearly(upper, lower, paired):
            return f"{verb} from {ends[0]} to {ends[1]}"
    return f"has {ends[0]} and {ends[1]}, not told apart"


def short_name(row: Row) -> str:
    """Head and layer: 'ridge on enc_pre_latent'."""
    return f"{row['head']} on {row['layer']}"


def _counted(number: float, axis: Axis) -> str:
    return f"{counted(number)} {axis.words if number != 1 else axis.word}"


def bare_r2(row: Row) -> str:
    """Test R2 with its interval, without its name."""
    return r2_text(row, digits=2).removeprefix(f"{R2} ")


def draw_series(axes: Axes, series: Series, *, index: int, face: str | None = None) -> ErrorbarContainer:
    """Draw a series with its intervals; `face` is the colour inside the markers, if not that of the series."""
    color, marker = style_of(index)
    return axes.errorbar(
        series.x,
        [row["test_r2"] for row in series.rows],
        yerr=error_bars(series.rows),
        color=color,
        marker=marker,
        markerfacecolor=face or color,
        elinewidth=1,
    )


def finish(axes: Axes, rows: Sequence[Row], *, labelled: bool = True) -> None:
    """Grid, name of the R2 axis, and its lower end."""
    if labelled:
        axes.set_ylabel(f"test {R2} (no unit)")
    limit_r2(axes, rows)
    horizontal_grid(axes)


def _place_ticks(axes: Axes, values: Sequence[float], width: float) -> None:
    """Ticks at the values, on a logarithmic axis where they span a factor of 4; texts only where there is room."""
    logarithmic = values[0] > 0 and values[-1] / values[0] >= LOGARITHMIC
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    places = [math.log(value) if logarithmic else value for value in values]
    span = (places[-1] - places[0]) or 1.0
    texts, free = [], -math.inf
    for value, place in zip(values, places, strict=True):
        text = _tick_text(value)
        half = text_width(text, size=SMALL) / 2
        at = (place - places[0]) / span * width
        texts.append(text if at - half > free else "")
        free = at + half + 0.04 if texts[-1] else free
    axes.set_xticks(values, texts)


def _tick_text(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size and value % (size / 10) == 0:
            return f"{value / size:g}{unit}"
    return counted(value)


LOGARITHMIC = 4
"""Values that span this factor stand on a logarithmic axis."""
