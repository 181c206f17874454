"""Which settings of a multilayer perceptron can be meant."""

from collections.abc import Mapping
from typing import Any

from cache.errors import ConfigError, UnknownName

from .base import check_numbers

CHOICES: dict[str, tuple[str, ...]] = {
    "selection": ("val_r2", "fixed"),
    "label_scaling": ("standard", "none"),
    "augment": ("none", "draw_per_epoch"),
    "device": ("cpu", "cuda", "auto"),
}
COUNTS = ("batch_size", "max_epochs", "mixed_layers", "patience", "plateau_patience", "threads")


def check_mlp_settings(settings: Mapping[str, Any]) -> None:
    """Refuse unknown names, what is no number, sizes below 1, and rates outside their range.

    `settings` are all of `MLP.get_params`. Raises UnknownName or ConfigError.
    """
    for name, known in CHOICES.items():
        if settings[name] not in known:
            raise UnknownName(f"mlp {name}", settings[name], known)
    check_numbers({name: value for name, value in settings.items() if name not in {*CHOICES, "hidden"}})
    hidden = settings["hidden"]
    check_numbers({f"hidden[{k}]": size for k, size in enumerate(hidden)})
    wrong = [name for name in COUNTS if settings[name] < 1]
    wrong += [name for name in ("learning_rate", "clip", "plateau_factor") if settings[name] <= 0]
    wrong += ["plateau_factor"] if settings["plateau_factor"] >= 1 else []
    wrong += ["weight_decay"] if settings["weight_decay"] < 0 else []
    wrong += ["seed"] if settings["seed"] != int(settings["seed"]) else []
    wrong += ["dropout"] if not 0 <= settings["dropout"] < 1 else []
    wrong += ["hidden"] if not hidden or min(hidden) < 1 else []
    if wrong:
        told = ", ".join(f"{name} {settings[name]!r}" for name in wrong)
        raise ConfigError(f"mlp: {told}: out of range")
