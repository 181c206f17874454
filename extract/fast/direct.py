"""The encoder as direct convolutions in torch: any device, any precision, with the norm folded where it can be."""

import copy
from collections.abc import Collection, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..encoder import NEGATIVE_SLOPE, BlindspotModel1D, Block, check_input
from ..layers import check_direction, pool_name
from .folding import fold


class DirectEncoder:
    """Activations of the encoder, with conv2d on images of one column (B, C, L, 1), channels last.

    The shift before a pool and the left context of a causal block are one padding; LeakyReLU follows the pool where
    nobody asked for the layer before it. `axis` is that of the pixels: 2, or 3 for images of one row (B, C, 1, L). The
    library's kernels differ: in exact float32 on a GPU columns are 2.7 times as fast, elsewhere rows are (see
    docs/performance.md).
    """

    def __init__(self, model: BlindspotModel1D, *, dtype: torch.dtype, device: str, axis: int = 3) -> None:
        self._config, self._depth = model.config, model.config.num_layers
        self._blocks = [
            _DirectBlock(cast("Block", b), dtype=dtype, device=device, axis=axis) for b in model.encoders
        ]
        self._dtype, self._device = dtype, device
        self._axis, self._flat = axis, 5 - axis

    def encode(self, x: Tensor, layers: Collection[str], direction: str) -> dict[str, Tensor]:
        """Activations of canonical `layers`: x (B, C_in, L) -> {layer: (B, C, L')}, as BlindspotModel1D.encode.

        Raises InputError for a wrong shape, ConfigError for a direction that the network does not have.
        """
        check_direction(direction, self._config)
        check_input(x, self._config, layers)
        x = x.to(self._device, self._dtype, non_blocking=True)
        image = (x if direction == "forward" else x.flip(-1)).unsqueeze(self._flat)
        image = image.contiguous(memory_format=torch.channels_last)
        found: dict[str, Tensor] = {}
        for name, activation in self._activations(image, layers):
            if name in layers:
                row = activation.squeeze(self._flat)
                found[name] = row if direction == "forward" else row.flip(-1)
                if len(found) == len(set(layers)):
                    break
        return found

    def _activations(self, image: Tensor, layers: Collection[str]) -> Iterator[tuple[str, Tensor]]:
        image = _leaky(self._blocks[0](image))
        yield "enc_0", image
        for index in range(1, self._depth):
            image = self._blocks[index](image)
            tapped = f"enc_{index}" in layers
            if tapped:
                image = _leaky(image)
                yield f"enc_{index}", image
            if self._config.blindspot:
                image = _padded(image.narrow(self._axis, 0, image.shape[self._axis] - 1), (1, 0), self._axis)
            image = functional.max_pool2d(image, _along(2, self._axis))
            if not tapped:
                image = _leaky(image)
            yield pool_name(index, self._depth), image
        yield "enc_last", _leaky(self._blocks[-1](image))


class _DirectBlock:
    """Convolution and norm of one block on images with the pixels along `axis`."""

    def __init__(self, block: Block, *, dtype: torch.dtype, device: str, axis: int) -> None:
        self._padding, self._axis = block.padding, axis
        self._dilation = _along(int(block.conv.dilation[0]), axis)
        self._norm: nn.Module | None = None
        if isinstance(block.bn, nn.GroupNorm):
            weight = block.conv.weight.detach().clone()
            bias = cast("Tensor", block.conv.bias).detach().clone()
            self._norm = copy.deepcopy(block.bn).to(device, torch.float32)
        else:
            folded = fold(block)
            weight, bias = folded.weight, folded.bias
        self._bias = bias.to(device, dtype)
        weight = weight.unsqueeze(5 - axis).to(device, dtype)
        self._weight = weight.contiguous(memory_format=torch.channels_last)

    def __call__(self, image: Tensor) -> Tensor:
        image = _padded(image, self._padding, self._axis)
        image = functional.conv2d(image, self._weight, self._bias, dilation=self._dilation)
        if self._norm is not None:
            image = self._norm(image.float()).to(image.dtype)
        return image


def _leaky(image: Tensor) -> Tensor:
    return functional.leaky_relu(image, NEGATIVE_SLOPE, inplace=True)


def _along(value: int, axis: int) -> tuple[int, int]:
    """(for rows, for columns), with `value` for the axis of the pixels and 1 for the flat one."""
    return (value, 1) if axis == 2 else (1, value)


def _padded(image: Tensor, padding: tuple[int, int], axis: int) -> Tensor:
    """The image with so many zeros before and after its pixels."""
    return functional.pad(image, padding if axis == 3 else (0, 0, *padding))
