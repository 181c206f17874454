"""The formats in which tables are written, by name."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from cache.errors import UnknownName

from .everything import everything, parquet_bytes
from .render_csv import frame_csv
from .render_ecsv import ecsv_text
from .render_latex import latex
from .render_markdown import markdown
from .render_mrt import mrt_text
from .table import Table
from .tidy_columns import Tidy, tidy_of

Render = Callable[[str, Sequence[Table], Tidy], str]
"""A document as text, from its name, its tables and their tidy frame."""

TEXTS: Mapping[str, Render] = {
    "md": lambda _name, tables, _tidy: markdown(tables),
    "csv": lambda _name, _tables, tidy: frame_csv(tidy.frame),
    "ecsv": lambda _name, tables, tidy: ecsv_text(tables, tidy.columns),
    "tex": lambda name, tables, _tidy: latex(tables, name=name),
    "mrt": lambda _name, tables, tidy: mrt_text(tables, tidy.columns),
}
"""Formats of one file per document; the name is the suffix."""
PARQUET = "parquet"
FORMATS = (*TEXTS, PARQUET)
TIDY = f"tidy.{PARQUET}"
"""The one file of the format parquet."""


def check_formats(formats: Sequence[str]) -> None:
    """Raise UnknownName for the first name that is not in FORMATS."""
    for name in formats:
        if name not in FORMATS:
            raise UnknownName("format", name, FORMATS)


def rendered(
    documents: Mapping[str, Sequence[Table]],
    *,
    frame: pd.DataFrame,
    others: Mapping[str, Sequence[Table]],
    formats: Sequence[str] = FORMATS,
) -> dict[str, bytes]:
    """File name -> content of every document in every format asked for, documents in reading order.

    `frame` are the scores and `others` the tables not made of them, which the Parquet of everything is made of.
    """
    check_formats(formats)
    files: dict[str, bytes] = {}
    for name, tables in documents.items():
        tidy = tidy_of(tables)
        for ending in formats:
            if ending in TEXTS:
                files[f"{name}.{ending}"] = TEXTS[ending](name, tables, tidy).encode()
    if PARQUET in formats:
        files[TIDY] = parquet_bytes(everything(frame, others))
    return files
