"""Files that a request names beside its data: what can be written or read is found out before any work."""

import os
from pathlib import Path

from cache.errors import ConfigError
from cache.new_cluster import read_cluster_file

from .request import ExtractConfig


def check_named_files(config: ExtractConfig, *, selection: Path | None = None) -> None:
    """Raise ConfigError for statistics or a selection that could not be written, or a cluster file not to be read."""
    for flag, path in (("--stats", config.stats), ("--selection", selection)):
        if path is not None:
            _check_can_write(flag, path)
    if config.dask_config is not None:
        read_cluster_file(config.dask_config)


def _check_can_write(flag: str, path: Path) -> None:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(
            f"{flag} {path}: cannot write a file there; name a file in a folder that you may write to"
        )
