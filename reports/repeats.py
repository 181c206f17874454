"""Mean predictors that say the same: fitted beside several requests for features, they are one row."""

from collections.abc import Sequence

import pandas as pd

from .comparable import same_test_set
from .comparisons import Comparisons
from .rows import FRESH, Row, rows_of
from .vocabulary import MEAN_PREDICTOR

SAME = 1e-5
"""Share of the RMSE by which two constants may differ and be one: records have six digits."""


def without_repeats(frame: pd.DataFrame, paired: Comparisons) -> pd.DataFrame:
    """The rows of a frame, those mean predictors left out that predict what another does of the same test set.

    The spec of a mean predictor names the features beside which it was fitted, so each request for other features has
    a record of its own. Of equal ones the first stands that a comparison holds, else that whose stores are fresh, else
    that with the first run id, as in `probes compare`.
    """
    means = [row for row in rows_of(frame[frame["role"] == MEAN_PREDICTOR]) if row["test_r2"] is not None]
    kept: list[Row] = []
    repeated: set[tuple[str, str]] = set()
    for row in sorted(means, key=lambda r: (not paired.holds(r), r["state"] != FRESH, r["run_id"])):
        if _is_among(row, kept):
            repeated.add((row["label"], row["run_id"]))
        else:
            kept.append(row)
    named = zip(frame["label"], frame["run_id"], strict=True)
    return frame[[each not in repeated for each in named]].reset_index(drop=True) if repeated else frame


def _is_among(row: Row, others: Sequence[Row]) -> bool:
    """Whether one of the others is the same constant: on one test set the bias tells, as `residual = y_hat - y`."""
    return any(
        same_test_set(row, other)
        and abs(row["test_bias"] - other["test_bias"]) <= SAME * other["test_rmse"]
        and abs(row["test_r2"] - other["test_r2"]) <= SAME
        for other in others
    )
