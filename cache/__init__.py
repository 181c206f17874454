"""Everything that is stored: feature stores and result records. Imports numpy and zarr, nothing heavier."""

from .dataset import open_dataset
from .freshness import state
from .store import FeatureStore
from .view import FeatureView, find
from .want import Want

__all__ = ["FeatureStore", "FeatureView", "Want", "find", "open_dataset", "state"]
