"""One tidy frame of everything that reports know: one row per number, for pandas."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from .rows import IN_UNIT_OF_LABEL
from .table import Table
from .tidy_columns import NUMBER_OF_LABEL

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

INTEGERS = ("train_size", "seed", "probe_version", "d", "epoch", "bin", "segment", "part_index")
FLOATS = ("value", "low", "high", "bin_lo", "bin_hi", "wave_lo", "wave_hi")
FLAGS = ("applicable", "above")


def everything(frame: pd.DataFrame, others: Mapping[str, Sequence[Table]]) -> pd.DataFrame:
    """Every number of the scores in `frame` and of `others`, tables that are not made of it, by kind of document.

    Columns FIRST, then what each number is of. `source` is 'ours' or 'published'; `low` and `high` are the ends of the
    95 % interval, missing where none was made; `unit` is that of the value. A failed record has one row, without value.
    """
    parts = list(_numbers(SCORES, frame))
    for name, tables in others.items():
        for table in tables:
            parts += _numbers(name, table.tidy)
    joined = pd.concat([part.astype("object") for part in parts], ignore_index=True)
    joined = joined[[*FIRST, *(name for name in joined.columns if name not in FIRST)]]
    return joined.astype({name: _dtype(name) for name in joined.columns})


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


def _numbers(table: str, tidy: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """One frame per measured column of a tidy frame, rows without a value left out unless they failed."""
    found = {str(name): match for name in tidy.columns if (match := MEASURED.fullmatch(str(name)))}
    ends = {f"{name}_{end}" for name in found for end in ("lo", "hi")}
    about = tidy[[name for name in tidy.columns if name not in found and name not in ends and name != "unit"]]
    unit = tidy["unit"] if "unit" in tidy else pd.Series("", index=tidy.index)
    failed = (tidy["status"] != "ok") if "status" in tidy else pd.Series(data=False, index=tidy.index)
    for name, match in found.items():
        values = pd.to_numeric(tidy[name]).astype("float64")
        kept = values.notna() | (failed & (name == "test_r2"))
        if not kept.any():
            continue
        low, high = (
            pd.to_numeric(tidy[column]).astype("float64") if column in tidy else values * float("nan")
            for column in (f"{name}_lo", f"{name}_hi")
        )
        part = about.assign(
            table=table,
            split=match["split"] or tidy.get("split", ""),
            quantity=match["quantity"],
            source="published" if match["published"] or match["quantity"] == "published" else "ours",
            value=values,
            low=low,
            high=high,
            unit=_unit(name, unit),
        )
        yield part[kept].reindex(columns=[*FIRST, *(c for c in part.columns if c not in FIRST)])


def _unit(name: str, unit: pd.Series) -> pd.Series:
    """Unit of a measured column by row: that of the label for errors, none for R2 and shares."""
    found = NUMBER_OF_LABEL.fullmatch(name)
    if found is None:
        return unit.where(unit.isna(), "")
    return unit + "^2" if found[4] == "loss" else unit
