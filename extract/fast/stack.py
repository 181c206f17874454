"""The encoder for spectra of one length: its blocks down to the deepest layer asked for, and what is tapped."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..architecture import ModelConfig
from ..layers import check_length, layer_names, n_pools_before, pool_name
from .blocks import DirectBlock, Placement, RowBlock
from .first_block import FirstBlock
from .folding import Folded
from .row_pooling import RowPooling
from .spectral import SpectralBlock
from .tiles import choose_tile

Poolers = dict[str, RowPooling]
"""By direction; empty for a layer that nobody asked for."""


@dataclass(frozen=True)
class Stage:
    """A block after the first one, the pool behind it unless it is the last, and what is tapped of both."""

    block: RowBlock
    layer: str
    taps: Poolers
    pooled_layer: str
    pooled_taps: Poolers
    n_pooled: int
    """Cells after the pool; 0 where no pool follows."""
    shifted: bool
    """Whether the first output is the zero that the pool's shift brings in."""


@dataclass(frozen=True)
class Stack:
    """Weights and taps of the blocks, shared by all threads."""

    first: FirstBlock
    first_taps: Poolers
    stages: tuple[Stage, ...]
    length: int
    n_channels: int

    @property
    def flops(self) -> float:
        """Floating-point operations for one spectrum in one direction, poolings apart."""
        return self.first.flops + sum(stage.block.flops for stage in self.stages)


def make_stack(
    config: ModelConfig,
    blocks: Sequence[Folded],
    length: int,
    *,
    layers: Collection[str],
    poolings: Sequence[str],
    directions: Sequence[str],
) -> Stack:
    """Lay out the encoder's `blocks` for x (B, C_in, `length`), no deeper than `layers` (canonical names) need.

    Raises InputError when a spectrum is too short for the pools or the segments.
    """
    depth = config.num_layers
    check_length(length, max(n_pools_before(layer, depth) for layer in layers))

    def taps(layer: str, pixels: NDArray[np.int64], n_cells: int) -> Poolers:
        wanted = directions if layer in layers else ()
        return {direction: RowPooling(pixels, n_cells, poolings, direction) for direction in wanted}

    names = layer_names(depth)  # enc_0, enc_1, pool_1, enc_2, ...
    deepest = max(names.index(layer) for layer in layers)
    stages, n_pixels = [], length
    for index in range(1, (deepest + 1) // 2 + 1):
        is_last = index == depth
        shifted = config.blindspot and not is_last
        placement = Placement(n_pixels, first=-1 if shifted else 0, paired=not is_last)
        block = _block(blocks[index], placement)
        layer, pooled_layer = ("enc_last", "") if is_last else (f"enc_{index}", pool_name(index, depth))
        n_pooled = 0 if is_last else n_pixels // 2
        stages.append(
            Stage(
                block=block,
                layer=layer,
                taps=taps(layer, block.pixels, n_pixels),
                pooled_layer=pooled_layer,
                pooled_taps=taps(pooled_layer, np.arange(n_pooled), n_pooled),
                n_pooled=n_pooled,
                shifted=shifted,
            )
        )
        n_pixels = n_pooled
    return Stack(
        first=FirstBlock(blocks[0], length),
        first_taps=taps("enc_0", np.arange(length), length),
        stages=tuple(stages),
        length=length,
        n_channels=config.embed_dim,
    )


def _block(folded: Folded, placement: Placement) -> RowBlock:
    """The faster way for this kernel and length."""
    tile = choose_tile(folded, placement.n_outputs)
    return DirectBlock(folded, placement) if tile is None else SpectralBlock(folded, placement, tile)
