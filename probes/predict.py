"""Applying a fitted head to features without labels, after checking that they are its own kind."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from cache.errors import ProbeError
from cache.provenance import family

from .features import load_features, parts_from_json, prediction_columns
from .persistence import SavedHead, load_head
from .splits import ERROR_INPUT, NOISE_LEVEL, check_crossings
from .views import Array, FeatureView, draw_of, noise_level_of


def predict_view(folder: Path, view: FeatureView, *, cross: Collection[str] = ()) -> dict[str, Array]:
    """Predictions of the head saved in `folder` for every row of a view, by column.

    Columns row, star, split, draw, y_hat (y_hat_<label> with several labels). Raises ProbeError when the features are
    of another family or noise level than the head was fitted to (`cross` may name `noise-level` and `error-input`), and
    what `load_head` raises.
    """
    check_crossings(cross)
    saved = load_head(folder)
    _check_kind(folder, saved, view, cross)
    X = load_features(view, parts_from_json(saved.use["parts"]), segments=saved.use.get("segments"))
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


def _check_kind(folder: Path, saved: SavedHead, view: FeatureView, cross: Collection[str]) -> None:
    if view.family != saved.use["family"] and not (ERROR_INPUT in cross and _crosses(folder, saved, view)):
        raise ProbeError(
            f"{folder}: fitted to features of family {saved.use['family'][:12]}, these are of {view.family[:12]}; "
            "extract them with the encoder and settings that the head was trained on (`python -m cache show`)"
        )
    level = noise_level_of(view)
    if level != saved.use["noise_level"] and NOISE_LEVEL not in cross:
        raise ProbeError(
            f"{folder}: fitted at noise level {saved.use['noise_level']}, these features have {level}; "
            "say --cross noise-level if that is meant"
        )


def _crosses(folder: Path, saved: SavedHead, view: FeatureView) -> bool:
    """Whether features differ from those that the head was fitted to in the error input alone."""
    if "error_input" not in saved.use:
        raise ProbeError(
            f"{folder}: saved before heads told the error input they were fitted to, so --cross {ERROR_INPUT} cannot "
            "be checked; fit it again with python -m probes run ... --refit"
        )
    return family({**view.provenance, "error_input": saved.use["error_input"]}) == str(saved.use["family"])
