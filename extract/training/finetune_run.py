"""One end-to-end training from its settings to its record."""

import contextlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from cache.atomic import make_folders
from cache.commandline import say
from cache.errors import CheckpointError
from cache.locks import exclusive
from cache.records import record_path, run_id, write_record
from cache.runlog import data_name, run_log

from ..checkpoint import save_checkpoint, weights_digest
from ..prepare import prepare
from ..tf32 import exact_float32
from .finetune import check_disjoint
from .finetune_command import FinetuneSettings
from .finetune_data import load_splits
from .finetune_fit import fit, make_module, predictions
from .finetune_module import EndToEnd
from .finetune_order import FinetuneData
from .finetune_record import KIND, Splits, prediction_table, result_of, spec_of
from .finetune_request import loggers_of, machine_of, recipe_of, request_of
from .finetune_rows import Float64s, choose_rows
from .finetune_yaml import check_model

FINETUNED = "encoder.ckpt"
DIGITS = 16


def finetune(settings: FinetuneSettings) -> str:
    """Train, or go on; write record, predictions and learning curve; return the run id.

    A learning encoder is written beside its state, for `extract run --checkpoint`. Float32 is exact on a GPU too, where
    torch's own default rounds the inputs of convolutions to TF32. Raises ConfigError, CheckpointError,
    InputError, LeakError and ProbeError before training for whatever cannot be meant, Busy where another command
    is at it.
    """
    recipe, machine = recipe_of(settings), machine_of(settings)
    request = request_of(settings)
    started = time.time()
    with prepare(request, say=say) as prepared, exact_float32(), contextlib.ExitStack() as held:
        if settings.model:
            check_model(settings.model, prepared.model.config, settings.encoder_ckpt)
        recipe = recipe.of_network(prepared.model.config.num_layers)
        n_rows = {"train": settings.num_samples, "test": settings.num_test_samples}
        chosen = choose_rows(prepared, recipe.labels, n_rows, missing=settings.missing_labels)
        spec = spec_of(prepared, recipe, n_rows, n_processes=machine.n_processes) | chosen.for_spec()
        name = run_id(KIND, spec)
        if record_path(settings.results, name).exists() and not settings.refit:
            say(f"{name[:12]} is on record in {settings.results}; --refit trains it again")
            return name
        folder = settings.out / name[:DIGITS]
        splits = load_splits(prepared, recipe.labels, chosen.rows)
        check_disjoint({split: source.stars for split, source in splits.items()})
        before = weights_digest(prepared.model)
        data = FinetuneData(prepared, splits, recipe, n_workers=machine.n_workers)
        module = make_module(prepared, data, recipe, machine)
        held.enter_context(_alone(folder))
        if settings.refit and record_path(settings.results, name).exists() and rank_zero_only.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
        leads = fit(module, data, recipe, machine, folder=folder, loggers=loggers_of(settings, folder, name))
        if leads:
            files = {split: data_name(spectra.files) for split, spectra in prepared.spectra.items()}
            origin = {"encoder": prepared.encoder_name, "files": files}
            _, about = run_log(started=started, about={**origin, "folder": folder.name})
            module.to(machine.first_device)  # Lightning has brought it back from there
            y_hat = {split: predictions(module, data, split) for split in splits}
            module.cpu()
            told = {**result_of(module, splits, y_hat, weights=before), **chosen.for_result()}
            _write(settings, module, splits, y_hat, spec=spec, result=told, about=about, folder=folder)
    return name


def _alone(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Keep a training from the same command elsewhere (Busy); processes that share it follow the first."""
    if rank_zero_only.rank != 0:
        return contextlib.nullcontext()
    make_folders(folder.parent)
    lock = folder.with_name(f"{folder.name}.lock")
    return exclusive(lock, what="this training", without_locks="go on")


def _write(
    settings: FinetuneSettings,
    module: EndToEnd,
    splits: Splits,
    y_hat: Mapping[str, Float64s],
    *,
    spec: dict[str, Any],
    result: dict[str, Any],
    about: dict[str, Any],
    folder: Path,
) -> None:
    """Write the record of predictions (n, t) by split; CheckpointError when a frozen encoder has changed."""
    encoder, labels, before = module.features.encoder, module.recipe.labels, result["weights"]
    if module.recipe.freeze_encoder and result["encoder_after"] != before:
        raise CheckpointError(
            f"the encoder was to stay frozen and has changed: weights {before[:12]} before, "
            f"{result['encoder_after'][:12]} after; nothing was recorded. Remove {folder} and report this"
        )
    if not module.recipe.freeze_encoder:
        encoder.origin = "checkpoint"  # trained by now, also one that began with random weights
        save_checkpoint(encoder, folder / FINETUNED)
    write_record(
        settings.results,
        kind=KIND,
        spec=spec,
        result=result,
        run=about,
        predictions=prediction_table(labels, splits, y_hat),
        arrays=module.curve.as_arrays(single_label=len(labels) == 1),
    )
    for label in labels:
        lo, hi = result["intervals"]["test"][label]["r2"]
        told = result["scores"]
        say(
            f"{label}: val R2 {told['val'][label]['r2']:.4f} (epoch {module.curve.best}), test R2 "
            f"{told['test'][label]['r2']:.4f} [{lo:.4f}, {hi:.4f}]"
        )
    say(f"wrote {settings.results}/records/{run_id(KIND, spec)}.json; states and logs are in {folder}")
