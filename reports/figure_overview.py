"""The overview figure: what each layer and pooling knows of a label, against baselines and controls."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cache.atomic import replacing
from cache.errors import CacheError

from .comparisons import NOT_COMPARED, Comparisons
from .drawn import Drawn, main_rows, plain
from .ordering import ordered
from .overview_layout import (
    AXES_WIDTH,
    Flag,
    Line,
    best_lines,
    caption_of,
    chosen_of,
    goes_below,
    limits_of,
    lines_of,
    placed_flags,
    title_of,
    variants_of,
)
from .planned import chosen_on
from .render_markdown import number_text
from .rows import Row, rows_of
from .settings import settings_frame, variant_of
from .style import FAINT, INK, STYLES
from .typesetting import wrapped
from .verdict import BASELINES
from .vocabulary import LATENT, ROLE_ORDER

DPI = 160
SMALL, NORMAL, LARGE = 8, 9, 11
# Inches.
LINE_HEIGHT, LABEL_HEIGHT, CHARACTER = 0.42, 0.19, 0.068
TOP, BOTTOM, SIDE = 0.42, 1.08, 0.30
HEADING = 0.75
"""Height of a layer's heading, in lines."""
DODGE = 0.52
"""Share of a line's height over which its heads are spread."""
MOST_LINES = 12
CAPTION_LINE, TITLE_LINE = 0.14, 0.19
"""Heights of a line of the caption and of the title, inches."""
LEGEND_COLUMNS, LEGEND_LINE = 2, 0.21
"""Two names of heads with their settings fill a line of the legend; the height of that line in inches."""


def overview_figure(
    frame: pd.DataFrame, label: str, out_path: Path, *, paired: Comparisons = NOT_COMPARED
) -> None:
    """Write a PNG of `draw_overview`. Equal frames give equal bytes."""
    drawn = draw_overview(frame, label, paired)
    with replacing(out_path) as temporary:
        drawn.figure.savefig(temporary, format="png", metadata={"Software": None})


def draw_overview(frame: pd.DataFrame, label: str, paired: Comparisons = NOT_COMPARED) -> Drawn:
    """Test R2 with 95 % intervals by layer and pooling, baselines and controls as lines: of each kind the best on val.

    Rows are those of the main test set that are no part of a sweep: scores of other test sets are another question.
    Raises CacheError when no latent row of the label has a score.
    """
    every_row = main_rows(frame, label)
    chosen = frame["run_id"].isin([row["run_id"] for row in plain(every_row)])
    rows = rows_of(settings_frame(ordered(frame[chosen & (frame["label"] == label)])))
    latents = [row for row in rows if row["role"] == LATENT and row["test_r2"] is not None]
    if not latents:
        raise CacheError(
            f"no latent row of {label!r} has a test R2, so there is nothing to draw; run `python -m probes run` first"
        )
    every = lines_of(latents)
    lines = best_lines(every, MOST_LINES)
    references = [best for role in ROLE_ORDER[1:] if (best := chosen_of(rows, role)) is not None]
    limits = limits_of([*(row for line in lines for row in line.rows), *references])
    flags = placed_flags(references, limits)
    longest = max(len(text) for line in lines for text in (line.layer, line.name))
    left = SIDE + max([CHARACTER * longest, *(-flag.start - SIDE / 2 for flag in flags)])
    top = TOP + LABEL_HEIGHT * (1.3 + max((flag.level for flag in flags), default=-1))
    n_headings = len({line.layer for line in lines})
    axes_height = LINE_HEIGHT * (len(lines) + HEADING * n_headings)
    n_names = len(variants_of([row for line in lines for row in line.rows]))
    width = left + AXES_WIDTH + SIDE
    title = title_of(label, every_row, paired)
    caption = caption_of(
        latents, flags, cut=any(goes_below(row, limits[0]) for line in lines for row in line.rows)
    )
    lines_below = wrapped(caption, width - SIDE, size=SMALL)
    more = CAPTION_LINE * (len(lines_below) - 1)
    lines_above = wrapped(title, width - SIDE, size=LARGE, bold=True)
    top += TITLE_LINE * (len(lines_above) - 1)
    bottom = BOTTOM + LEGEND_LINE * (-(-n_names // LEGEND_COLUMNS) - 1) + more
    height = top + axes_height + bottom
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, bottom / height, AXES_WIDTH / width, axes_height / height))
    _draw_frame(axes, limits)
    _draw_lines(axes, lines)
    _draw_flags(axes, flags, axes_height)
    _write_around(figure, axes, above=lines_above, below=lines_below)
    shown = f"Test R² of {label} with 95 % intervals by layer and pooling."
    if len(lines) < len(every):
        on = "test" if chosen_on(*latents) == "test" else "val"
        shown += f" {len(lines)} of {len(every)} lines, those with the best {on} R²."
    return Drawn(title=title, caption=f"{shown} {caption}".strip(), figure=figure)


