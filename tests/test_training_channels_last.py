"""The layout used for training against the model itself: outputs, gradients and norm statistics."""

import copy

import pytest
import torch

from cache.errors import ConfigError
from extract.architecture import ModelConfig
from extract.encoder import BlindspotModel1D
from extract.training import channels_last

pytestmark = pytest.mark.usefixtures("one_thread")


def network(**changes):
    settings = {
        "num_layers": 5,
        "embed_dim": 3,
        "kernel_size": 5,
        "error_mode": "pixel",
        "error_channels": 1,
        "norm": "bn",
        "ending": "linear",
    }
    torch.manual_seed(0)
    return BlindspotModel1D(ModelConfig(**(settings | changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ending": "softplus"},
        {"norm": "ln"},
        {"norm": "none", "output_channels": 1},
        {"dilation": 2},
        {"kernel_size": 4},
        {"num_layers": 2},
    ],
)
@pytest.mark.parametrize("n_pixels", [64, 51])
def test_training_forward_equals_the_model(changes, n_pixels):
    plain = network(**changes).double().train()
    fast = copy.deepcopy(plain)
    x = torch.rand(2, 2, n_pixels, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = torch.rand(2, 1, n_pixels, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = plain(x)
    found = channels_last.forward(fast, x)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)
    (expected - target).square().mean().backward()
    (found - target).square().mean().backward()
    for (name, one), (_, other) in zip(plain.named_parameters(), fast.named_parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, atol=1e-6, rtol=1e-5, msg=name)
    for (name, one), (_, other) in zip(plain.named_buffers(), fast.named_buffers(), strict=True):
        torch.testing.assert_close(other, one, msg=name)


def test_eval_mode_uses_and_keeps_the_running_statistics():
    model = network().train()
    x = torch.rand(4, 2, 256, generator=torch.Generator().manual_seed(1))
    model(x)
    model.eval()
    before = copy.deepcopy(model.state_dict())
    torch.testing.assert_close(channels_last.forward(model, x), model(x), atol=1e-5, rtol=0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_network_that_sees_its_own_pixel_is_refused():
    model = network(blindspot=False, output_channels=1)
    with pytest.raises(ConfigError, match="sees the pixel it predicts"):
        channels_last.forward(model, torch.rand(1, 2, 64))
