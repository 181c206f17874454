"""Which arrays a request stands for, with their widths and coordinates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.arrays import PSEUDO_LAYERS, ArrayName
from cache.errors import ConfigError

from .encoder import BlindspotModel1D
from .layers import canonical_layer, newest_pixels
from .pooling import feature_coordinates, parse_pooling
from .request import ExtractConfig

WHOLE_SPECTRUM = "none"
"""The pooling that keeps every pixel; for pseudo-layers alone."""

Coordinates = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class WantedArrays:
    """The arrays of a request: their coordinates, and their widths in the form the key wants."""

    coordinates: Mapping[ArrayName, Coordinates]

    def widths(self) -> list[list[Any]]:
        """[path, D] of every array, in order of path."""
        return [[name.path, len(self.coordinates[name]["channel"])] for name in sorted(self.coordinates)]

    def restrict(self, names: set[ArrayName]) -> "WantedArrays":
        """The same, for some of the arrays."""
        return WantedArrays({name: value for name, value in self.coordinates.items() if name in names})


def encoder_layers(config: ExtractConfig, model: BlindspotModel1D) -> tuple[str, ...]:
    """Canonical names of the network layers asked for; 'all' stands for every one."""
    names: list[str] = []
    for layer in config.layers:
        if layer == "all":
            names.extend(model.layers)
        elif layer not in PSEUDO_LAYERS:
            names.append(canonical_layer(layer, model.config.num_layers))
    return tuple(dict.fromkeys(names))


def wanted_arrays(config: ExtractConfig, model: BlindspotModel1D, wave: NDArray[np.float64]) -> WantedArrays:
    """Every array of the product layers x directions x poolings that makes sense.

    `wave` (L,) is the masked wavelength axis in Angstrom. The pooling 'none' applies to pseudo-layers only, and
    these have no backward direction. Raises UnknownName or ConfigError for a layer, pooling or direction that
    does not exist for this network and length.
    """
    coordinates: dict[ArrayName, Coordinates] = {}
    for layer in encoder_layers(config, model):
        for direction in config.directions:
            newest = newest_pixels(layer, model.config, len(wave), direction)
            for pooling in config.poolings:
                if pooling != WHOLE_SPECTRUM:
                    coordinates[ArrayName(layer, direction, pooling)] = feature_coordinates(
                        pooling, model.config.embed_dim, newest, wave
                    )
    pixels = np.arange(len(wave), dtype=np.int64)
    for layer in config.pseudo_layers:
        for pooling in config.poolings:
            coordinates[ArrayName(layer, "forward", pooling)] = feature_coordinates(pooling, 1, pixels, wave)
    for pooling in config.poolings:
        parse_pooling(pooling)
    if not coordinates:
        raise ConfigError(
            f"layers {config.layers} with poolings {config.poolings} give no array; pooling 'none' is for "
            f"{', '.join(PSEUDO_LAYERS)}, layers of the network need another"
        )
    return WantedArrays(coordinates)
