"""R2 in bins of S/N and of magnitude, from comparison records: who needs bright stars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cache.records import Record

from .bins_tables import few_note
from .comparable import best_on_val
from .comparisons import KIND
from .contest import independent_apart
from .drawn import INTERVALS, R2, SIDEWAYS, Drawn, data_note, main_rows, names_apart, plain, stale_alarm
from .quantity_bins import QUANTITIES, WORDS, bars, places, value_and_ends
from .render_markdown import estimate_text, number_text
from .rows import Row
from .source import Source
from .style import (
    FAINT,
    ONE_COLUMN,
    TWO_COLUMNS,
    Words,
    bin_edges,
    horizontal_grid,
    new_figure,
    style_of,
    tell,
)
from .table import Estimate
from .vocabulary import LATENT, MEAN_PREDICTOR, ROLE_ORDER, SHUFFLED_LABELS

FLOOR = -0.5
"""R2 below this is cut off: within a bin a head may be far worse than the mean of the bin."""

Panels = Mapping[str, Mapping[str, Any]]


def by_bin(source: Source, label: str) -> list[Drawn]:
    """One figure: test R2 by bin of S/N and of magnitude, of the best row of each kind by val R2."""
    rows = {row["run_id"]: row for row in plain(main_rows(source.frame, label))}
    record = _comparison(source, label, set(rows))
    if record is None:
        return []
    compared = [row for run, row in rows.items() if run in _unchanged(source, record)]
    series = [
        best
        for role in ROLE_ORDER
        if role not in (MEAN_PREDICTOR, SHUFFLED_LABELS)
        and (best := best_on_val([row for row in compared if row["role"] == role]))
    ]
    panels = {
        name: found
        for name in QUANTITIES
        if (found := record.result["bins"].get(name)) and len(found["n"]) > 1
    }
    if not series or not panels:
        return []
    words = Words(
        title=_title(label, series[0], panels),
        note=(
            f"Each the best of its kind by val {R2}. {R2} compares with the mean of the bin, so compare rows within a "
            f"bin, not bins; {SIDEWAYS}. Bars: {INTERVALS}; {data_note(series)}."
            + "".join(
                f" {note}" for note in dict.fromkeys(n for bins in panels.values() for n in few_note(bins))
            )
        ),
        alarm=stale_alarm(series),
        key=tuple(names_apart(series)),
    )
    figure = _draw(panels, series, words)
    caption = (
        f"Test {R2} of {label} in bins of {' and of '.join(WORDS[name] for name in panels)}. {words.note}"
    )
    return [Drawn(title=words.title, caption=caption, figure=figure)]


def _comparison(source: Source, label: str, runs: set[str]) -> Record | None:
    """The comparison of the label that holds most of these runs."""
    found = [r for r in source.of_kind(KIND) if r.spec["label"] == label and r.result.get("bins")]
    return max(found, key=lambda r: len(runs.intersection(r.result["runs"])), default=None)


def _unchanged(source: Source, record: Record) -> set[str]:
    """Runs of a comparison whose predictions are still those that were compared."""
    now = {r.run_id: r.files.get("predictions") for r in source.records}
    return {run for run, digest in record.result["predictions"].items() if now.get(run) == digest}


def _title(label: str, row: Row, panels: Panels) -> str:
    """R2 in the first and in the last bin, and whether they can be told apart: they hold different stars."""
    name, found = next(iter(panels.items()))
    scores = [
        (Estimate(*values), found["edges"][k : k + 2])
        for k, values in enumerate(found["r2"][row["run_id"]])
        if values[0] is not None
    ]
    if not scores:
        return f"{label}: {R2} is not defined in any bin of {WORDS[name]}"
    (first, low), (last, high) = scores[0], scores[-1]
    who = "the latent row best on val" if row["role"] == LATENT else row["role"]
    places = [f"{number_text(edges[0], 1)} to {number_text(edges[1], 1)}" for edges in (low, high)]
    text = f"{label}: {who} has {R2} {estimate_text(first, 2)} at {WORDS[name]} {places[0]}"
    if len(scores) == 1:
        return text
    same = "" if independent_apart(first, last) else ", not told apart"
    return f"{text} and {estimate_text(last, 2)} at {places[1]}{same}"


def _draw(panels: Panels, series: Sequence[Row], words: Words) -> Figure:
    width = TWO_COLUMNS if len(panels) > 1 else ONE_COLUMN
    figure = new_figure(width, words.room(width) + 2.2)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    handles, lowest = [], 0.0
    for axes, (name, found) in zip(grid, panels.items(), strict=True):
        edges = np.asarray(found["edges"], dtype=np.float64)
        axes.axhline(0, color=FAINT, linewidth=0.8)
        horizontal_grid(axes)
        for index, row in enumerate(series):
            values = value_and_ends(found["r2"][row["run_id"]])
            value, low, _ = values.T
            color, marker = style_of(index)
            place = places(edges, index, len(series))
            drawn = axes.errorbar(
                place, value, yerr=bars(values), color=color, marker=marker, linestyle="none", elinewidth=1
            )
            axes.plot(place, value, color=color, linewidth=0.7, alpha=0.6)
            handles.append(drawn)
            lowest = min(lowest, float(np.nanmin([0.0, *value, *low])))
        bin_edges(axes, edges)
        axes.set_xlabel(QUANTITIES[name])
    grid[0].set_ylabel(f"test {R2} within the bin (no unit)")
    grid[0].set_ylim(max(lowest - 0.03, FLOOR), 1.03)
    tell(figure, words, handles=handles[: len(series)])
    return figure
