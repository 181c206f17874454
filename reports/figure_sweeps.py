"""R2 against what a sweep varies: training size, noise draws, principal axes, and noise levels of train and test."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.ticker import NullLocator

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
    n_draws,
    names_apart,
    r2_text,
    stale_alarm,
)
from .ordering import ordered
from .rows import Row
from .source import Source
from .style import (
    ONE_COLUMN,
    SMALL,
    TWO_COLUMNS,
    Words,
    horizontal_grid,
    new_figure,
    style_of,
    tell,
    text_width,
    wrapped,
)
from .verdict import comparable_rows
from .vocabulary import MEAN_PREDICTOR, SHUFFLED_LABELS

MOST_SERIES = 6
MOST_PANELS = 4
FLOOR = -0.25
"""R2 below this is cut off."""

_IDENTITY = (
    "kind",
    "training",
    "role",
    "layer",
    "pooling",
    "direction",
    "head",
    "params",
    "error_input",
    "fitted_labels",
    "control",
)
_SETTINGS = ("train_size", "draws_train", "pca", "segments", "noise_level_train", "noise_level_test", "cross")
_NOISE = ("noise_level_train", "noise_level_test", "cross")


@dataclass(frozen=True, kw_only=True)
class Series:
    """Rows that differ in one thing, with what it is in each, ascending."""

    name: str
    x: tuple[float, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a sweep varies: how a row tells it (None: it does not), its name and words for one and several."""

    value: Callable[[Row], float | None]
    name: str
    word: str
    words: str
    varied: tuple[str, ...]


SIZE = Axis(
    value=lambda row: None if row["n_train"] is None else float(row["n_train"]),
    name="training stars (number)",
    word="training star",
    words="training stars",
    varied=("train_size",),
)
DRAWS = Axis(
    value=lambda row: float(n_draws(row)) if row["draws_train"] else None,
    name="noise draws of each training star (number)",
    word="noise draw",
    words="noise draws",
    varied=("draws_train",),
)
AXES = Axis(
    value=lambda row: float(row["pca"]) if row["pca"].isdigit() else None,
    name="principal axes of the features (number)",
    word="principal axis",
    words="principal axes",
    varied=("pca",),
)


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
    low, high = first.rows[0], first.rows[-1]
    words = Words(
        title=(
            f"{label}: {_short(low)} goes from {r2_text(low, digits=2)} on {_counted(first.x[0], axis)} to "
            f"{_bare(high)} on {counted(first.x[-1])}"
        ),
        note=(
            (
                f"{len(shown)} of {len(every)} series, those with most points. "
                if len(shown) < len(every)
                else ""
            )
            + f"Bars: {INTERVALS}; {data_note(rows)}.{cut_note(rows, FLOOR)}"
        ),
        alarm=stale_alarm(rows),
        key=tuple(series.name for series in shown),
    )
    figure = new_figure(ONE_COLUMN, words.room(ONE_COLUMN) + 2.2)
    axes = figure.subplots()
    handles = [_draw(axes, series, index=index) for index, series in enumerate(shown)]
    _place_ticks(axes, sorted({x for series in shown for x in series.x}), ONE_COLUMN - 0.8)
    axes.set_xlabel(axis.name)
    _finish(axes, rows)
    tell(figure, words, handles=handles)
    caption = f"Test {R2} of {label} against the number of {axis.words}. {words.note}"
    return [Drawn(title=words.title, caption=caption, figure=figure)]


