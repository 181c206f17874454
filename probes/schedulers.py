"""Where the tasks of a sweep are computed: here, in several processes, or by dask; joblib hands them out."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import joblib

from cache.dask_cluster import Cluster, check_dask_flags
from cache.errors import CacheError, ConfigError
from cache.new_cluster import read_cluster_file
from cache.progress import Advance

from .sweep_task import SweepTask, TaskDone, run_task

Scheduler = Literal["local", "processes", "dask"]
IDLE_SECONDS = 20
"""After which worker processes without a task end."""
LOOK_SECONDS = 0.2
"""Between two looks of a worker process whether its parent lives."""
GO_ON = "what is recorded stays, the same command goes on from there"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Where and how many tasks run at once; names are those of the flags. Raises ConfigError on construction."""

    scheduler: Scheduler = "local"
    jobs: int = 1
    dask_address: str | None = None
    dask_config: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        check_dask_flags(self.scheduler, dask_address=self.dask_address, dask_config=self.dask_config)
        if self.dask_config is not None:
            read_cluster_file(self.dask_config)
        if self.jobs < 1:
            raise ConfigError(f"--jobs is {self.jobs}; it must be at least 1")
        if self.scheduler == "local" and self.jobs > 1:
            raise ConfigError(
                f"--scheduler local computes one task after the other, not {self.jobs}; say --scheduler processes"
            )

    @property
    def n_workers(self) -> int:
        """Tasks at once."""
        return self.jobs


def run_tasks(tasks: Sequence[SweepTask], schedule: Schedule, advance: Advance) -> Iterator[TaskDone]:
    """Compute tasks and yield what became of each as it ends; `advance` is told the cells that are done.

    Records do not depend on where a task runs. Raises CacheError when workers are lost, ConfigError when a cluster
    cannot be had.
    """
    if schedule.scheduler == "dask" and tasks:
        done = _by_dask(tasks, schedule)
    elif schedule.scheduler == "processes" and min(schedule.jobs, len(tasks)) > 1:
        done = _by_processes(tasks, min(schedule.jobs, len(tasks)))
    else:
        for task in tasks:
            yield run_task(task, advance)
        return
    for one in done:
        advance(one.n_cells)
        yield one


def _by_processes(tasks: Sequence[SweepTask], n_jobs: int) -> Iterator[TaskDone]:
    from joblib.externals.loky.process_executor import (  # noqa: PLC0415  what the back end raises
        TerminatedWorkerError,
    )

    options = {
        "pre_dispatch": "n_jobs",  # what waits in a queue makes loky complain when it is interrupted
        "idle_worker_timeout": IDLE_SECONDS,
        "initializer": _begin_worker,
        "initargs": (os.getpid(),),
    }
    try:
        yield from _parallel("loky", n_jobs, tasks, **options)
    except TerminatedWorkerError as error:
        raise CacheError(
            f"a worker process was killed, most likely for lack of memory; {GO_ON}, better with fewer --jobs"
        ) from error


def _by_dask(tasks: Sequence[SweepTask], schedule: Schedule) -> Iterator[TaskDone]:
    with Cluster(schedule) as cluster:
        client = cluster.client(len(tasks))
        from distributed import KilledWorker  # noqa: PLC0415  an optional dependency, asked for by the client

        try:
            with joblib.parallel_config(backend="dask", client=client):
                yield from _parallel(None, -1, tasks, pre_dispatch="all")  # workers may join later
        except KilledWorker as error:
            raise CacheError(
                f"a task killed every dask worker that took it, most likely for lack of memory; {GO_ON}"
            ) from error
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"a dask worker has no module {error.name}; workers need the environment of this machine"
            ) from error
        except (CancelledError, OSError) as error:  # those of tasks are told by what they return
            raise CacheError(f"the dask scheduler is lost ({error}); {GO_ON}") from error


def _parallel(
    backend: str | None, n_jobs: int, tasks: Sequence[SweepTask], **options: Any
) -> Iterator[TaskDone]:
    parallel = joblib.Parallel(
        n_jobs=n_jobs,
        backend=backend,
        batch_size=1,
        return_as="generator_unordered",
        max_nbytes=None,
        **options,
    )
    yield from parallel(joblib.delayed(run_task)(task) for task in tasks)


def _begin_worker(parent: int) -> None:
    """Ready a worker process: it leaves Ctrl-C to its parent, and ends when that one is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(LOOK_SECONDS)
    os._exit(1)
