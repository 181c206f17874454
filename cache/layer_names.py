"""The canonical names of layers that are asked for by an alias, by what is stored."""

from collections.abc import Sequence
from pathlib import Path

from .arrays import canonical_in, layer_aliases
from .errors import ConfigError
from .header import Header
from .store_folders import stores_of
from .want import Want


def canonical_layers(root: Path | str, split: str, want: Want, layers: Sequence[str]) -> tuple[str, ...]:
    """The canonical names of some layers in the networks whose stores `want` admits, in order.

    Where those have several depths, the stores count that hold the layer with a pooling of `want`; ConfigError when
    they still disagree. A name that no store helps with stays as it is. Raises Damaged for an altered header.
    """
    admitted = [header for _, header in stores_of(Path(root), split).readable if want.admits(header)]
    poolings = {pooling for _, _, pooling in want.arrays}
    return tuple(_canonical(layer, admitted, poolings) for layer in layers)


def _canonical(layer: str, admitted: Sequence[Header], poolings: set[str]) -> str:
    held = {(header.key, a.layer) for header in admitted for a in header.arrays if a.pooling in poolings}
    by_key = {header.key: canonical_in(layer, header.provenance) for header in admitted}
    names = set(by_key.values())
    if len(names) > 1:
        names = {name for key, name in by_key.items() if (key, name) in held}
    if len(names) > 1:
        raise ConfigError(
            f"layer {layer!r} is {' in one and '.join(sorted(names))} in another of the stored networks; give one of "
            "these names, or --family"
        )
    return names.pop() if names else layer_aliases(None).get(layer, layer)
