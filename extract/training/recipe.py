"""What determines the weights of a pretrained network: these settings, beside library versions and machine."""

import dataclasses
from typing import Any

import numpy as np
import torch

from cache.errors import ConfigError, UnknownName

from ..architecture import ModelConfig
from ..error_input import n_error_channels
from .losses import LossSettings, check_loss
from .stars import Stars

PRECISIONS = ("fp32", "bf16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """One pretraining, from the first weight to the last step."""

    num_layers: int
    embed_dim: int
    kernel_size: int
    norm: str
    ending: str
    error_mode: str
    loss: str
    huber_delta: float
    lam_neg: float
    steps: int
    batch_size: int
    lr: float
    output_lr_factor: float
    warmup_steps: int
    clip_norm: float
    calibration_stars: int
    precision: str
    mag_lo: float
    mag_hi: float
    noise_level: float
    seed: int

    def check(self) -> None:
        """Refuse what cannot be trained: ConfigError, UnknownName."""
        if self.precision not in PRECISIONS:
            raise UnknownName("precision", self.precision, PRECISIONS)
        if self.ending == "softplus" and (self.error_mode != "pixel" or self.norm != "bn"):
            raise ConfigError(
                f"ending 'softplus' with error mode {self.error_mode!r} and norm {self.norm!r}: the group's YAML can "
                "say it for 'pixel' and 'bn' alone; use ending 'linear'"
            )
        for name in ("steps", "batch_size", "warmup_steps", "calibration_stars"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be at least 1")
        check_loss(self.loss, gives_sigma=self.model_config().output_channels == 2)

    def model_config(self) -> ModelConfig:
        """The network to train; M1 gives the mean alone, every other loss mean and sigma."""
        return ModelConfig(
            num_layers=self.num_layers,
            embed_dim=self.embed_dim,
            kernel_size=self.kernel_size,
            output_channels=1 if self.loss == "M1" else 2,
            error_mode=self.error_mode,
            error_channels=n_error_channels(self.error_mode),
            norm=self.norm,
            ending=self.ending,
        )

    def loss_settings(self) -> LossSettings:
        """The loss and its constants."""
        return LossSettings(name=self.loss, huber_delta=self.huber_delta, lam_neg=self.lam_neg)

    def stars(self, split: str) -> Stars:
        """The list of stars of a split of the training, 'pretrain' or 'pretrain-val'."""
        return Stars(
            split=split,
            seed=self.seed,
            mag=(self.mag_lo, self.mag_hi),
            noise_level=self.noise_level,
            error_mode=self.error_mode,
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Lines 'name: this, that' for the fields that differ from those of another recipe's JSON."""
        mine = self.to_json()
        names = sorted(set(mine) | set(other))
        return [
            f"{name}: {other.get(name)!r} there, {mine.get(name)!r} asked for"
            for name in names
            if mine.get(name) != other.get(name)
        ]


def versions() -> dict[str, str]:
    """Versions of the libraries whose rounding the weights depend on."""
    return {"torch": str(torch.__version__), "numpy": np.__version__}
