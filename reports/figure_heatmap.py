"""R2 by layer and pooling as a heat map with values, a panel per head, direction and setting."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .comparable import best_on_val
from .comparisons import Comparisons
from .contest import contest
from .drawn import (
    FLOOR,
    R2,
    Drawn,
    data_note,
    heads_apart,
    latents_of,
    main_rows,
    plain,
    r2_text,
    stale_alarm,
    usual_of_heads,
)
from .ordering import PARTS
from .render_markdown import number_text
from .rows import Row
from .source import Source
from .style import INK, ONE_COLUMN, SEQUENTIAL, TWO_COLUMNS, Words, new_figure, tell
from .typesetting import SMALL, line_height, text_width, wrapped
from .vocabulary import layer_rank, pooling_rank

CELL_WIDTH, NARROW_CELL, CELL_HEIGHT, PANEL_GAP = 0.6, 0.42, 0.22, 0.15
BAR_ROOM, BAR_WIDTH, LONGEST_BAR = 0.75, 0.12, 3.0
"""Inches."""
MOST_PANELS = 6

Panels = Mapping[str, Sequence[Row]]


def heat_maps(source: Source, label: str) -> list[Drawn]:
    """One figure: a panel per head, direction and setting, a line per layer, a column per pooling."""
    rows = plain(latents_of(main_rows(source.frame, label)))
    if not rows:
        return []
    panels: dict[str, list[Row]] = {}
    for row, name in zip(rows, heads_apart(rows), strict=True):
        panels.setdefault(name, []).append(row)
    several = {name: panel for name, panel in panels.items() if len(panel) > 1} or panels
    kept = _fullest(several)
    shown = [row for panel in kept.values() for row in panel]
    title = _heat_title(label, shown, source.paired)
    note = f"Test {R2} (no unit); {data_note(shown)}."
    if usual := usual_of_heads(rows).note:
        note += f" {usual}"
    if len(kept) < len(several):
        note += f" {len(kept)} of {len(several)} settings: those with most cells, then the best val {R2}."
    if lonely := len(panels) - len(several):
        note += f" Left out: {lonely} setting{'s' if lonely > 1 else ''} of a single cell."
    figure = _draw_heat(kept, Words(title=title, note=note, alarm=stale_alarm(shown)))
    caption = f"Test {R2} of {label} by layer, in the order of the network, and pooling; a panel per head and setting."
    return [Drawn(title=title, caption=f"{caption} {note}", figure=figure)]


def _fullest(panels: Panels) -> Panels:
    """At most MOST_PANELS of them, in their order."""

    def rank(name: str) -> tuple[int, float]:
        best = best_on_val(panels[name])
        return -len(panels[name]), math.inf if best is None else -best["val_r2"]

    kept = set(sorted(panels, key=rank)[:MOST_PANELS])
    return {name: rows for name, rows in panels.items() if name in kept}


def _heat_title(label: str, rows: Sequence[Row], paired: Comparisons) -> str:
    result = contest(rows, paired)
    assert result is not None
    best = result.best
    text = f"{label}: {best['layer']} with {best['pooling']} scores highest, {r2_text(best)}"
    if result.rival is None:
        return text
    return f"{text}, beyond chance" if result.clear else f"{text}, but is not told apart from others"


def _draw_heat(panels: Panels, words: Words) -> Figure:
    rows = [row for panel in panels.values() for row in panel]
    layers = sorted(
        {row["layer"] for row in rows}, key=lambda name: [layer_rank(x) for x in name.split(PARTS)]
    )
    poolings = sorted(
        {row["pooling"] for row in rows}, key=lambda name: [pooling_rank(x) for x in name.split(PARTS)]
    )
    names = max(text_width(layer, size=SMALL) for layer in layers)
    longest = max(text_width(name, size=SMALL) for name in poolings)
    beside = TWO_COLUMNS - names - BAR_ROOM
    panel_width = max(CELL_WIDTH, longest + 0.08) * len(poolings) + PANEL_GAP
    # Names of poolings stand upright where panels would else stand one below the other.
    upright = len(panels) > 1 and panel_width * 2 > beside
    if upright:
        panel_width = NARROW_CELL * len(poolings) + PANEL_GAP
    across = max(1, min(len(panels), int(beside / panel_width)))
    width = ONE_COLUMN if names + BAR_ROOM + across * panel_width <= ONE_COLUMN else TWO_COLUMNS
    room = (width - names - BAR_ROOM) / across - 0.2
    headings = {name: wrapped(name, room, size=SMALL) for name in panels}
    down = math.ceil(len(panels) / across)
    heading = line_height(SMALL) * max(len(lines) for lines in headings.values())
    height = words.room(width) + (0.15 + longest if upright else 0.3)
    height += down * (heading + 0.12 + CELL_HEIGHT * len(layers))
    figure = new_figure(width, height)
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    values = [row["test_r2"] for row in rows]
    # whatever the scores are: a colour is the same score everywhere, 0.16 does not glow
    scale = Normalize(FLOOR, 1.0)
    for axes, (name, panel) in zip(grid.flat, panels.items(), strict=False):
        _draw_panel(axes, panel, layers, poolings, scale)
        axes.set_title("\n".join(headings[name]), fontsize=SMALL)
        if upright:
            axes.tick_params(axis="x", labelrotation=90)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    axes_height = down * (heading + CELL_HEIGHT * len(layers))
    bar_height = min(axes_height, LONGEST_BAR)
    bar = figure.colorbar(
        ScalarMappable(scale, SEQUENTIAL),
        ax=grid,
        label=f"test {R2}",
        extend="min" if min(values) < scale.vmin else "neither",
        aspect=bar_height / BAR_WIDTH,
        shrink=min(1.0, bar_height / axes_height),
        anchor=(0.0, 1.0),
        pad=0.02,
    )
    bar.outline.set_visible(False)
    tell(figure, words)
    return figure


def _draw_panel(
    axes: Axes, rows: Sequence[Row], layers: Sequence[str], poolings: Sequence[str], scale: Normalize
) -> None:
    cells = np.full((len(layers), len(poolings)), np.nan)
    for row in rows:
        cells[layers.index(row["layer"]), poolings.index(row["pooling"])] = row["test_r2"]
    axes.imshow(cells, cmap=SEQUENTIAL, norm=scale, aspect="auto")
    for (line, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            dark = np.mean(colormaps[SEQUENTIAL](scale(value))[:3]) < 0.5
            axes.text(
                column,
                line,
                number_text(float(value), 2),
                ha="center",
                va="center",
                fontsize=SMALL,
                color="white" if dark else INK,
            )
    axes.set_xticks(range(len(poolings)), poolings)
    axes.set_yticks(range(len(layers)), layers)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
