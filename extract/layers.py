"""The names of the layers, and which pixels each cell of a layer has seen."""

import numpy as np
import numpy.typing as npt

from cache.arrays import PSEUDO_LAYERS, STORED_DIRECTIONS, layer_aliases
from cache.errors import ConfigError, InputError, UnknownName

from .architecture import ModelConfig


def pool_name(index: int, num_layers: int) -> str:
    """Canonical name of the output of the pool that follows `encoders.{index}`."""
    return "enc_pre_latent" if index == num_layers - 1 else f"pool_{index}"


def layer_names(num_layers: int) -> tuple[str, ...]:
    """Canonical names of the encoder's layers, in the order in which they are computed, without aliases."""
    names = ["enc_0"]
    for index in range(1, num_layers):
        names += [f"enc_{index}", pool_name(index, num_layers)]
    return (*names, "enc_last")


def canonical_layer(name: str, num_layers: int) -> str:
    """Translate the aliases of REFERENCE 2 (`dec_input`, `enc_{n}`, `pool_{n-1}`).

    Canonical and pseudo-layer names are returned as they are. Raises UnknownName for anything else.
    """
    aliases = layer_aliases(num_layers)
    known = (*layer_names(num_layers), *PSEUDO_LAYERS)
    canonical = aliases.get(name, name)
    if canonical not in known:
        raise UnknownName("layer", name, (*known, *aliases))
    return canonical


def n_pools_before(layer: str, num_layers: int) -> int:
    """How many pools lie between the input and `layer`, the layer's own pool included."""
    canonical = canonical_layer(layer, num_layers)
    if canonical in PSEUDO_LAYERS:
        return 0
    names = layer_names(num_layers)
    pools = {pool_name(index, num_layers) for index in range(1, num_layers)}
    return sum(name in pools for name in names[: names.index(canonical) + 1])


def check_length(n_pixels: int, n_pools: int) -> None:
    """Raise InputError when `n_pixels` pixels do not survive `n_pools` halvings."""
    if n_pixels >> n_pools < 1:
        raise InputError(
            f"a spectrum of {n_pixels} pixels is too short: {n_pools} pools need at least {1 << n_pools}"
        )


def check_direction(direction: str, config: ModelConfig) -> None:
    """Raise unless the network has this direction; only blind-spot networks have two."""
    if direction not in STORED_DIRECTIONS:
        raise UnknownName("direction", direction, STORED_DIRECTIONS)
    if direction == "backward" and not config.blindspot:
        raise ConfigError(
            "direction 'backward' asked of a network without blindspot; it has one stream: use 'forward'"
        )


def newest_pixels(
    layer: str, config: ModelConfig, n_pixels: int, direction: str = "forward"
) -> npt.NDArray[np.int64]:
    """Index of the newest input pixel that each cell of `layer` depends on: int64 (L',), increasing.

    "Newest" is the last pixel that the stream has read: the reddest for `forward`, the bluest for `backward`.
    Both come in the order of increasing wavelength. A causal block reads nothing newer than its own cell; a
    pool's cell j takes cells 2j - 1 and 2j (shift by one, then pairs), so after p pools cell j has seen
    pixels up to 2**p * j. The backward stream is the same on the flipped spectrum: at the bottleneck of the
    reference network (L = 4096) forward 256 j, backward 256 j + 255. Without blindspot blocks also look ahead:
    the result bounds what a cell depends on (and is exact for dilation 1). Norm 'ln' takes its mean and
    variance over the whole spectrum: what passes through those two numbers is not counted. Pseudo-layers give
    every pixel its own index. Raises InputError for a spectrum shorter than the pools allow.
    """
    check_direction(direction, config)
    canonical = canonical_layer(layer, config.num_layers)
    if canonical in PSEUDO_LAYERS:
        return np.arange(n_pixels, dtype=np.int64)
    check_length(n_pixels, n_pools_before(canonical, config.num_layers))
    newest = np.arange(n_pixels, dtype=np.int64)
    encoder = -1
    for name in layer_names(config.num_layers):
        if name.startswith("enc_") and name != "enc_pre_latent":
            encoder += 1
            newest = _after_block(newest, config, dilation=config.dilation if encoder else 1)
        else:
            newest = _after_pool(newest, config)
        if name == canonical:
            break
    return newest if direction == "forward" else n_pixels - 1 - newest[::-1]


def _after_block(
    newest: npt.NDArray[np.int64], config: ModelConfig, *, dilation: int
) -> npt.NDArray[np.int64]:
    ahead = 0 if config.blindspot else (config.kernel_size - 1) * dilation // 2
    return newest[np.minimum(np.arange(newest.size) + ahead, newest.size - 1)]


def _after_pool(newest: npt.NDArray[np.int64], config: ModelConfig) -> npt.NDArray[np.int64]:
    last_of_pair = 0 if config.blindspot else 1
    return newest[last_of_pair::2][: newest.size // 2]
