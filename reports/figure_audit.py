"""An audit of the error channel as bars: what the error tells, what it leaves, what survives without it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from cache.records import Record

from .audits import audits_of, subject
from .drawn import INTERVALS, R2, Drawn, data_text, noise_text, stale_stores
from .render_markdown import estimate_text
from .source import Source
from .style import FAINT, INK, STYLES, TWO_COLUMNS, Words, new_figure, tell
from .table import Estimate

MOST_AUDITS = 6
"""Figures of one label; the rest stand in the tables."""
BAR, GAP = 0.19, 0.1
"""Inches: height of a bar's line, and between groups of bars."""
FLOOR = -0.5
"""R2 below this is cut off at the edge; its number stands beside."""

Line = Mapping[str, Any]
Bar = tuple[str, Line, str]
"""Name, row of the audit, colour."""
BLUE, VERMILION, GREEN, PURPLE = (color for color, _ in STYLES[:4])


def audits(source: Source, label: str) -> list[Drawn]:
    """One figure per audit of the label: bars of R2 with intervals, titled by the verdict."""
    records = sorted(audits_of(source, label), key=lambda record: (subject(record), record.run_id))
    shown = records[:MOST_AUDITS]
    left_out = len(records) - len(shown)
    alike = Counter(map(subject, records))
    parts = [f"{subject(r)} / {r.run_id[:8]}" if alike[subject(r)] > 1 else subject(r) for r in shown]
    return [
        _drawn(source, record, left_out=left_out, part=part if len(records) > 1 else "")
        for record, part in zip(shown, parts, strict=True)
    ]


def _drawn(source: Source, record: Record, *, left_out: int, part: str) -> Drawn:
    spec, result = record.spec, record.result
    groups = [group for group in _groups(spec["label"], result["rows"]) if group]
    n = next((row["n"] for group in groups for _, row, _ in group), 0)
    fed = ", ".join(dict.fromkeys(str(row["error_input"]) for row in result["rows"]))
    more = f" {left_out} more audits of {spec['label']} stand in the tables." if left_out else ""
    words = Words(
        title=result["verdict"]["headline"].rstrip("."),
        note=(
            f"{subject(record)}. Test {R2} (no unit), bars with {INTERVALS}; what the error leaves is the residual of "
            f"the error-only probe, and {R2} of it is against its own variance. Fed: what stood in the network's error "
            f"channel ({fed}). {n} test stars, {data_text([spec.get('data_kind', '')])}"
            f"{noise_text([(spec.get('noise_levels') or {}).get('test')])}.{more}"
        ),
        alarm=" ".join(
            [stale_stores(source, record), *(f"Flag: {flag}." for flag in result["flags"])]
        ).strip(),
    )
    height = sum(len(group) for group in groups) * BAR + len(groups) * GAP
    figure = new_figure(TWO_COLUMNS, words.room(TWO_COLUMNS) + height + 0.45)
    axes = figure.subplots()
    _draw(axes, groups)
    tell(figure, words)
    return Drawn(
        title=words.title, caption=f"Audit of {spec['label']}. {words.note}", figure=figure, part=part
    )


def _groups(label: str, rows: Sequence[Line]) -> list[list[Bar]]:
    """Groups of (name, row, colour) in reading order; unknown rows keep their own name."""
    names = {
        "A1": (f"error alone predicts {label}", VERMILION),
        "A1 ridge": (f"error alone, by ridge, predicts {label}", VERMILION),
        "A4 latent->label": (f"latents, fed the true error, predict {label}", BLUE),
        "A3": ("noisy flux predicts what the error leaves", GREEN),
        "A4 latent->residual": ("latents predict what the error leaves", GREEN),
    }
    first: list[Bar] = []
    second: list[Bar] = []
    refits: list[Bar] = []
    applied: list[Bar] = []
    others: list[Bar] = []
    for row in rows:
        kind, fed = row["name"], row["error_input"]
        if row["r2"] is None or kind in ("A2", "mean"):
            continue
        if kind == "refit":
            refits.append((f"latents fed {fed}, probe fitted anew", row, BLUE))
        elif kind == "apply":
            applied.append((f"latents fed {fed}, probe of the true error as it is", row, PURPLE))
        elif kind in names:
            name, color = names[kind]
            (second if color == GREEN else first).append((name, row, color))
        else:
            others.append((kind, row, FAINT))
    return [first, second, refits, applied, others]


def _draw(axes: Axes, groups: Sequence[Sequence[Bar]]) -> None:
    y, places, names, texts = 0.0, [], [], []
    for group in groups:
        for name, row, color in group:
            _draw_bar(axes, row, y=y, color=color)
            places.append(y)
            names.append(name)
            texts.append(estimate_text(Estimate(row["r2"], *row["interval"]), 2))
            y += BAR
        y += GAP
    drawn = [row for group in groups for _, row, _ in group]
    low = min([0.0, *(v for row in drawn for v in (row["r2"], row["interval"][0]) if v is not None)])
    high = max([0.1, *(v for row in drawn for v in (row["r2"], row["interval"][1]) if v is not None)])
    axes.set_xlim(max(low, FLOOR) - 0.02, high + 0.02)
    axes.set_ylim(y - GAP - BAR / 2, -BAR / 2)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"test {R2} (no unit)")
    values = axes.secondary_yaxis("right")
    values.set_yticks(places, texts)
    values.tick_params(length=0, labelcolor=INK)
    values.spines["right"].set_visible(False)


def _draw_bar(axes: Axes, row: Line, *, y: float, color: str) -> None:
    value = max(row["r2"], FLOOR - 1)
    axes.barh(y, value, height=0.62 * BAR, color=color, alpha=0.55)
    low, high = row["interval"]
    if low is not None and high is not None:
        axes.plot([max(low, FLOOR - 1), high], [y, y], color=INK, linewidth=1.0, solid_capstyle="butt")
    if row["r2"] < FLOOR:
        axes.plot(FLOOR, y, marker="<", color=color, markersize=5, clip_on=False)
