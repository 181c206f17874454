"""A probe that is on record, taken up again: its fitted head, the test rows it was scored on, its kin."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache import FeatureStore, FeatureView
from cache.canonical import canonical_json
from cache.errors import Stale
from cache.provenance import KEY_DIGITS
from cache.records import Record, prediction_columns, read_predictions

from .features import FeaturePart, parts_from_json
from .head_of_record import check_is_of
from .persistence import load_head
from .runner import head_folder
from .samples import FAIL, Sample, load_sample
from .views import Array

if TYPE_CHECKING:
    from .importance import Predict

_SAME = 1e-5
"""Share of a label's spread by which a prediction may differ from the recorded one: other threads, another device."""


@dataclass(frozen=True, kw_only=True)
class RecordedProbe:
    """The test rows of a probe, and `predict` from X (n, d) to (n, t), as it was fitted."""

    parts: tuple[FeaturePart, ...]
    view: FeatureView
    test: Sample
    y_hat: Array
    """As recorded, (n, t)."""
    predict: "Predict"


def take_up(results: Path, features: Path, record: Record) -> RecordedProbe:
    """Read head and test features of a record, and check that they give the predictions on record.

    Raises Stale where the stores have changed or the head predicts something else, and what reading raises.
    """
    folder = head_folder(results, record.run_id)
    saved = load_head(folder)
    check_is_of(record, saved, folder)
    parts = parts_from_json(saved.use["parts"])
    view = recorded_view(features, record, "test")
    labels = tuple(record.spec["labels"])
    test = load_sample(
        [view],
        parts,
        labels=labels,
        split="test",
        segments=saved.use.get("segments"),
        missing=record.spec.get("missing_labels", FAIL),
    )

    def predict(X: Array) -> Array:
        on_axes = X if saved.axes is None else saved.axes.apply(X)
        return saved.head.predict(on_axes).reshape(len(X), len(labels))

    y_hat = predict(test.X)
    apart = np.abs(y_hat - recorded_predictions(results, record)).max(axis=0)
    if np.any(apart > _SAME * np.ptp(test.y, axis=0)):
        raise Stale(
            f"{record.run_id[:12]}: its saved head does not give the predictions on record (apart by "
            f"{float(apart.max()):.3g}); fit it again with --refit"
        )
    return RecordedProbe(parts=parts, view=view, test=test, y_hat=y_hat, predict=predict)


def recorded_view(features: Path, record: Record, split: str) -> FeatureView:
    """The stores of one split that a record names, of which there is one draw; Stale where one has changed since."""
    stores = [FeatureStore.open(features / split / key[:KEY_DIGITS]) for key in record.spec["stores"][split]]
    for store in stores:
        found, recorded = store.digest(), record.result["stores"].get(store.key)
        if found != recorded:
            raise Stale(
                f"{store.path}: has digest {found[:12]}, the probe {record.run_id[:12]} was fitted to "
                f"{str(recorded)[:12]}; run the probe again"
            )
    return FeatureView({array: store for store in stores for array in store.arrays})


def recorded_predictions(results: Path, record: Record) -> Array:
    """Predictions of test on record, (n, t), in the order of its rows there."""
    columns = read_predictions(results, record.run_id)
    test = columns["split"] == "test"
    return np.stack(
        [
            np.asarray(columns[y_hat][test], dtype=np.float64)
            for _, y_hat in prediction_columns(record.spec["labels"])
        ],
        axis=1,
    )


def refits(record: Record, every: Iterable[Record]) -> dict[tuple[int, ...], Record]:
    """Records of the same probe fitted to some of the wavelength segments, by these segments."""
    question = _without_segments(record.spec)
    return {
        tuple(other.spec["features"]["segments"]): other
        for other in every
        if other.kind == "probe"
        and other.result["status"] == "ok"
        and other.spec["features"].get("segments") is not None
        and _without_segments(other.spec) == question
    }


def _without_segments(spec: Mapping[str, Any]) -> str:
    return canonical_json({**spec, "features": {**spec["features"], "segments": None}})
