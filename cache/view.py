"""Finding features: one view over all stores that share family, split, rows, draw and noise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .absent import absent
from .ambiguity import ambiguous
from .arrays import PSEUDO_LAYERS, ArrayName, canonical_in, check_spelling, stored_directions
from .commits import is_finished
from .errors import ConfigError, NotExtracted
from .header import Header
from .npz import Array
from .provenance import group
from .store import FeatureStore, combine_coordinates, combine_directions
from .store_folders import stores_of
from .want import Want


class FeatureView:
    """The reading methods of FeatureStore over one or more stores with the same rows."""

    def __init__(self, stores: Mapping[ArrayName, FeatureStore]) -> None:
        """Map each stored array to the store that holds it; all stores are of one group."""
        self._by_array = dict(stores)
        self._stores = tuple({store.key: store for store in stores.values()}.values())
        self._first = self._stores[0]

    @property
    def arrays(self) -> tuple[ArrayName, ...]:
        """The stored arrays of the view."""
        return tuple(self._by_array)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the view."""
        return tuple(dict.fromkeys(array.layer for array in self._by_array))

    @property
    def stores(self) -> dict[str, str]:
        """Digest by key of every store behind the view."""
        return {store.key: store.digest() for store in self._stores}

    def features(self, layer: str, pooling: str, direction: str = "forward") -> Array:
        """Pooled features, (N, D) float32; see FeatureStore.features."""
        layer = canonical_in(layer, self.provenance)
        parts = [
            self._holder(ArrayName(layer, stored, pooling)).features(layer, pooling, stored)
            for stored in stored_directions(direction)
        ]
        return combine_directions(parts, direction)

    def coordinates(self, layer: str, pooling: str, direction: str = "forward") -> dict[str, Array]:
        """Coordinates of the feature axis, each (D,); see FeatureStore.coordinates."""
        layer = canonical_in(layer, self.provenance)
        parts = [
            self._holder(ArrayName(layer, stored, pooling)).coordinates(layer, pooling, stored)
            for stored in stored_directions(direction)
        ]
        return combine_coordinates(parts, direction)

    def _holder(self, name: ArrayName) -> FeatureStore:
        if name not in self._by_array:
            raise NotExtracted(f"the view holds {[a.path for a in self.arrays]}, not {name.path!r}")
        return self._by_array[name]

    def labels(self, name: str) -> Array:
        """One label, (N,) float64."""
        return self._first.labels(name)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The stored labels."""
        return self._first.label_names

    @property
    def rows(self) -> Array:
        """Positions in the file list, (N,) int64."""
        return self._first.rows

    @property
    def stars(self) -> Array:
        """Star of each row, (N,) uint64."""
        return self._first.stars

    @property
    def family(self) -> str:
        """Family, 64 hex digits."""
        return self._first.family

    @property
    def split(self) -> str:
        """Name of the split."""
        return self._first.split

    @property
    def provenance(self) -> dict[str, Any]:
        """What the rows were made from; `arrays` is that of the first store."""
        return self._first.provenance

    @property
    def about(self) -> dict[str, Any]:
        """Display names written by the last run: encoder, files; not part of any digest."""
        return self._first.about


def find(root: Path | str, split: str, want: Want) -> FeatureView:
    """The view that meets `want`, checked; a layer may be asked for by an alias that it has in the stored network.

    Raises UnknownName for a layer or pooling that cannot be stored, NotExtracted (with the command to run),
    Incomplete, Damaged, or ConfigError when several families, inputs, draws or noise levels would do; the message
    lists what tells them apart.
    """
    root = Path(root)
    groups: dict[str, list[tuple[Path, Header]]] = {}
    there = stores_of(root, split)
    for path, header in there.readable:
        if want.admits(header) and _wanted_of(header, want):
            groups.setdefault(group(header.provenance), []).append((path, header))
    whole = [stores for stores in groups.values() if _holds(stores, want)]
    if len(whole) > 1:
        raise ConfigError(ambiguous(root, split, whole))
    if not whole and there.outdated:  # they only matter when nothing else meets the request
        raise there.outdated[0]
    if not whole:
        for array in want.stored_arrays():
            check_spelling(array.layer, array.pooling)
        partial = [header for of_group in groups.values() for _, header in of_group]
        others = [header for _, header in there.readable if _wanted_of(header, want)]
        raise NotExtracted(
            absent(root, split, want, partial=partial, others=others) + _not_looked_into(there.forbidden)
        )
    (of_group,) = whole
    return FeatureView(_choose(of_group, _stored_names(of_group[0][1], want)))


def stored_layers(root: Path | str, split: str, want: Want) -> tuple[str, ...]:
    """Names of the network layers that stores admitted by `want` hold with one of its poolings, shallowest first."""
    poolings = {pooling for _, _, pooling in want.arrays}
    layers = set()
    for _, header in stores_of(Path(root), split).readable:
        if want.admits(header):
            layers |= {
                a.layer for a in header.arrays if a.pooling in poolings and a.layer not in PSEUDO_LAYERS
            }
    return tuple(sorted(layers, key=_depth))


def _depth(layer: str) -> tuple[float, str]:
    """Order of the layers in a network: enc_0, enc_1, pool_1, enc_2, ..., enc_pre_latent, enc_last."""
    digits = layer.rpartition("_")[2]
    deepest = {"enc_pre_latent": 1e3, "enc_last": 1e4}
    return (deepest.get(layer, float(digits) if digits.isdigit() else 0.0), layer)


def _stored_names(header: Header, want: Want) -> tuple[ArrayName, ...]:
    """The arrays asked for as a store of this network names them."""
    return want.of_network(header.provenance).stored_arrays()


def _wanted_of(header: Header, want: Want) -> set[ArrayName]:
    """Which of a store's arrays are asked for."""
    return set(header.arrays) & set(_stored_names(header, want))


def _holds(stores: list[tuple[Path, Header]], want: Want) -> bool:
    held = {array for _, header in stores for array in header.arrays}
    return set(_stored_names(stores[0][1], want)) <= held


def _choose(
    stores: list[tuple[Path, Header]], wanted: tuple[ArrayName, ...]
) -> dict[ArrayName, FeatureStore]:
    """Prefer finished stores; opening an unfinished one raises Incomplete with its missing blocks."""
    finished = {path: is_finished(path, header) for path, header in stores}
    opened: dict[Path, FeatureStore] = {}
    chosen = {}
    for array in wanted:
        holders = [path for path, header in stores if array in header.arrays]
        path = min(holders, key=lambda holder: (not finished[holder], holder.name))
        if path not in opened:
            opened[path] = FeatureStore.open(path)
        chosen[array] = opened[path]
    return chosen


def _not_looked_into(forbidden: tuple[Path, ...]) -> str:
    if not forbidden:
        return ""
    return (
        f". Not looked into, because you may not read it: {', '.join(map(str, forbidden))}; if what you want is there, "
        "ask its owner for the right: chmod -R g+rX"
    )
