"""The control with random weights: its norm calibrated once on train spectra, and saved for all splits."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from cache.atomic import publish_first, writing
from cache.canonical import digest_json
from cache.errors import CheckpointError, ConfigError

from .batches import make_batch, read_batches
from .checkpoint import WEIGHTS, load_encoder, save_checkpoint, weights_digest
from .chosen_encoder import random_seed
from .encoder import BlindspotModel1D
from .fed_error import TRUE_ERROR
from .fingerprint import Fingerprint
from .mask import Mask, mask_digest
from .noise import NOISE_VERSION
from .request import ExtractConfig, parse_part, without_part
from .spectra import SpectraFile
from .weights_file import OURS, read_weights

CALIBRATION_ROWS = 1024
"""Train rows that set the norm statistics of a random encoder (DESIGN 1)."""

RANDOM_VERSION = 1
"""Raised by hand when a random encoder of the same seed would come out otherwise."""

IDENTITY = "identity"
"""Our own remark in the file: the digest of all that the encoder follows from."""


def random_encoder(
    template: BlindspotModel1D,
    config: ExtractConfig,
    *,
    train: SpectraFile,
    fingerprint: Fingerprint,
    mask: Mask | None,
) -> tuple[BlindspotModel1D, Path]:
    """A network of the template's architecture with random weights, its norm calibrated on train spectra.

    The statistics are those of the first 1024 kept train rows at noise level 1, draw 0, seed 0, in both
    directions; the result is saved once and found again by seed, architecture, profile, train data, rows and
    mask. Of several processes that calibrate at once, the first to save decides: all go on with its file. Raises
    ConfigError for one of several parts that would have to calibrate it, CheckpointError for a file of another encoder.
    """
    identity = _identity(template, random_seed(config.checkpoint), train, fingerprint, mask)
    named = digest_json(identity)
    path = config.encoders / f"random-{named[:16]}.ckpt"
    if not path.exists():
        _check_alone(config, path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(identity["seed"])
            model = BlindspotModel1D(template.config)
        model.error_profile = template.error_profile
        _calibrate(model, config, train=train, fingerprint=fingerprint, mask=mask)
        # other processors round otherwise: whoever else made it meanwhile, one file holds for all
        ours = {"origin": config.checkpoint, IDENTITY: named, WEIGHTS: weights_digest(model)}
        with writing(f"{path}: the random encoder"):
            save_checkpoint(model, path, extra={OURS: ours}, publish=publish_first)
    model = load_encoder(path)
    _check_identity(path, model, read_weights(path).ours.get(IDENTITY), template, config.checkpoint, named)
    model.error_profile = template.error_profile
    return model, path


def _identity(
    template: BlindspotModel1D, seed: int, train: SpectraFile, fingerprint: Fingerprint, mask: Mask | None
) -> dict[str, Any]:
    """All that a random encoder follows from; the rows only where some of the first were dropped."""
    identity = {
        "version": RANDOM_VERSION,
        "noise_version": NOISE_VERSION,
        "seed": seed,
        "config": template.config.to_json(),
        "profile": None if template.error_profile is None else digest_json(template.error_profile.tolist()),
        "input": fingerprint.digest,
        "mask": mask_digest(mask),
    }
    rows = fingerprint.kept[:CALIBRATION_ROWS].tolist()
    if rows != list(range(min(CALIBRATION_ROWS, train.n_spectra))):
        identity["rows"] = digest_json(rows)
    return identity


def _check_identity(
    path: Path,
    model: BlindspotModel1D,
    recorded: object,
    template: BlindspotModel1D,
    checkpoint: str,
    named: str,
) -> None:
    """Refuse a file that was renamed or put there by hand; files of before `IDENTITY` tell seed and architecture."""
    found, expected = (model.origin, model.config), (checkpoint, template.config)
    if found == expected and recorded in (None, named):
        return
    told = f"identity {recorded}" if found == expected else f"{model.origin} of another architecture or seed"
    raise CheckpointError(
        f"{path}: holds {told}, expected {checkpoint} with identity {named}; it was renamed or replaced: take it away, "
        "and the next run calibrates it anew"
    )


def _check_alone(config: ExtractConfig, path: Path) -> None:
    """Refuse to calibrate in one of several parts: on machines without one folder the others would do it otherwise."""
    if config.part is None or config.plan is not None or parse_part(config.part)[1] == 1:
        return
    raise ConfigError(
        f"{config.checkpoint} with --part {config.part}: {path} is not there, and parts that each calibrate an encoder "
        f"may get other bits on other processors. Calibrate it once, before the parts: {without_part(config.command)} "
        "--dry-run; or make a plan (python -m extract plan) and give it to every part (--plan)"
    )


def _calibrate(
    model: BlindspotModel1D,
    config: ExtractConfig,
    *,
    train: SpectraFile,
    fingerprint: Fingerprint,
    mask: Mask | None,
) -> None:
    """Set the running statistics of the encoder's norm to the plain average over the calibration batches."""
    assert model.config.error_mode is not None
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = None
    plain = dataclasses.replace(config, noise="draw", noise_level=1.0, draws=1, seed=0, micro_batch=64)
    model.train()
    with torch.no_grad():
        for group in read_batches(train, fingerprint.kept[:CALIBRATION_ROWS], fingerprint, plain, TRUE_ERROR):
            batch = make_batch(
                group,
                split="train",
                draw=0,
                mask=mask,
                error_mode=model.config.error_mode,
                profile=model.error_profile,
                config=plain,
                fed=TRUE_ERROR,
            )
            x = batch.x[: len(batch.noisy)]
            both = torch.cat([x, x.flip(-1)]) if model.config.blindspot else x
            model.encode(both, ("enc_last",))
    model.eval()
