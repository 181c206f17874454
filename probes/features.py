"""Which cached arrays, and which of their wavelength segments, make up the columns of X."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cache.arrays import STATISTICS
from cache.errors import ConfigError, ProbeError

from .views import Array, FeatureView

_VALUE = STATISTICS.index("value")


@dataclass(frozen=True, kw_only=True)
class FeaturePart:
    """One pooled array: `direction` is forward, backward, mean or concat."""

    layer: str
    pooling: str
    direction: str = "forward"

    def to_json(self) -> dict[str, str]:
        """As `spec` holds it."""
        return asdict(self)

    @property
    def path(self) -> str:
        """Layer, direction and pooling in one word."""
        return f"{self.layer}/{self.direction}/{self.pooling}"


def parts_from_json(parts: Iterable[dict[str, Any]]) -> tuple[FeaturePart, ...]:
    """The parts that `to_json` wrote."""
    return tuple(FeaturePart(**part) for part in parts)


def n_segments(pooling: str) -> int | None:
    """Number of wavelength segments that a pooling is cut into, by its name; None for one that is not."""
    found = re.fullmatch(r"seg_mean_K(\d+)", pooling)
    return None if found is None else int(found[1])


def load_features(
    view: FeatureView, parts: Sequence[FeaturePart], *, segments: Sequence[int] | None = None
) -> Array:
    """The parts side by side in the order given, (N, D) float32; with `segments`, their columns of these alone.

    Raises what the view raises if a part is missing, ProbeError for a part without those segments.
    """
    if not parts:
        raise ConfigError("no features were asked for; name at least one layer and pooling")
    columns = [_columns_of(view, part, segments) for part in parts]
    loaded = [
        view.features(part.layer, part.pooling, part.direction)[:, chosen]
        for part, chosen in zip(parts, columns, strict=True)
    ]
    return loaded[0] if len(loaded) == 1 else np.concatenate(loaded, axis=1)


def part_widths(
    view: FeatureView, parts: Sequence[FeaturePart], *, segments: Sequence[int] | None = None
) -> list[int]:
    """Columns that each part brings, by its stored coordinates."""
    return [
        view.coordinates(part.layer, part.pooling, part.direction)["channel"][
            _columns_of(view, part, segments)
        ].size
        for part in parts
    ]


def _columns_of(
    view: FeatureView, part: FeaturePart, segments: Sequence[int] | None
) -> slice | np.ndarray[Any, np.dtype[np.intp]]:
    """Where the columns of the chosen segments are, by the stored coordinate `segment`; in stored order."""
    if segments is None:
        return slice(None)
    stored = stored_segments(view, part)
    there = np.unique(stored)
    absent = sorted(set(segments) - set(there.tolist()))
    if absent:
        raise ProbeError(f"{part.path} has segments 0 to {int(there[-1])}, not {', '.join(map(str, absent))}")
    return np.flatnonzero(np.isin(stored, list(segments)))


def stored_segments(view: FeatureView, part: FeaturePart) -> Array:
    """Wavelength segment of each column of a part, (D,); ProbeError where its pooling is not cut into segments."""
    coordinates = view.coordinates(part.layer, part.pooling, part.direction)
    stored = np.asarray(coordinates["segment"])
    if np.unique(stored).size < 2 or np.any(coordinates["statistic"] == _VALUE):
        raise ProbeError(
            f"{part.path} is not cut into wavelength segments, so none can be chosen; use a pooling such as "
            "seg_mean_K8"
        )
    return stored
