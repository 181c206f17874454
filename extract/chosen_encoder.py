"""The encoder a request names: a checkpoint, a shipped one, or the architecture of a random one."""

import re
from pathlib import Path
from types import MappingProxyType

import numpy as np
import yaml
from numpy.typing import NDArray

from cache.errors import CheckpointError, ConfigError, did_you_mean

from .architecture import ModelConfig
from .checkpoint import load_encoder
from .encoder import BlindspotModel1D
from .model_yaml import config_from_yaml
from .request import RANDOM_PREFIX, SHIPPED, SHIPPED_REFERENCE, ExtractConfig

SHIPPED_FOLDER = Path(__file__).parent / "shipped"
SHIPPED_FILES = MappingProxyType({SHIPPED: "mock_small", SHIPPED_REFERENCE: "mock_reference"})
"""What the built-in encoders are called in the folder, each with its YAML (docs/pretraining.md)."""

_SEED = re.compile("0|[1-9][0-9]{0,17}")
"""One text for each seed: it stands in the file of the encoder, and in keys."""


def is_random(checkpoint: str) -> bool:
    """Whether a checkpoint is named as random:SEED."""
    return checkpoint.startswith(RANDOM_PREFIX)


def load_named(config: ExtractConfig) -> BlindspotModel1D:
    """Load the checkpoint of a request; for random:SEED, a network of the architecture to be used.

    Raises CheckpointError or ConfigError; an error mode that nobody stated, and an unstated ending when denoised
    flux is asked for, are refused here.
    """
    model = _load(config)
    if config.profile is not None:
        model.error_profile = load_profile(config.profile)
    if model.config.error_mode is None:
        raise ConfigError(
            f"{config.checkpoint}: takes {model.config.error_channels} error channel(s), but nothing states what "
            "they hold; give its YAML with --config-model, or say --error-mode (pixel for 2025 networks)"
        )
    if "denoised" in config.layers and "ending" in model.assumptions:
        raise ConfigError(
            f"{config.checkpoint}: denoised flux needs the ending of the network, which only its YAML tells; give it "
            "with --config-model, or say --ending softplus (2025 networks) or --ending linear (2026 networks)"
        )
    return model


def mask_ratio(config: ExtractConfig) -> float:
    """The share of pixels that the YAML beside the checkpoint says the network was trained on; 1 if it is silent."""
    if config.config_model is None:
        return 1.0
    content = yaml.safe_load(config.config_model.read_text(encoding="utf-8"))
    section = content.get("mask") if isinstance(content, dict) else None
    ratio = section.get("mask_ratio", 1) if isinstance(section, dict) else 1
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise ConfigError(
            f"{config.config_model}: mask_ratio is {ratio!r}; expected a number above 0, up to 1"
        )
    return float(ratio)


def check_checkpoint(checkpoint: str) -> None:
    """Raise CheckpointError for a checkpoint that is neither a known name nor a file, ConfigError for a bad seed."""
    if is_random(checkpoint):
        random_seed(checkpoint)
        return
    path = Path(checkpoint)
    if checkpoint in SHIPPED_FILES or path.is_file():
        return
    seed = checkpoint.partition(":")[2]
    beside = (other.name for other in path.parent.glob("*.ckpt"))
    known = (*SHIPPED_FILES, f"{RANDOM_PREFIX}{seed if _SEED.fullmatch(seed) else 0}", *beside)
    raise CheckpointError(
        f"{checkpoint}: {'is a folder' if path.is_dir() else 'no such file'}; expected a checkpoint file, or one of "
        f"{', '.join(SHIPPED_FILES)}, {RANDOM_PREFIX}SEED (as in {RANDOM_PREFIX}0){did_you_mean(path.name, known)}"
    )


def check_train_there(config: ExtractConfig) -> None:
    """Raise ConfigError for a random encoder without a train split to calibrate it on."""
    if is_random(config.checkpoint) and "train" not in config.data:
        raise ConfigError(
            f"{config.checkpoint} is calibrated on train spectra, and this run has no train split; extract train "
            f"first, then name the file it saved: --checkpoint {config.encoders}/random-....ckpt"
        )


def _load(config: ExtractConfig) -> BlindspotModel1D:
    check_checkpoint(config.checkpoint)
    if is_random(config.checkpoint) and config.config_model is not None:
        return BlindspotModel1D(_undisputed(config_from_yaml(config.config_model), config))
    ours = SHIPPED_FILES.get(SHIPPED if is_random(config.checkpoint) else config.checkpoint)
    return load_encoder(
        Path(config.checkpoint) if ours is None else SHIPPED_FOLDER / f"{ours}.ckpt",
        config.config_model or (None if ours is None else SHIPPED_FOLDER / f"{ours}.yaml"),
        error_mode=config.error_mode,
        ending=config.ending,
        dilation=config.dilation,
    )


def _undisputed(architecture: ModelConfig, config: ExtractConfig) -> ModelConfig:
    """The architecture of the YAML, unless a flag says otherwise (ConfigError)."""
    for name in ("error_mode", "ending", "dilation"):
        asked, stated = getattr(config, name), getattr(architecture, name)
        if asked is not None and asked != stated:
            raise ConfigError(
                f"--{name.replace('_', '-')} {asked}: {config.config_model} says {stated!r}; drop the flag"
            )
    return architecture


def load_profile(path: Path) -> NDArray[np.float64]:
    """The mean error per pixel of the training set, (L,), from a .npy file; ConfigError if it is anything else."""
    try:
        profile = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(
            f"--profile {path}: {error}; expected a .npy file of one number per pixel"
        ) from error
    if not isinstance(profile, np.ndarray) or profile.ndim != 1 or not np.isfinite(profile).all():
        raise ConfigError(f"--profile {path}: expected finite numbers, one per pixel")
    return profile.astype(np.float64)


def random_seed(checkpoint: str) -> int:
    """The seed of random:SEED; ConfigError when it is no whole number."""
    text = checkpoint.removeprefix(RANDOM_PREFIX)
    if not _SEED.fullmatch(text):
        raise ConfigError(
            f"checkpoint {checkpoint!r}: expected random:SEED with a whole number of at most 18 digits, without "
            "zeros before it, such as random:0"
        )
    return int(text)
