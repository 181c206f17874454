"""What the overview figure shows and where its labels stand: all of it but the drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from .render_markdown import number_text
from .rows import Row
from .settings import variant_of, varying_columns
from .verdict import BASELINES, beats_clearly, scored
from .vocabulary import LATENT, head_rank

AXES_WIDTH = 5.2
"""Inches."""
FLAG_CHARACTER = 0.0605
"""Width of a character of a reference label, inches: 8 point DejaVu Sans, a little generous."""
FLOOR = -0.25
"""Test R2 below this is drawn at the edge with its value, so that one diverged head does not flatten the rest."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the figure: features and setting, and the rows of every head on it."""

    layer: str
    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Flag:
    """The label of a reference line: it ends `x` inches right of the axes' left edge, at a level above the axes."""

    row: Row
    text: str
    x: float
    start: float
    level: int


def lines_of(latents: Sequence[Row]) -> list[Line]:
    """Lines in table order; a direction or setting that differs between rows is part of a line's name."""
    shown = pd.DataFrame(latents)
    keys = ["pooling", "direction"] if len({row["direction"] for row in latents}) > 1 else ["pooling"]
    settings = varying_columns(shown, without=("settings_text",))
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in latents:
        parts = [*(row[key] for key in keys), *(f"{c.heading} {row[c.key]}" for c in settings if row[c.key])]
        groups.setdefault((row["layer"], ", ".join(parts)), []).append(row)
    # The same layer under another setting may come later in table order: keep layers together.
    layers = list(dict.fromkeys(layer for layer, _ in groups))
    return [
        Line(layer=layer, name=name, rows=tuple(rows))
        for (layer, name), rows in sorted(groups.items(), key=lambda item: layers.index(item[0][0]))
    ]


def best_lines(lines: Sequence[Line], most: int) -> list[Line]:
    """At most so many lines, in their order: those whose best head has the highest val R2."""

    def val(place: int) -> float:
        return max(-math.inf if row["val_r2"] is None else float(row["val_r2"]) for row in lines[place].rows)

    kept = sorted(sorted(range(len(lines)), key=lambda place: (-val(place), place))[:most])
    return [lines[place] for place in kept]


def limits_of(rows: Sequence[Row]) -> tuple[float, float]:
    """Ends of the R2 axis: everything drawn, but not below FLOOR and never above 1 by more than a margin."""
    lows = [value for row in rows for value in (row["test_r2"], row["test_r2_lo"]) if value is not None]
    highs = [value for row in rows for value in (row["test_r2"], row["test_r2_hi"]) if value is not None]
    low, high = max(FLOOR, min([*lows, 0.0])), max([*highs, 0.1])
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def placed_flags(references: Sequence[Row], limits: tuple[float, float]) -> list[Flag]:
    """Labels of the reference lines, from left to right, each above every line that would run through it."""
    flags: list[Flag] = []
    for row in sorted(references, key=lambda row: float(row["test_r2"])):
        x = (max(row["test_r2"], limits[0]) - limits[0]) * AXES_WIDTH / (limits[1] - limits[0])
        text = f"{row['role']} ({row['head']}): {number_text(row['test_r2'], 2)}"
        start = x - len(text) * FLAG_CHARACTER - 0.1
        level = 1 + max((flag.level for flag in flags if flag.x > start), default=-1)
        flags.append(Flag(row=row, text=text, x=x, start=start, level=level))
    return flags


def title_of(label: str, rows: Sequence[Row]) -> str:
    """The story of the figure: whether a baseline beats the best latent row."""
    ranking = scored(rows)
    latent = next(row for row in ranking if row["role"] == LATENT)
    there = [role for role in BASELINES if any(row["role"] == role for row in ranking)]
    winners = [best for role in there if (best := _best(ranking, role))["test_r2"] > latent["test_r2"]]
    if winners:
        clear = all(beats_clearly(row, latent) for row in winners)
        verb = "beat" if len(winners) > 1 else "beats"
        return f"{label}: {_listed(winners)} {f'{verb} every latent row' if clear else 'ahead, within noise'}"
    losers = [_best(ranking, role) for role in there]
    if losers:
        clear = all(beats_clearly(latent, row) for row in losers)
        return f"{label}: the best latent row {f'beats {_listed(losers)}' if clear else 'is ahead, within noise'}"
    return f"{label}: what each layer and pooling knows"


def _best(ranking: Sequence[Row], role: str) -> Row:
    return next(row for row in ranking if row["role"] == role)


def _listed(rows: Sequence[Row]) -> str:
    return " and ".join(row["role"] for row in rows)


def caption_of(latents: Sequence[Row], flags: Sequence[Flag]) -> str:
    """Where the numbers come from and what the reference lines are."""
    kinds = " and ".join(sorted({row["data_kind"] for row in latents}))
    counts = "/".join(str(n) for n in sorted({row["n_test"] for row in latents if row["n_test"] is not None}))
    warning = " (not BOSZ results)" if "mock" in kinds else ""
    legend = "Vertical lines: best row of that kind, shaded: its interval." if flags else ""
    return f"{counts} test stars, {kinds} data{warning}. {legend}"


def variants_of(rows: Sequence[Row]) -> list[str]:
    """Heads and settings of a head in table order: what colours and markers tell apart."""
    names = {variant_of(row): head_rank(row["head"]) for row in rows}
    return sorted(names, key=lambda name: (names[name], name))
