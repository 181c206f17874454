"""The network's forward pass in the memory layout that trains fastest: images (B, C, 1, L), channels last.

Same parameters, same buffers, same result as `BlindspotModel1D.forward` to rounding; `docs/pretraining.md` has the
rates. It is used for training only: whatever reads a trained network calls the model itself.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache.errors import ConfigError

from ..encoder import NEGATIVE_SLOPE, BlindspotModel1D, Block, shift_right


def forward(model: BlindspotModel1D, x: Tensor) -> Tensor:
    """Run the whole network, (B, C_in, L) -> (B, outputs, L), updating the norms' statistics in training mode.

    Raises ConfigError for a network that is not blind-spot: it could copy its input.
    """
    if not model.config.blindspot:
        raise ConfigError(
            "a network without blindspot sees the pixel it predicts; only blind-spot ones are trained"
        )
    both = torch.cat([x, x.flip(-1)]).unsqueeze(2).contiguous(memory_format=torch.channels_last)
    left_to_right, right_to_left = shift_right(_unet(model, both)).chunk(2)
    mixed = torch.cat([left_to_right, right_to_left.flip(3)], dim=1)
    for block in model.nin_layers:
        mixed = _block(block, mixed)
    out = mixed.squeeze(2).float()
    return functional.softplus(out) if model.config.ending == "softplus" else out


def _unet(model: BlindspotModel1D, x: Tensor) -> Tensor:
    skips = [x]
    depth = model.config.num_layers
    x = _block(model.encoders[0], x)
    for index in range(1, depth):
        x = functional.max_pool2d(shift_right(_block(model.encoders[index], x)), (1, 2))
        skips.append(x)
    skips.pop()  # the deepest pool is no skip
    x = _block(model.encoders[depth], x)
    for first, second in zip(model.decoders_a, model.decoders_b, strict=True):
        skip = skips.pop()
        upsampled = functional.interpolate(x, size=skip.shape[-2:], mode="nearest")
        joined = torch.cat([upsampled, skip.to(upsampled.dtype)], dim=1)
        x = _block(second, _block(first, joined))
    return x


def _block(block: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(block, Block)
    weight = block.conv.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    dilation = (1, int(block.conv.dilation[0]))
    x = functional.conv2d(functional.pad(x, block.padding), weight, block.conv.bias, dilation=dilation)
    return functional.leaky_relu(_norm(block.bn, x), NEGATIVE_SLOPE)


def _norm(norm: nn.Module | None, x: Tensor) -> Tensor:
    if isinstance(norm, nn.BatchNorm1d):
        assert norm.num_batches_tracked is not None
        if norm.training:
            norm.num_batches_tracked.add_(1)
        momentum = norm.momentum
        assert momentum is not None
        return functional.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, momentum, norm.eps
        )
    return x if norm is None else norm(x)
