"""The first convolution of the encoder: few channels in, so the window of each output is one row of a product."""

from functools import partial

import numpy as np
import torch

from .blocks import Rows, Step, carve
from .folding import Folded
from .spectral import SMALL_PRODUCT


class FirstBlock:
    """Convolution of pixels (b, n_rows, C_in) as one matrix product; the bias is the weight of a column of ones.

    Pixel p of a spectrum stands in row `lead` + p, all other rows are zero.
    """

    def __init__(self, folded: Folded, length: int) -> None:
        n_out, n_in, kernel = folded.weight.shape
        self._length, self._columns = length, kernel * n_in
        self.lead = folded.extent - folded.ahead
        self.n_rows = length + folded.extent
        by_window = folded.weight.permute(2, 1, 0).reshape(self._columns, n_out)
        weight: Rows = torch.cat([by_window, folded.bias[None]]).float().contiguous().numpy()
        self._weight = weight
        self.flops = 2.0 * weight.size * length

    def scratch(self, b: int) -> int:
        """Floats of working memory for b spectra."""
        return b * self._length * (self._columns + 1)

    def prepare(self, pixels: Rows, target: Rows, scratch: Rows) -> list[Step]:
        """Steps that convolve `pixels` into `target` (b, L, C_out), before the activation function."""
        b, _, n_in = pixels.shape
        windows = carve(scratch, b, self._length, self._columns + 1)[0]
        columns, ones = torch.from_numpy(windows)[..., :-1], windows[..., -1]
        overlapping = torch.from_numpy(pixels).as_strided(columns.shape, (pixels.strides[0] // 4, n_in, 1))
        steps: list[Step] = [partial(columns.copy_, overlapping), partial(ones.fill, 1)]
        at_once = max(1, min(self._length, SMALL_PRODUCT // self._weight.size))
        whole = self._length // at_once * at_once
        shape = (b, whole // at_once, at_once, -1)
        cut = windows[:, :whole].reshape(shape), self._weight, target[:, :whole].reshape(shape)
        rest = windows[:, whole:], self._weight, target[:, whole:]
        return steps + [partial(np.matmul, a, w, out=y) for a, w, y in (cut, rest) if y.size]
