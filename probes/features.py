"""Which cached arrays make up the columns of X."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cache.errors import ConfigError

from .views import Array, FeatureView


@dataclass(frozen=True, kw_only=True)
class FeaturePart:
    """One pooled array: `direction` is forward, backward, mean or concat."""

    layer: str
    pooling: str
    direction: str = "forward"

    def to_json(self) -> dict[str, str]:
        """As `spec` holds it."""
        return asdict(self)


def parts_from_json(parts: Iterable[dict[str, Any]]) -> tuple[FeaturePart, ...]:
    """The parts that `to_json` wrote."""
    return tuple(FeaturePart(**part) for part in parts)


def prediction_columns(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Names of the columns (truth, prediction) of each label: y, y_hat; of several y_<label>, y_hat_<label>."""
    return [("y", "y_hat")] if len(labels) == 1 else [(f"y_{label}", f"y_hat_{label}") for label in labels]


def load_features(view: FeatureView, parts: Sequence[FeaturePart]) -> Array:
    """The parts side by side in the order given, (N, D) float32; raises what the view raises if one is missing."""
    if not parts:
        raise ConfigError("no features were asked for; name at least one layer and pooling")
    loaded = [view.features(part.layer, part.pooling, part.direction) for part in parts]
    return loaded[0] if len(loaded) == 1 else np.concatenate(loaded, axis=1)
