"""Computing row blocks of every store that lacks them: reading, noise, network and committing overlap.

A block's rows go through in pieces of one compute micro-batch; every piece writes its features to its place in the
arrays of the block, which is committed when its last piece is there. Two or three blocks are in memory at a time.
"""

import contextlib
import gc
import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from threadpoolctl import threadpool_limits

from cache.errors import ConfigError
from cache.progress import Advance
from cache.writer import StoreWriter

from .batches import Batch, checked, make_batch
from .block_task import BlockDone, BlockTask
from .named_engine import Engines, pinned
from .open_blocks import OpenBlock, claimed, commit
from .slabs import RawRows, SlabReader, pieces_of, runs_of
from .spectra import SpectraFile, open_spectra
from .stages import Line, Stage, StageTimes

Results = Generator[tuple[int, BlockDone], None, None]

BLOCKS_AHEAD = 3
"""At most so many blocks' worth of pieces wait for the network, however small blocks are."""


def compute_block(task: BlockTask, block: int, advance: Advance | None = None) -> BlockDone:
    """Compute block `block` of every target that lacks it, and commit it; see `compute_blocks`."""
    ((_, done),) = compute_blocks(task, [block], advance)
    return done


def compute_blocks(task: BlockTask, blocks: Sequence[int], advance: Advance | None = None) -> Results:
    """Compute blocks of every target that lacks them and commit them; yield (block, what became of it).

    Close it (`contextlib.closing`) when it is left early: that ends its threads and lets go of its claims. `advance`
    is called in the caller's thread. With a `holder` in the answer nothing was done: another process is computing
    the block. When a device has too little memory, what is not committed is computed again in micro-batches of half
    the size. Raises CheckpointError when the model changed meanwhile, Stale when another process began to commit
    blocks computed otherwise, ConfigError when there is not memory for a single spectrum.
    """
    left, asked = list(blocks), task.config.micro_batch
    while left:
        problem = ""
        with _Shown(advance) as shown:
            try:
                with contextlib.closing(_compute(task, tuple(left), shown)) as results:
                    for block, done in results:
                        left.remove(block)
                        shown.settle(done.shown)
                        size = task.config.micro_batch
                        yield block, replace(done, micro_batch=size) if size < asked and done.times else done
            except torch.OutOfMemoryError as error:
                problem = str(error)
        if problem:  # after the error, which holds on to all that the try had in memory
            task = _with_half_the_micro_batch(task, problem)


class _Shown:
    """Reports rows as they are computed, and takes back those that were not committed."""

    def __init__(self, advance: Advance | None) -> None:
        self._advance = advance
        self._open = 0
        self.to_somebody = advance is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self(-self._open)

    def __call__(self, rows: int) -> None:
        if self._advance is not None:
            self._open += rows
            self._advance(rows)

    def settle(self, rows: int) -> None:
        """So many of the rows shown are committed."""
        self._open -= rows


