import pytest
import torch
from encoder_fakes import random_model, small_config

from cache.errors import ConfigError
from extract.denoise import denoise

SHAPE = 2, 32


def inputs(model):
    generator = torch.Generator().manual_seed(2)
    noisy, error = (torch.rand(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    return torch.stack([noisy, error][: model.config.n_inputs], dim=1), noisy, error


@pytest.mark.parametrize("ending", ["softplus", "linear"])
def test_two_outputs_are_combined_with_the_pixel_by_variance(ending):
    model = random_model(small_config(ending=ending))
    x, noisy, error = inputs(model)
    with torch.no_grad():
        mu, second = model(x).unbind(1)
        sigma = second if ending == "softplus" else torch.exp(second)
        found = denoise(model, x, noisy, error)
    weight = sigma**2 / (sigma**2 + error**2)
    torch.testing.assert_close(found, weight * noisy + (1 - weight) * mu)


def test_limits_no_noise_gives_the_pixel_and_much_noise_the_prediction():
    model = random_model(small_config())
    x, noisy, error = inputs(model)
    with torch.no_grad():
        mu = model(x)[:, 0]
        torch.testing.assert_close(denoise(model, x, noisy, torch.zeros_like(error)), noisy)
        torch.testing.assert_close(denoise(model, x, noisy, error + 1e9), mu)


def test_a_network_of_one_output_gives_mu():
    model = random_model(small_config(output_channels=1))
    x, noisy, error = inputs(model)
    with torch.no_grad():
        torch.testing.assert_close(denoise(model, x, noisy, error), model(x)[:, 0])


def test_an_unstated_ending_is_refused():
    model = random_model(small_config(ending=None))
    with pytest.raises(ConfigError, match="--ending softplus or --ending linear"):
        denoise(model, *inputs(model))
