"""What a blind-spot network is: its configuration, and how much of it can be seen in its tensors.

Facts are from REFERENCE.md, section 2. The ending, the dilation and the error mode leave no trace in the
tensors; they have to be stated by a YAML file, by the checkpoint itself or by the caller.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import torch

from cache.errors import CheckpointError, ConfigError, UnknownName

from .error_input import ERROR_MODES, n_error_channels
from .tensor_names import FIRST

NORMS = ("bn", "ln", "none")
ENDINGS = ("softplus", "linear")
MIN_LAYERS = 2  # with fewer there is no pool, so no bottleneck and no skip to decode
MAX_LAYERS = 11  # each pool halves the length: 2**11 pixels are half of a 4096-pixel spectrum


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture and input of one network; `None` means that nobody has stated it.

    Raises ConfigError for values that do not describe a network.
    """

    num_layers: int
    embed_dim: int
    kernel_size: int
    input_channels: int = 1
    output_channels: int = 2
    error_mode: str | None
    error_channels: int
    norm: str
    blindspot: bool = True
    dilation: int = 1
    ending: str | None

    def __post_init__(self) -> None:
        for name in ("embed_dim", "kernel_size", "dilation"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be at least 1")
        if not MIN_LAYERS <= self.num_layers <= MAX_LAYERS:
            raise ConfigError(
                f"num_layers is {self.num_layers!r}; it must lie between {MIN_LAYERS} and {MAX_LAYERS}: "
                "every layer but the first and the last halves the length"
            )
        if self.norm not in NORMS:
            raise UnknownName("norm", self.norm, NORMS)
        if self.ending is not None and self.ending not in ENDINGS:
            raise UnknownName("ending", self.ending, ENDINGS)
        self._check_channels()
        if not self.blindspot and self.kernel_size % 2 == 0:
            raise ConfigError(
                f"kernel_size is {self.kernel_size!r}: without blindspot the blocks are centred, "
                "which needs an odd kernel"
            )

    def _check_channels(self) -> None:
        if self.input_channels != 1:
            raise ConfigError(f"input_channels is {self.input_channels!r}; a spectrum has one flux channel")
        if self.output_channels not in (1, 2):
            raise ConfigError(
                f"output_channels is {self.output_channels!r}; known: 1 (mean) or 2 (mean and sigma)"
            )
        if not self.blindspot and self.output_channels != 1:
            raise ConfigError(
                f"output_channels is {self.output_channels!r}; a network without blindspot has 1"
            )
        if self.error_channels not in (0, 1, 3):
            raise ConfigError(f"{self.error_channels!r} error channels; the known error modes have 0, 1 or 3")
        if self.error_mode is not None and n_error_channels(self.error_mode) != self.error_channels:
            raise ConfigError(
                f"error mode {self.error_mode!r} has {n_error_channels(self.error_mode)} error channel(s), "
                f"the network has {self.error_channels}"
            )

    @property
    def n_inputs(self) -> int:
        """Channels that the network takes: flux, then the error channels."""
        return self.input_channels + self.error_channels

    @property
    def sigma_kind(self) -> str | None:
        """What stands in the second output: 'sigma', 'log_sigma', 'none' (one output), None if unstated."""
        if self.output_channels == 1:
            return "none"
        return {"softplus": "sigma", "linear": "log_sigma", None: None}[self.ending]

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values, for keys and files."""
        return dataclasses.asdict(self)


def error_modes_with(error_channels: int) -> tuple[str, ...]:
    """The error modes that feed this number of channels."""
    return tuple(mode for mode in ERROR_MODES if n_error_channels(mode) == error_channels)


def visible_architecture(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The fields of ModelConfig that the names and shapes of a state dict tell.

    `tensors` has the names of BlindspotModel1D, without prefix. Raises CheckpointError when a tensor that is
    needed to tell is missing or has the wrong number of dimensions.
    """
    first = _shape(tensors, FIRST)
    mixing = _shape(tensors, "nin_layers.0.conv.weight")
    last = _shape(tensors, "nin_layers.2.conv.weight")
    numbers = [int(found[1]) for name in tensors if (found := re.match(r"encoders\.(\d+)\.", name))]
    embed_dim, n_inputs, kernel_size = first
    return {
        "num_layers": max(numbers),
        "embed_dim": embed_dim,
        "kernel_size": kernel_size,
        "input_channels": 1,
        "error_channels": n_inputs - 1,
        "output_channels": last[0],
        "norm": _norm(tensors),
        # the two directions are concatenated before the mixing layers
        "blindspot": mixing[1] == 2 * embed_dim,
    }


def _shape(tensors: Mapping[str, torch.Tensor], name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise CheckpointError(f"the tensor {name!r} is missing: this is no whole blind-spot network")
    shape = tuple(tensors[name].shape)
    if len(shape) != 3:
        raise CheckpointError(f"the tensor {name!r} has shape {shape}; expected 3 dimensions")
    return shape


def _norm(tensors: Mapping[str, torch.Tensor]) -> str:
    if "encoders.0.bn.running_mean" in tensors:
        return "bn"
    return "ln" if "encoders.0.bn.weight" in tensors else "none"
