"""What a probe needs to know of a feature view; `cache.FeatureView` has it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@runtime_checkable
class FeatureView(Protocol):
    """Features, labels and rows of one split, file list, draw and noise level; row i is the same star in all."""

    @property
    def label_names(self) -> Sequence[str]:
        """The stored labels."""
        ...

    @property
    def rows(self) -> Array:
        """Positions in the file list, (N,) int64."""
        ...

    @property
    def stars(self) -> Array:
        """Star of each row, (N,) uint64."""
        ...

    @property
    def family(self) -> str:
        """Stores of one family may train and test one another; 64 hex digits."""
        ...

    @property
    def split(self) -> str:
        """Name of the split."""
        ...

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the rows were made from."""
        ...

    @property
    def stores(self) -> Mapping[str, str]:
        """Digest by key of every store behind the view."""
        ...

    def features(self, layer: str, pooling: str, direction: str = "forward") -> Array:
        """Pooled features, (N, D) float32."""
        ...

    def coordinates(self, layer: str, pooling: str, direction: str = "forward") -> Mapping[str, Array]:
        """Coordinates of the feature axis, each (D,): channel, segment, statistic, wave_lo, wave_hi."""
        ...

    def labels(self, name: str) -> Array:
        """One label, (N,) float64, NaN where the file had none."""
        ...


def store_digests(*sources: Mapping[str, Sequence[FeatureView]]) -> dict[str, str]:
    """Digest by key of every store behind views by split."""
    members = (member for views in sources for of_split in views.values() for member in of_split)
    return {key: digest for view in members for key, digest in view.stores.items()}


def draw_of(view: FeatureView) -> int:
    """Index of the noise realisation of a view; 0 where no noise was drawn."""
    return int(view.provenance["noise"].get("draw") or 0)


def noise_level_of(view: FeatureView) -> float | None:
    """Factor on the error from which the noise of a view was drawn; None where none was."""
    level = view.provenance["noise"].get("level")
    return None if level is None else float(level)
