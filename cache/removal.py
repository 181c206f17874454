"""Taking folders of the cache away: never what a running extraction holds, never half a store."""

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path

from .atomic import sync
from .errors import Busy
from .locks import alone

PRUNING = ".pruning-"
"""A folder that is being removed has this before its name, so that no reader takes the rest of it for a store."""


def measure(path: Path) -> tuple[int, float]:
    """Bytes of all files under `path`, and seconds since any file or folder there was written; links not followed."""
    n_bytes, newest = 0, path.lstat().st_mtime
    for folder, _, names in os.walk(path):
        with contextlib.suppress(FileNotFoundError):  # a running extraction renames and removes files
            newest = max(newest, Path(folder).lstat().st_mtime)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                stat = (Path(folder) / name).lstat()
                n_bytes += stat.st_size
                newest = max(newest, stat.st_mtime)
    return n_bytes, max(0.0, time.time() - newest)


def is_held(path: Path) -> bool:
    """Whether another process is working on a store or leftover, so that it must not be removed."""
    try:
        with alone(path):
            return False
    except Busy:
        return True


def remove_folder(path: Path) -> None:
    """Remove a store or a leftover folder: out of sight by one rename first, then file by file.

    Raises Busy when a running extraction works on it, PermissionError, with everything as it was, when a folder in it
    is not ours to empty. Links inside are removed, not followed.
    """
    with alone(path):
        _check_removable(path)
        doomed = path if path.name.startswith(PRUNING) else path.with_name(PRUNING + path.name.lstrip("."))
        if doomed != path:
            if doomed.exists():  # the rest of an earlier removal that was killed
                shutil.rmtree(doomed)
            path.rename(doomed)
            sync(path.parent)
        _remove(doomed, path)
        sync(path.parent)


def _check_removable(path: Path) -> None:
    """Raise PermissionError when the system would not let us remove something under `path`."""
    for folder in (path.parent, *(Path(one) for one, names, files in os.walk(path) if names or files)):
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            owner = folder.stat().st_uid
            raise PermissionError(
                errno.EACCES, f"no right to remove what is in it; ask its owner (user {owner})", str(folder)
            )


def _remove(doomed: Path, name: Path) -> None:
    """Remove a folder that was renamed; where the system refuses before anything is gone, it gets its name back."""
    before = _files(doomed)
    try:
        shutil.rmtree(doomed)
    except OSError:
        if doomed != name and doomed.exists() and _files(doomed) == before:
            doomed.rename(name)
            sync(name.parent)
        raise


def _files(path: Path) -> set[str]:
    return {os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names}  # noqa: PTH118  faster