def against_noise(source: Source, label: str) -> list[Drawn]:
    """One figure: test R2 against the noise level of test, a line per noise level of train, a panel per probe."""
    panels = _noise_panels(source, label)
    if not panels:
        return []
    shown = dict(list(panels.items())[:MOST_PANELS])
    levels = sorted({float(row["noise_level_train"]) for rows in shown.values() for row in rows})
    rows = [row for panel in shown.values() for row in panel]
    words = Words(
        title=_noise_title(label, next(iter(shown.values()))),
        note=(
            (
                f"{len(shown)} of {len(panels)} probes, those with most levels. "
                if len(shown) < len(panels)
                else ""
            )
            + f"Noise levels are in units of the error of each pixel. Filled: trained at the level it is tested at. "
            f"Bars: {INTERVALS}; {data_note(rows)}.{cut_note(rows, FLOOR)}"
        ),
        alarm=stale_alarm(rows),
        key=tuple(f"trained at noise level {level:g}" for level in levels),
    )
    width = TWO_COLUMNS if len(shown) > 1 else ONE_COLUMN
    across = min(len(shown), 2)
    down = -(-len(shown) // across)
    figure = new_figure(width, words.room(width) + 2.2 * down)
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    handles = {}
    for axes, (name, panel) in zip(grid.flat, shown.items(), strict=False):
        for index, level in enumerate(levels):
            line = sorted(
                (r for r in panel if r["noise_level_train"] == level), key=lambda r: r["noise_level_test"]
            )
            if line:
                x = tuple(float(row["noise_level_test"]) for row in line)
                handles[level] = _draw(
                    axes, Series(name=name, x=x, rows=tuple(line)), index=index, hollow=True
                )
                _fill(axes, line, index=index)
        axes.set_title("\n".join(wrapped(name, width / across - 0.6, size=SMALL)), fontsize=SMALL)
        axes.set_xlabel("noise level of test [error of the pixel]")
        _finish(axes, rows, labelled=axes is grid.flat[0] or axes in grid[:, 0])
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    tell(figure, words, handles=[handles[level] for level in levels])
    caption = f"Test {R2} of {label} by the noise level of test and of train. {words.note}"
    return [Drawn(title=words.title, caption=caption, figure=figure)]


def _noise_panels(source: Source, label: str) -> dict[str, list[Row]]:
    """By probe its rows at several noise levels of train or test, fullest first, then by val R2."""
    frame = source.frame
    main = main_rows(frame, label)
    if not main:
        return {}
    scored = frame[(frame["label"] == label) & frame["test_r2"].notna()]
    alike = ("data_kind", "input_test", "draws_test")
    every = [
        row
        for rows in comparable_rows(ordered(scored))
        for row in rows
        if all(row[name] == main[0][name] for name in alike) and row["noise_level_test"] is not None
    ]
    groups: dict[tuple[str, ...], dict[tuple[float, float], Row]] = {}
    for row in _sound(every):
        levels = (float(row["noise_level_train"]), float(row["noise_level_test"]))
        groups.setdefault(_question(row, varied=_NOISE), {}).setdefault(levels, row)
    several = [list(cells.values()) for cells in groups.values() if len(cells) > 1]
    several.sort(key=lambda rows: (-len(rows), -max(_val(row) for row in rows)))
    return dict(zip(names_apart([rows[0] for rows in several]), several, strict=True))


def _noise_title(label: str, rows: Sequence[Row]) -> str:
    level = min(rows, key=lambda row: (abs(row["noise_level_train"] - 1), row["noise_level_train"]))[
        "noise_level_train"
    ]
    line = sorted((r for r in rows if r["noise_level_train"] == level), key=lambda r: r["noise_level_test"])
    first, last = line[0], line[-1]
    text = f"{label}: {_short(first)}, trained at noise level {level:g}, has {r2_text(first, digits=2)} "
    text += f"at test level {first['noise_level_test']:g}"
    return text if first is last else f"{text} and {_bare(last)} at {last['noise_level_test']:g}"


def series_of(rows: Sequence[Row], axis: Axis) -> list[Series]:
    """Rows of one test set that differ in one thing alone, at two values or more; longest first, then by val R2.

    Of several seeds the first in table order counts.
    """
    groups: dict[tuple[str, ...], dict[float, Row]] = {}
    for row in _sound(rows):
        x = axis.value(row)
        if x is not None:
            groups.setdefault(_question(row, varied=axis.varied), {}).setdefault(x, row)
    several = [dict(sorted(points.items())) for points in groups.values() if len(points) > 1]
    several.sort(key=lambda points: (-len(points), -max(_val(row) for row in points.values())))
    names = names_apart([next(iter(points.values())) for points in several])
    return [
        Series(name=name, x=tuple(points), rows=tuple(points.values()))
        for name, points in zip(names, several, strict=True)
    ]


def _sound(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["role"] not in (SHUFFLED_LABELS, MEAN_PREDICTOR)]


def _question(row: Row, *, varied: Sequence[str]) -> tuple[str, ...]:
    """What must be the same along a series."""
    return tuple(str(row[name]) for name in (*_IDENTITY, *_SETTINGS) if name not in varied)


def _val(row: Row) -> float:
    return -math.inf if row["val_r2"] is None else float(row["val_r2"])


def _short(row: Row) -> str:
    return f"{row['head']} on {row['layer']}"


def _counted(number: float, axis: Axis) -> str:
    return f"{counted(number)} {axis.words if number != 1 else axis.word}"


def _bare(row: Row) -> str:
    return r2_text(row, digits=2).removeprefix(f"{R2} ")


def _draw(axes: Axes, series: Series, *, index: int, hollow: bool = False) -> ErrorbarContainer:
    color, marker = style_of(index)
    return axes.errorbar(
        series.x,
        [row["test_r2"] for row in series.rows],
        yerr=error_bars(series.rows),
        color=color,
        marker=marker,
        markerfacecolor="white" if hollow else color,
        elinewidth=1,
    )


def _fill(axes: Axes, line: Sequence[Row], *, index: int) -> None:
    """Fill the marker where train and test have the same noise level."""
    color, marker = style_of(index)
    for row in line:
        if row["noise_level_train"] == row["noise_level_test"]:
            axes.plot(row["noise_level_test"], row["test_r2"], color=color, marker=marker, zorder=3)


def _finish(axes: Axes, rows: Sequence[Row], *, labelled: bool = True) -> None:
    """Grid, name of the R2 axis, and its lower end."""
    if labelled:
        axes.set_ylabel(f"test {R2} (no unit)")
    limit_r2(axes, rows, FLOOR)
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
