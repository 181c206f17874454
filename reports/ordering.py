"""The one order of rows in every table: by question asked, never by score or by time."""

import json
import math
from typing import Any

import pandas as pd

from .columns import SPLITS
from .rows import Row, rows_of
from .vocabulary import direction_rank, head_rank, label_rank, layer_rank, pooling_rank, role_rank

PARTS = " + "


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame sorted by label, role, features, head and setting; ties end at the run id, so it is total."""
    rows = rows_of(frame)
    order = sorted(
        range(len(rows)), key=lambda index: (label_rank(rows[index]["label"]), question_rank(rows[index]))
    )
    return frame.iloc[order].reset_index(drop=True)


def question_rank(row: Row) -> tuple[Any, ...]:
    """Sort key of a row whatever its label; two rows of one label never have the same."""
    return (
        role_rank(row["role"]),
        [layer_rank(name) for name in row["layer"].split(PARTS)],
        [pooling_rank(name) for name in row["pooling"].split(PARTS)],
        [direction_rank(name) for name in row["direction"].split(PARTS)],
        json.loads(row["segments"] or "[]"),
        _number(float(row["pca"]) if row["pca"] else None),
        head_rank(row["head"]),
        row["data_kind"],
        [_number(row[f"noise_level_{split}"]) for split in SPLITS],
        _number(row["train_size"]),
        row["error_input"],
        row["cross"],
        row["params"],
        _number(row["seed"]),
        (row["fitted_labels"].count(" "), row["fitted_labels"]),
        row["family"],
        row["run_id"],
    )


def _number(value: float | None) -> float:
    """A number that sorts: none given ('all rows', 'no seed') comes last."""
    return math.inf if value is None else float(value)
