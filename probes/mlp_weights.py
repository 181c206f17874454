"""A fitted network with the scalings of its features and labels, as one safetensors file."""

from collections.abc import Mapping

import safetensors
import safetensors.torch
import torch
from torch import nn

from cache.errors import Damaged

from .scaling import Scaling

FILE = "weights.safetensors"
SCALING_FIELDS = tuple(Scaling.__dataclass_fields__)


def weights_files(network: nn.Sequential, x_scaling: Scaling, y_scaling: Scaling) -> dict[str, bytes]:
    """The file by its name: weights `network.*`; mean, scale, constancy of features `x_*` and labels `y_*`."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for side, scaling in (("x", x_scaling), ("y", y_scaling)):
        tensors |= {f"{side}_{name}": torch.from_numpy(value) for name, value in vars(scaling).items()}
    return {FILE: safetensors.torch.save(tensors)}


def read_weights(files: Mapping[str, bytes], network: nn.Sequential) -> tuple[Scaling, Scaling]:
    """Load what `weights_files` gave into the network; the scalings of features and labels.

    Raises Damaged when the file or a tensor is missing, or a tensor has another shape.
    """
    try:
        tensors = safetensors.torch.load(files[FILE])
        x_scaling, y_scaling = (
            Scaling(**{name: tensors.pop(f"{side}_{name}").numpy() for name in SCALING_FIELDS})
            for side in ("x", "y")
        )
        network.load_state_dict({name.removeprefix("network."): t for name, t in tensors.items()})
    except (KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise Damaged(f"{FILE} does not fit the head: {error}; fit the head again") from error
    return x_scaling, y_scaling
