"""`python -m extract pretrain`: settings of the command line, turned into an encoder and its papers."""

import dataclasses
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from cache.atomic import publish_json
from cache.canonical import read_sealed
from cache.commandline import Command, Verb
from cache.errors import CheckpointError, ConfigError
from cache.progress import progress

from ..checkpoint import load_encoder, save_checkpoint, weights_digest
from ..choices import devices_of
from ..engine import choose_device
from .allocator import keep_freed_memory
from .half import halved
from .pretrain import Pretrained, Watch, pretrain, thread_limit
from .recipe import Recipe, versions
from .upstream_yaml import write_upstream_yaml

RECORD_VERSION = 1
CHECKPOINT, YAML, RECORD, SNAPSHOT = "encoder.ckpt", "encoder.yaml", "encoder.json", "snapshot.pt"


class PretrainSettings(Command):
    """Pretrain a blind-spot network to denoise mock spectra.

    The stars are made as training goes and are never those of `python -m extract mock`. An interrupted run goes on from
    its last snapshot. The folder --out gets encoder.ckpt (the group's key names), encoder.yaml (the group's sections)
    and encoder.json (recipe, history and validation). One seed, one thread count and one machine give one network.
    """

    out: Path = Field(
        Path("artifacts/encoders/pretrained"), description="folder of the encoder and its snapshot"
    )
    num_layers: int = Field(9, description="layers of the encoder; all but two halve the length")
    embed_dim: int = Field(16, description="channels")
    kernel_size: int = Field(9, description="pixels of a convolution")
    norm: str = Field("bn", description="bn or ln")
    ending: str = Field("linear", description="of the outputs: softplus (2025) or linear (2026, log sigma)")
    error_mode: str = Field("pixel", description="error channel(s): pixel, none, L0 ... L5")
    loss: str = Field("T1", description="T1 (supervised), E1, E2 or M1 (self-supervised)")
    huber_delta: float = Field(0.03, description="of M1")
    lam_neg: float = Field(1.0, description="of M1: weight of relu(-mu)")
    steps: int = Field(1000, description="steps of the optimiser")
    batch_size: int = Field(16, description="stars of a step")
    lr: float = Field(3e-3, description="peak learning rate: linear warm-up, then half a cosine")
    output_lr_factor: float = Field(10.0, description="the last norm's rate over that of the others")
    warmup_steps: int = Field(100, description="steps of the warm-up")
    clip_norm: float = Field(1.0, description="largest norm of the gradient")
    calibration_stars: int = Field(4096, description="stars that the final norm statistics are taken over")
    precision: str = Field(
        "bf16", description="of the training's convolutions: fp32 or bf16; the result is fp32"
    )
    mag_lo: float = Field(20.5, description="brightest magnitude")
    mag_hi: float = Field(22.5, description="faintest magnitude")
    noise_level: float = Field(1.0, description="noise in units of the error")
    seed: int = Field(0, description="of weights, stars and noise")
    device: str = Field("cpu", description="cpu or cuda; a GPU's rounding does not repeat to the bit")
    threads: int = Field(1, description="threads of the training")
    star_processes: int = Field(
        0,
        ge=0,
        description="processes that make stars ahead (a GPU needs some; 0 makes them when they are needed)",
    )
    half: bool = Field(
        default=False, description="round the convolutions' weights to 16 bits at the end: half the file"
    )
    val_stars: int = Field(512, description="stars that the reconstruction S/N is measured on")
    report_every: int = Field(250, description="steps between two validations")
    snapshot_every: int = Field(250, description="steps between two snapshots")

    def recipe(self) -> Recipe:
        """What of these settings determines the weights."""
        return Recipe(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)})


