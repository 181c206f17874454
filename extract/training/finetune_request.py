"""What the settings of `extract finetune` ask for: recipe, machine, spectra and encoder, logs."""

from pathlib import Path
from typing import Any

from cache.errors import ConfigError
from cache.runlog import command_line

from ..choices import devices_of
from ..chosen_encoder import SHIPPED_FILES, check_checkpoint, is_random
from ..engine import choose_device
from ..hyper_parameters import hyper_statements
from ..request import SPLITS, ExtractConfig, named_data, usable_cores
from ..weights_file import read_weights
from .attention import attention_heads
from .encoder_features import FeatureChoice
from .finetune_command import FinetuneSettings, check_installed
from .finetune_recipe import FinetuneRecipe, Machine
from .finetune_yaml import stated_by


def recipe_of(settings: FinetuneSettings) -> FinetuneRecipe:
    """What of the settings determines the training; ConfigError or UnknownName for what cannot be meant."""
    hidden = settings.hidden_dim
    if settings.architecture == "mlp_2" and len(hidden) == 1:
        hidden = (*hidden, max(1, hidden[0] // 4))
    choice = FeatureChoice(
        layer=settings.encoder_layer, pooling=settings.pooling, direction=settings.direction
    )
    recipe = FinetuneRecipe(
        choice=choice,
        labels=settings.labels,
        head=settings.architecture,
        hidden=hidden,
        train_draws=_draws(settings),
        **{
            name: getattr(settings, name)
            for name in FinetuneRecipe.__dataclass_fields__
            if name not in ("choice", "labels", "head", "hidden", "train_draws")
        },
    )
    recipe.check()
    return recipe


def _draws(settings: FinetuneSettings) -> int | None:
    if settings.train_draws == "fresh":
        return None
    if not settings.train_draws.isdigit():
        raise ConfigError(f"--train-draws {settings.train_draws}: expected fresh, or a number of draws")
    draws = int(settings.train_draws)
    if settings.noise != "draw" and draws > 1:
        raise ConfigError(
            f"--noise {settings.noise} has one realisation; --train-draws {draws} makes no sense with it: leave it out"
        )
    return draws


def machine_of(settings: FinetuneSettings) -> Machine:
    """How it runs; ConfigError for a device that is not there, and for processes where there are devices."""
    device = choose_device(settings.device)
    on_cpu = device == "cpu"
    if settings.processes > 1 and not on_cpu:
        raise ConfigError(
            f"--processes {settings.processes}: on GPUs there is one for each; name them with --device"
        )
    numbers = [int(name.partition(":")[2] or 0) for name in devices_of(device)] if not on_cpu else []
    return Machine(
        accelerator="cpu" if on_cpu else "gpu",
        devices=settings.processes if on_cpu else numbers,
        strategy=settings.strategy,
        precision=settings.precision,
        engine=settings.engine,
        n_threads=settings.threads or usable_cores(),
        n_workers=settings.workers,
    )


def request_of(settings: FinetuneSettings) -> ExtractConfig:
    """The spectra and the encoder, as an extraction of the same features would ask for them."""
    pooling = "global_mean" if attention_heads(settings.pooling) else settings.pooling
    if settings.mask_ratio < 1 and settings.mask is None:
        raise ConfigError(
            f"mask_ratio is {settings.mask_ratio}: the network was trained on some of the pixels only; give the mask "
            "file it was trained with: --mask FILE.npy (bool, True = keep)"
        )
    both = settings.direction in ("mean", "concat")
    return ExtractConfig(
        data=_data(settings),
        checkpoint=settings.encoder_ckpt,
        config_model=settings.config_model,
        error_mode=settings.error_mode or _stated_error_mode(settings),
        profile=settings.profile,
        mask=settings.mask,
        layers=(settings.encoder_layer,),
        poolings=(pooling,),
        directions=("forward", "backward") if both else (settings.direction,),
        noise=settings.noise,
        noise_level=settings.noise_level,
        seed=settings.noise_seed,
        error_input=settings.error_input,
        device=settings.device,
        on_bad_rows=settings.on_bad_rows,
        need_labels=settings.labels,
        missing_labels="drop",  # rows that lack one are refused or left out when rows are chosen
        out=settings.features,
        encoders=settings.encoders,
        digests=settings.digests,
        command=command_line(),
    )


def _stated_error_mode(settings: FinetuneSettings) -> str | None:
    """The error mode that the YAML's model section states, for a checkpoint that nothing else says it of."""
    checkpoint = settings.encoder_ckpt
    if not settings.model or settings.config_model or is_random(checkpoint) or checkpoint in SHIPPED_FILES:
        return None
    check_checkpoint(checkpoint)
    found = read_weights(Path(checkpoint))
    kept = hyper_statements(found.hyper_parameters).values()
    if "config" in found.ours or any("error_mode" in stated for stated in kept):
        return None
    mode = stated_by(settings.model).get("error_mode")
    return None if mode is None else str(mode)


def _data(settings: FinetuneSettings) -> dict[str, tuple[Path, ...]]:
    found = named_data(settings.data, {split: getattr(settings, split) for split in SPLITS})
    missing = [split for split in SPLITS if split not in found]
    if missing:
        raise ConfigError(
            f"no data of {', '.join(missing)}: say --data FOLDER (with train/, val/ and test/), or --train, --val and "
            "--test; python -m extract mock makes a mock survey"
        )
    return {split: found[split] for split in SPLITS}


def loggers_of(settings: FinetuneSettings, folder: Path, name: str) -> list[Any]:
    """Lightning's loggers in the folder of the run; ConfigError when one needs a package that is not installed."""
    from lightning.pytorch import loggers  # noqa: PLC0415

    made: list[Any] = []
    if "csv" in settings.logger:
        made.append(loggers.CSVLogger(folder, name="csv"))
    if "tensorboard" in settings.logger:
        check_installed("tensorboard", "--logger tensorboard")
        made.append(loggers.TensorBoardLogger(folder, name="tensorboard"))
    if settings.wandb:
        check_installed("wandb", "--wandb")
        offline = settings.wandb_mode == "offline"
        made.append(
            loggers.WandbLogger(project=settings.project, name=name[:12], save_dir=folder, offline=offline)
        )
    return made
