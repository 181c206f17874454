"""The way of row blocks through the stages: reading, noise, network and committing overlap.

A block's rows go through in pieces of one compute micro-batch; every piece writes its features to its place in the
arrays of the block, which is committed when its last piece is there. Two or three blocks are in memory at a time.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from cache.progress import Advance

from .batches import Batch
from .block_task import BlockTask
from .forks import may_fork
from .named_engine import Engines, pinned
from .open_blocks import OpenBlock, Rows, commit
from .shared_batches import SharedBatches
from .slabs import RawRows, SlabReader, pieces_of, runs_of
from .spectra import SpectraFile
from .stages import Line, Stage
from .task_batches import Draw, batches, in_order

BLOCKS_AHEAD = 3
"""At most so many blocks' worth of pieces wait for the network, however small blocks are."""


@dataclass(frozen=True)
class _Piece:
    """Rows of a block that go through the network together, from `start` on among the rows of the block.

    `release` gives back the memory that its batches are made of.
    """

    block: OpenBlock
    start: int
    rows: Rows
    release: Callable[[], object]

    @property
    def is_last(self) -> bool:
        return self.start + len(self.rows) == len(self.block.rows)


Work = tuple[_Piece, Iterable[tuple[Draw, Batch]]]
"""A piece and its batches by draw, which may yet have to be made."""


def flow(
    task: BlockTask, opened: Iterator[OpenBlock], spectra: SpectraFile, *, line: Line, advance: Advance
) -> Iterator[tuple[int, int]]:
    """Send blocks through the stages; yield (block, rows) of those that are committed."""
    config, n_compute = task.config, len(task.devices)
    engines = Engines(
        task.model,
        {array for target in task.targets for array in target.arrays},
        config=config,
        devices=task.devices,
    )
    pieces_per_block = -(-task.targets[0].header.block_rows // config.n_together)
    ahead = min(2 * n_compute, BLOCKS_AHEAD * pieces_per_block)
    compute = line.stage(
        "compute", n_compute, ahead=ahead, start=lambda: torch.set_num_threads(config.n_threads)
    )
    committing = line.stage("commit", ahead=1)

    def run(work: Work) -> _Piece:
        for draw, batch in work[1]:
            work[0].block.store(work[0].start, draw, dict(engines.mine().features(batch)))
        return work[0]

    def finished(pieces: Iterable[_Piece]) -> Iterator[OpenBlock]:
        for piece in pieces:
            piece.release()
            advance(len(piece.rows))
            if piece.is_last:
                yield piece.block

    with contextlib.ExitStack() as stack:
        if task.on_cpu:
            work = _made_by_compute_threads(task, spectra, opened, line, compute)
        elif may_fork():
            work = _made_by_forks(task, spectra, opened, line, stack, n_waiting=ahead + 2)
        else:
            work = _made_by_threads(task, spectra, opened, line)
        blocks = finished(compute.map(run, work))
        yield from committing.map(lambda block: commit(task, block), blocks)


def _made_by_compute_threads(
    task: BlockTask, spectra: SpectraFile, opened: Iterator[OpenBlock], line: Line, compute: Stage
) -> Iterator[Work]:
    """For the processor: the noise is made in the compute threads, whose cores it needs."""
    for piece, raw in _read_pieces(task, spectra, opened, line):
        yield piece, compute.part("noise", batches(task, spectra, raw, _draws(piece.block)))


def _made_by_threads(
    task: BlockTask, spectra: SpectraFile, opened: Iterator[OpenBlock], line: Line
) -> Iterator[Work]:
    """For a GPU: the noise is made beside it, in pinned memory."""
    threads = task.config.n_workers
    noise = line.stage("noise", threads, ahead=2 * threads)

    def ready(read: tuple[_Piece, RawRows]) -> Work:
        piece, raw = read
        return piece, [
            (draw, pinned(batch)) for draw, batch in batches(task, spectra, raw, _draws(piece.block))
        ]

    return noise.map(ready, _read_pieces(task, spectra, opened, line))


def _made_by_forks(
    task: BlockTask,
    spectra: SpectraFile,
    opened: Iterator[OpenBlock],
    line: Line,
    stack: contextlib.ExitStack,
    *,
    n_waiting: int,
) -> Iterator[Work]:
    """For a GPU that is faster than one interpreter can feed it: forks read, and make the noise.

    There is a slot for every batch that can be in work or waiting (`n_waiting` of them with the network or behind it),
    so that none waits for one that a later batch holds.
    """
    size, workers = task.config.n_together, task.config.n_workers
    ahead = workers + 2
    noise = line.stage("noise", workers, ahead=ahead)
    shared = stack.enter_context(SharedBatches(task, spectra, n_forks=workers, n_slots=ahead + 1 + n_waiting))

    def ready(wanted: tuple[OpenBlock, int]) -> Work:
        block, start = wanted
        rows = block.rows[start : start + size]
        slot, made = shared.make(rows, _draws(block))
        return _Piece(block, start, rows, partial(shared.release, slot)), made

    return noise.map(ready, ((block, lo) for block in opened for lo in range(0, len(block.rows), size)))


def _draws(block: OpenBlock) -> tuple[Draw, ...]:
    return in_order({target.draw for _, target in block.free})


def _read_pieces(
    task: BlockTask, spectra: SpectraFile, opened: Iterator[OpenBlock], line: Line
) -> Iterator[tuple[_Piece, RawRows]]:
    """Read slabs and cut them into pieces that never span two blocks."""
    config = task.config
    reader = SlabReader(spectra, config.slab_rows)

    def read_slab(wanted: tuple[OpenBlock, tuple[int, int]]) -> tuple[OpenBlock, RawRows]:
        return wanted[0], reader.read(wanted[1])

    slabs = ((block, bounds) for block in opened for bounds in runs_of(block.rows, config.slab_rows))
    read = line.stage("read", ahead=1).map(read_slab, slabs)
    for _, of_block in itertools.groupby(read, key=lambda one: one[0].number):
        block, first = next(of_block)
        start = 0
        for raw in pieces_of(itertools.chain([first], (raw for _, raw in of_block)), config.n_together):
            yield _Piece(block, start, raw.rows, partial(reader.give_back, raw)), raw
            start += len(raw.rows)
