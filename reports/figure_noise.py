"""R2 against the noise level of test, a line per noise level of train."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from .comparable import comparable_rows, same_test_set, val_of
from .comparisons import NOT_COMPARED
from .drawn import (
    INTERVALS,
    R2,
    Drawn,
    cut_note,
    data_note,
    main_rows,
    names_apart,
    r2_text,
    stale_alarm,
)
from .figure_sweeps import bare_r2, changed, draw_series, finish, short_name
from .ordering import ordered
from .rows import Row
from .series import Series, question, sound
from .source import Source
from .style import ONE_COLUMN, TWO_COLUMNS, Words, new_figure, style_of, tell
from .typesetting import SMALL, wrapped

MOST_PANELS = 4
_NOISE = ("noise_level_train", "noise_level_test", "cross")


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
            f"Bars: {INTERVALS}; {data_note(rows)}.{cut_note(rows)}"
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
                handles[level] = draw_series(
                    axes, Series(name=name, x=x, rows=tuple(line)), index=index, face="white"
                )
                _fill(axes, line, index=index)
        axes.set_title("\n".join(wrapped(name, width / across - 0.6, size=SMALL)), fontsize=SMALL)
        axes.set_xlabel("noise level of test [error of the pixel]")
        finish(axes, rows, labelled=axes is grid.flat[0] or axes in grid[:, 0])
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
    every = [
        row
        for rows in comparable_rows(ordered(scored))
        for row in rows
        if same_test_set(row, main[0], without=("noise_level_test",)) and row["noise_level_test"] is not None
    ]
    groups: dict[tuple[str, ...], dict[tuple[float, float], Row]] = {}
    for row in sound(every):
        levels = (float(row["noise_level_train"]), float(row["noise_level_test"]))
        groups.setdefault(question(row, varied=_NOISE), {}).setdefault(levels, row)
    several = [list(cells.values()) for cells in groups.values() if len(cells) > 1]
    several.sort(key=lambda rows: (-len(rows), -max(val_of(row) for row in rows)))
    return dict(zip(names_apart([rows[0] for rows in several]), several, strict=True))


def _noise_title(label: str, rows: Sequence[Row]) -> str:
    level = min(rows, key=lambda row: (abs(row["noise_level_train"] - 1), row["noise_level_train"]))[
        "noise_level_train"
    ]
    line = sorted((r for r in rows if r["noise_level_train"] == level), key=lambda r: r["noise_level_test"])
    first, last = line[0], line[-1]
    text = f"{label}: {short_name(first)}, trained at noise level {level:g},"
    begin = f"{r2_text(first, digits=2)} at test level {first['noise_level_test']:g}"
    if first is last:
        return f"{text} has {begin}"
    ends = begin, f"{bare_r2(last)} at {last['noise_level_test']:g}"
    return f"{text} {changed(first, last, ends, NOT_COMPARED)}"


def _fill(axes: Axes, line: Sequence[Row], *, index: int) -> None:
    """Fill the marker where train and test have the same noise level."""
    color, marker = style_of(index)
    for row in line:
        if row["noise_level_train"] == row["noise_level_test"]:
            axes.plot(row["noise_level_test"], row["test_r2"], color=color, marker=marker, zorder=3)
