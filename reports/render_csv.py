"""Tables as CSV: the tidy frame at full precision, one header line, units as suffixes of the names."""

import io
import re

import pandas as pd

from .tidy_columns import NUMBER_OF_LABEL, one_unit

MIXED_UNIT = "in_unit"


def frame_csv(frame: pd.DataFrame) -> str:
    """A tidy frame as CSV; numbers in the label's unit are named with it, e.g. `test_rmse_dex`.

    With labels of different units in one frame the suffix is `in_unit` and the column `unit` names it.
    """
    unit = one_unit(frame)
    suffix = MIXED_UNIT if unit is None else re.sub(r"\W+", "_", unit)
    named = frame.rename(
        columns={
            name: f"{name}_{suffix}{'2' if found[4] == 'loss' else ''}"
            for name in frame.columns
            if suffix and (found := NUMBER_OF_LABEL.fullmatch(str(name)))
        }
    )
    stream = io.StringIO()
    named.to_csv(stream, index=False, lineterminator="\n")
    return stream.getvalue()
