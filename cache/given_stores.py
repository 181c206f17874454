"""Stores named by their folders, read together as one view."""

from collections.abc import Sequence
from pathlib import Path

from .arrays import ArrayName
from .errors import ConfigError, NotExtracted
from .nearest import field_differences
from .provenance import group
from .store import FeatureStore
from .view import FeatureView


def view_of(paths: Sequence[Path], arrays: Sequence[ArrayName]) -> FeatureView:
    """The stored arrays asked for, from the stores in these folders.

    Raises ConfigError where the stores are of other rows, noise or families (naming the fields), NotExtracted for an
    array that none of them holds, and what opening a store raises.
    """
    stores = [FeatureStore.open(path) for path in paths]
    first = stores[0]
    for other in stores[1:]:
        if group(other.provenance) != group(first.provenance):
            told = "".join(
                f"\n  {one.text(str(first.path), str(other.path))}"
                for one in field_differences(first.provenance, other.provenance)
                if one.field != "arrays"
            )
            raise ConfigError(f"stores of different rows cannot be read together; they differ in{told}")
    held = {array: store for store in reversed(stores) for array in store.arrays}
    missing = [array.path for array in arrays if array not in held]
    if missing:
        raise NotExtracted(
            f"{', '.join(map(str, paths))}: hold {', '.join(sorted(array.path for array in held))}, not "
            f"{', '.join(missing)}; name the stores that hold them as well, with commas"
        )
    return FeatureView({array: held[array] for array in arrays})
