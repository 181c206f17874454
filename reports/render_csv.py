"""Tables as CSV: the tidy frame at full precision, one header line, units as suffixes of the names."""

import io
import re
from collections.abc import Sequence

import pandas as pd

from .rows import IN_UNIT_OF_LABEL
from .table import Table

MIXED_UNIT = "in_unit"
_NUMBER_OF_LABEL = re.compile(
    rf"(published_)?(train|val|test)_({'|'.join((*IN_UNIT_OF_LABEL, 'loss'))})(_lo|_hi)?"
)


def csv_text(tables: Sequence[Table]) -> str:
    """One CSV of the tidy frames of several tables below each other, in order; rows keep their order."""
    frame = pd.concat([table.tidy for table in tables], ignore_index=True)
    return frame_csv(frame)


def frame_csv(frame: pd.DataFrame) -> str:
    """A tidy frame as CSV; numbers in the label's unit are named with it, e.g. `test_rmse_dex`.

    With labels of different units in one frame the suffix is `in_unit` and the column `unit` names it.
    """
    units = sorted(set(frame["unit"])) if len(frame) else []
    suffix = re.sub(r"\W+", "_", units[0]) if len(units) == 1 else MIXED_UNIT
    named = frame.rename(
        columns={
            name: f"{name}_{suffix}{'2' if found[3] == 'loss' else ''}"
            for name in frame.columns
            if suffix and (found := _NUMBER_OF_LABEL.fullmatch(str(name)))
        }
    )
    stream = io.StringIO()
    named.to_csv(stream, index=False, lineterminator="\n")
    return stream.getvalue()
