"""The strict xarray route to a feature store."""

from pathlib import Path
from typing import TYPE_CHECKING

from .arrays import COORDINATES
from .store import FeatureStore

if TYPE_CHECKING:
    import xarray


def open_dataset(
    path: Path | str, *, layer: str, pooling: str, direction: str = "forward"
) -> "xarray.Dataset":
    """One feature matrix with its rows, labels and coordinates, loaded and checked.

    Variables: `features` (spectrum, feature) float32, one per label (spectrum) float64; coordinates `row`,
    `star`, `id` (spectrum) and `channel`, `segment`, `statistic`, `wave_lo`, `wave_hi` (feature). Raises what
    FeatureStore.open and its reading raise: a missing chunk is an error here, never NaN.
    """
    import xarray  # noqa: PLC0415  xarray takes a second to import; only this function needs it

    store = FeatureStore.open(path)
    features = store.features(layer, pooling, direction)
    coordinates = store.coordinates(layer, pooling, direction)
    return xarray.Dataset(
        {
            "features": (("spectrum", "feature"), features),
            **{name: (("spectrum",), store.labels(name)) for name in store.label_names},
        },
        coords={
            "row": (("spectrum",), store.rows),
            "star": (("spectrum",), store.stars),
            "id": (("spectrum",), store.ids),
            **{name: (("feature",), coordinates[name]) for name in COORDINATES if name in coordinates},
        },
        attrs={"key": store.key, "family": store.family, "split": store.split, "digest": store.digest()},
    )
