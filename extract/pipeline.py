"""Running an extraction: check all input, plan, compute the missing blocks, publish."""

import contextlib
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.atomic import TEMPORARY_PREFIX, sweep
from cache.errors import CheckpointError, ConfigError
from cache.progress import Advance, progress
from cache.runlog import run_log
from cache.writer import StoreWriter, leftovers

from .blocks import BlockDone, BlockTask, Target, compute_block, computed_with
from .checkpoint import weights_digest
from .chosen_encoder import is_random, load_named, mask_ratio, random_encoder
from .encoder import BlindspotModel1D
from .engine import choose_device
from .error_input import channels
from .fingerprint import Fingerprint, fingerprint
from .layers import check_length
from .mask import load_mask
from .plan import (
    StorePlan,
    arrays_of,
    check_no_shared_stars,
    check_room,
    open_writer,
    plan_stores,
    provenance_of,
    row_table,
)
from .request import ExtractConfig
from .spectra import SpectraFile, open_spectra
from .wanted import wanted_arrays

Say = Callable[[str], None]
Run = Callable[[list[int]], Iterator[tuple[int, BlockDone]]]

WAIT_SECONDS = 1.0
"""Between two looks at blocks that other processes are computing."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request after every check and before any computation."""

    config: ExtractConfig
    model: BlindspotModel1D
    device: str
    mask: NDArray[np.bool_] | None
    spectra: dict[str, SpectraFile]
    fingerprints: dict[str, Fingerprint]
    plans: dict[str, list[StorePlan]]
    encoder_name: str


def extract_features(config: ExtractConfig, *, say: Say = lambda _: None) -> dict[str, list[Path]]:
    """Write what is missing of the request and return the paths of its stores, by split.

    Raises a BlindspotError before anything is written when the data, the checkpoint or a name is wrong; the
    encoder's parameters and buffers are hashed before and after, and a change is an error.
    """
    for folder in (config.digests, config.encoders, *(config.out / split for split in config.data)):
        sweep(folder.glob(f"{TEMPORARY_PREFIX}*"))
    with prepare(config, say=say) as prepared:
        check_room(config.out, prepared.plans)
        before = weights_digest(prepared.model)
        paths = {split: _run_split(prepared, split, say) for split in prepared.plans}
        if weights_digest(prepared.model) != before:
            raise CheckpointError(
                "the encoder's weights or norm statistics changed during the run; this is a bug"
            )
    return paths


@contextlib.contextmanager
def prepare(config: ExtractConfig, *, say: Say = lambda _: None) -> Iterator[Prepared]:
    """Open and check everything: names, checkpoint, files, rows, stars across splits; then plan the stores."""
    device = choose_device(config.device)
    model = load_named(config)
    with contextlib.ExitStack() as files:
        spectra = {s: files.enter_context(open_spectra(list(paths))) for s, paths in config.data.items()}
        first = next(iter(spectra.values()))
        _check_same_wave(spectra, first)
        mask = None if config.mask is None else load_mask(config.mask, len(first.wave))
        _check_mask_stated(config)
        wave = first.wave if mask is None else first.wave[mask]
        with warnings.catch_warnings(record=True) as caught:
            wanted = wanted_arrays(config, model, wave)
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            say(f"warning: {text}")
        _check_network_input(config, model, len(wave))
        _check_noise(config, spectra)
        prints = {split: _fingerprint(s, split, config, mask) for split, s in spectra.items()}
        check_no_shared_stars(prints)
        name = Path(config.checkpoint).stem
        if is_random(config.checkpoint):
            model, saved = random_encoder(
                model, config, train=spectra.get("train"), fingerprint=prints.get("train"), mask=mask
            )
            say(f"random encoder {saved}")
            name = config.checkpoint
        for assumption in model.assumed:
            say(f"assumed: {assumption}")
        plans = {
            split: [
                plan
                for draw in config.draw_numbers
                for plan in plan_stores(
                    config.out,
                    provenance_of(
                        config,
                        model,
                        split=split,
                        draw=draw,
                        spectra=spectra[split],
                        fingerprint=prints[split],
                        mask=mask,
                        arrays=wanted,
                    ),
                    wanted,
                )
            ]
            for split in spectra
        }
        yield Prepared(
            config=config,
            model=model,
            device=device,
            mask=mask,
            spectra=spectra,
            fingerprints=prints,
            plans=plans,
            encoder_name=name,
        )


def _run_split(prepared: Prepared, split: str, say: Say) -> list[Path]:
    config, print_ = prepared.config, prepared.fingerprints[split]
    plans = prepared.plans[split]
    paths = [plan.path for plan in plans if plan.finished and plan.path is not None]
    for path in paths:
        sweep(leftovers(path))
        say(f"{split}: {path} is there and fresh")
    rows = row_table(prepared.spectra[split], print_)
    begun = [(open_writer(config.out, p, rows, config.block_rows), p) for p in plans if not p.finished]
    for block_rows in sorted({writer.header.block_rows for writer, _ in begun}):
        stores = [(writer, plan) for writer, plan in begun if writer.header.block_rows == block_rows]
        paths += _fill(prepared, split, stores, say)
    return paths


