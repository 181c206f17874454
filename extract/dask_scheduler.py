"""Row blocks on a dask cluster: one task each, given by dask to one worker at a time and again when that one dies."""

import contextlib
import pickle
import platform
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

from cache.dask_cluster import Cluster
from cache.errors import BlindspotError, CacheError, ConfigError, InputError, UnknownName
from cache.header import read_header
from cache.writer import StoreWriter

from .block_task import BlockDone, BlockTask, computed_with
from .blocks import Results, compute_block
from .same_program import check_program, program

LOOK_SECONDS = 5.0
"""Between two looks at the cluster while no block comes back."""
NO_WORKER_LOOKS = 24
"""Looks in a row without any worker before the run is given up: a worker that died is started again in seconds."""
NOT_OF_THE_HOST = ("micro_batch",)
"""What is not the worker's own, of `computed_with`: it halves by itself where memory is short."""
WORKERS_NEED = "workers need the environment of this machine, and the same paths (a shared file system)"


def dask_run(task: BlockTask, n_blocks: int, cluster: Cluster) -> Callable[[list[int]], Results]:
    """A function that computes blocks on a cluster and yields (block, what became of it).

    A block whose worker dies is computed by another one. Raises what `Cluster` and `compute_block` raise, and
    CacheError, telling what is committed, when the cluster is lost or a block kills every worker that takes it.
    """
    client = cluster.client(n_blocks)
    # as the result of a task, and not scattered, because dask can make it anew when all that held it have died;
    # what is unpickled is our own task, and dask itself runs whatever a client sends (docs/cluster.md)
    shared = client.submit(pickle.loads, pickle.dumps(_with_whole_paths(task)), pure=False)

    def run(blocks: list[int]) -> Results:
        with _told_losses(task):
            asked = {client.submit(_compute, shared, block, program(), pure=False): block for block in blocks}
            for future in _as_completed(client, set(asked)):
                done = future.result()
                if isinstance(done, Exception):
                    raise _Told(done)
                yield asked.pop(future), done

    return run


def _with_whole_paths(task: BlockTask) -> BlockTask:
    """The task with paths that do not depend on the working folder, which is another one on a worker."""
    return replace(
        task,
        files=tuple(path.absolute() for path in task.files),
        targets=tuple(replace(target, path=target.path.absolute()) for target in task.targets),
    )


def _compute(
    task: BlockTask, block: int, asked_by: Mapping[str, Any]
) -> BlockDone | BlindspotError | OSError:
    """Compute a block on a worker for the program `asked_by`.

    Errors are returned: a raised one would be logged there with the whole task.
    """
    try:
        check_program(
            asked_by,
            worker=f"the dask worker on {platform.node()}",
            advice="restart the workers after an update, in the environment of this machine",
        )
        _check_paths(task)
        return compute_block(_of_this_host(task), block)
    except UnknownName as error:  # cannot be sent
        return ConfigError(str(error))
    except (BlindspotError, OSError) as error:
        return error


def _check_paths(task: BlockTask) -> None:
    for path in task.files:
        if not path.exists():
            raise InputError(f"{path}: not there for the worker on {platform.node()}; {WORKERS_NEED}")
    for target in task.targets:
        if not target.path.exists():
            raise CacheError(f"{target.path}: not there for the worker on {platform.node()}; {WORKERS_NEED}")


def _of_this_host(task: BlockTask) -> BlockTask:
    """The task with what is true of this machine in its commit records; refused unless mixed blocks are accepted."""
    try:
        here = computed_with(task.config, task.device)
    except (AssertionError, RuntimeError) as error:  # torch's words for a GPU that is not there
        raise ConfigError(f"the worker on {platform.node()} cannot use {task.device}: {error}") from error
    other = {
        name: value
        for name, value in here.items()
        if name not in NOT_OF_THE_HOST and value != task.computed_with.get(name)
    }
    if other and not task.config.mixed:
        told = ", ".join(
            f"{name} {task.computed_with.get(name)!r} and {value!r}" for name, value in other.items()
        )
        raise ConfigError(
            f"this machine and the worker on {platform.node()} differ: {told}; results may differ in the last bits. "
            "Run the command on a machine like the workers, or accept the mixture: --mixed"
        )
    return replace(task, computed_with={**task.computed_with, **other})


def _as_completed(client: Any, left: set[Any]) -> Iterator[Any]:
    """Futures as they are done; _NoWorkersError when the cluster stays without any worker meanwhile."""
    from distributed import wait  # noqa: PLC0415  an optional dependency

    looks = 0
    while left:
        try:
            with client.as_current():
                done, left = wait(left, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")
        except TimeoutError:
            looks = 0 if _n_workers(client) else looks + 1
            if looks > NO_WORKER_LOOKS:
                raise _NoWorkersError from None
        else:
            looks = 0
            yield from done


def _n_workers(client: Any) -> int:
    return len(client.scheduler_info(n_workers=1)["workers"])


class _NoWorkersError(Exception):
    """The cluster had no worker for long."""


class _Told(Exception):
    """Carries an error of a block past those of the cluster."""

    def __init__(self, error: Exception) -> None:
        """Carry `error`."""
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def _told_losses(task: BlockTask) -> Iterator[None]:
    """Tell a lost cluster in our words, with what is committed."""
    from distributed import KilledWorker  # noqa: PLC0415  an optional dependency

    again = "run the same command again to go on"
    try:
        yield
    except _Told as told:
        raise told.error from None
    except KilledWorker as error:
        raise CacheError(
            "a block killed every worker that took it, most likely for lack of memory; "
            f"{_committed(task)}: {again}, with fewer --jobs or a smaller --micro-batch"
        ) from error
    except _NoWorkersError as error:
        raise CacheError(
            f"the dask cluster has lost its workers; {_committed(task)}: start some, and {again}"
        ) from error
    except ModuleNotFoundError as error:
        raise ConfigError(f"a dask worker has no module {error.name}; {WORKERS_NEED}") from error
    except (CancelledError, OSError) as error:
        raise CacheError(
            f"the dask scheduler is lost ({error}); {_committed(task)}: {again}, on a scheduler that answers"
        ) from error


def _committed(task: BlockTask) -> str:
    """How much of the stores is there."""
    told = []
    for target in task.targets:
        n_blocks = read_header(target.path).n_blocks
        left = len(StoreWriter.open(target.path).pending())
        told.append(f"{n_blocks - left} of {n_blocks} blocks of {target.path} are committed")
    return " and ".join(told)
