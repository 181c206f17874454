"""How well a network denoises: the reconstruction S/N ||x|| / ||x - x_hat|| of each star, and its median."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..encoder import BlindspotModel1D
from .losses import denoised, predict
from .stars import Batch

SPECTRA_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Median reconstruction S/N over stars of the denoised flux, of mu alone, and of the noisy input."""

    denoised: float
    mu: float
    noisy: float


def signal_to_noise(flux: Tensor, estimate: Tensor) -> Tensor:
    """||x|| / ||x - x_hat|| per star: (n, L), (n, L) -> (n,), in float64."""
    clean = flux.double()
    residual = clean - estimate.double()
    ratio: Tensor = torch.linalg.vector_norm(clean, dim=1) / torch.linalg.vector_norm(residual, dim=1)
    return ratio


def reconstruction(model: BlindspotModel1D, stars: Batch) -> Reconstruction:
    """Score the network in eval mode on `stars`, on the network's device; its mode is put back afterwards."""
    kind = model.config.sigma_kind
    assert kind is not None
    was_training = model.training
    device = str(next(model.parameters()).device)
    model.eval()
    scores: list[Tensor] = []
    with torch.inference_mode():
        for first in range(0, len(stars.flux), SPECTRA_AT_ONCE):
            part = stars.rows(first, first + SPECTRA_AT_ONCE).to(device)
            prediction = predict(model(part.x), kind)
            estimates = (denoised(prediction, part.noisy, part.error), prediction.mu, part.noisy)
            scores.append(torch.stack([signal_to_noise(part.flux, estimate) for estimate in estimates]))
    model.train(was_training)
    values = torch.cat(scores, dim=1).quantile(0.5, dim=1).tolist()
    return Reconstruction(denoised=values[0], mu=values[1], noisy=values[2])
