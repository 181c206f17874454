"""A convolution tile by tile in the frequency domain, as products of small matrices."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor

from .blocks import Placement, Rows, Step, carve, maximum
from .folding import Folded
from .tiles import Tile, analysis, synthesis, tile_flops, transfer

SMALL_PRODUCT = 1_000_000
"""OpenBLAS multiplies matrices with M N K up to this without repacking them, 1.2-1.8x faster than larger ones."""


class SpectralBlock:
    """Overlap-save: butterfly, DFT, one product per frequency, inverse DFT of the outputs that are needed.

    Windows of the source overlap in memory and are never copied. Of a pair of outputs that a pool will compare, the
    first ones of a tile stand together, then the second ones. See RowBlock for what the methods promise.
    """

    def __init__(self, folded: Folded, placement: Placement, tile: Tile) -> None:
        n_out, n_in, _ = folded.weight.shape
        self._tile, self._n_in, self._n_out = tile, n_in, n_out
        self._n_tiles = -(-placement.n_outputs // tile.hop)
        self.flops = float(self._n_tiles * sum(tile_flops(n_in, n_out, tile)))
        self.lead = placement.lead(folded)
        self.n_rows = self._n_tiles * tile.hop + folded.extent
        self._most_tiles = max(1, SMALL_PRODUCT // (4 * n_in * n_out))
        self.chunk = max(1, self._most_tiles // self._n_tiles)
        order = np.arange(tile.hop)
        if placement.paired:
            order = np.concatenate([order[0::2], order[1::2]])
        starts = np.arange(self._n_tiles)[:, None] * tile.hop
        self.pixels = (placement.first + starts + order).ravel()
        even, odd = analysis(tile.size)
        self._even, self._odd = _matrix(even), _matrix(odd)
        self._transfer = _matrix(transfer(folded, tile.size))
        self._synthesis = _matrix(synthesis(tile.size, [int(s) + folded.extent for s in order]))
        self._constant = _matrix(folded.bias * tile.size)

    def scratch(self, b: int) -> int:
        """See RowBlock."""
        per_tile = self._tile.size * (self._n_in + self._n_out) + self._tile.hop * self._n_out
        return b * (self._n_tiles * per_tile + 2 * (self.n_rows - self._tile.half) * self._n_in)

    def prepare(self, source: Rows, scratch: Rows) -> tuple[Rows, list[Step]]:
        """See RowBlock."""
        b, n_tiles, half = len(source), self._n_tiles, self._tile.half
        n = b * n_tiles
        spectra, scratch = carve(scratch, n, half, 2 * self._n_in)
        products, scratch = carve(scratch, n, half, 2 * self._n_out)
        outputs, scratch = carve(scratch, n, self._tile.hop, self._n_out)
        steps = self._transform(source, spectra, scratch)
        steps += self._multiply(spectra, products)
        constants = products[:, 0, : self._n_out]
        steps.append(partial(np.add, constants, self._constant, out=constants))
        by_tile = products.reshape(n, 2 * half, self._n_out)
        steps.append(partial(np.matmul, self._synthesis, by_tile, out=outputs))
        return outputs.reshape(b, -1, self._n_out), steps

    def _transform(self, source: Rows, spectra: Rows, scratch: Rows) -> list[Step]:
        """Butterfly of pixels half a tile apart, once for all windows; then the two half-size transforms of each."""
        (b, n_rows, n_in), half, hop = source.shape, self._tile.half, self._tile.hop
        by_branch = spectra.reshape(b, self._n_tiles, 2, half, n_in)
        near, far = torch.from_numpy(source[:, :-half]), torch.from_numpy(source[:, half:])
        steps: list[Step] = []
        for branch, (combine, matrix) in enumerate(((torch.add, self._even), (torch.sub, self._odd))):
            combined, scratch = carve(scratch, b, n_rows - half, n_in)
            strides = (combined.strides[0], hop * 4 * n_in, 4 * n_in, 4)
            windows = as_strided(combined, (b, self._n_tiles, half, n_in), strides)
            steps.append(partial(combine, near, far, out=torch.from_numpy(combined)))
            steps.append(partial(np.matmul, matrix, windows, out=by_branch[:, :, branch]))
        return steps

    def _multiply(self, spectra: Rows, products: Rows) -> list[Step]:
        """The product of each frequency slot for all tiles, not more at once than BLAS takes without repacking."""
        n_parts = -(-len(spectra) // self._most_tiles)
        bounds = np.linspace(0, len(spectra), n_parts + 1).astype(int)
        return [
            partial(
                np.matmul,
                spectra[lo:hi].transpose(1, 0, 2),
                self._transfer,
                out=products[lo:hi].transpose(1, 0, 2),
            )
            for lo, hi in pairwise(bounds)
        ]

    def pool(self, outputs: Rows, pooled: Rows) -> Iterator[Step]:
        """See RowBlock."""
        pairs, n_pooled = self._tile.hop // 2, pooled.shape[1]
        tiles = outputs.reshape(len(outputs), self._n_tiles, 2, pairs * self._n_out)
        whole, rest = divmod(n_pooled, pairs)
        target = pooled[:, : whole * pairs].reshape(len(outputs), whole, pairs * self._n_out)
        yield maximum(tiles[:, :whole, 0], tiles[:, :whole, 1], target)
        if rest:
            last = tiles[:, whole, :, : rest * self._n_out]
            yield maximum(last[:, 0], last[:, 1], pooled[:, whole * pairs :].reshape(len(outputs), -1))


def _matrix(values: Tensor) -> Rows:
    matrix: Rows = values.float().contiguous().numpy()
    return matrix
