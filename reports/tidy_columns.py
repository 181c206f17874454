"""Tidy frames column by column, as text with unit and meaning, for the machine-readable formats."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from .columns import IN_UNIT_OF_LABEL
from .table import Table
from .vocabulary import UNKNOWN_UNIT

Kind = Literal["string", "int64", "float64", "bool"]
NUMBER_OF_LABEL = re.compile(
    rf"((published_)?(train|val|test)_)?({'|'.join((*IN_UNIT_OF_LABEL, 'loss'))})(_lo|_hi)?"
)
"""Names of columns in the label's unit; a loss is in its square."""
WAVE = re.compile(r"wave_(lo|hi)")
ANGSTROM = "Angstrom"

_WORDS = {
    "r2": "R2",
    "rmse": "root mean square error",
    "mae": "mean absolute error",
    "bias": "mean of predicted minus true",
    "bias_median": "median of predicted minus true",
    "sigma_mad": "1.4826 x median absolute deviation about the median",
    "loss": "mean squared residual",
    "share": "share",
    "d": "number of features",
    "run_id": "sha256 that names the record",
    "run": "record that the row is about",
    "state": "whether the stores behind the record are there and unchanged",
    "stores": "feature stores, key=digest",
    "rows_test": "rows of test that were scored",
    "kept_test": "rows of the file of test that were kept: all, or a digest",
    "noise_seed": "seed of the noise drawn, where the record tells it",
    "weights": "sha256 of the encoder's weights",
    "encoder": "name of the encoder, first digits of the sha256 of its weights",
    "data_files": "names of the data files, as the runs noted them",
    "file_test": "name of the data file of test",
    "age_test": "how many test sets of the label have newer records",
    "family": "sha256 of what train, val and test stores share",
    "unit": "unit of the label and of its errors",
    "lr": "learning rate",
    "wave_lo": "blue edge of the newest pixels of the segment",
    "wave_hi": "red edge of the newest pixels of the segment",
}
_ENDS = {"_lo": "lower end of the 95 % interval", "_hi": "upper end of the 95 % interval"}


@dataclass(frozen=True, kw_only=True)
class TidyColumn:
    """One column: `texts` are exact, None where missing; `unit` as in `reports.vocabulary`, '' for none."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    texts: tuple[str | None, ...]


@dataclass(frozen=True)
class Tidy:
    """The tidy frame of a document, and its columns."""

    frame: pd.DataFrame

    @cached_property
    def columns(self) -> tuple[TidyColumn, ...]:
        """Every column of the frame; made when first asked for."""
        return tuple(tidy_columns(self.frame))


def tidy_of(tables: Sequence[Table]) -> Tidy:
    """The tidy frames of several tables below each other, in order; columns of all, rows keep their order."""
    frames = [table.tidy for table in tables]
    return Tidy(frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True))


def one_unit(frame: pd.DataFrame) -> str | None:
    """The unit of the label in all rows; None where rows differ."""
    units = set(frame["unit"])
    return str(units.pop()) if len(units) == 1 else None


def tidy_columns(frame: pd.DataFrame) -> Iterator[TidyColumn]:
    """Every column of a tidy frame."""
    unit = one_unit(frame)
    for name in map(str, frame.columns):
        kind = _kind(frame[name])
        yield TidyColumn(
            name=name,
            kind=kind,
            unit=_unit(name, unit),
            meaning=_meaning(name, unit),
            texts=tuple(_texts(frame[name], kind)),
        )


def _kind(series: pd.Series) -> Kind:
    if pd.api.types.is_bool_dtype(series):
        return "bool"
    if pd.api.types.is_integer_dtype(series):
        return "int64"
    return "float64" if pd.api.types.is_float_dtype(series) else "string"


def _texts(series: pd.Series, kind: Kind) -> list[str | None]:
    """Exact texts, None where missing; each different value is written once, as most stand in many rows."""
    known: dict[str, str] = {}
    texts: list[str | None] = []
    for value, absent in zip(series.tolist(), series.isna().tolist(), strict=True):
        if absent:
            texts.append(None)
        elif kind == "string":
            text = str(value)
            if text not in known:
                known[text] = flat_text(text)
            texts.append(known[text])
        else:
            texts.append(repr(float(value)) if kind == "float64" else str(value))
    return texts


def flat_text(text: str) -> str:
    """One line of text: white space as single spaces, what cannot be printed as its escape."""
    flat = " ".join(text.split())
    if flat.isprintable():
        return flat
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in flat)


def _unit(name: str, unit: str | None) -> str:
    if WAVE.fullmatch(name):
        return ANGSTROM
    found = NUMBER_OF_LABEL.fullmatch(name)
    if found is None or not unit or unit == UNKNOWN_UNIT:
        return ""
    return f"{unit}2" if found[4] == "loss" else unit


def _meaning(name: str, unit: str | None) -> str:
    ending = next((end for end in _ENDS if name.endswith(end) and name not in _WORDS), "")
    stem = name.removesuffix(ending) if ending else name
    words = _WORDS.get(stem) or " ".join(_WORDS.get(part, part) for part in _parts(stem))
    text = f"{words}, {_ENDS[ending]}" if ending else words
    if NUMBER_OF_LABEL.fullmatch(name) and unit is None:
        return f"{text}, in the unit that column unit names"
    return text


def _parts(name: str) -> list[str]:
    """'published_test_sigma_mad' as published, test, sigma_mad; an unknown name as its words."""
    found = re.fullmatch(r"(published_)?(train_|val_|test_)?(.+)", name)
    head = [part.rstrip("_") for part in (found[1], found[2]) if part] if found else []
    rest = found[3] if found else name
    return [*head, rest] if rest in _WORDS else [*head, *rest.split("_")]


def is_number(column: TidyColumn) -> bool:
    """Whether a column holds numbers."""
    return column.kind in ("int64", "float64")


def is_empty(column: TidyColumn) -> bool:
    """Whether a column holds nothing in any row."""
    return all(value in (None, "") for value in column.texts)


def as_array(column: TidyColumn) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The numbers of a column, NaN where missing."""
    return np.array([np.nan if value is None else float(value) for value in column.texts], dtype=np.float64)
