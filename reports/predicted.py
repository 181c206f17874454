"""Truth and predictions of test by the latent row that val chooses, read from its record."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache.errors import CacheError
from cache.records import prediction_columns

from .comparable import best_on_val
from .drawn import latents_of, main_rows, plain
from .quantity_bins import QUANTITIES, Floats
from .rows import Row
from .source import Columns, Source

LEAST_ROWS = 20
"""Fewer predictions than this tell nothing about a distribution."""
BY: Mapping[str, str] = {
    **QUANTITIES,
    "T_eff": "true T_eff [K]",
}
"""What residuals are drawn against, and its name on the axis; magnitude stands in where S/N is not stored."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Truth and prediction of the test rows of one probe, (n,) each, in the label's unit, finite, and their stars."""

    row: Row
    star: npt.NDArray[np.generic]
    truth: Floats
    predicted: Floats
    stored: Mapping[str, Floats]

    @property
    def residual(self) -> Floats:
        """Prediction minus truth."""
        return self.predicted - self.truth


def best_predicted(source: Source, label: str) -> Predicted | None:
    """Predictions of the latent row with the best val R2; None where there are too few of them."""
    latents = plain(latents_of(main_rows(source.frame, label)))
    row = best_on_val(latents)
    if row is None:
        return None
    try:
        columns = source.predictions(row["run_id"])
    except CacheError:
        return None
    found = _of_test(row, columns)
    return found if found.truth.size >= LEAST_ROWS else None


def _of_test(row: Row, columns: Columns) -> Predicted:
    fitted = row["fitted_labels"].split()
    truth, predicted = prediction_columns(fitted)[fitted.index(row["label"])]
    test = columns["split"] == "test"
    y, y_hat = (np.asarray(columns[name][test], dtype=np.float64) for name in (truth, predicted))
    good = np.isfinite(y) & np.isfinite(y_hat)
    stored = {name: np.asarray(columns[name][test], dtype=np.float64)[good] for name in BY if name in columns}
    star = np.asarray(columns["star"])[test][good]
    return Predicted(row=row, star=star, truth=y[good], predicted=y_hat[good], stored=stored)
