"""Pretraining losses against the densities of scipy and plain formulas."""

import numpy as np
import pytest
import torch
from scipy import stats

from cache.errors import ConfigError, UnknownName
from extract.training.losses import (
    LOG_SIGMA_RANGE,
    SMALLEST_SIGMA,
    LossSettings,
    Prediction,
    check_loss,
    denoised,
    loss,
    predict,
)

B, L = 3, 50


@pytest.fixture
def arrays():
    rng = np.random.default_rng(3)
    flux = 0.5 + 0.5 * rng.random((B, L))
    error = 0.05 + 0.2 * rng.random((B, L))
    return {
        "flux": flux,
        "error": error,
        "noisy": flux + error * rng.standard_normal((B, L)),
        "mu": flux + 0.1 * rng.standard_normal((B, L)),
        "sigma": 0.01 + 0.1 * rng.random((B, L)),
    }


def measure(name, arrays, **constants):
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    sigma = None if name == "M1" else tensors["sigma"]
    prediction = Prediction(mu=tensors["mu"], sigma=sigma)
    settings = LossSettings(name=name, **constants)
    return loss(
        settings, prediction, noisy=tensors["noisy"], error=tensors["error"], flux=tensors["flux"]
    ).item()


def test_e2_is_the_gaussian_likelihood_of_the_noisy_flux(arrays):
    std = np.hypot(arrays["sigma"], arrays["error"])
    expected = -stats.norm.logpdf(arrays["noisy"], arrays["mu"], std).mean()
    assert measure("E2", arrays) == pytest.approx(expected, rel=1e-12)


def test_e1_is_the_laplace_likelihood_of_the_noisy_flux_with_that_standard_deviation(arrays):
    std = np.hypot(arrays["sigma"], arrays["error"])
    expected = -stats.laplace.logpdf(arrays["noisy"], arrays["mu"], std / np.sqrt(2)).mean()
    assert stats.laplace(scale=1 / np.sqrt(2)).std() == pytest.approx(1.0)
    assert measure("E1", arrays) == pytest.approx(expected, rel=1e-12)


def test_t1_is_the_laplace_likelihood_of_the_clean_flux_about_the_posterior(arrays):
    var_x, var_n = arrays["sigma"] ** 2, arrays["error"] ** 2
    mean = (var_x * arrays["noisy"] + var_n * arrays["mu"]) / (var_x + var_n)
    std = np.sqrt(1.0 / (1.0 / var_x + 1.0 / var_n))
    expected = -stats.laplace.logpdf(arrays["flux"], mean, std / np.sqrt(2)).mean()
    assert measure("T1", arrays) == pytest.approx(expected, rel=1e-12)


def test_m1_is_huber_plus_the_penalty_of_negative_flux(arrays):
    arrays["mu"][0, :5] -= 2.0
    total = 0.0
    for mu, noisy in zip(arrays["mu"].ravel(), arrays["noisy"].ravel(), strict=True):
        distance = abs(mu - noisy)
        total += 0.5 * distance**2 if distance < 0.03 else 0.03 * (distance - 0.015)
        total += 2.0 * max(-mu, 0.0)
    expected = total / (B * L)
    assert measure("M1", arrays, huber_delta=0.03, lam_neg=2.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["E1", "E2", "M1"])
def test_self_supervised_losses_never_look_at_the_clean_flux(arrays, name):
    before = measure(name, arrays)
    arrays["flux"][:] = np.nan
    assert measure(name, arrays) == before


def test_denoised_lies_between_mu_and_the_noisy_flux_and_tends_to_both():
    mu, noisy, error = torch.zeros(1, 3), torch.ones(1, 3), torch.full((1, 3), 0.1)
    sigma = torch.tensor([[1e-6, 0.1, 1e4]])
    found = denoised(Prediction(mu=mu, sigma=sigma), noisy, error)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.5, 1.0]]), atol=1e-5, rtol=0)
    assert denoised(Prediction(mu=mu, sigma=None), noisy, error) is mu


def test_predict_reads_both_endings_and_keeps_sigma_in_range():
    out = torch.tensor([[[0.7, 0.8, 0.9], [-100.0, -2.0, 100.0]]])
    log = predict(out, "log_sigma")
    expected = [np.exp(LOG_SIGMA_RANGE[0]), np.exp(-2.0), np.exp(LOG_SIGMA_RANGE[1])]
    np.testing.assert_allclose(log.sigma[0], expected, rtol=1e-6)
    plain = predict(out.abs() * 0.0 + torch.tensor([0.0, 0.2, 3.0]), "sigma")
    np.testing.assert_allclose(plain.sigma[0], [SMALLEST_SIGMA, 0.2, 3.0], rtol=1e-6)
    assert predict(out[:, :1], "none").sigma is None
    assert torch.equal(log.mu, out[:, 0])
    with pytest.raises(UnknownName, match="log_sigma"):
        predict(out, "variance")


def test_a_loss_that_does_not_fit_the_network_is_refused():
    with pytest.raises(UnknownName, match="T1, E1, E2, M1"):
        check_loss("T2", gives_sigma=True)
    with pytest.raises(ConfigError, match=r"'M1' trains a network with 1 output .* has 2"):
        check_loss("M1", gives_sigma=True)
    with pytest.raises(ConfigError, match=r"'E2' trains a network with 2 outputs .* has 1"):
        check_loss("E2", gives_sigma=False)
