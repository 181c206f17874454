"""Which wavelength segments a probe rests on, drawn where their context ends or begins."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cache.records import Record

from .comparable import name_of, val_of
from .drawn import INTERVALS, R2, Drawn, data_text, main_rows, noise_text, record_flags, stale_stores
from .render_markdown import estimate_text
from .source import Source
from .style import FAINT, INK, STYLES, TWO_COLUMNS, Words, horizontal_grid, new_figure, tell
from .table import Estimate

KIND = "importance"
MOST_PANELS = 4
Panel = Mapping[str, Any]
CONTEXT: Mapping[str, str] = {
    "forward": "forward: a segment holds context up to its upper end, from the blue",
    "backward": "backward: a segment holds context from its lower end, from the red",
    "mean": "mean of both directions: no wavelength of its own",
}


def importances(source: Source, label: str) -> list[Drawn]:
    """One figure: drop of test R2 when the features of a segment are permuted, of the probe with the best val R2."""
    records = {
        r.spec["run"]: r
        for r in source.of_kind(KIND)
        if label in r.spec["labels"] and r.result["status"] == "ok"
    }
    if not records:
        return []
    rows = {row["run_id"]: row for row in main_rows(source.frame, label)}
    ranked = sorted(records, key=lambda run: (-val_of(rows.get(run)), run))
    record = records[ranked[0]]
    row = rows.get(ranked[0])
    arrays = source.arrays(record.run_id)
    name = f"run {ranked[0][:8]}" if row is None else name_of(row)
    more = f" {len(records) - 1} more probes stand in the tables." if len(records) > 1 else ""
    level = "" if row is None else noise_text([row["noise_level_test"]])
    alarm = " ".join(filter(None, [record_flags(record, label), stale_stores(source, record)]))
    return [_drawn(record, label, name, arrays, level=level, more=more, alarm=alarm)]


def _drawn(
    record: Record, label: str, name: str, arrays: Mapping[str, Any], *, level: str, more: str, alarm: str
) -> Drawn:
    panels = _panels(label, record, arrays)
    several = len({panel["layer"] for panel in panels}) > 1
    kind, n = record.spec.get("data_kind", ""), record.result["n"]["test"]
    words = Words(
        title=_title(label, record, panels),
        note=(
            f"{name}. Drop in test {R2} (no unit) when the features of one segment and direction are permuted among "
            f"the test stars. Bars span the newest pixels of a segment, not all it saw; {INTERVALS}; {n} "
            f"test stars, {data_text([kind])}{level}.{more}"
        ),
        alarm=alarm,
    )
    shown = panels[:MOST_PANELS]
    figure = new_figure(TWO_COLUMNS, words.room(TWO_COLUMNS) + 1.45 * len(shown) + 0.35)
    # Panels without wavelengths have an axis of their own.
    waves = [p for p in shown if np.isfinite(p["low"]).all()]
    grid = figure.subplots(len(shown), 1, sharey=True, squeeze=False)[:, 0]
    limits = (
        (min(p["low"].min() for p in waves), max(p["high"].max() for p in waves)) if waves else (0.0, 1.0)
    )
    for axes, panel in zip(grid, shown, strict=True):
        layer = f"{panel['layer']} / {panel['pooling']}, " if several else ""
        axes.set_title(f"{layer}{CONTEXT.get(panel['direction'], panel['direction'])}", fontsize=7)
        _draw(axes, panel, limits)
        axes.set_ylabel(f"drop in {R2}")
    tell(figure, words)
    caption = f"Importance of wavelength segments for {label}. {words.note}"
    return Drawn(title=words.title, caption=caption, figure=figure)


def _panels(label: str, record: Record, arrays: Mapping[str, Any]) -> list[Panel]:
    """One per part and direction, in the order of the record."""
    groups = record.result["groups"]
    numbers = {
        key: np.asarray(arrays[name], dtype=np.float64)
        for key, name in (
            ("low", "wave_lo"),
            ("high", "wave_hi"),
            ("value", f"importance/{label}"),
            ("value_lo", f"importance_lo/{label}"),
            ("value_hi", f"importance_hi/{label}"),
        )
    }
    keys = [(group["part"], group["direction"]) for group in groups]
    panels: list[Panel] = []
    for key in dict.fromkeys(keys):
        members = np.array([k for k, other in enumerate(keys) if other == key])
        first = groups[members[0]]
        panels.append(
            {
                "layer": first["layer"],
                "pooling": first["pooling"],
                "direction": first["direction"],
                "segment": [groups[k]["segment"] for k in members],
                "context": [groups[k]["context"] for k in members],
                **{name: values[members] for name, values in numbers.items()},
            }
        )
    return panels


def _title(label: str, record: Record, panels: Sequence[Panel]) -> str:
    """The segment whose permutation costs most, as far as its interval is above 0 and above those of the others."""
    best = max(panels, key=lambda panel: float(np.nanmax(panel["value"])))
    place = int(np.nanargmax(best["value"]))
    whole = f"{R2} {estimate_text(Estimate(*record.result['r2'][label]), 2)}"
    value, low, high = (float(best[name][place]) for name in ("value", "value_lo", "value_hi"))
    n_segments = sum(len(panel["value"]) for panel in panels)
    if not value - widened(value - low, n_segments) > 0:
        return f"{label}: {whole}; no segment of {n_segments} lowers it beyond chance when it is permuted"
    others = [
        float(end)
        for panel in panels
        for k, end in enumerate(panel["value_hi"])
        if (panel is not best or k != place)
    ]
    context = best["context"][place]
    where = f"number {best['segment'][place]}" if context is None else _angstrom(context)
    drop = estimate_text(Estimate(value, low, high), 2)
    most = "drops most, by" if all(low > end for end in others) else "drops by"
    also = "" if all(low > end for end in others) else ", not told apart from others"
    return f"{label}: {whole} {most} {drop}, when the {best['direction']} segment ({where}) is permuted{also}"


def widened(half_width: float, n: int) -> float:
    """Half of a 95 % interval that holds for all of n values at once (Bonferroni, normal)."""
    normal = NormalDist()
    return half_width * normal.inv_cdf(1 - 0.025 / n) / normal.inv_cdf(0.975)


def _angstrom(text: str) -> str:
    return text.removesuffix(" A") + " Å" if text.endswith(" A") else text


def _draw(axes: Axes, panel: Panel, limits: tuple[float, float]) -> None:
    color = {"forward": STYLES[0][0], "backward": STYLES[1][0]}.get(panel["direction"], STYLES[2][0])
    value = panel["value"]
    bars = np.stack([np.maximum(value - panel["value_lo"], 0), np.maximum(panel["value_hi"] - value, 0)])
    if np.isfinite(panel["low"]).all():
        centres, widths = (panel["low"] + panel["high"]) / 2, panel["high"] - panel["low"]
        axes.set_xlim(*limits)
        axes.set_xlabel("wavelength [Å]")
    else:
        centres, widths = np.asarray(panel["segment"], dtype=np.float64), np.full(len(value), 0.9)
        axes.set_xlabel("segment (number)")
    axes.bar(centres, value, width=0.96 * widths, color=color, alpha=0.55)
    axes.errorbar(centres, value, yerr=bars, color=INK, linestyle="none", elinewidth=1)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    horizontal_grid(axes)
