"""Tables as ECSV (astropy's enhanced CSV 1.0): the tidy frame at full precision, units and meanings in the header."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from .table import Table
from .tidy_columns import TidyColumn


def ecsv_text(tables: Sequence[Table], columns: Sequence[TidyColumn]) -> str:
    """One ECSV of a document; `columns` are those of its tidy frame. Titles and notes are in the metadata.

    Written here and read by `astropy.table.Table.read`: importing astropy takes longer than all tables together.
    JSON is YAML, so the header needs no YAML library. A missing value is an empty field.
    """
    meta = {
        "titles": [table.title for table in tables],
        "notes": [note for table in tables for note in table.notes],
    }
    stream = io.StringIO()
    stream.write("# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n")
    for column in columns:
        stream.write(f"# - {json.dumps(_about(column))}\n")
    stream.write(f"# meta: {json.dumps(meta)}\n# schema: astropy-2.0\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows(
        ["" if value is None else value for value in line]
        for line in zip(*(column.texts for column in columns), strict=True)
    )
    return stream.getvalue()


def _about(column: TidyColumn) -> dict[str, Any]:
    unit = {"unit": column.unit} if column.unit else {}
    return {"name": column.name, **unit, "datatype": column.kind, "description": column.meaning}