def run(settings: PretrainSettings) -> None:
    """Train, or go on training; write the encoder and its papers; say how well it denoises.

    A finished encoder of the same recipe is kept as it is. Raises ConfigError when --out holds one of another recipe,
    CheckpointError when its weights are not those of its record.
    """
    recipe = settings.recipe()
    recipe.check()
    if _finished(settings.out, recipe, half=settings.half):
        sys.stdout.write(f"{settings.out / CHECKPOINT}: exists, made by this recipe; nothing to do\n")
        return
    device = one_device(settings.device)
    thread_limit(settings.threads)
    keep_freed_memory()
    started = time.monotonic()
    with progress(recipe.steps, "pretraining", unit="step") as advance:
        watch = Watch(
            snapshot=settings.out / SNAPSHOT,
            snapshot_every=settings.snapshot_every,
            report_every=settings.report_every,
            val_stars=settings.val_stars,
            report=_say,
            advance=advance,
            device=device,
            n_forks=settings.star_processes,
        )
        trained = pretrain(recipe, watch)
    if settings.half:
        trained = halved(trained, recipe, settings.val_stars)
        _say(trained.history[-1])
    trained.model.error_profile = recipe.stars("pretrain").profile
    save_checkpoint(trained.model, settings.out / CHECKPOINT, half=settings.half)
    write_upstream_yaml(recipe, settings.out / YAML)
    publish_json(settings.out / RECORD, _record(settings, recipe, trained, device))
    (settings.out / SNAPSHOT).unlink(missing_ok=True)
    sys.stdout.write(
        f"{settings.out / CHECKPOINT}: {recipe.steps * recipe.batch_size} spectra, {time.monotonic() - started:.0f} s "
        "since the start of this command\n"
    )


def one_device(device: str) -> str:
    """The device to train on; ConfigError for several of them, or one that is not there."""
    if len(devices_of(choose_device(device))) > 1:
        raise ConfigError(f"--device {device}: pretraining uses one GPU; name one of them")
    return choose_device(device)


def _finished(out: Path, recipe: Recipe, *, half: bool) -> bool:
    """Whether `out` holds the encoder of this recipe; the record is written last."""
    try:
        record = read_sealed(out / RECORD)
    except FileNotFoundError:
        return False
    differences = recipe.differences(record["recipe"])
    if record.get("half", False) != half:
        differences.append(f"half: {record.get('half', False)} there, {half} asked for")
    if differences:
        raise ConfigError(
            f"{out} holds an encoder of another recipe:\n  "
            + "\n  ".join(differences)
            + "\nname another --out"
        )
    if not (out / CHECKPOINT).exists() or not (out / YAML).exists():
        return False
    if (found := weights_digest(load_encoder(out / CHECKPOINT))) != record["weights"]:
        raise CheckpointError(
            f"{out / CHECKPOINT}: its weights are {found:.16}, and {out / RECORD} tells of {record['weights']:.16}: "
            "one of them was replaced; remove the folder to train again, or name another --out"
        )
    return True


def _say(entry: dict[str, Any]) -> None:
    loss = f"loss {entry['loss']:.4f}, " if "loss" in entry else f"{entry.get('after', 'norms calibrated')}, "
    sys.stdout.write(
        f"step {entry['step']}: {loss}val S/N denoised {entry['val_snr_denoised']:.2f}, mu alone "
        f"{entry['val_snr_mu']:.2f}, noisy {entry['val_snr_noisy']:.2f}\n"
    )
    sys.stdout.flush()


def _record(settings: PretrainSettings, recipe: Recipe, trained: Pretrained, device: str) -> dict[str, Any]:
    """Recipe, machine and outcome of the encoder, for the sealed JSON beside it."""
    seconds = max(entry.get("seconds", 0.0) for entry in trained.history)
    return {
        "schema_version": RECORD_VERSION,
        "recipe": recipe.to_json(),
        "threads": settings.threads,
        "half": settings.half,
        "device": "cpu" if device == "cpu" else torch.cuda.get_device_name(device),
        "val_stars": settings.val_stars,
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "weights": weights_digest(trained.model),
        "result": {name: value for name, value in trained.history[-1].items() if name.startswith("val_")},
        "seconds": seconds,
        "spectra_per_second": recipe.steps * recipe.batch_size / max(seconds, 1e-9),
        "versions": versions(),
        "machine": platform.machine(),
        "history": trained.history,
    }


VERB = Verb(PretrainSettings, run)
