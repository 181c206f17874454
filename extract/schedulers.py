"""Where row blocks are computed: here, in several processes, or by dask; each block is an idempotent task."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from cache.errors import CacheError
from cache.progress import Advance

from .block_task import BlockDone, BlockTask
from .blocks import compute_block, compute_blocks
from .dask_cluster import Cluster
from .dask_scheduler import dask_run

Run = Callable[[list[int]], Iterator[tuple[int, BlockDone]]]
"""Computes blocks and yields (block, what became of it) as they come."""


@contextlib.contextmanager
def runner(
    task: BlockTask, n_blocks: int, advance: Advance, *, cluster: Cluster | None = None
) -> Iterator[Run]:
    """A function that computes blocks and yields (block, what became of it) as they come.

    `advance` is told the rows of blocks computed in this process; others are told by their result alone. With dask a
    `cluster` is used and left open; without it one is made for these blocks.
    """
    workers = min(task.config.n_workers, n_blocks)
    with contextlib.ExitStack() as stack:
        if task.config.scheduler == "dask" and n_blocks:
            yield dask_run(task, n_blocks, cluster or stack.enter_context(Cluster(task.config)))
        elif task.config.scheduler == "processes" and workers > 1:
            yield stack.enter_context(_processes(task, workers))
        else:
            yield lambda blocks: compute_blocks(task, blocks, advance)


@contextlib.contextmanager
def _processes(task: BlockTask, workers: int) -> Iterator[Run]:
    """Worker processes, each with one compute task at a time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_leave_interrupts_to_the_parent) as pool:

        def run(blocks: list[int]) -> Iterator[tuple[int, BlockDone]]:
            tasks = {pool.submit(compute_block, task, block): block for block in blocks}
            for done in as_completed(tasks):
                yield tasks[done], done.result()

        try:
            yield run
        except BrokenProcessPool as error:
            raise CacheError(
                "a worker process was killed, most likely for lack of memory; what was committed stays. Run the same "
                "command again with fewer --jobs or a smaller --micro-batch"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches all processes of a terminal; the parent ends the pool, a traceback per worker helps nobody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