def _with_half_the_micro_batch(task: BlockTask, problem: str) -> BlockTask:
    size = task.config.micro_batch
    if size == 1:
        raise ConfigError(
            f"{task.device} has not enough memory for one spectrum at a time ({problem}); ask for fewer layers or "
            "directions at once, free the device of other programs, or use --device cpu"
        )
    gc.collect()
    if not task.on_cpu:
        torch.cuda.empty_cache()
    writers = [StoreWriter.open(target.path) for target in task.targets]
    # other workers may commit with the size asked for at any moment
    begun = task.config.scheduler != "local" or any(
        len(writer.pending()) < writer.header.n_blocks for writer in writers
    )
    return task.with_micro_batch(size // 2, begun=begun)


@dataclass(frozen=True)
class _Piece:
    """Rows of a block that go through the network together, from `start` on among the rows of the block."""

    block: OpenBlock
    start: int
    raw: RawRows

    @property
    def stop(self) -> int:
        return self.start + len(self.raw.rows)

    @property
    def is_last(self) -> bool:
        return self.stop == len(self.block.rows)


Work = tuple[_Piece, Iterable[tuple[int | None, Batch]]]
"""A piece and its batches by draw, which may yet have to be made."""


def _compute(task: BlockTask, blocks: Sequence[int], shown: "_Shown") -> Results:
    aside: list[tuple[int, BlockDone]] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(_threads_of_products(task.config.n_threads))
        spectra = stack.enter_context(open_spectra(list(task.files)))
        claims = stack.enter_context(contextlib.ExitStack())  # let go when no thread is left
        line = stack.enter_context(Line())
        opened = claimed(task, blocks, claims, aside)
        before: Mapping[str, StageTimes] = {}
        for number, rows in _flow(task, opened, spectra, line, shown):
            yield from _taken(aside)
            now = line.times()
            since = {name: times.plus(before.get(name, StageTimes()), -1) for name, times in now.items()}
            before = now
            yield number, BlockDone(shown=rows if shown.to_somebody else 0, times=since)
    yield from _taken(aside)


def _flow(
    task: BlockTask, opened: Iterator[OpenBlock], spectra: SpectraFile, line: Line, advance: Advance
) -> Iterator[tuple[int, int]]:
    """Send blocks through the stages; yield (block, rows) of those that are committed."""
    config, n_compute = task.config, len(task.devices)
    reader = SlabReader(spectra, config.slab_rows)
    engines = Engines(
        task.model,
        {array for target in task.targets for array in target.arrays},
        config=config,
        devices=task.devices,
    )
    pieces_per_block = -(-task.targets[0].header.block_rows // config.micro_batch)
    read = line.stage("read", ahead=1)
    compute = line.stage(
        "compute",
        n_compute,
        ahead=min(2 * n_compute, BLOCKS_AHEAD * pieces_per_block),
        start=lambda: torch.set_num_threads(config.n_threads),
    )
    committing = line.stage("commit", ahead=1)

    def read_slab(wanted: tuple[OpenBlock, tuple[int, int]]) -> tuple[OpenBlock, RawRows]:
        return wanted[0], reader.read(wanted[1])

    def run(work: Work) -> _Piece:
        for draw, batch in work[1]:
            work[0].block.store(work[0].start, draw, dict(engines.mine().features(batch)))
        return work[0]

    def finished(pieces: Iterable[_Piece]) -> Iterator[OpenBlock]:
        for piece in pieces:
            reader.give_back(piece.raw)
            advance(len(piece.raw.rows))
            if piece.is_last:
                yield piece.block

    slabs = ((block, bounds) for block in opened for bounds in runs_of(block.rows, config.slab_rows))
    pieces = _pieces(read.map(read_slab, slabs), config.micro_batch)
    work = _with_batches(task, spectra, pieces, line=line, compute=compute)
    yield from committing.map(lambda block: commit(task, block), finished(compute.map(run, work)))


def _with_batches(
    task: BlockTask, spectra: SpectraFile, pieces: Iterator[_Piece], *, line: Line, compute: Stage
) -> Iterator[Work]:
    """Noise is made in the compute threads, whose cores it needs; for a GPU it is made beside, in pinned memory."""

    def batches(piece: _Piece) -> Iterator[tuple[int | None, Batch]]:
        group = checked(spectra, piece.raw, task.fingerprint, task.config)
        draws = {target.draw for _, target in piece.block.free}
        for draw in sorted(draws, key=lambda d: -1 if d is None else d):
            yield (
                draw,
                make_batch(
                    group,
                    split=task.split,
                    draw=draw,
                    mask=task.mask,
                    error_mode=str(task.model.config.error_mode),
                    profile=task.model.error_profile,
                    config=task.config,
                ),
            )

    if task.on_cpu:
        return ((piece, compute.part("noise", batches(piece))) for piece in pieces)
    threads = task.config.n_workers
    noise = line.stage("noise", threads, ahead=2 * threads)

    def ready(piece: _Piece) -> Work:
        return piece, [(draw, pinned(batch)) for draw, batch in batches(piece)]

    return noise.map(ready, pieces)


def _pieces(read: Iterator[tuple[OpenBlock, RawRows]], size: int) -> Iterator[_Piece]:
    """Cut what was read into pieces that never span two blocks."""
    for _, slabs in itertools.groupby(read, key=lambda one: one[0].number):
        block, first = next(slabs)
        start = 0
        for raw in pieces_of(itertools.chain([first], (raw for _, raw in slabs)), size):
            yield _Piece(block, start, raw)
            start += len(raw.rows)


def _taken(aside: list[tuple[int, BlockDone]]) -> Iterator[tuple[int, BlockDone]]:
    while aside:
        yield aside.pop(0)


@contextlib.contextmanager
def _threads_of_products(number: int) -> Iterator[None]:
    """Threads of one computation, in torch and in numpy's BLAS, set before the compute threads start."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with threadpool_limits(number, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
