"""One tidy frame of everything that reports know: one row per number, for pandas."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .columns import IN_UNIT_OF_LABEL
from .rows import objects_of
from .table import Table
from .tidy_columns import NUMBER_OF_LABEL, tidy_of

Column = np.ndarray[Any, np.dtype[np.object_]]
SCORES = "scores"
MEASURED = re.compile(
    r"(?:(?P<published>published)_)?(?:(?P<split>train|val|test)_)?"
    rf"(?P<quantity>r2|{'|'.join(IN_UNIT_OF_LABEL)}|loss|difference|share|gap|p|p_holm|importance|whole|alone|without|"
    r"ours|published|learning_rate)"
)
"""Columns that hold what was measured; `_lo` and `_hi` are their intervals, everything else says of what."""
FIRST = (
    "table",
    "part",
    "run_id",
    "run",
    "label",
    "split",
    "quantity",
    "source",
    "value",
    "low",
    "high",
    "unit",
    "status",
    "error",
    "state",
)

INTEGERS = (
    "train_size",
    "seed",
    "noise_seed",
    "probe_version",
    "d",
    "age_test",
    "epoch",
    "bin",
    "segment",
    "part_index",
)
FLOATS = ("value", "low", "high", "bin_lo", "bin_hi", "wave_lo", "wave_hi")
FLAGS = ("applicable", "above")


def everything(frame: pd.DataFrame, others: Mapping[str, Sequence[Table]]) -> pd.DataFrame:
    """Every number of the scores in `frame` and of `others`, tables that are not made of it, by kind of document.

    Columns FIRST, then what each number is of. `source` is 'ours' or 'published'; `low` and `high` are the ends of the
    95 % interval, missing where none was made; `unit` is that of the value. A failed record has one row, without value.
    """
    frames = {SCORES: frame} | {name: tidy_of(tables).frame for name, tables in others.items() if tables}
    parts = [part for name, tidy in frames.items() for part in _numbers(name, tidy)]
    names = dict.fromkeys([*FIRST, *(name for part in parts for name in part)])
    lengths = [len(part["value"]) for part in parts]
    return pd.DataFrame(
        {
            name: pd.Series(
                np.concatenate(
                    [part.get(name, _repeated(None, n)) for part, n in zip(parts, lengths, strict=True)]
                ),
                dtype=_dtype(name),
            )
            for name in names
        }
    )


def _dtype(name: str) -> str:
    """Of every column whatever its values, so that frames of different folders have the same."""
    if name in INTEGERS or re.fullmatch(r"n(_rows)?(_\w+)?", name):
        return "Int64"
    if name in FLAGS:
        return "boolean"
    return "Float64" if name in FLOATS or name.startswith("noise_level_") else "string"


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet; equal frames give equal bytes with one version of pyarrow."""
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False, compression="zstd")
    return stream.getvalue()


def _numbers(table: str, tidy: pd.DataFrame) -> Iterator[dict[str, Column]]:
    """The rows of each measured column of a tidy frame, column by column; those without a value are left out.

    A plain loop over arrays: the same by pandas takes ten times as long.
    """
    columns: dict[str, Column] = dict(zip(map(str, tidy.columns), objects_of(tidy).T, strict=True))
    n = len(tidy)
    found = {name: match for name in columns if (match := MEASURED.fullmatch(name))}
    ends = {f"{name}_{end}" for name in found for end in ("lo", "hi")}
    about = {name: v for name, v in columns.items() if name not in found and name not in ends}
    unit = about.pop("unit", _repeated(None, n))
    failed = columns["status"] != "ok" if "status" in columns else np.zeros(n, dtype=bool)
    for name, match in found.items():
        is_there = np.array([value is not None for value in columns[name]], dtype=bool)
        kept = np.flatnonzero(is_there | (failed & (name == "test_r2")))
        if not kept.size:
            continue
        told = {key: values[kept] for key, values in about.items()}
        is_published = match["published"] or match["quantity"] == "published"
        yield told | {
            "table": _repeated(table, kept.size),
            "split": _repeated(match["split"], kept.size)
            if match["split"]
            else told.get("split", _repeated(None, kept.size)),
            "quantity": _repeated(match["quantity"], kept.size),
            "source": _repeated("published" if is_published else "ours", kept.size),
            "value": columns[name][kept],
            "low": columns.get(f"{name}_lo", _repeated(None, n))[kept],
            "high": columns.get(f"{name}_hi", _repeated(None, n))[kept],
            "unit": told.get("quantity_unit", _unit(name, unit[kept])),
        }


def _repeated(text: str | None, n: int) -> Column:
    return np.full(n, text, dtype=object)


def _unit(name: str, unit: Column) -> Column:
    """Unit of a measured column by row: that of the label for errors, none for R2 and shares."""
    found = NUMBER_OF_LABEL.fullmatch(name)
    if found is None:
        return _repeated("", unit.size)
    return np.array([f"{one}^2" if found[4] == "loss" and one else one for one in unit], dtype=object)