def _fill(
    prepared: Prepared, split: str, stores: list[tuple[StoreWriter, StorePlan]], say: Say
) -> list[Path]:
    """Compute and commit what is missing of some stores with the same rows and blocks; their folders."""
    config, print_ = prepared.config, prepared.fingerprints[split]
    how = computed_with(config, prepared.device)
    writers = [writer for writer, _ in stores]
    for writer in writers:
        sweep(leftovers(writer.path))
        if not config.mixed:
            writer.check_computed_with(how)
    task = BlockTask(
        config=replace(config, data={split: prepared.spectra[split].files}),
        split=split,
        files=prepared.spectra[split].files,
        fingerprint=print_,
        mask=prepared.mask,
        model=prepared.model,
        weights=weights_digest(prepared.model),
        device=prepared.device,
        targets=tuple(Target(writer.path, plan.draw, arrays_of(plan)) for writer, plan in stores),
        computed_with=how,
    )
    started = time.time()
    pending = [b for b in sorted({b for writer in writers for b in writer.pending()}) if config.owns(b)]
    about = {
        "encoder": prepared.encoder_name,
        "files": [str(path) for path in prepared.spectra[split].files],
        "bad_rows": {reason: bad.tolist()[:100] for reason, bad in print_.bad.items()},
        "computed_with": how,
        "blocks": pending,
    }
    # noted before as well, so that an interrupted store names the command that finishes it
    _note_run(writers, run_log(started=started, command=config.command, about=about))
    header = writers[0].header
    _compute(task, {block: header.block(block)[1] - header.block(block)[0] for block in pending}, say)
    _note_run(writers, run_log(started=started, command=config.command, about=about))
    for writer in writers:
        missing = len(writer.pending())
        say(
            f"{split}: wrote {writer.path}"
            if not missing
            else f"{split}: {writer.path} has its blocks of part {config.part}; {missing} of other parts are missing"
        )
    return [writer.path for writer in writers]


def _note_run(writers: list[StoreWriter], note: tuple[str, dict[str, Any]]) -> None:
    for writer in writers:
        writer.record_run(*note)


def _compute(task: BlockTask, rows: dict[int, int], say: Say) -> None:
    """Compute blocks, given with their numbers of rows, here or in several processes; the bits are the same.

    Blocks that other extractions are computing come last: waited for, and computed here if their holder dies.
    """
    draws = len({target.draw for target in task.targets})
    label = f"extract {task.split}" + (f" x {draws} draws" if draws > 1 else "")
    left, said = list(rows), set[str]()
    with (
        progress(sum(rows.values()), label, unit="spectra") as advance,
        _runner(task, len(rows), advance) as run,
    ):
        while left:
            held = []
            for block, done in run(left):
                if done.holder is None:
                    advance(rows[block] - done.shown)
                    continue
                held.append(block)
                if done.holder not in said:
                    said.add(done.holder)
                    say(f"{task.split}: {done.holder}")
            if len(held) == len(left):
                time.sleep(WAIT_SECONDS)
            left = held


@contextlib.contextmanager
def _runner(task: BlockTask, n_blocks: int, advance: Advance) -> Iterator[Run]:
    """A function that computes blocks and yields (block, what became of it) as they come."""
    workers = min(task.config.n_workers, n_blocks)
    if workers <= 1:
        yield lambda blocks: ((block, compute_block(task, block, advance)) for block in blocks)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:

        def run(blocks: list[int]) -> Iterator[tuple[int, BlockDone]]:
            tasks = {pool.submit(compute_block, task, block): block for block in blocks}
            for done in as_completed(tasks):
                yield tasks[done], done.result()

        try:
            yield run
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fingerprint(
    spectra: SpectraFile, split: str, config: ExtractConfig, mask: NDArray[np.bool_] | None
) -> Fingerprint:
    with progress(spectra.n_spectra, f"check {split}", unit="spectra") as advance:
        return fingerprint(
            spectra, remember=config.digests, policy=config.on_bad_rows, mask=mask, progress=advance
        )


def _check_same_wave(spectra: dict[str, SpectraFile], first: SpectraFile) -> None:
    for split, other in spectra.items():
        if not np.array_equal(other.wave, first.wave):
            raise ConfigError(
                f"{other.files[0]}: the wavelengths of {split} are not those of {first.files[0]}; "
                "extract splits with different wavelengths in separate runs"
            )


def _check_mask_stated(config: ExtractConfig) -> None:
    ratio = mask_ratio(config)
    if ratio < 1 and config.mask is None:
        raise ConfigError(
            f"{config.config_model}: mask_ratio is {ratio}, so the network was trained on some of the pixels only and "
            "gives garbage on all of them; give the mask file it was trained with: --mask FILE.npy (bool, True = keep)"
        )


def _check_network_input(config: ExtractConfig, model: BlindspotModel1D, n_pixels: int) -> None:
    """Refuse spectra that the error mode (its profile) or the whole network cannot take, before anything is made."""
    one = np.ones((1, n_pixels), dtype=np.float32)
    channels(str(model.config.error_mode), one, one, profile=model.error_profile)
    if "denoised" in config.layers:
        check_length(n_pixels, model.config.num_layers - 1)


def _check_noise(config: ExtractConfig, spectra: dict[str, SpectraFile]) -> None:
    if config.noise == "stored":
        for split, files in spectra.items():
            if not files.has_noisy:
                raise ConfigError(
                    f"{files.files[0]}: --noise stored, but the {split} file holds no noisy spectra; use --noise draw"
                )