def _draw_frame(axes: Axes, limits: tuple[float, float]) -> None:
    axes.set_xlim(*limits)
    axes.set_yticks([])
    axes.tick_params(labelsize=NORMAL, colors=INK)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.set_xlabel("test R² (no unit); bars are 95 % intervals", fontsize=NORMAL, color=INK)


def _draw_lines(axes: Axes, lines: Sequence[Line]) -> None:
    variants = variants_of([row for line in lines for row in line.rows])
    y, layer = 0.0, None
    for line in lines:
        if line.layer != layer:
            y += HEADING
            layer = line.layer
            _left_label(axes, y - 0.5 * HEADING + 0.05, layer, weight="bold")
        _left_label(axes, y + 0.5, line.name, weight="normal")
        for row in line.rows:
            index = variants.index(variant_of(row))
            offset = 0.0 if len(variants) == 1 else DODGE * (index / (len(variants) - 1) - 0.5)
            _draw_score(axes, row, y=y + 0.5 + offset, style=STYLES[index % len(STYLES)])
        y += 1
    axes.set_ylim(y, 0)
    for index, name in enumerate(variants):
        color, marker = STYLES[index % len(STYLES)]
        axes.plot([], [], marker=marker, color=color, linestyle="none", markersize=5, label=name)


def _draw_score(axes: Axes, row: Row, *, y: float, style: tuple[str, str]) -> None:
    color, marker = style
    edge = axes.get_xlim()[0]
    if row["test_r2"] < edge:
        axes.plot(edge, y, marker="<", color=color, markersize=5, clip_on=False)
        axes.text(edge, y, f"   {number_text(row['test_r2'], 2)}", fontsize=SMALL, color=color, va="center")
        return
    if row["test_r2_lo"] is not None and row["test_r2_hi"] is not None:
        axes.plot(
            [row["test_r2_lo"], row["test_r2_hi"]], [y, y], color=color, linewidth=1.4, solid_capstyle="butt"
        )
    if goes_below(row, edge):
        axes.plot(edge, y, marker="<", color=color, markersize=5, clip_on=False)
    axes.plot(
        row["test_r2"],
        y,
        marker=marker,
        color=color,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )


def _draw_flags(axes: Axes, flags: Sequence[Flag], axes_height: float) -> None:
    for flag in flags:
        baseline = flag.row["role"] in BASELINES
        color, dashes = (INK, (0, ())) if baseline else (FAINT, (0, (4, 2)))
        top = 1 + LABEL_HEIGHT * (flag.level + 1) / axes_height
        share = flag.x / AXES_WIDTH
        if flag.row["test_r2_lo"] is not None and flag.row["test_r2_hi"] is not None:
            axes.axvspan(flag.row["test_r2_lo"], flag.row["test_r2_hi"], color=color, alpha=0.08, linewidth=0)
        axes.plot(
            [share, share],
            [0, top],
            transform=axes.transAxes,
            clip_on=False,
            color=color,
            linewidth=1.1,
            linestyle=dashes,
            zorder=1.5,
        )
        axes.text(
            share - 0.04 / AXES_WIDTH,
            top,
            flag.text,
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=SMALL,
            color=INK if baseline else "#555555",
        )


def _write_around(figure: Figure, axes: Axes, *, above: Sequence[str], below: Sequence[str]) -> None:
    width, height = figure.get_size_inches()
    left = SIDE / 2 / width
    figure.text(left, 1 - 0.12 / height, "\n".join(above), fontsize=LARGE, va="top", color=INK, weight="bold")
    figure.text(left, 0.10 / height, "\n".join(below), fontsize=SMALL, va="bottom", color="#555555")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(left, (0.30 + CAPTION_LINE * (len(below) - 1)) / height),
        ncols=LEGEND_COLUMNS,
        frameon=False,
        fontsize=NORMAL,
        borderpad=0,
        borderaxespad=0,
        handletextpad=0.3,
    )


def _left_label(axes: Axes, y: float, text: str, *, weight: str) -> None:
    axes.text(
        -0.02,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="center",
        fontsize=NORMAL,
        color=INK,
        weight=weight,
    )
