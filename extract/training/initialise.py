"""Where training starts: a network whose first prediction is a flat spectrum with a small uncertainty.

With PyTorch's defaults the norm of the last block starts mu and sigma near 0.7 with unit scatter; the likelihoods are
then flat in mu, and minutes of training go by before anything is denoised. So the last block's norm is set such that
mu = MU + MU_GAIN z and sigma = SIGMA, where z is what the norm makes of the convolution: zero mean, unit variance.
"""

import math

import torch
from torch import nn

from cache.errors import ConfigError

from ..architecture import ModelConfig
from ..encoder import NEGATIVE_SLOPE, BlindspotModel1D

MU = 0.75  # the median of every flux in the survey (its normalisation)
MU_GAIN = 0.05  # about the scatter of flux between stars
SIGMA = 0.03  # what is left when the mean star is taken off (S/N 25 on the mock survey)
SIGMA_GAIN = 1.0  # of the raw output; through LeakyReLU a tenth of it reaches ln sigma


def initialise(model: BlindspotModel1D, *, seed: int) -> None:
    """Fill the convolutions anew (He et al. 2015, for LeakyReLU) and set the last norm; deterministic by `seed`.

    Raises ConfigError for a network without norms, whose output cannot be placed this way.
    """
    if model.config.norm == "none":
        raise ConfigError("norm is 'none'; pretraining starts from the last block's norm: use 'bn' or 'ln'")
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(
                module.weight, a=NEGATIVE_SLOPE, nonlinearity="leaky_relu", generator=generator
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.GroupNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    last = last_norm(model)
    gains, offsets = output_placement(model.config)
    with torch.no_grad():
        last.weight.copy_(torch.tensor(gains))
        last.bias.copy_(torch.tensor(offsets))


def last_norm(model: BlindspotModel1D) -> nn.BatchNorm1d | nn.GroupNorm:
    """The norm of `nin_layers.2`, which places the outputs."""
    norm = model.nin_layers[-1].bn
    assert isinstance(norm, nn.BatchNorm1d | nn.GroupNorm)
    return norm


def output_placement(config: ModelConfig) -> tuple[list[float], list[float]]:
    """Weight and bias of the last norm, one per output, that place mu and sigma as the module says."""
    if config.ending == "softplus":
        gains = [MU_GAIN / _softplus_slope(MU), SIGMA_GAIN]
        offsets = [_before_leaky_relu(_inverse_softplus(MU)), _before_leaky_relu(_inverse_softplus(SIGMA))]
    else:
        gains = [MU_GAIN, SIGMA_GAIN]
        offsets = [_before_leaky_relu(MU), _before_leaky_relu(math.log(SIGMA))]
    return gains[: config.output_channels], offsets[: config.output_channels]


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))


def _softplus_slope(value: float) -> float:
    return -math.expm1(-value)


def _before_leaky_relu(value: float) -> float:
    return value if value >= 0 else value / NEGATIVE_SLOPE
