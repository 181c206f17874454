"""How far probes are from what the noisy flux can tell at all, by bin of S/N."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cache.records import Record

from .comparable import comparable_rows, name_of, val_of
from .drawn import (
    FLOOR,
    INTERVALS,
    R2,
    SIDEWAYS,
    Drawn,
    data_text,
    noise_text,
    plain,
    record_flags,
    stale_stores,
)
from .quantity_bins import QUANTITIES, WORDS, bars, places, value_and_ends
from .render_markdown import estimate_text
from .rows import Row
from .source import Source
from .style import FAINT, INK, TWO_COLUMNS, Words, bin_edges, horizontal_grid, new_figure, style_of, tell
from .table import Estimate
from .vocabulary import MEAN_PREDICTOR, SHUFFLED_LABELS

KIND = "ceiling"
MOST_ROWS = 6
CONTROLS = (MEAN_PREDICTOR, SHUFFLED_LABELS)
"""Rows that know nothing of the flux."""


def ceilings(source: Source, label: str) -> list[Drawn]:
    """One figure per test set that has a ceiling: R2 and share reached by bin of S/N, else of magnitude."""
    records = [r for r in source.of_kind(KIND) if r.spec["label"] == label and r.result["status"] == "ok"]
    rows = {
        row["run_id"]: row
        for group in comparable_rows(source.frame[source.frame["label"] == label])
        for row in group
    }
    levels = [record.spec["test"].get("noise_level") for record in records]
    drawn = []
    for record, level in zip(records, levels, strict=True):
        name = next(
            (q for q in QUANTITIES if len((record.result["bins"].get(q) or {}).get("n", ())) > 1), None
        )
        if name is not None:
            alike = len(records) > 1
            part = f"{record.run_id[:8]}" if levels.count(level) > 1 else f"noise{level:g}" if alike else ""
            drawn.append(_drawn(source, record, name, rows, part=part))
    return drawn


def _drawn(source: Source, record: Record, quantity: str, rows: Mapping[str, Row], *, part: str) -> Drawn:
    label, result = record.spec["label"], record.result
    kind = record.spec["test"].get("data_kind", "")
    items = _shown(result, rows, quantity)
    names = [_name(item["run"], rows) for item in items]
    outside = sum(not item["applicable"] for item in result["rows"])
    above = [_name(item["run"], rows) for item in result["rows"] if item["above"]]
    words = Words(
        title=_title(label, result, items, rows),
        note=(
            f"Ceiling: {R2} that the prior-aware bound allows, mean over stars (docs/ceiling.md); dotted: the "
            f"median over stars of the unbiased Cramér-Rao figure. {R2} is against the mean of the bin; {SIDEWAYS}. "
            + (
                f"Not held against it: {outside} that see the true error, or are not to be judged. "
                if outside
                else ""
            )
            + f"Bars and band: {INTERVALS}; {result['n']['test']} test stars, {data_text([kind])}"
            f"{noise_text([record.spec['test'].get('noise_level')])}."
        ),
        alarm=" ".join(
            [
                record_flags(record, label),
                stale_stores(source, record),
                *(f"Above the ceiling: {name}." for name in above),
            ]
        ).strip(),
        key=("ceiling", "unbiased figure, median over stars", *names),
    )
    figure = _draw(result["bins"][quantity], [item["run"] for item in items], quantity, words)
    caption = f"Ceiling of {label} and share of it that probes reach, by {WORDS[quantity]}. {words.note}"
    return Drawn(title=words.title, caption=caption, figure=figure, part=part)


def _name(run: str, rows: Mapping[str, Row]) -> str:
    row = rows.get(run)
    if row is None:
        return f"run {run[:8]}"
    fed = (
        "" if row["error_input"] in ("true", "") else f", error input {row['error_input'].partition(':')[0]}"
    )
    return f"{name_of(row)}{fed}"


def _shown(result: Mapping[str, Any], rows: Mapping[str, Row], quantity: str) -> list[Mapping[str, Any]]:
    """The rows that the ceiling holds for: of each kind and error input the best by val R2, best first."""

    def val(item: Mapping[str, Any]) -> float:
        return val_of(rows.get(item["run"]))

    shares = result["bins"][quantity]["share"]
    asked = {row["run_id"] for row in plain(rows.values())}
    kinds: dict[tuple[str, str], Mapping[str, Any]] = {}
    for item in sorted(
        (i for i in result["rows"] if i["applicable"] and i["run"] in shares),
        key=lambda i: (i["run"] in rows and i["run"] not in asked, -val(i)),
    ):
        row = rows.get(item["run"])
        kind = (item["run"], "") if row is None else (row["role"], row["error_input"])
        if kind[0] not in CONTROLS:
            kinds.setdefault(kind, item)
    return list(kinds.values())[:MOST_ROWS]


def _title(
    label: str, result: Mapping[str, Any], items: Sequence[Mapping[str, Any]], rows: Mapping[str, Row]
) -> str:
    figure = result["figures"]["prior_aware_mean"]
    ceiling = Estimate(figure["value"], *(figure["interval"] or ()))
    text = f"{label}: the noisy flux allows {R2} {estimate_text(ceiling, 2)}"
    reached = [item for item in items if item["share"] is not None]
    if not reached:
        return f"{text}; no row on record can be held against it"
    best = reached[0]
    low, high = best["share_interval"] or (None, None)
    ends = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{text}; {_name(best['run'], rows)} reaches {100 * best['share']:.0f}{ends} % of it"


def _draw(bins: Mapping[str, Any], runs: Sequence[str], quantity: str, words: Words) -> Figure:
    figure = new_figure(TWO_COLUMNS, words.room(TWO_COLUMNS) + 2.2)
    left, right = figure.subplots(1, 2, sharex=True)
    edges = np.asarray(bins["edges"], dtype=np.float64)
    ceiling = value_and_ends(bins["ceiling"])
    (line,) = left.plot(edges, _over_bins(ceiling[:, 0]), color=INK, linewidth=1.6, drawstyle="steps-post")
    low, high = (_over_bins(ceiling[:, end]) for end in (1, 2))
    left.fill_between(edges, low, high, step="post", color=INK, alpha=0.15, linewidth=0)
    median = np.array([np.nan if v is None else v for v in bins["unbiased_median"]], dtype=np.float64)
    (dotted,) = left.plot(
        edges, _over_bins(median), color=INK, linewidth=1.0, linestyle=":", drawstyle="steps-post"
    )
    handles: list[Any] = [line, dotted]
    # Share times ceiling is R2; its interval is not the product of theirs, so none is drawn.
    reached = [ceiling[:, 0] * value_and_ends(bins["share"][run])[:, 0] for run in runs]
    for index, run in enumerate(runs):
        place = places(edges, index, len(runs))
        color, marker = style_of(index)
        left.plot(place, reached[index], color=color, marker=marker, linewidth=0.7)
        handles.append(_series(right, place, 100 * value_and_ends(bins["share"][run]), index))
    left.set_ylim(max(FLOOR, float(np.nanmin([0.0, *ceiling[:, 1], *np.ravel(reached)])) - 0.03), 1.03)
    left.set_ylabel(f"{R2} within the bin (no unit)")
    right.axhline(100, color=INK, linewidth=1.6)
    right.set_ylim(*_share_limits([value_and_ends(bins["share"][run]) for run in runs]))
    right.set_ylabel("share of the ceiling [%]")
    for axes in (left, right):
        axes.set_xlabel(QUANTITIES[quantity])
        axes.axhline(0, color=FAINT, linewidth=0.8)
        horizontal_grid(axes)
        bin_edges(axes, edges)
    if not runs:
        right.text(0.5, 0.5, "no row to hold against it", transform=right.transAxes, ha="center", color=FAINT)
    tell(figure, words, handles=handles)
    return figure


def _series(axes: Axes, place: Any, values: Any, index: int) -> Any:
    color, marker = style_of(index)
    return axes.errorbar(
        place, values[:, 0], yerr=bars(values), color=color, marker=marker, linewidth=0.7, elinewidth=1
    )


def _over_bins(values: Any) -> Any:
    """(bins + 1,): a value per bin as steps over its edges, the last one held to the last edge."""
    return np.append(values, values[-1:])


def _share_limits(shares: Sequence[Any]) -> tuple[float, float]:
    """Ends of the axis of shares in per cent: 0 to 105, wider for what lies outside, but not without end."""
    values = np.array([0.0, 1.0, *(v for share in shares for v in share[:, 0] if np.isfinite(v))])
    return 100 * max(FLOOR, float(values.min()) - 0.05), 100 * min(2.0, float(values.max()) + 0.1)
