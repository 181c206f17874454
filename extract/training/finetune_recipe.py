"""What an end-to-end training is asked for: what determines it, and what it runs on."""

import dataclasses
from typing import Any, Self

from cache.errors import ConfigError, UnknownName

from ..layers import canonical_layer
from ..pooling import KNOWN, parse_pooling
from .attention import attention_heads
from .encoder_features import FeatureChoice

ARCHITECTURES = {"mlp_1": 1, "mlp_2": 2}
"""Heads, with their number of hidden layers."""
SCALINGS = ("standard", "none")
ENCODER_NORMS = ("batch", "stored")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Of Lightning's, those in which weights stay float32."""
COUNTS = ("batch_size", "max_epochs", "patience", "plateau_patience")
POSITIVE = ("lr", "encoder_lr", "clip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """One training; the defaults of the command line are the recipe of REFERENCE 5 and 6.

    `hidden` are the widths of the head's hidden layers. `train_draws` is the number of noise draws of train that epochs
    take in turn; None draws anew in each. `encoder_norm` says what norms of a learning encoder go by: the `batch`, as
    usual in training, or the `stored` statistics, which then stay.
    """

    choice: FeatureChoice
    labels: tuple[str, ...]
    head: str
    hidden: tuple[int, ...]
    freeze_encoder: bool
    train_draws: int | None
    noise_level: float
    dropout: float
    batch_size: int
    max_epochs: int
    patience: int
    lr: float
    encoder_lr: float
    weight_decay: float
    plateau_factor: float
    plateau_patience: int
    clip: float
    feature_scaling: str
    label_scaling: str
    encoder_norm: str
    precision: str
    seed: int

    def check(self) -> None:
        """Refuse unknown names and numbers out of range: UnknownName, ConfigError."""
        for kind, name, known in (
            ("architecture", self.head, ARCHITECTURES),
            ("feature scaling", self.feature_scaling, SCALINGS),
            ("label scaling", self.label_scaling, SCALINGS),
            ("encoder norm", self.encoder_norm, ENCODER_NORMS),
            ("precision", self.precision, PRECISIONS),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        self._check_pooling()
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"labels are {self.labels!r}; name one or several, each once")
        wrong = [name for name in COUNTS if getattr(self, name) < 1]
        wrong += [name for name in POSITIVE if getattr(self, name) <= 0]
        wrong += ["dropout"] if not 0 <= self.dropout < 1 else []
        wrong += ["weight_decay"] if self.weight_decay < 0 else []
        wrong += ["plateau_factor"] if not 0 < self.plateau_factor < 1 else []
        wrong += ["hidden"] if min(self.hidden) < 1 else []
        wrong += ["train_draws"] if self.train_draws is not None and self.train_draws < 1 else []
        wrong += ["seed"] if self.seed < 0 else []
        if wrong:
            told = ", ".join(f"{name} {getattr(self, name)!r}" for name in wrong)
            raise ConfigError(f"finetune: {told}: out of range")
        if len(self.hidden) != ARCHITECTURES[self.head]:
            raise ConfigError(
                f"{self.head} has {ARCHITECTURES[self.head]} hidden layer(s); hidden is {self.hidden!r}"
            )

    def _check_pooling(self) -> None:
        if attention_heads(self.choice.pooling) is None:
            try:
                parse_pooling(self.choice.pooling)
            except UnknownName:
                known = (*KNOWN, "attention_K<number>")
                raise UnknownName("pooling", self.choice.pooling, known) from None

    def of_network(self, num_layers: int) -> Self:
        """The recipe with the canonical name of its layer in a network of so many; UnknownName for no name of one."""
        layer = canonical_layer(self.choice.layer, num_layers)
        return dataclasses.replace(self, choice=dataclasses.replace(self.choice, layer=layer))

    def draw_of(self, epoch: int) -> int:
        """The noise draw of train in an epoch."""
        return epoch if self.train_draws is None else epoch % self.train_draws

    def params(self) -> dict[str, Any]:
        """What a record tells of head and training, under the names of the cached heads where they have the same."""
        return {
            "hidden": list(self.hidden),
            "dropout": self.dropout,
            "batch_size": self.batch_size,
            "max_epochs": self.max_epochs,
            "patience": self.patience,
            "learning_rate": self.lr,
            "encoder_learning_rate": None if self.freeze_encoder else self.encoder_lr,
            "encoder_norm": None if self.freeze_encoder else self.encoder_norm,
            "weight_decay": self.weight_decay,
            "plateau_factor": self.plateau_factor,
            "plateau_patience": self.plateau_patience,
            "clip": self.clip,
            "feature_scaling": self.feature_scaling,
            "label_scaling": self.label_scaling,
            "freeze_encoder": self.freeze_encoder,
            "precision": self.precision,
            "seed": self.seed,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """How a training runs, which is no part of what it is: `devices` and `strategy` are Lightning's words."""

    accelerator: str
    devices: Any
    strategy: str
    precision: str
    engine: str
    n_threads: int
    n_workers: int

    @property
    def n_processes(self) -> int:
        """Processes that share each batch: one for each GPU, or as many as asked for on the processor."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    @property
    def first_device(self) -> str:
        """Where what is not Lightning's runs: features before the training, scores after it."""
        return "cpu" if self.accelerator == "cpu" else f"cuda:{self.devices[0]}"
