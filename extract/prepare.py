"""A request after every check and before any computation: what is open, what is planned."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.dask_cluster import Cluster
from cache.errors import ConfigError
from cache.plan_file import Plan, read_plan
from cache.progress import progress

from .checkpoint import unused_note
from .choices import FROM_TRAIN, MICRO_BATCH
from .chosen_encoder import (
    SHIPPED_FILES,
    check_train_there,
    is_random,
    load_named,
)
from .encoder import BlindspotModel1D
from .engine import check_precision, choose_device
from .fed_error import FedError, fed_error
from .fingerprint import Fingerprint, fingerprint
from .head_start import HeadStart
from .mask import load_mask
from .plan import StorePlan, check_no_shared_stars, plan_stores, provenance_of
from .planned import check_inputs, planned_stores
from .random_encoder import random_encoder
from .remembered import forgotten_if_changed
from .request import ExtractConfig
from .request_checks import (
    check_label_values,
    check_labels,
    check_mask_stated,
    check_network_input,
    check_noise,
    check_same_wave,
)
from .spectra import SpectraFile, open_spectra
from .train_error import TrainError, load_train_error, saved_train_error
from .wanted import WantedArrays, wanted_arrays

Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request after every check and before any computation."""

    config: ExtractConfig
    asked: ExtractConfig
    """As it was asked: what depends on the machine (the micro-batch) is not filled in."""
    model: BlindspotModel1D
    device: str
    mask: NDArray[np.bool_] | None
    spectra: dict[str, SpectraFile]
    fingerprints: dict[str, Fingerprint]
    fed: dict[str, FedError]
    plans: dict[str, list[StorePlan]]
    encoder_name: str
    cluster: Cluster
    """Of dask workers; nothing is started before blocks are computed."""


@contextlib.contextmanager
def prepare(
    config: ExtractConfig, *, say: Say = lambda _: None, begun: HeadStart | None = None
) -> Iterator[Prepared]:
    """Open and check everything: names, checkpoint, files, rows, stars across splits; then plan the stores.

    `begun` may be at the fingerprints already. With a plan file the stores are those of the plan; Stale when anything
    is not as it was planned. A FileChanged, here or from the body, has what is remembered of the files removed.
    """
    plan = None if config.plan is None else read_plan(config.plan)
    device = choose_device(config.device)
    check_precision(config.precision, device=device, engine=config.engine)
    asked = config
    config = replace(config, micro_batch=config.micro_batch or MICRO_BATCH[device.partition(":")[0]])
    check_train_there(config)
    model = load_named(config)
    with contextlib.ExitStack() as files:
        spectra = {s: files.enter_context(open_spectra(list(paths))) for s, paths in config.data.items()}
        first = next(iter(spectra.values()))
        check_labels(config, spectra)
        check_same_wave(spectra, first)
        mask = None if config.mask is None else load_mask(config.mask, len(first.wave))
        files.enter_context(forgotten_if_changed(spectra.values(), config.digests, mask=mask))
        check_mask_stated(config)
        wave = first.wave if mask is None else first.wave[mask]
        wanted = _wanted(config, model, wave, say)
        check_network_input(config, model, len(wave))
        check_noise(config, spectra)
        train_error = _named_train_error(config, first.wave, mask)
        if plan is not None:
            check_inputs(plan, config, spectra, mask=mask)
        prints = {split: _fingerprint(s, split, config, mask, begun) for split, s in spectra.items()}
        check_label_values(config, spectra, prints)
        check_no_shared_stars(prints)
        name = Path(config.checkpoint).stem
        if is_random(config.checkpoint):
            model, saved = random_encoder(
                model, config, train=spectra["train"], fingerprint=prints["train"], mask=mask
            )
            say(f"random encoder {saved}")
            name = config.checkpoint
        if config.error_input in FROM_TRAIN and train_error is None:
            train_error, path = saved_train_error(
                config.encoders, spectra["train"], prints["train"], mask=mask
            )
            say(f"train error {path}")
        fed = {
            split: fed_error(
                config.error_input, known=known, seed=config.seed, split=split, train=train_error
            )
            for split, known in prints.items()
        }
        if config.checkpoint in SHIPPED_FILES and first.data_kind != "mock":
            say(
                f"note: {config.checkpoint} was trained on mock spectra alone; {first.files[0]} is not marked as mock"
            )
        if model.unused_keys:
            say(unused_note(config.checkpoint, model.unused_keys))
        for assumption in model.assumed:
            say(f"assumed: {assumption}")
        plans = {
            split: _plans_of(
                config,
                model,
                spectra=spectra[split],
                known=prints[split],
                fed=fed[split],
                split=split,
                mask=mask,
                arrays=wanted,
                plan=plan,
            )
            for split in spectra
        }
        yield Prepared(
            config=config,
            asked=asked,
            model=model,
            device=device,
            mask=mask,
            spectra=spectra,
            fingerprints=prints,
            fed=fed,
            plans=plans,
            encoder_name=name,
            cluster=files.enter_context(Cluster(config, say=say)),
        )


def _wanted(
    config: ExtractConfig, model: BlindspotModel1D, wave: NDArray[np.float64], say: Say
) -> WantedArrays:
    """The arrays of the request; what is warned about them is said."""
    with warnings.catch_warnings(record=True) as caught:
        wanted = wanted_arrays(config, model, wave)
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        say(f"warning: {text}")
    return wanted


def _plans_of(
    config: ExtractConfig,
    model: BlindspotModel1D,
    *,
    spectra: SpectraFile,
    known: Fingerprint,
    fed: FedError,
    split: str,
    mask: NDArray[np.bool_] | None,
    arrays: WantedArrays,
    plan: Plan | None,
) -> list[StorePlan]:
    """The stores of one split, draw by draw."""
    plans = []
    for draw in config.draw_numbers:
        provenance = provenance_of(
            config,
            model,
            split=split,
            draw=draw,
            spectra=spectra,
            fingerprint=known,
            fed=fed,
            mask=mask,
            arrays=arrays,
        )
        if plan is None:
            plans += plan_stores(config.out, provenance, arrays)
        else:
            plans += planned_stores(plan, config, provenance, wanted=arrays)
    return plans


def _fingerprint(
    spectra: SpectraFile,
    split: str,
    config: ExtractConfig,
    mask: NDArray[np.bool_] | None,
    begun: HeadStart | None,
) -> Fingerprint:
    with progress(spectra.n_spectra, f"check {split}", unit="spectra") as advance:
        if begun is not None:
            begun.wait(split, advance)
        return fingerprint(
            spectra,
            remember=config.digests,
            policy=config.on_bad_rows,
            noise=config.noise,
            mask=mask,
            progress=advance,
        )


def _named_train_error(
    config: ExtractConfig, wave: NDArray[np.float64], mask: NDArray[np.bool_] | None
) -> TrainError | None:
    """The file named, for error inputs that are fitted on train; ConfigError where neither it nor train is there."""
    if config.error_input not in FROM_TRAIN:
        return None
    if config.train_error is not None:
        return load_train_error(config.train_error, wave=wave, mask=mask)
    if "train" not in config.data:
        raise ConfigError(
            f"--error-input {config.error_input} is fitted on train spectra, and this run has no train split; extract "
            f"train first, then name the file it saved: --train-error {config.encoders}/train-error-....json"
        )
    return None
