"""The file that predictions are written to: Parquet or CSV, by its name."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache.atomic import publish_bytes, publish_json
from cache.canonical import canonical_json
from cache.errors import ConfigError
from cache.records import write_table

from .views import Array

ABOUT = "blindspot_predict"
"""Key in the metadata of a Parquet file: JSON of the head, the stores, and what was said about them."""
PARQUET, CSV = ".parquet", ".csv"


def check_out(path: Path) -> None:
    """Raise ConfigError for a name that ends in neither."""
    if path.suffix.lower() not in {PARQUET, CSV}:
        raise ConfigError(
            f"--out {path}: ends in {path.suffix!r}; name a file that ends in {PARQUET} or {CSV}"
        )


def write_predictions(path: Path, columns: Mapping[str, Array], *, about: Mapping[str, Any]) -> None:
    """Write equally long columns (n,) to a file of the kind that its name says, whole or not at all.

    `about` goes to the metadata of a Parquet file, under ABOUT; of a CSV file x.csv it is kept in x.csv.json. CSV has
    stars as 16 hexadecimal digits and every digit of a number that matters. Raises as `check_out`.
    """
    check_out(path)
    if path.suffix.lower() == PARQUET:
        write_table(path, columns, about={ABOUT: canonical_json(about)})
        return
    publish_json(path.with_name(f"{path.name}.json"), about)
    publish_bytes(path, _csv(columns))


def _csv(columns: Mapping[str, Array]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_cells(name, values) for name, values in columns.items()), strict=True))
    return stream.getvalue().encode()


def _cells(name: str, values: Array) -> list[Any]:
    cells: list[Any] = values.tolist()
    return [f"{star:016x}" for star in cells] if name == "star" else cells
