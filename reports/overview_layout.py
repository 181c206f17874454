"""What the overview figure shows and where its labels stand: all of it but the drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

from cache.grouping import grouped

from .comparable import val_of
from .comparisons import NOT_COMPARED, Comparisons
from .contest import beats_clearly, scored
from .drawn import FLOOR, data_note
from .planned import Headline, chosen, chosen_on, headline_of
from .render_markdown import number_text
from .rows import Row
from .settings import variant_of
from .usual import Usual, usual_of
from .verdict import BASELINES
from .vocabulary import LATENT, head_rank

AXES_WIDTH = 5.2
"""Inches."""
FLAG_CHARACTER = 0.0605
"""Width of a character of a reference label, inches: 8 point DejaVu Sans, a little generous."""


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
    """Lines in table order; a direction that differs between rows, or an unusual setting, is part of a line's name."""
    keys = ["pooling", "direction"] if len({row["direction"] for row in latents}) > 1 else ["pooling"]
    usual = usual_of_lines(latents)

    def line_of(row: Row) -> tuple[str, str]:
        return row["layer"], ", ".join([*(row[key] for key in keys), *usual.told(row)])

    groups = grouped(latents, line_of)
    # The same layer under another setting may come later in table order: keep layers together.
    layers = list(dict.fromkeys(layer for layer, _ in groups))
    return [
        Line(layer=layer, name=name, rows=tuple(rows))
        for (layer, name), rows in sorted(groups.items(), key=lambda item: layers.index(item[0][0]))
    ]


def usual_of_lines(latents: Sequence[Row]) -> Usual:
    """The settings that most latent rows have, but for those of heads."""
    return usual_of(latents, without=("settings_text",))


def best_lines(lines: Sequence[Line], most: int) -> list[Line]:
    """At most so many lines, in their order: those whose best head has the highest val R2, or test R2 without any."""
    by_val = any(row["val_r2"] is not None for line in lines for row in line.rows)

    def score(place: int) -> float:
        return max(val_of(row) if by_val else float(row["test_r2"]) for row in lines[place].rows)

    kept = sorted(sorted(range(len(lines)), key=lambda place: (-score(place), place))[:most])
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


def title_of(label: str, rows: Sequence[Row], paired: Comparisons = NOT_COMPARED) -> str:
    """The story of the figure: which baselines beat the latents, which cannot be told from the latent row of val.

    Beyond chance is judged in pairs where rows were compared so (`contest.beats_clearly`): of the latent row of val
    over the planned contrasts, of every latent row, and of rows that val did not choose, over all pairs.
    """
    planned = headline_of(rows, paired)
    assert planned is not None
    latent, family = planned.latent, planned.family
    there = {kind: row for kind, row in planned.controls.items() if row["role"] in BASELINES}
    if not there:
        return f"{label}: test R² by layer and pooling, with no baseline to judge it by"
    above = {kind: row for kind, row in there.items() if beats_clearly(row, latent, family)}
    above |= {kind: planned.ahead[kind] for kind in there if kind in planned.ahead}
    below = [kind for kind, row in there.items() if kind not in above and beats_clearly(latent, row, family)]
    even = [kind for kind in there if kind not in above and kind not in below]
    best = f"the latent row best on {chosen_on(latent)}"
    if not above and not even:
        return f"{label}: {best} beats {_beaten(planned, below)}"
    latents = [row for row in scored(rows) if row["role"] == LATENT]
    every = all(beats_clearly(row, other, paired) for row in above.values() for other in latents)
    told = []
    if above:
        names = [
            f"{kind} ({variant_of(row)})" if kind in planned.ahead else kind for kind, row in above.items()
        ]
        told.append(
            f"{_listed(names)} {'beat' if len(above) > 1 else 'beats'} {'every latent row' if every else best}"
        )
    if even:
        told.append(f"{_listed(even)} {'are' if len(even) > 1 else 'is'} not told apart from {best}")
    return f"{label}: {'; '.join(told)}"


def _beaten(planned: Headline, kinds: Sequence[str]) -> str:
    """The kinds that the latent row beats, by the rows that were chosen of them as it was."""
    by_test = planned.latent["val_r2"] is None
    chosen_alike = all((planned.controls[kind]["val_r2"] is None) == by_test for kind in kinds)
    if chosen_alike and any(planned.numbers[kind] > 1 for kind in kinds):
        return f"{'those' if len(kinds) > 1 else 'that'} of {_listed(kinds)}"
    return _listed([planned.told(kind) for kind in kinds])


def chosen_of(rows: Sequence[Row], role: str) -> Row | None:
    """Of the scored rows of a role that with the highest val R2, or test R2 where none has one; None without any."""
    return chosen([row for row in scored(rows) if row["role"] == role])


def _listed(kinds: Sequence[str]) -> str:
    return " and ".join(kinds)


def goes_below(row: Row, edge: float) -> bool:
    """Whether the interval of a row that is drawn goes on below the axis."""
    low = row["test_r2_lo"]
    return low is not None and row["test_r2"] >= edge and bool(low < edge)


def caption_of(latents: Sequence[Row], flags: Sequence[Flag], *, cut: bool = False) -> str:
    """Where the numbers come from, what most lines have in common, what reference lines are, arrows where `cut`."""
    on = chosen_on(*(flag.row for flag in flags))
    legend = f"Vertical lines: row of that kind best on {on}, shaded: its interval. " if flags else ""
    arrows = "Arrows: intervals that go on below the axis." if cut else ""
    usual = usual_of_lines(latents).note
    return f"{data_note(latents)}. {usual}{' ' * bool(usual)}{legend}{arrows}".strip()


def variants_of(rows: Sequence[Row]) -> list[str]:
    """Heads and settings of a head in table order: what colours and markers tell apart."""
    names = {variant_of(row): head_rank(row["head"]) for row in rows}
    return sorted(names, key=lambda name: (names[name], name))
