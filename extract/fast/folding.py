"""A block of the encoder as one convolution: BatchNorm in eval mode folded into weight and bias."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..encoder import Block


@dataclass(frozen=True)
class Folded:
    """One block without its norm: y[p] = bias + sum_j weight[:, :, j] x[p - extent + ahead + j * dilation].

    `weight` is (C_out, C_in, K) and `bias` (C_out,), both float64; pixels outside the spectrum are zero.
    """

    weight: Tensor
    bias: Tensor
    dilation: int
    ahead: int
    """Pixels after its own that an output reads: 0 for a causal block, half of the extent for a centred one."""

    @property
    def extent(self) -> int:
        """Pixels that the kernel reaches beyond one: (kernel size - 1) * dilation."""
        return (self.weight.shape[-1] - 1) * self.dilation


def fold(block: Block) -> Folded:
    """Fold a block's BatchNorm, if it has one, into its convolution, in float64; nothing is shared with the block.

    With gain g = weight / sqrt(running_var + eps): weight' = g * weight, bias' = g * (bias - running_mean) + beta
    (the definition of BatchNorm in eval mode). Raises TypeError for GroupNorm, which depends on the data.
    """
    convolution, norm = block.conv, block.bn
    weight = convolution.weight.detach().double().cpu().clone()
    bias = cast("Tensor", convolution.bias).detach().double().cpu().clone()
    if isinstance(norm, nn.BatchNorm1d):
        running_mean, running_var, gamma, beta = (
            cast("Tensor", tensor).detach().double().cpu()
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        gain = gamma / torch.sqrt(running_var + norm.eps)
        weight, bias = weight * gain[:, None, None], (bias - running_mean) * gain + beta
    elif norm is not None:
        raise TypeError(f"{type(norm).__name__} depends on the data and cannot be folded")
    return Folded(weight, bias, int(convolution.dilation[0]), block.padding[1])
