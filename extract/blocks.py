"""Computing row blocks of every store that lacks them, with less at a time where memory runs out."""

import contextlib
import gc
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self

import torch
from threadpoolctl import threadpool_limits

from cache.errors import ConfigError
from cache.progress import Advance
from cache.writer import StoreWriter

from .block_task import BlockDone, BlockTask
from .fingerprint import open_again
from .flow import flow
from .open_blocks import claimed
from .stages import Line, StageTimes

Results = Generator[tuple[int, BlockDone], None, None]


def compute_block(task: BlockTask, block: int) -> BlockDone:
    """Compute block `block` of every target that lacks it, and commit it; see `compute_blocks`."""
    ((_, done),) = compute_blocks(task, [block])
    return done


def compute_blocks(task: BlockTask, blocks: Sequence[int], advance: Advance | None = None) -> Results:
    """Compute blocks of every target that lacks them and commit them; yield (block, what became of it).

    Close it (`contextlib.closing`) when it is left early: that ends its threads and lets go of its claims. `advance`
    is called in the caller's thread. With a `holder` in the answer nothing was done: another process is computing
    the block. When a device has too little memory, what is not committed is computed again in micro-batches of half
    the size. Raises FileChanged for files that are not those of the fingerprint, CheckpointError when the model changed
    meanwhile, Stale when another process began to commit blocks computed otherwise, ConfigError when there is not
    memory for a single spectrum.
    """
    left, asked = list(blocks), task.config.n_together
    while left:
        problem = ""
        with _Shown(advance) as shown:
            try:
                with contextlib.closing(_compute(task, tuple(left), shown)) as results:
                    for block, done in results:
                        left.remove(block)
                        shown.settle(done.shown)
                        size = task.config.n_together
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
    size = task.config.n_together
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


def _compute(task: BlockTask, blocks: Sequence[int], shown: "_Shown") -> Results:
    aside: list[tuple[int, BlockDone]] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(_threads_of_products(task.config.n_threads))
        spectra = stack.enter_context(open_again(task.files, task.fingerprint))
        claims = stack.enter_context(contextlib.ExitStack())  # let go when no thread is left
        memory = stack.enter_context(contextlib.ExitStack())
        line = stack.enter_context(Line())
        opened = claimed(task, blocks, claims, aside)
        before: Mapping[str, StageTimes] = {}
        for number, rows in flow(task, opened, spectra, line=line, memory=memory, advance=shown):
            yield from _taken(aside)
            now = line.times()
            since = {name: times.plus(before.get(name, StageTimes()), -1) for name, times in now.items()}
            before = now
            yield number, BlockDone(shown=rows if shown.to_somebody else 0, times=since)
    yield from _taken(aside)


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
