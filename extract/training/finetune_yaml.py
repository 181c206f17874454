"""The YAML of the group's end-to-end training, its sections read as settings of `python -m extract finetune`."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cache.errors import CheckpointError, ConfigError

from ..architecture import ModelConfig
from ..model_yaml import LINEAR_KEYS, read_yaml

_SECTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "logg_head": {
            "encoder_layer": "encoder_layer",
            "pooling": "pooling",
            "architecture": "architecture",
            "hidden_dim": "hidden_dim",
            "dropout": "dropout",
            "direction": "direction",
            "labels": "labels",
        },
        "train": {
            "batch_size": "batch_size",
            "ep": "max_epochs",
            "max_epochs": "max_epochs",
            "workers": "workers",
            "num_workers": "workers",
            "lr": "lr",
            "encoder_lr": "encoder_lr",
            "weight_decay": "weight_decay",
            "patience": "patience",
            "early_stopping_patience": "patience",
            "gradient_clip_val": "clip",
            "grad_clip": "clip",
            "freeze_encoder": "freeze_encoder",
            "precision": "precision",
            "seed": "seed",
        },
        "opt": {
            "lr": "lr",
            "encoder_lr": "encoder_lr",
            "weight_decay": "weight_decay",
            "factor": "plateau_factor",
            "patience": "plateau_patience",
        },
        "data": {
            "file_path": "train",
            "val_path": "val",
            "test_path": "test",
            "num_samples": "num_samples",
            "num_test_samples": "num_test_samples",
        },
        "noise": {"noise_level": "noise_level"},
        "mask": {"mask_ratio": "mask_ratio"},
    }
)
_FIXED: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("opt", "type"): ("adamw",),
        ("opt", "lr_sch"): ("plateau",),
        ("loss", "name"): ("mse",),
        ("train", "monitor"): ("val/r2", "val_r2"),
    }
)
"""Keys whose values are what we do anyway; another value is refused."""


FLAT = ("data", "train", "noise", "mask")
"""Sections that are also the names of settings, whose values are text."""


def settings_from(content: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Settings by their flat names: sections are opened, everything else is left as it is.

    Raises ConfigError for a key that a section does not have, for a value that is not done here, and where two keys say
    different things of one setting.
    """
    settings: dict[str, Any] = {}
    known = {*_SECTIONS, *(section for section, _ in _FIXED)}
    for name, value in content.items():
        if name not in known:
            _put(settings, str(name).replace("-", "_"), value, source)
        elif not isinstance(value, Mapping):
            if name in FLAT:
                _put(settings, str(name), value, source)
                continue
            raise ConfigError(f"--config {source}: section {name!r} is {value!r}; expected a mapping of keys")
        else:
            for setting, found in _opened(str(name), value, source).items():
                _put(settings, setting, found, source)
    return settings


def _opened(section: str, keys: Mapping[Any, Any], source: Path) -> dict[str, Any]:
    names, found = _SECTIONS.get(section, {}), dict[str, Any]()
    for key, value in keys.items():
        allowed = _FIXED.get((section, str(key)))
        if allowed is not None:
            if str(value).lower() not in allowed:
                raise ConfigError(
                    f"--config {source}: {section}.{key} is {value!r}; done here: {', '.join(allowed)}"
                )
            continue
        if key not in names:
            known = sorted({*names, *(k for s, k in _FIXED if s == section)})
            raise ConfigError(f"--config {source}: unknown key {section}.{key}; known: {', '.join(known)}")
        _put(found, names[key], value, source)
    return found


def _put(settings: dict[str, Any], name: str, value: Any, source: Path) -> None:
    if settings.setdefault(name, value) != value:
        raise ConfigError(f"--config {source}: says {name} twice: {settings[name]!r} and {value!r}")


def stated_by(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a `model` section states of the network: ending and dilation only where one of its keys tells.

    The ending is not used here, and a network with another dilation says so.
    """
    stated = dict(read_yaml({"model": dict(model)}).fields)
    if not any(key in model for key in LINEAR_KEYS):
        del stated["ending"]
    if "dilation" not in model:
        del stated["dilation"]
    return stated


def check_model(model: Mapping[str, Any], found: ModelConfig, checkpoint: str) -> None:
    """Raise CheckpointError when the section describes another network than the checkpoint holds."""
    stated, there = stated_by(model), found.to_json()
    if "sigma_input_mode" not in model and stated.get("error_channels") == there["error_channels"]:
        stated.pop("error_mode", None)  # what the channel holds is said elsewhere
    wrong = [
        f"{name} is {value!r} in the YAML's model section and {there[name]!r} in the checkpoint"
        for name, value in stated.items()
        if there[name] != value
    ]
    if wrong:
        raise CheckpointError(
            f"{checkpoint}: is not the encoder that the YAML describes: {'; '.join(wrong)}; name its checkpoint, or "
            "the YAML that belongs to it"
        )
