"""Tables along one axis: poolings, training sizes, noise levels, noise draws or PCA dimensions as columns."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cache.grouping import grouped

from .comparable import comparable_rows
from .comparisons import Comparisons
from .contest import contest
from .paired_columns import difference_text
from .pivots import lines_of, score_key, side_by_side
from .rows import Row, rows_of
from .settings import VARYING, n_draws, settings_frame, settings_rows, varying_columns
from .table import Cell, Column, Table
from .tables import FEATURES, HEAD, ROLE, of_label
from .vocabulary import CONTROLS, LATENT, MEAN_PREDICTOR, pooling_rank

ACROSS = "axis"
TRAIN_LEVEL = Column(key="noise_level_train", heading="train noise level", digits=2)
GAIN = Column(key="gain", heading="last minus first, paired (95 % interval)")
LAYER, _, DIRECTION = FEATURES

Rank = Callable[[Row], Any]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What stands across a table: a row's `value` on the axis, by `rank` in order; `keys` lead the lines.

    `covers` names settings (of `settings.VARYING`) that differ along the axis by its nature. Rows that are equal in all
    of a line but the columns `rivals` compete for bold; without rivals nothing is bold. A table needs a line with at
    least `least` values.
    """

    title: str
    value: Callable[[Row], str]
    rank: Rank
    note: str
    keys: tuple[Column, ...] = (ROLE, *FEATURES, HEAD)
    covers: tuple[str, ...] = ()
    rivals: tuple[str, ...] = (ACROSS,)
    roles: Callable[[str], bool] = lambda role: role != MEAN_PREDICTOR
    least: int = 2


def _draws_text(row: Row) -> str:
    n = n_draws(row)
    return "fresh noise" if n == math.inf else f"{n:.0f} draw{'s' if n > 1 else ''}"


def _level(row: Row) -> float:
    return -1.0 if row["noise_level_test"] is None else float(row["noise_level_test"])


BOLD_ALONG = "Bold: the best value of its line, only where it is better than every other beyond chance"

AXES: Mapping[str, Axis] = {
    "grid": Axis(
        title="layer x pooling",
        value=lambda row: str(row["pooling"]),
        rank=lambda row: pooling_rank(str(row["pooling"])),
        keys=(ROLE, LAYER, DIRECTION, HEAD),
        rivals=(),
        roles=lambda role: role in (LATENT, *CONTROLS),
        note=(
            "Nothing is bold: the best of so many cells owes part of its score to the choice. The layers table marks a "
            "row that is better than every other beyond chance."
        ),
        least=1,
    ),
    "sizes": Axis(
        title="training sizes",
        value=lambda row: "all" if row["train_size"] is None else f"{row['train_size']} stars",
        rank=lambda row: math.inf if row["train_size"] is None else row["train_size"],
        covers=("train_size_text",),
        note=f"{BOLD_ALONG}. Larger sizes hold the stars of smaller ones.",
    ),
    "noise": Axis(
        title="noise levels, train x test",
        value=lambda row: f"test noise level {_level(row):g}",
        rank=_level,
        keys=(ROLE, *FEATURES, HEAD, TRAIN_LEVEL),
        covers=("noise_level_text", "cross_text"),
        rivals=(TRAIN_LEVEL.key,),
        note=(
            "Noise level: standard deviation of the noise in units of the error. Val has the level of train, so "
            "nothing is chosen on the level of test. Bold: the best train level for one test level, only where it is "
            "better than every other beyond chance."
        ),
    ),
    "draws": Axis(
        title="cached noise draws",
        value=_draws_text,
        rank=n_draws,
        covers=("draws_text",),
        note=f"{BOLD_ALONG}. Noise draws of each train star; val and test have draw 0 alone. n counts stars.",
    ),
    "pca": Axis(
        title="PCA dimensions",
        value=lambda row: f"{row['pca']} axes" if row["pca"] else "all features",
        rank=lambda row: float(row["pca"]) if row["pca"] else math.inf,
        covers=("pca_text",),
        note=f"{BOLD_ALONG}. Principal axes are those of train.",
    ),
}


def axis_table(frame: pd.DataFrame, label: str, name: str, paired: Comparisons) -> Table | None:
    """The table of one axis for one label; None when no line has enough values of it."""
    axis = AXES[name]
    rows = of_label(frame, label)
    rows = rows[_enough(rows_of(rows), axis)].reset_index(drop=True)
    if rows.empty:
        return None
    shown = settings_frame(rows)
    shown[ACROSS] = [axis.value(row) for row in rows_of(shown)]
    keys = (*axis.keys, *varying_columns(shown, without=axis.covers))
    lines = lines_of(shown, keys)
    in_order = {row[ACROSS]: axis.rank(row) for row in rows_of(shown)}
    winners = _winners(shown, [column.key for column in keys], axis, paired)
    gains = {index: gain for index, line in enumerate(lines) if (gain := _gain(line, axis, paired))}
    return side_by_side(
        shown,
        title=f"{label}: {axis.title}, test R2 (95 % interval)",
        keys=keys,
        across=ACROSS,
        names=sorted(in_order, key=lambda name: in_order[name]),
        note=axis.note,
        tidy=rows,
        more=gains,
        covered=axis.covers,
        after=(GAIN,) if gains else (),
        emphasis=frozenset(
            (index, score_key(row[ACROSS]))
            for index, line in enumerate(lines)
            for row in line
            if row["run_id"] in winners and sum(other[ACROSS] == row[ACROSS] for other in line) == 1
        ),
    )


def _enough(rows: Sequence[Row], axis: Axis) -> list[bool]:
    """Of each row whether it has such a role, and whether its like, equal in all but the axis, have enough values."""
    told = [column.key for column in axis.keys] + [key for key in VARYING if key not in axis.covers]
    if set(axis.rivals) - {ACROSS}:  # what competes across lines counts across lines
        told = [key for key in told if key not in axis.rivals]
    values: dict[tuple[str, ...], set[str]] = {}
    shown = settings_rows(rows)
    identities = [tuple(str(row[key]) for key in told) for row in shown]
    for row, identity in zip(shown, identities, strict=True):
        if axis.roles(row["role"]):
            values.setdefault(identity, set()).add(axis.value(row))
    return [
        axis.roles(row["role"]) and len(values[identity]) >= axis.least
        for row, identity in zip(shown, identities, strict=True)
    ]


def _winners(shown: pd.DataFrame, keys: Sequence[str], axis: Axis, paired: Comparisons) -> set[str]:
    """Run ids of the rows that are clearly better than all that they compete with; a control is never among them."""
    told = [key for key in (*keys, ACROSS) if key not in axis.rivals]
    winners = set()
    for rows in comparable_rows(shown):
        for group in grouped(rows, lambda row: tuple(str(row[key]) for key in told)).values():
            result = contest(group, paired)
            if result is not None and result.clear and result.best["role"] not in CONTROLS:
                winners.add(result.best["run_id"])
    return winners


def _gain(line: Sequence[Row], axis: Axis, paired: Comparisons) -> dict[str, Cell] | None:
    """R2 of the last value of a line minus that of the first, where one record each was compared in pairs."""
    in_order = sorted(line, key=axis.rank)
    first, last = in_order[0], in_order[-1]
    alone = all(sum(row[ACROSS] == end[ACROSS] for row in line) == 1 for end in (first, last))
    pair = paired.between(last, first) if alone and axis.rivals == (ACROSS,) else None
    return None if pair is None else {GAIN.key: difference_text(pair)}
