"""The blind-spot 1-D U-Net, read from top to bottom (REFERENCE.md, section 2).

Names of the modules are those of the group's checkpoints.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from cache.arrays import PSEUDO_LAYERS
from cache.errors import ConfigError, InputError

from .architecture import ModelConfig
from .layers import (
    canonical_layer,
    check_direction,
    check_length,
    layer_names,
    n_pools_before,
    pool_name,
)

NEGATIVE_SLOPE = 0.1  # REFERENCE 2


def _norm(kind: str, channels: int) -> nn.Module | None:
    if kind == "bn":
        return nn.BatchNorm1d(channels)
    return nn.GroupNorm(1, channels) if kind == "ln" else None


class Block(nn.Module):
    """Convolution, norm, LeakyReLU(0.1): (B, C_in, L) -> (B, C_out, L).

    `causal`: output pixel t sees input pixels t - (kernel_size - 1) * dilation ... t, zeros before the first.
    `centred`: ordinary 'same' padding, odd kernels only.
    """

    def __init__(
        self, n_in: int, n_out: int, *, kernel_size: int, dilation: int, norm: str, side: str
    ) -> None:
        """Make a block with PyTorch's default weights; `side` is 'causal' or 'centred'."""
        super().__init__()
        context = (kernel_size - 1) * dilation
        self.padding = (context, 0) if side == "causal" else (context // 2, context // 2)
        self.conv = nn.Conv1d(n_in, n_out, kernel_size, dilation=dilation)
        self.bn = _norm(norm, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        x = self.conv(functional.pad(x, self.padding))
        if self.bn is not None:
            x = self.bn(x)
        return functional.leaky_relu(x, NEGATIVE_SLOPE)


def shift_right(x: Tensor) -> Tensor:
    """Move every pixel one to the right; a zero comes first, the last pixel is dropped."""
    return functional.pad(x[..., :-1], (1, 0))


class BlindspotModel1D(nn.Module):
    """The network: encoder with taps, decoder, and the mixing of both directions.

    A fresh model has PyTorch's default initialisation. `extract.checkpoint.load_encoder` fills the rest:
    `assumptions` (what nobody stated, by name), `error_profile` (float64 (L,), the checkpoint's
    `sigma_profile`), `unused_keys` (names in the checkpoint that are not the network's) and `origin`
    ('checkpoint', or 'random:SEED' for a control).
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the network that `config` describes."""
        super().__init__()
        self.config = config
        self.assumptions: Mapping[str, str] = {}
        self.error_profile: npt.NDArray[np.float64] | None = None
        self.unused_keys: tuple[str, ...] = ()
        self.origin = "checkpoint"
        width, depth = config.embed_dim, config.num_layers

        def block(n_in: int, n_out: int, dilation: int = 1) -> Block:
            side = "causal" if config.blindspot else "centred"
            size = config.kernel_size
            return Block(n_in, n_out, kernel_size=size, dilation=dilation, norm=config.norm, side=side)

        def mix(n_in: int, n_out: int) -> Block:
            return Block(n_in, n_out, kernel_size=1, dilation=1, norm=config.norm, side="causal")

        deeper = [block(width, width, config.dilation) for _ in range(depth)]
        self.encoders = nn.ModuleList([block(config.n_inputs, width), *deeper])
        joined = [2 * width] * (depth - 2) + [width + config.n_inputs]
        self.decoders_a = nn.ModuleList([block(n_in, width) for n_in in joined])
        self.decoders_b = nn.ModuleList([block(width, width) for _ in joined])
        streams = 2 * width if config.blindspot else width
        self.nin_layers = nn.Sequential(
            mix(streams, 2 * streams), mix(2 * streams, 2 * width), mix(2 * width, config.output_channels)
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Canonical names of the layers that can be extracted, shallowest first, without aliases."""
        return layer_names(self.config.num_layers)

    @property
    def assumed(self) -> tuple[str, ...]:
        """What was assumed on loading, in plain words; empty when everything was stated."""
        return tuple(self.assumptions.values())

    def forward(self, x: Tensor) -> Tensor:
        """Run the whole network: (B, C_in, L) -> (B, outputs, L).

        Output pixel t depends on every pixel but t (blind-spot networks; with norm 'ln' pixel t still enters
        the mean and variance over the spectrum). Raises ConfigError when the
        ending was never stated, InputError for a wrong shape.
        """
        check_input(x, self.config, self.layers)
        if self.config.ending is None:
            raise ConfigError(
                "the ending of this network was never stated; give ending 'softplus' or 'linear'"
            )
        if self.config.blindspot:
            both = shift_right(self._unet(torch.cat([x, x.flip(-1)])))
            left_to_right, right_to_left = both.chunk(2)
            mixed = self.nin_layers(torch.cat([left_to_right, right_to_left.flip(-1)], dim=1))
        else:
            mixed = self.nin_layers(self._unet(x))
        return functional.softplus(mixed) if self.config.ending == "softplus" else cast("Tensor", mixed)

    def encode(self, x: Tensor, layers: Collection[str], direction: str = "forward") -> dict[str, Tensor]:
        """Activations of `layers` for one direction: (B, C_in, L) -> {canonical name: (B, C, L')}.

        One pass that stops at the deepest layer asked for. `backward` reads the flipped spectrum and its
        maps are flipped back, so index grows with wavelength in both directions. Aliases are accepted.
        """
        check_direction(direction, self.config)
        wanted = {self._encoder_layer(layer) for layer in layers}
        check_input(x, self.config, wanted)
        found: dict[str, Tensor] = {}
        if not wanted:
            return found
        for name, activation in self._activations(x if direction == "forward" else x.flip(-1)):
            if name in wanted:
                found[name] = activation if direction == "forward" else activation.flip(-1)
                if len(found) == len(wanted):
                    break
        return found

    def encode_flux(
        self,
        x_noisy: Tensor,
        sigma: Tensor | None = None,
        layer: str = "enc_pre_latent",
        direction: str = "forward",
    ) -> Tensor:
        """Activation of one layer: flux (B, L) or (B, 1, L) -> (B, C, L').

        `sigma` holds the ready error channels, (B, L), (B, 1, L) or (B, C, L), as
        `extract.error_input.channels` makes them after the flux. Inputs are cast to the precision of the
        weights. Raises InputError when `sigma` is missing, superfluous or has another shape.
        """
        flux = _with_channel(x_noisy, "x_noisy")
        if flux.shape[1] != self.config.input_channels:
            raise InputError(f"x_noisy has {flux.shape[1]} channels; expected (B, L) or (B, 1, L)")
        expected = self.config.error_channels
        if sigma is None and expected:
            raise InputError(f"this network takes {expected} error channel(s): sigma is missing")
        if sigma is not None and not expected:
            raise InputError("this network takes no error channel, but sigma was given: leave it out")
        channels = [flux] if sigma is None else [flux, _with_channel(sigma, "sigma")]
        if channels[-1].shape != (flux.shape[0], expected, flux.shape[2]) and expected:
            raise InputError(
                f"sigma has shape {tuple(channels[-1].shape)}; expected {expected} channel(s) for flux of "
                f"shape {tuple(flux.shape)}"
            )
        weight = next(self.parameters())
        x = torch.cat([channel.to(weight.dtype) for channel in channels], dim=1)
        return self.encode(x, (layer,), direction)[self._encoder_layer(layer)]

    def _activations(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Every layer of the encoder in the order in which it is computed; stops when nobody asks."""
        depth = self.config.num_layers
        x = self.encoders[0](x)
        yield "enc_0", x
        for index in range(1, depth):
            x = self.encoders[index](x)
            yield f"enc_{index}", x
            x = functional.max_pool1d(shift_right(x) if self.config.blindspot else x, 2)
            yield pool_name(index, depth), x
        yield "enc_last", self.encoders[depth](x)

    def _unet(self, x: Tensor) -> Tensor:
        skips = [x]  # the deepest pool, `enc_pre_latent`, is not among them
        for name, activation in self._activations(x):
            x = activation
            if name.startswith("pool_"):
                skips.append(activation)
        for first, second in zip(self.decoders_a, self.decoders_b, strict=True):
            skip = skips.pop()
            upsampled = functional.interpolate(x, size=skip.shape[-1], mode="nearest")
            x = second(first(torch.cat([upsampled, skip], dim=1)))
        return x

    def _encoder_layer(self, layer: str) -> str:
        canonical = canonical_layer(layer, self.config.num_layers)
        if canonical in PSEUDO_LAYERS:
            raise ConfigError(f"{layer!r} is a pseudo-layer, not an activation of the encoder")
        return canonical


def check_input(x: Tensor, config: ModelConfig, layers: Collection[str]) -> None:
    """Raise InputError unless x is (B, C_in, L) for this network, L being long enough for the pools before `layers`."""
    if x.ndim != 3 or x.shape[1] != config.n_inputs:
        raise InputError(
            f"input of shape {tuple(x.shape)}; this network takes (B, {config.n_inputs}, L): flux and "
            f"{config.error_channels} error channel(s)"
        )
    check_length(x.shape[-1], max((n_pools_before(layer, config.num_layers) for layer in layers), default=0))


def _with_channel(values: Tensor, name: str) -> Tensor:
    if values.ndim not in (2, 3):
        raise InputError(f"{name} has shape {tuple(values.shape)}; expected (B, L) or (B, C, L)")
    return values[:, None] if values.ndim == 2 else values
