"""Which settings of a multilayer perceptron can be meant."""

from collections.abc import Mapping, Sequence
from typing import Any

from cache.errors import ConfigError

from .setting_checks import check_counts, check_numbers, check_word

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
        check_word(f"mlp {name}", settings[name], known)
    check_numbers({name: value for name, value in settings.items() if name not in {*CHOICES, "hidden"}})
    hidden = settings["hidden"]
    if isinstance(hidden, str) or not isinstance(hidden, Sequence):
        raise ConfigError(f"hidden is {hidden!r}; expected the sizes of the hidden layers, such as [256]")
    check_counts({f"hidden[{k}]": size for k, size in enumerate(hidden)})
    check_counts({name: settings[name] for name in (*COUNTS, "seed")})
    wrong = [name for name in COUNTS if settings[name] < 1]
    wrong += [name for name in ("learning_rate", "clip", "plateau_factor") if settings[name] <= 0]
    wrong += ["plateau_factor"] if settings["plateau_factor"] >= 1 else []
    wrong += ["weight_decay"] if settings["weight_decay"] < 0 else []
    wrong += ["dropout"] if not 0 <= settings["dropout"] < 1 else []
    wrong += ["hidden"] if not hidden or min(hidden) < 1 else []
    if wrong:
        told = ", ".join(f"{name} {settings[name]!r}" for name in wrong)
        raise ConfigError(f"mlp: {told}: out of range")
