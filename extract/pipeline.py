"""Running an extraction: check all input, plan, compute the missing blocks, publish."""

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cache.atomic import TEMPORARY_PREFIX, sweep
from cache.dask_cluster import Cluster
from cache.errors import CheckpointError, Incomplete, Stale
from cache.locks import in_use
from cache.progress import progress
from cache.runlog import run_log
from cache.writer import StoreWriter, leftovers

from .block_task import BlockTask, Target, computed_with
from .checkpoint import weights_digest
from .head_start import HeadStart
from .named_files import check_named_files
from .plan import StorePlan, arrays_of, block_rows_of, check_room, open_writer, row_table
from .prepare import Prepared, Say, prepare
from .rates import Rates, write_stats
from .request import ExtractConfig, without_part
from .same_program import program
from .schedulers import runner

WAIT_SECONDS = 1.0
"""Between two looks at blocks that other processes are computing."""


def extract_features(
    config: ExtractConfig, *, say: Say = lambda _: None, begun: HeadStart | None = None
) -> dict[str, list[Path]]:
    """Write what is missing of the request and return the paths of its stores, by split.

    `begun` may be at the fingerprints of the files already.
    Raises a BlindspotError before anything is written when the data, the checkpoint or a name is wrong; the
    encoder's parameters and buffers are hashed before and after, and a change is an error.
    """
    check_named_files(config)
    if config.scheduler != "local":
        program()  # as it is now: an update of its files while ours are checked is noticed by the workers
    for folder in (config.digests, config.encoders, *(config.out / split for split in config.data)):
        sweep(folder.glob(f"{TEMPORARY_PREFIX}*"))
    with prepare(config, say=say, begun=begun) as prepared:
        check_room(config.out, prepared.plans)
        before = weights_digest(prepared.model)
        rates: dict[str, Rates] = {}
        paths = {split: _run_split(prepared, split, say, rates) for split in prepared.plans}
        if weights_digest(prepared.model) != before:
            raise CheckpointError(
                "the encoder's weights or norm statistics changed during the run; this is a bug"
            )
        if config.stats is not None:
            write_stats(config.stats, rates)
    return paths


def _run_split(prepared: Prepared, split: str, say: Say, rates: dict[str, Rates]) -> list[Path]:
    """Write what a split lacks; what it took goes into `rates`."""
    config, print_ = prepared.config, prepared.fingerprints[split]
    plans = prepared.plans[split]
    paths = [plan.path for plan in plans if plan.finished and plan.path is not None]
    for path in paths:
        sweep(leftovers(path))
        say(f"{split}: {path} is there and fresh")
    rows = row_table(prepared.spectra[split], print_)
    begun = [(open_writer(config.out, p, rows, config.block_rows), p) for p in plans if not p.finished]
    for writer, _ in begun:
        own, asked = writer.header.block_rows, block_rows_of(len(rows.row), config.block_rows)
        if own != asked:
            say(f"{split}: {writer.path} was begun with --block-rows {own}, and goes on so, not with {asked}")
    for block_rows in sorted({writer.header.block_rows for writer, _ in begun}):
        stores = [(writer, plan) for writer, plan in begun if writer.header.block_rows == block_rows]
        done, took = _fill(prepared, split, stores, say)
        paths += done
        rates[split] = took if split not in rates else rates[split].and_then(took)
        if took.rows:
            say(took.line(f"extract {split}"))
    rates.setdefault(split, Rates())
    return paths


def _fill(
    prepared: Prepared, split: str, stores: list[tuple[StoreWriter, StorePlan]], say: Say
) -> tuple[list[Path], Rates]:
    """Compute and commit what is missing of some stores with the same rows and blocks; their folders, what it took."""
    config, print_ = prepared.config, prepared.fingerprints[split]
    how = computed_with(config, prepared.device)
    writers = [writer for writer, _ in stores]
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.enter_context(in_use(writer.path))
            sweep(leftovers(writer.path))
            _check_mixture(writer, config, how, say)
        task = _task(prepared, split, stores, how)
        started = time.time()
        pending = [b for b in sorted({b for writer in writers for b in writer.pending()}) if config.owns(b)]
        about: dict[str, Any] = {
            "encoder": prepared.encoder_name,
            "files": [str(path) for path in prepared.spectra[split].files],
            "bad_rows": {reason: bad.tolist()[:100] for reason, bad in print_.bad.items()},
            "computed_with": how,
            "blocks": pending,
        }
        # noted before as well, so that an interrupted store names the command that finishes it
        command = without_part(config.command)
        _note_run(writers, run_log(started=started, command=command, about=about))
        header = writers[0].header
        sizes = {block: header.block(block)[1] - header.block(block)[0] for block in pending}
        took, micro_batch = _compute(task, sizes, say, prepared.cluster)
        about["computed_with"] = {**how, "micro_batch": micro_batch}
        _note_run(writers, run_log(started=started, command=command, about=about))
        if micro_batch != config.n_together:  # some blocks may have been committed before memory ran out
            config = replace(config, mixed=True)
        for writer in writers:
            _check_done(writer, split, config, how, say)
    return [writer.path for writer in writers], took


