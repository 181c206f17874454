"""Publishing files whole or not at all: temporary name, fsync, rename, fsync of the folder."""

import contextlib
import errno
import glob
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .canonical import canonical_json, seal
from .errors import CacheError
from .locks import abandoned, in_turn, make_marked_folder, own_prefix

TEMPORARY_PREFIX = ".tmp-"
"""Start of the name of every temporary folder of ours; the name of the target follows."""

NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What link(2) answers on file systems that have no hard links."""


def sync(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn what a disk refuses while `what` is written into a CacheError that says how to go on."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"{what} could not be written ({error}); what was committed before stays. Make room, or mend what the "
            "message says, and run the same command again: it goes on from there"
        ) from error


def make_folders(path: Path) -> None:
    """Make a folder and the missing ones above it, so that a power cut takes none of them away again."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `path`, on any failure it is removed.

    It has the name of `path`, because some writers choose a format by it, in a temporary folder beside it.
    """
    with building(path) as folder:
        temporary = folder / path.name
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextlib.contextmanager
def building(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; the caller renames it or its content, what is left is removed.

    What killed processes left of earlier attempts at the same `path` is removed first.
    """
    make_folders(path.parent)
    prefix = own_prefix(f"{TEMPORARY_PREFIX}{path.name}-")
    sweep(path.parent.glob(f"{glob.escape(prefix)}*"))
    temporary, mark = make_marked_folder(path.parent, prefix=prefix)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(mark)


def sweep(leftovers: Iterable[Path]) -> None:
    """Remove temporary folders and lock files that no living process holds; those that cannot be removed stay."""
    for path in leftovers:
        with abandoned(path) as free, contextlib.suppress(OSError):
            if free and path.is_dir():
                shutil.rmtree(path)
            elif free:
                path.unlink()


def publish_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def publish_first(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all, unless something is there: then that stays.

    Of several processes at once exactly one writes. Where the file system has no hard links they take turns.
    """
    with building(path) as folder:
        temporary = folder / path.name
        temporary.write_bytes(data)
        sync(temporary)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            with in_turn(path.parent):
                if not path.exists():
                    temporary.replace(path)
        sync(path.parent)


def publish_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value`, sealed with its own digest, as canonical JSON."""
    publish_bytes(path, canonical_json(seal(value)).encode() + b"\n")
