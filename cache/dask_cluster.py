"""The dask cluster that a command computes on: one of this machine, a running one, or jobs of SLURM."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from .errors import CacheError, ConfigError
from .new_cluster import INSTALL, make_cluster, read_cluster_file

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer."""
FIRST_WORKER_SECONDS = 60.0
"""How long a cluster may be without any worker; jobs of SLURM may queue for as long as they like."""
AGAIN_SECONDS = 300.0
"""Between two lines that say that jobs of SLURM are waited for."""
SETTINGS = {
    "distributed.admin.large-graph-warning-threshold": "1GiB",  # the task is sent once, on purpose
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
}


class ClusterRequest(Protocol):
    """What a request says about its cluster, by the names of the flags."""

    @property
    def n_workers(self) -> int:
        """Worker processes wanted on this machine."""
        ...

    @property
    def dask_address(self) -> str | None:
        """`tcp://HOST:PORT` of a running scheduler."""
        ...

    @property
    def dask_config(self) -> Path | None:
        """YAML file of a cluster to make."""
        ...


def check_dask_flags(scheduler: str, *, dask_address: str | None, dask_config: Path | None) -> None:
    """Raise ConfigError for an address or a file without dask, or for both of them."""
    given = [
        f"--dask-{name}"
        for name, value in (("address", dask_address), ("config", dask_config))
        if value is not None
    ]
    if given and scheduler != "dask":
        raise ConfigError(f"{given[0]} goes with --scheduler dask, not with {scheduler}")
    if len(given) > 1:
        raise ConfigError(
            "say either --dask-address (a running scheduler) or --dask-config (a cluster to make), not both"
        )


class Cluster:
    """The cluster of a request: made when it is first asked for, closed with the `with` block.

    A cluster that runs already is left running.
    """

    def __init__(self, config: ClusterRequest, *, say: Callable[[str], object] = lambda _: None) -> None:
        """Nothing is opened yet; `say` is told when workers are waited for."""
        self._config = config
        self._say = say
        self._stack = contextlib.ExitStack()
        self._client: Any = None

    def __enter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close what was opened."""
        self._stack.close()

    def client(self, n_tasks: int) -> Any:
        """A `distributed.Client` with a worker at least, and on this machine no more workers than tasks.

        Raises ConfigError when dask is not installed, the cluster cannot be reached or made, a running one has no
        worker, or one of several threads; CacheError when no worker starts on this machine.
        """
        config, n_workers = self._config, min(self._config.n_workers, n_tasks)
        if self._client is None:
            self._client = self._open(n_workers)
        elif config.dask_address is None and config.dask_config is None:
            cluster = self._client.cluster
            cluster.scale(max(n_workers, len(cluster.worker_spec)))
        _check_threads(self._client.scheduler_info(n_workers=-1)["workers"], config)
        return self._client

    def _open(self, n_workers: int) -> Any:
        config, stack = self._config, self._stack
        dask, distributed = _import_dask()
        stack.enter_context(dask.config.set(SETTINGS))
        stack.enter_context(_quiet())
        if config.dask_address is not None:
            client = stack.enter_context(_connect(distributed, config.dask_address))
            self._wait_for_a_worker(client, config.dask_address, limit=FIRST_WORKER_SECONDS)
            return client
        told = {"cluster": "local", "jobs": n_workers}
        if config.dask_config is not None:
            told = read_cluster_file(config.dask_config)
        cluster = stack.enter_context(make_cluster(distributed, told))
        client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
        limit = math.inf if told["cluster"] == "slurm" else FIRST_WORKER_SECONDS
        self._wait_for_a_worker(client, f"the {told['cluster']} cluster", limit=limit)
        return client

    def _wait_for_a_worker(self, client: Any, name: str, *, limit: float) -> None:
        """Wait for so many seconds, and say so every few minutes."""
        left = limit
        if _has_worker(client, 0):
            return
        while left > 0:
            self._say(f"waiting for the first worker of {name}")
            step = min(left, AGAIN_SECONDS)
            if _has_worker(client, step):
                return
            left -= step
        raise _no_worker(self._config)


def _has_worker(client: Any, seconds: float) -> bool:
    """Whether there is a worker, or one comes in so many seconds."""
    try:
        client.wait_for_workers(1, timeout=max(seconds, 1e-3))  # 0 would be for ever
    except TimeoutError:
        return False
    return True


def _no_worker(config: ClusterRequest) -> ConfigError | CacheError:
    waited = f"{FIRST_WORKER_SECONDS:.0f} s"
    if config.dask_address is None:
        where = "" if config.dask_config is None else f" of --dask-config {config.dask_config}"
        return CacheError(
            f"the local cluster{where} had no worker for {waited}; look whether its arguments ask for any, or use "
            "--scheduler processes"
        )
    return ConfigError(
        f"--dask-address {config.dask_address}: the scheduler had no worker for {waited}; start some with "
        f"`dask worker {config.dask_address} --nthreads 1`, in this environment"
    )


def _check_threads(workers: Mapping[str, Any], config: ClusterRequest) -> None:
    """Refuse workers that compute several tasks at once: thread limits are those of a process."""
    several = {name: w["nthreads"] for name, w in workers.items() if w["nthreads"] != 1}
    if not several:
        return
    name, threads = next(iter(several.items()))
    told = (
        f"{len(several)} of {len(workers)} dask workers compute several tasks at once in one process ({name}: "
        f"{threads} threads), and would change each other's thread limits; "
    )
    if config.dask_address is not None:
        again = f"dask worker {config.dask_address} --nthreads 1 --nworkers {threads}"
        raise ConfigError(f"{told}start them again with `{again}`")
    raise ConfigError(
        f"{told}give workers one thread in {config.dask_config} (local: threads_per_worker: 1; slurm: cores as many as "
        "processes)"
    )


def _import_dask() -> tuple[Any, Any]:
    try:
        import dask  # noqa: PLC0415  an optional dependency
        import distributed  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"--scheduler dask: {error.name or 'dask'} is not installed here; {INSTALL}, "
            "or use --scheduler processes"
        ) from error
    return dask, distributed


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask logs workers that come and go; what matters of it is told as an error by us."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _connect(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"--dask-address {address}: no scheduler answers there ({error}); start one with `dask scheduler`, or "
            "leave --dask-address out for a cluster of this machine"
        ) from error
