"""Making a dask cluster: of this machine, or jobs of SLURM, as a YAML file tells."""

import logging
import signal
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError, UnknownName

INSTALL = "pip install 'blindspot-probes[cluster]'"
CLUSTERS = ("local", "slurm")
LEAVE_INTERRUPTS_TO_THE_PARENT = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Run by each worker of this machine: Ctrl-C reaches all processes of a terminal, and the parent ends the workers."""


def read_cluster_file(path: Path) -> dict[str, Any]:
    """The settings of a YAML file: `cluster`, `jobs`, and arguments of the cluster; ConfigError for what is refused."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--dask-config {path}: {error}; expected YAML in UTF-8") from error
    if not isinstance(content, dict) or not {"cluster", "jobs"} <= set(content):
        raise ConfigError(
            f"--dask-config {path}: expected a mapping with `cluster` ({' or '.join(CLUSTERS)}) and `jobs` (how many), "
            "beside arguments of the cluster; docs/cluster.md has an example"
        )
    if content["cluster"] not in CLUSTERS:
        raise UnknownName(f"cluster in {path}", str(content["cluster"]), CLUSTERS)
    if type(content["jobs"]) is not int or content["jobs"] < 1:
        raise ConfigError(f"--dask-config {path}: jobs is {content['jobs']!r}; it must be at least 1")
    if content["cluster"] == "slurm":
        _check_network(content, path)
    return {**content, "told in": path}


def _check_network(content: dict[str, Any], path: Path) -> None:
    """Refuse jobs of SLURM whose scheduler would listen on every network of this machine: it runs code for anybody."""
    options = content.get("scheduler_options") or {}
    if not isinstance(options, dict):
        raise ConfigError(
            f"--dask-config {path}: scheduler_options is {options!r}; expected a mapping of arguments of the scheduler"
        )
    if not content.get("interface") and not options.get("host"):
        raise ConfigError(
            f"--dask-config {path}: no network is named, so the scheduler would listen on all of them, and whoever "
            "reaches it can run programs as you; write the private one of the nodes, `interface: ib0` (`ip addr` lists "
            "them), or an address of this machine, `scheduler_options: {host: 10.0.0.1}`; see docs/cluster.md"
        )


def make_cluster(distributed: Any, told: dict[str, Any]) -> Any:
    """A cluster as told, with its jobs asked for."""
    arguments = dict(told)
    kind, jobs, path = arguments.pop("cluster"), arguments.pop("jobs"), arguments.pop("told in", None)
    try:
        if kind == "slurm":
            return _slurm(arguments, jobs, path)
        return distributed.LocalCluster(
            **{
                "n_workers": jobs,
                "threads_per_worker": 1,
                "processes": True,
                "host": "127.0.0.1",
                "scheduler_kwargs": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                "silence_logs": logging.CRITICAL,
                "preload": [LEAVE_INTERRUPTS_TO_THE_PARENT],
                "memory_limit": 0,  # what a task holds is outside what dask could spill
                **arguments,
            }
        )
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        where = "" if path is None else f" of --dask-config {path}"
        raise ConfigError(
            f"the {kind} cluster{where} cannot be made: {_reason(error)}; see docs/cluster.md, or use "
            "--scheduler processes"
        ) from error


def _reason(error: BaseException) -> BaseException:
    """The error that began it: dask wraps it several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _slurm(arguments: dict[str, Any], jobs: int, path: Path | None) -> Any:
    ours = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue  # noqa: PLC0415  an optional dependency
    except ImportError as error:
        raise ConfigError(
            f"--dask-config {path}: {error.name or 'dask_jobqueue'} is not installed here; {INSTALL}"
        ) from error
    finally:
        signal.signal(signal.SIGINT, ours)  # the import makes Ctrl-C a silent exit with status 0
    options = {"dashboard": False, "dashboard_address": ":0", **arguments.pop("scheduler_options", {})}
    cluster = dask_jobqueue.SLURMCluster(scheduler_options=options, **arguments)
    cluster.scale(jobs=jobs)
    return cluster
