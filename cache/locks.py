"""Advisory locks on files and folders: held while a process lives, released by the kernel when it dies."""

import contextlib
import errno
import fcntl
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from .errors import Busy, CacheError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)
"""What flock(2) answers on file systems that have no locks (EBADF: NFS, on folders)."""
STALE_SECONDS = 3600.0
"""Without locks, what nobody has written to for this long counts as abandoned."""
_TRIES = 20


@contextlib.contextmanager
def exclusive(
    path: Path, *, what: str, without_locks: Literal["refuse", "go on"] = "refuse"
) -> Iterator[None]:
    """Hold the lock file `path`; it exists only while somebody holds it, or was killed holding it.

    Raises Busy, naming `what` and the holder, when another process has it; where the file system has no locks
    CacheError, or goes on without one.
    """
    descriptor = _acquire(path, what, without_locks)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        if _is_still(path, descriptor):
            path.unlink(missing_ok=True)  # before letting go, so that nobody else's lock file is removed
        os.close(descriptor)


def _acquire(path: Path, what: str, without_locks: str) -> int:
    for _ in range(_TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise Busy(f"{path}: {holder} is computing {what}; wait for it or stop it") from None
        except OSError as error:
            if error.errno in NO_LOCKS and without_locks == "go on":
                return descriptor
            os.close(descriptor)
            if error.errno in NO_LOCKS:
                raise CacheError(
                    f"{path}: this file system has no locks ({error.strerror}); divide the blocks among writers "
                    "instead: --part 1/1 for one, --part 1/3 2/3 3/3 for three, each started once"
                ) from error
            raise
        os.close(descriptor)  # the holder before us removed the file that we locked
    raise CacheError(f"{path}: cannot be locked, it is another file at each look; {_NO_IDENTITY}")


_NO_IDENTITY = "the file system does not keep files apart as it should: use another one"


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Say that this process works in `folder` (any number may), so that nobody removes or repairs it meanwhile.

    Waits for somebody who does so now; Busy when the folder is gone then. Where the file system has no locks,
    nothing is said.
    """
    with _on_folder(folder, fcntl.LOCK_SH, "was removed meanwhile; run the command again"):
        yield


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder` against all that work in it; Busy when a living process does.

    Where the file system has no locks nobody can tell, and the caller goes on.
    """
    with _on_folder(
        folder, fcntl.LOCK_EX | fcntl.LOCK_NB, "a running extraction works in it; wait for it or stop it"
    ):
        yield


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Do something short in `folder` after the others that do so; without locks, at once."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _on_folder(folder: Path, kind: int, why: str) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _try_lock(descriptor, kind) is False or not _is_still(folder, descriptor):
            raise Busy(f"{folder}: {why}")
        yield
    finally:
        os.close(descriptor)


def own_prefix(prefix: str) -> str:
    """`prefix` with the name of this machine: elsewhere a lock may not be seen (Lustre with `localflock`)."""
    return f"{prefix}{re.sub(r'[^A-Za-z0-9]', '_', platform.node())}-"


def _is_of_this_machine(path: Path) -> bool:
    return bool(re.search(rf"{re.escape(own_prefix('-'))}[0-9a-f]{{8}}$", path.name))


def make_marked_folder(parent: Path, *, prefix: str) -> tuple[Path, int]:
    """Make a temporary folder that counts as in use as long as the returned descriptor is open.

    Made anew when a sweeper took it between the two. Where the file system has no locks it stays unmarked. Files
    are not marked themselves, because HDF5 takes such a lock on the files that it writes.
    """
    for _ in range(_TRIES):
        path = parent / f"{prefix}{secrets.token_hex(4)}"
        path.mkdir()
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if _try_lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) is not False and _is_still(path, descriptor):
            return path, descriptor
        os.close(descriptor)
    raise CacheError(f"{parent}: no temporary folder can be made there; {_NO_IDENTITY}")


@contextlib.contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether nobody marks or locks a file or folder (any more); if so, nobody can while the block lasts.

    For a temporary folder of another machine, and where the file system has no locks: whether nothing was written
    there for an hour.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        locked = _try_lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        can_tell = locked is not None and (path.is_file() or _is_of_this_machine(path))
        free = locked is not False and (can_tell or _is_old(path))
        yield free and _is_still(path, descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool | None:
    """True: locked; False: somebody else has it; None: no locks here."""
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def _is_old(path: Path) -> bool:
    newest: float = max(p.lstat().st_mtime for p in (path, *(path.iterdir() if path.is_dir() else ())))
    return time.time() - newest > STALE_SECONDS


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the open file or folder is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
