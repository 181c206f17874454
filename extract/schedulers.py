"""Where row blocks are computed: here, in several processes, or by dask; each block is an idempotent task."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from multiprocessing.connection import wait
from typing import Any

from cache.dask_cluster import Cluster
from cache.errors import CacheError
from cache.progress import Advance

from .block_task import BlockDone, BlockTask
from .blocks import Results, compute_block, compute_blocks
from .dask_scheduler import dask_run
from .same_program import check_program, program

Run = Callable[[list[int]], Results]
"""Computes blocks and yields (block, what became of it) as they come."""

_ASKED: ContextVar[tuple[bytes, Mapping[str, Any]]] = ContextVar(
    "the task of this worker process, pickled; for whom"
)
_TASK: ContextVar[BlockTask] = ContextVar("the task of this worker process")


@contextlib.contextmanager
def runner(task: BlockTask, n_blocks: int, advance: Advance, *, cluster: Cluster) -> Iterator[Run]:
    """A function that computes blocks and yields (block, what became of it) as they come.

    `advance` is told the rows of blocks computed in this process; others are told by their result alone. The
    `cluster` is used by dask only, and left open.
    """
    workers = min(task.config.n_workers, n_blocks)
    if task.config.scheduler == "dask" and n_blocks:
        yield dask_run(task, n_blocks, cluster)
    elif task.config.scheduler == "processes" and workers > 1:
        with _processes(task, workers) as run:
            yield run
    else:
        yield lambda blocks: compute_blocks(task, blocks, advance)


@contextlib.contextmanager
def _processes(task: BlockTask, workers: int) -> Iterator[Run]:
    """Worker processes, each with one compute task at a time."""
    context = multiprocessing.get_context("spawn")
    # pickled here and once: the pool would do it for every worker, and put tensors into memory that all share
    of_worker = (pickle.dumps(task), program())
    with ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=of_worker) as pool:

        def run(blocks: list[int]) -> Results:
            tasks = {pool.submit(_compute, block): block for block in blocks}
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


def _begin_worker(pickled: bytes, asked_by: Mapping[str, Any]) -> None:
    """Ready this process for the blocks of a task, which stays here, of the program `asked_by`."""
    # Ctrl-C reaches all processes of a terminal; the parent ends the pool, a traceback per worker helps nobody
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _ASKED.set((pickled, asked_by))


def _end_with_the_parent() -> None:
    """A parent that is killed ends no worker, and a worker waits for its next block for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _compute(block: int) -> BlockDone:
    """Compute a block; ConfigError where the files of the program, read anew by this process, are others by now."""
    if _TASK.get(None) is None:
        pickled, asked_by = _ASKED.get()
        advice = "its files were updated meanwhile: run the same command again"
        check_program(asked_by, worker="a worker process", advice=advice)
        _TASK.set(pickle.loads(pickled))  # noqa: S301  from our parent
    return compute_block(_TASK.get(), block)
