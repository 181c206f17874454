"""Names of stored arrays: layer, direction and pooling, and the paths they give."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from .errors import ConfigError, UnknownName

SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
STORED_DIRECTIONS = ("forward", "backward")
READ_DIRECTIONS = (*STORED_DIRECTIONS, "mean", "concat")
PSEUDO_LAYERS = ("input_flux", "input_error", "denoised", "clean_flux")
LAYER_NAMES = ("enc_<number>", "pool_<number>", "enc_pre_latent", "enc_last", "dec_input", *PSEUDO_LAYERS)
"""As they may be asked for; stores have the canonical ones."""
POOLING_NAMES = ("none", "global_mean", "mean_max", "seg_mean_K<number>")
COORDINATES = ("channel", "segment", "statistic", "wave_lo", "wave_hi")
FEATURES = "features"
"""Name of the array of features in its group."""
CHUNKS = "c"
"""Folder of the chunks of a zarr array."""
STATISTICS = ("mean", "max", "value")
"""Meaning of the `statistic` coordinate, by its code."""


def safe_name(kind: str, name: str) -> str:
    """Return `name` if it may become part of a path; ConfigError otherwise."""
    if not SAFE_NAME.fullmatch(name) or name.startswith("."):
        raise ConfigError(
            f"{kind} {name!r} cannot be a file name; letters, digits, '_', '.' and '-' are allowed"
        )
    return name


def check_spelling(layer: str, pooling: str) -> None:
    """Raise UnknownName for a layer or a pooling that no extraction can have stored (DESIGN 3, canonical names)."""
    for kind, name, known in (("layer", layer, LAYER_NAMES), ("pooling", pooling, POOLING_NAMES)):
        if re.sub(r"\d+", "<number>", name, count=1, flags=re.ASCII) not in known:
            raise UnknownName(kind, name, known)


def layer_aliases(num_layers: int | None) -> dict[str, str]:
    """Canonical name by other name of a layer, in a network of so many; None gives those that are the same in all."""
    aliases = {"dec_input": "enc_last"}
    if num_layers is not None:
        aliases |= {f"enc_{num_layers}": "enc_last", f"pool_{num_layers - 1}": "enc_pre_latent"}
    return aliases


def canonical_in(layer: str, provenance: Mapping[str, Any]) -> str:
    """The canonical name of a layer in the network of a store; any other name as it is."""
    return layer_aliases(provenance["encoder"]["config"].get("num_layers")).get(layer, layer)


@dataclass(frozen=True, order=True)
class ArrayName:
    """One array of pooled features: canonical layer, stored direction, pooling."""

    layer: str
    direction: str
    pooling: str

    def __post_init__(self) -> None:
        """Refuse names that could not be paths and directions that are formed on reading."""
        safe_name("layer", self.layer)
        safe_name("pooling", self.pooling)
        if self.direction not in STORED_DIRECTIONS:
            raise UnknownName("stored direction", self.direction, STORED_DIRECTIONS)

    @property
    def path(self) -> str:
        """Path inside a store, without a leading slash."""
        return f"{self.layer}/{self.direction}/{self.pooling}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """The inverse of `path`."""
        layer, direction, pooling = path.split("/")
        return cls(layer, direction, pooling)


def stored_directions(direction: str) -> tuple[str, ...]:
    """The stored directions that a direction asked for on reading is made of."""
    if direction not in READ_DIRECTIONS:
        raise UnknownName("direction", direction, READ_DIRECTIONS)
    return STORED_DIRECTIONS if direction in ("mean", "concat") else (direction,)
