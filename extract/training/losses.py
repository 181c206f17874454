"""The losses a blind-spot network is pretrained with, by the group's names (REFERENCE.md, section 2).

sigma_x is the network's own uncertainty of the flux at a pixel that it does not see, sigma_n that of the noise there.

    var_y    = sigma_x^2 + sigma_n^2                              of the noisy flux around mu
    denoised = mu + (noisy - mu) sigma_x^2 / var_y                posterior mean of the flux
    var_post = sigma_x^2 sigma_n^2 / var_y                        posterior variance of the flux

A Laplace density of standard deviation s has the scale s / sqrt(2); that is the scale used here, so that sigma_x means
the same thing in every loss. All losses are means over spectra and pixels, in nats per pixel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cache.errors import ConfigError, UnknownName

SMALLEST_SIGMA = 1e-4  # of flux near 1: keeps the likelihoods finite when a Softplus underflows
LOG_SIGMA_RANGE = (-9.0, 4.0)  # ln of 1.2e-4 and 55; outside, a single step could overflow
_SQRT_2 = math.sqrt(2.0)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the network says of each pixel from the others: mu (B, L) and sigma (B, L), or None if it gives mu alone."""

    mu: Tensor
    sigma: Tensor | None


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Which loss, and the constants of M1 (REFERENCE 2: `huber_delta`, `lam_neg`)."""

    name: str
    huber_delta: float = 0.03
    lam_neg: float = 1.0


def predict(out: Tensor, sigma_kind: str) -> Prediction:
    """Read the network's output (B, outputs, L); `sigma_kind` is that of its ModelConfig."""
    if sigma_kind == "none":
        return Prediction(mu=out[:, 0], sigma=None)
    if sigma_kind == "sigma":
        return Prediction(mu=out[:, 0], sigma=out[:, 1].clamp_min(SMALLEST_SIGMA))
    if sigma_kind == "log_sigma":
        return Prediction(mu=out[:, 0], sigma=out[:, 1].clamp(*LOG_SIGMA_RANGE).exp())
    raise UnknownName("kind of sigma", sigma_kind, ("sigma", "log_sigma", "none"))


def denoised(prediction: Prediction, noisy: Tensor, error: Tensor) -> Tensor:
    """Posterior mean of the flux, (B, L); mu itself for a network without sigma."""
    if prediction.sigma is None:
        return prediction.mu
    var_x = prediction.sigma.square()
    return prediction.mu + (noisy - prediction.mu) * var_x / (var_x + error.square())


def laplace_nll(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """-ln of the Laplace density with this mean and standard deviation, elementwise."""
    return _SQRT_2 * (x - mean).abs() / std + torch.log(_SQRT_2 * std)


def gaussian_nll(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """-ln of the normal density, elementwise."""
    return 0.5 * ((x - mean).square() / variance + torch.log(2.0 * math.pi * variance))


def _t1(prediction: Prediction, sigma: Tensor, noisy: Tensor, error: Tensor, flux: Tensor) -> Tensor:
    std = sigma * error / torch.sqrt(sigma.square() + error.square())
    return laplace_nll(flux, denoised(prediction, noisy, error), std)


def _e1(prediction: Prediction, sigma: Tensor, noisy: Tensor, error: Tensor, _flux: Tensor) -> Tensor:
    return laplace_nll(noisy, prediction.mu, torch.sqrt(sigma.square() + error.square()))


def _e2(prediction: Prediction, sigma: Tensor, noisy: Tensor, error: Tensor, _flux: Tensor) -> Tensor:
    return gaussian_nll(noisy, prediction.mu, sigma.square() + error.square())


_LIKELIHOODS: dict[str, Callable[[Prediction, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "T1": _t1,
    "E1": _e1,
    "E2": _e2,
}
LOSSES = (*_LIKELIHOODS, "M1")
"""T1 is supervised (it sees the clean flux), the others see the noisy flux alone."""


def loss(
    settings: LossSettings, prediction: Prediction, *, noisy: Tensor, error: Tensor, flux: Tensor
) -> Tensor:
    """The scalar to minimise; all arrays (B, L). `flux` is the clean flux, which only T1 looks at.

    Raises UnknownName, and ConfigError when the loss needs a sigma that the network does not give.
    """
    check_loss(settings.name, gives_sigma=prediction.sigma is not None)
    if prediction.sigma is None or settings.name == "M1":
        residual = functional.huber_loss(prediction.mu, noisy, delta=settings.huber_delta)
        return residual + settings.lam_neg * functional.relu(-prediction.mu).mean()
    return _LIKELIHOODS[settings.name](prediction, prediction.sigma, noisy, error, flux).mean()


def check_loss(name: str, *, gives_sigma: bool) -> None:
    """Raise UnknownName for another loss, ConfigError when loss and number of outputs do not fit."""
    if name not in LOSSES:
        raise UnknownName("loss", name, LOSSES)
    if gives_sigma == (name == "M1"):
        needs = "1 output (the mean)" if name == "M1" else "2 outputs (mean and sigma)"
        raise ConfigError(f"loss {name!r} trains a network with {needs}, this one has {1 + gives_sigma}")
