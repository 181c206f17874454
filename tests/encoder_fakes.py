"""Small networks for the tests of `extract`."""

from pathlib import Path

import torch

from extract.architecture import ModelConfig
from extract.encoder import BlindspotModel1D

DATA = Path(__file__).parent / "data"
GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
NO_GOLDEN = "the golden arrays are not in this checkout"


def small_config(**changes):
    fields = {
        "num_layers": 3,
        "embed_dim": 2,
        "kernel_size": 3,
        "error_mode": "pixel",
        "error_channels": 1,
        "norm": "bn",
        "ending": "softplus",
    }
    if not changes.get("blindspot", True):
        fields["output_channels"] = 1
    return ModelConfig(**{**fields, **changes})


def random_model(config, seed=0):
    """A float64 network in eval mode whose norms are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    model = BlindspotModel1D(config).double()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else 0.5 * values)
    return model.eval()


def monotone_model(config, seed=0):
    """A network of positive weights: a large pixel raises every cell that depends on it."""
    model = random_model(config, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().add_(0.1)
    return model
