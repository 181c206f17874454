"""Applying a fitted head to features without labels, which were checked to be its own kind (`check_kin`)."""

import numpy as np

from cache.records import prediction_columns

from .features import FeaturePart, load_features, parts_from_json
from .persistence import SavedHead
from .views import Array, FeatureView, draw_of


def parts_of(saved: SavedHead) -> tuple[FeaturePart, ...]:
    """The features that a head was fitted to."""
    return parts_from_json(saved.use["parts"])


def predictions_of(saved: SavedHead, view: FeatureView) -> dict[str, Array]:
    """Predictions for every row of a view that was checked (`check_kin`), by column.

    Columns row, star, split, draw, y_hat (y_hat_<label> with several labels).
    """
    X = load_features(view, parts_of(saved), segments=saved.use.get("segments"))
    if saved.axes is not None:
        X = saved.axes.apply(X)
    y_hat = saved.head.predict(X).reshape(len(X), -1)
    columns = {
        "row": view.rows,
        "star": view.stars,
        "split": np.full(len(X), view.split),
        "draw": np.full(len(X), draw_of(view), dtype=np.int64),
    }
    return columns | {
        name: y_hat[:, k] for k, (_, name) in enumerate(prediction_columns(saved.use["labels"]))
    }
