"""What the fast encoder asks of a convolution on rows (B, pixel, C), and the direct one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .folding import Folded

Rows = NDArray[np.float32]
Step = Callable[[], object]
"""One call on buffers that were chosen before: what is left to do when a batch comes."""

CHUNK_PIXELS = 4096
"""Pixels that a direct convolution takes at once: what fits into the caches."""


@dataclass(frozen=True)
class Placement:
    """Which outputs of a convolution are made from spectra of `length` pixels.

    Outputs begin with pixel `first`: -1 where the pool shifts by one pixel, so that the pairs begin with it, else 0.
    `paired`: a pool of two follows.
    """

    length: int
    first: int
    paired: bool

    @property
    def n_outputs(self) -> int:
        """Outputs per spectrum."""
        return self.length - self.first

    def lead(self, folded: Folded) -> int:
        """Zero rows that the source holds before pixel 0."""
        return folded.extent - folded.ahead - self.first


class RowBlock(Protocol):
    """A convolution with bias, before the activation function, with weights that threads may share.

    A source (b, n_rows, C_in) holds pixel p of a spectrum in row `lead` + p, and zeros in all other rows.
    """

    lead: int
    n_rows: int
    chunk: int
    """Spectra that are best convolved at once."""
    pixels: NDArray[np.int64]
    """Pixel of each output row, (R,); what is below 0 or from `length` on is none and holds any finite number."""
    flops: float
    """Floating-point operations for one spectrum, multiplications and additions counted apart."""

    def scratch(self, b: int) -> int:
        """Floats of working memory for b spectra, the outputs among them."""

    def prepare(self, source: Rows, scratch: Rows) -> tuple[Rows, list[Step]]:
        """Steps that convolve what stands in `source`, and where they leave it: (b, R, C_out) in `scratch`."""

    def pool(self, outputs: Rows, pooled: Rows) -> Iterator[Step]:
        """Steps that write the maxima of pairs of outputs into `pooled` (b, length // 2, C_out)."""


class DirectBlock:
    """Convolution by torch's conv2d, channels last, a spectrum being an image of one row."""

    def __init__(self, folded: Folded, placement: Placement) -> None:
        self.lead = placement.lead(folded)
        self.n_rows = placement.n_outputs + folded.extent
        self.chunk = max(1, CHUNK_PIXELS // placement.length)
        self.pixels = placement.first + np.arange(placement.n_outputs)
        self.flops = 2.0 * folded.weight.numel() * placement.n_outputs
        weight = folded.weight.float()[:, :, None]
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = folded.bias.float()
        self._dilation = (1, folded.dilation)

    def scratch(self, b: int) -> int:
        """See RowBlock."""
        return b * len(self.pixels) * len(self._bias)

    def prepare(self, source: Rows, scratch: Rows) -> tuple[Rows, list[Step]]:
        """See RowBlock."""
        outputs = carve(scratch, len(source), len(self.pixels), len(self._bias))[0]
        images = torch.from_numpy(source)[:, None].permute(0, 3, 1, 2)
        target = torch.from_numpy(outputs)[:, None].permute(0, 3, 1, 2)
        return outputs, [partial(self._convolve, images, target)]

    def _convolve(self, images: Tensor, target: Tensor) -> None:
        target.copy_(functional.conv2d(images, self._weight, self._bias, dilation=self._dilation))

    def pool(self, outputs: Rows, pooled: Rows) -> Iterator[Step]:
        """See RowBlock."""
        end = 2 * pooled.shape[1]
        yield maximum(outputs[:, 0:end:2], outputs[:, 1:end:2], pooled)


def carve(scratch: Rows, *shape: int) -> tuple[Rows, Rows]:
    """The first numbers of a flat buffer as an array of `shape`, and the rest of the buffer."""
    size = int(np.prod(shape))
    return scratch[:size].reshape(shape), scratch[size:]


def maximum(first: Rows, second: Rows, out: Rows) -> Step:
    """The larger of two arrays of one shape, element by element."""
    tensors = [torch.from_numpy(array) for array in (first, second, out)]
    return partial(torch.maximum, *tensors[:2], out=tensors[2])
