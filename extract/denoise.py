"""The denoised spectrum: the blind-spot prediction combined with the pixel's own noisy value."""

import torch

from cache.errors import ConfigError

from .encoder import BlindspotModel1D


def denoise(
    model: BlindspotModel1D, x: torch.Tensor, noisy: torch.Tensor, error: torch.Tensor
) -> torch.Tensor:
    """Posterior mean of the flux, (B, L): (var_x noisy + var_noise mu) / (var_x + var_noise).

    `x` (B, C_in, L) is what the network is fed, `noisy` and `error` (B, L) the noisy flux and the sigma of the
    noise that is in it. var_x is the network's own variance; a network that gives mu alone returns mu
    (REFERENCE 2). Raises ConfigError when the ending of the network was not stated.
    """
    if model.config.sigma_kind is None:
        raise ConfigError(
            "denoised flux needs the ending of the network; say --ending softplus or --ending linear"
        )
    out: torch.Tensor = model(x)
    mu = out[:, 0]
    if model.config.sigma_kind == "none":
        return mu
    sigma = out[:, 1].exp() if model.config.sigma_kind == "log_sigma" else out[:, 1]
    var_x, var_noise = sigma.square(), error.square()
    total = var_x + var_noise
    return torch.where(total > 0, (var_x * noisy + var_noise * mu) / total.clamp_min(1e-30), mu)
