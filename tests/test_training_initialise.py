"""The first prediction of a network that is about to be trained."""

import numpy as np
import pytest
import torch

from cache.errors import ConfigError
from extract.architecture import ModelConfig
from extract.encoder import BlindspotModel1D
from extract.training.initialise import MU, MU_GAIN, SIGMA, initialise
from extract.training.losses import predict


def network(*, ending="linear", outputs=2, norm="bn"):
    config = ModelConfig(
        num_layers=4,
        embed_dim=6,
        kernel_size=5,
        output_channels=outputs,
        error_mode="pixel",
        error_channels=1,
        norm=norm,
        ending=ending,
    )
    return BlindspotModel1D(config)


@pytest.mark.parametrize("norm", ["bn", "ln"])
@pytest.mark.parametrize("ending", ["linear", "softplus"])
def test_mu_starts_at_the_median_flux_with_a_small_gain_and_sigma_small(ending, norm):
    model = network(ending=ending, norm=norm)
    initialise(model, seed=0)
    x = torch.from_numpy(np.random.default_rng(0).random((8, 2, 512), dtype=np.float32))
    with torch.no_grad():
        first = predict(model.train()(x), model.config.sigma_kind)
    assert first.mu.median().item() == pytest.approx(MU, abs=0.01)
    assert MU_GAIN / 4 < first.mu.std().item() < 2 * MU_GAIN
    # sigma's raw output scatters by 1, of which LeakyReLU leaves 0.1: a tenth of SIGMA
    assert first.sigma.median().item() == pytest.approx(SIGMA, rel=0.05)
    assert first.sigma.std().item() < 0.2 * SIGMA


def test_a_network_of_the_mean_alone_is_placed_too():
    model = network(outputs=1)
    initialise(model, seed=0)
    with torch.no_grad():
        out = model.train()(torch.rand(4, 2, 256, generator=torch.Generator().manual_seed(0)))
    assert out.shape == (4, 1, 256)
    assert out.median().item() == pytest.approx(MU, abs=0.02)


def test_the_seed_alone_decides():
    first, again, other = network(), network(), network()
    torch.manual_seed(1)
    initialise(first, seed=5)
    torch.manual_seed(2)
    initialise(again, seed=5)
    initialise(other, seed=6)
    weights = [model.state_dict() for model in (first, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["encoders.1.conv.weight"], weights[2]["encoders.1.conv.weight"])


def test_a_network_without_norms_is_refused():
    with pytest.raises(ConfigError, match="use 'bn' or 'ln'"):
        initialise(network(norm="none"), seed=0)
