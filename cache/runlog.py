"""Who ran what, when and with which versions: kept beside stores and in records, never part of a digest."""

import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

SPLIT_FOLDERS = ("train", "val", "test")
REPORTED = ("blindspot-probes", "numpy", "zarr", "torch", "scikit-learn", "lightgbm", "h5py")


def versions() -> dict[str, str]:
    """Versions of Python and of the installed distributions that matter, without importing them."""
    found = {"python": platform.python_version()}
    for name in REPORTED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the checkout this program runs from, with '+' when it has changes; None outside one.

    A repository that only happens to lie around the installed program does not count.
    """
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def command_line() -> str:
    """The command as a user would type it again: `python -m PROGRAM ...`, without the path of the program."""
    program = Path(sys.argv[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    return f"{name} {shlex.join(sys.argv[1:])}".rstrip()


def run_log(
    *, started: float, command: str | None = None, about: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """A name (sortable by time, of this process alone) and the content of a run note; `started` is a `time.time()`."""
    stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(started))
    return f"{stamp}-{os.getpid()}", {
        "time": stamp,
        "seconds": round(time.time() - started, 3),
        "host": platform.node(),
        "commit": git_commit(),
        "versions": versions(),
        "command": command or command_line(),
        **about,
    }


def data_name(files: Sequence[str | Path]) -> str:
    """What records call a list of data files: the first by its last folder, and how many more; '' for none.

    'mag215/test/dataset.h5', 'survey/stars.h5', 'day/test/shard_0.h5 and 63 more'. The folder of a split stands with
    the one above it. A name, not a place: files elsewhere may have the same.
    """
    if not files:
        return ""
    first = Path(files[0])
    n_parts = 3 if first.parent.name in SPLIT_FOLDERS else 2
    name = "/".join(part for part in first.parts[-n_parts:] if part not in (first.anchor, "..", "."))
    return f"{name} and {len(files) - 1} more" if len(files) > 1 else name


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603  fixed arguments, no shell
        ["git", "-C", str(folder), *arguments],  # noqa: S607  git is wherever the user has it
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
