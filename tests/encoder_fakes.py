"""Small networks for the tests of `extract`."""

from pathlib import Path

import torch

from extract.architecture import ModelConfig
from extract.encoder import BlindspotModel1D
from extract.pooling import pool

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


def calm_model(config, seed=0):
    """A float64 network like `random_model` whose activations neither vanish nor explode with depth."""
    model = random_model(config, seed)
    with torch.no_grad():
        for block in model.encoders:
            block.conv.weight.mul_(3 / block.conv.weight[0].numel() ** 0.5)
            if block.bn is not None:
                block.bn.weight.abs_().add_(0.5)
    return model


def plain_features(model, x, layers, poolings, *, directions=("forward",)):
    """What every engine should answer, from the module itself in the precision of its weights."""
    with torch.no_grad():
        return {
            (layer, direction, pooling): pool(feature_map, pooling)
            for direction in directions
            for layer, feature_map in model.encode(x, layers, direction).items()
            for pooling in poolings
        }


def assert_features_agree(found, expected, *, tolerance=1e-4):
    """The same arrays, float32, within `tolerance` of the largest number of each, or of 1."""
    assert set(found) == set(expected)
    for name, wanted in expected.items():
        values = found[name]
        assert (values.dtype, values.shape) == (torch.float32, wanted.shape), name
        allowed = tolerance * max(1.0, wanted.abs().max().item())
        error = (values - wanted).abs().max().item()  # NaN is no agreement
        assert error <= allowed, f"{name}: differs by {error:.3g}, at most {allowed:.3g} allowed"
