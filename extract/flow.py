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
from .named_engine import Engines, pinned_copy
from .open_blocks import OpenBlock, Rows, commit
from .pinned import pinned
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
    task: BlockTask,
    opened: Iterator[OpenBlock],
    spectra: SpectraFile,
    *,
    line: Line,
    memory: contextlib.ExitStack,
    advance: Advance,
) -> Iterator[tuple[int, int]]:
    """Send blocks through the stages; yield (block, rows) of those that are committed.

    `memory` is closed after `line`, when no stage can read any more from what is given back then.
    """
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
            in_compute = ahead + 2  # with the network, and behind it
            shared = _shared(task, spectra, n_waiting=in_compute)
            stack.callback(shared.close)
            memory.enter_context(pinned(shared.inputs, task.devices))
            work = _made_by_forks(task, shared, opened, line)
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
    noise = line.stage("noise", _noise_workers(task), ahead=_noise_ahead(task))

    def ready(read: tuple[_Piece, RawRows]) -> Work:
        piece, raw = read
        return piece, [
            (draw, pinned_copy(batch)) for draw, batch in batches(task, spectra, raw, _draws(piece.block))
        ]

    return noise.map(ready, _read_pieces(task, spectra, opened, line))


def _noise_workers(task: BlockTask) -> int:
    """Threads or forks that make batches for a GPU; other schedulers have a process for each job already."""
    return task.config.n_workers if task.config.scheduler == "local" else 1


def _noise_ahead(task: BlockTask) -> int:
    """Batches in work or waiting for the network: of few blocks, however small those are."""
    pieces_per_block = -(-task.targets[0].header.block_rows // task.config.n_together)
    return min(_noise_workers(task) + 2, BLOCKS_AHEAD * pieces_per_block)


def _shared(task: BlockTask, spectra: SpectraFile, *, n_waiting: int) -> SharedBatches:
    """Forks and their memory: a slot for every batch in work or waiting, `n_waiting` of them behind the noise.

    So none waits for a slot that a later batch holds.
    """
    n_slots = _noise_ahead(task) + 1 + n_waiting
    return SharedBatches(task, spectra, n_forks=_noise_workers(task), n_slots=n_slots)


def _made_by_forks(
    task: BlockTask, shared: SharedBatches, opened: Iterator[OpenBlock], line: Line
) -> Iterator[Work]:
    """For a GPU that is faster than one interpreter can feed it: forks read, and make the noise."""
    size = task.config.n_together
    noise = line.stage("noise", _noise_workers(task), ahead=_noise_ahead(task))

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