def _task(
    prepared: Prepared, split: str, stores: list[tuple[StoreWriter, StorePlan]], how: dict[str, Any]
) -> BlockTask:
    """What a process needs to compute any block of the stores."""
    return BlockTask(
        config=replace(prepared.config, data={split: prepared.spectra[split].files}),
        split=split,
        files=prepared.spectra[split].files,
        fingerprint=prepared.fingerprints[split],
        fed=prepared.fed[split],
        mask=prepared.mask,
        model=prepared.model,
        weights=weights_digest(prepared.model),
        device=prepared.device,
        targets=tuple(
            Target(writer.path, writer.header, plan.draw, arrays_of(plan)) for writer, plan in stores
        ),
        computed_with=how,
    )


def _check_mixture(writer: StoreWriter, config: ExtractConfig, how: dict[str, Any], say: Say) -> None:
    """Refuse to go on with blocks computed otherwise, or say so where that is accepted."""
    try:
        writer.check_computed_with(how)
    except Stale as error:
        if not config.mixed:
            raise
        say(f"mixed, as asked: {str(error).split('; results may differ')[0]}")


def _check_done(
    writer: StoreWriter, split: str, config: ExtractConfig, how: dict[str, Any], say: Say
) -> None:
    """Say what was written, once no block of ours is missing and none was computed otherwise by somebody else."""
    missing = writer.pending()
    if ours := [block for block in missing if config.owns(block)]:
        raise Incomplete(
            f"{writer.path}: blocks {ours[:5]} were taken away meanwhile; run the same command again"
        )
    if not config.mixed:
        writer.check_computed_with(how)
    if missing:
        say(
            f"{split}: {writer.path} has its blocks of part {config.part}; {len(missing)} of other parts are missing"
        )
    else:
        say(f"{split}: wrote {writer.path}")


def _note_run(writers: list[StoreWriter], note: tuple[str, dict[str, Any]]) -> None:
    for writer in writers:
        writer.record_run(*note)


def _compute(task: BlockTask, rows: dict[int, int], say: Say, cluster: Cluster) -> tuple[Rates, int]:
    """Compute blocks, given with their numbers of rows, here or in several processes; the bits are the same.

    Blocks that other extractions are computing come last: waited for, and computed here if their holder dies.
    Returns what it took and the smallest micro-batch that had to be used.
    """
    config = task.config
    draws = len({target.draw for target in task.targets})
    label = f"extract {task.split}" + (f" x {draws} draws" if draws > 1 else "")
    left, said, micro_batch = list(rows), set[str](), config.n_together
    rates, started = Rates(workers=1 if config.scheduler == "local" else config.n_workers), time.monotonic()
    with (
        progress(sum(rows.values()), label, unit="spectra") as advance,
        runner(task, len(rows), advance, cluster=cluster) as run,
    ):
        while left:
            held = []
            with contextlib.closing(run(left)) as results:
                for block, done in results:
                    if done.holder is not None:
                        held.append(block)
                        if done.holder not in said:
                            said.add(done.holder)
                            say(f"{task.split}: {done.holder.partition(';')[0]}, and is left to it")
                        continue
                    advance(rows[block] - done.shown)
                    if done.times:
                        rates = replace(rates, rows=rates.rows + rows[block]).plus(done.times)
                    if done.micro_batch is not None and done.micro_batch < micro_batch:
                        micro_batch = done.micro_batch
                        say(_too_little_memory(task, block, micro_batch))
            if len(held) == len(left):
                time.sleep(WAIT_SECONDS)
            left = held
    return replace(rates, seconds=time.monotonic() - started), micro_batch


def _too_little_memory(task: BlockTask, block: int, micro_batch: int) -> str:
    return (
        f"{task.split}: {task.device} has too little memory for --micro-batch {task.config.n_together}; block {block} "
        f"was computed with {micro_batch}. The commit records say so; last bits may differ between blocks"
    )
