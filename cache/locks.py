"""Advisory locks on files and folders: held while a process lives, released by the kernel when it dies."""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import Busy, CacheError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What flock(2) answers on file systems that have no locks."""


@contextlib.contextmanager
def exclusive(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file `path`; it exists only while somebody holds it, or was killed holding it.

    Raises Busy, naming `what` and the holder, when another process has it, and CacheError where the file system
    has no locks.
    """
    descriptor = _acquire(path, what)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # before letting go, so that nobody else's lock file is removed
        os.close(descriptor)


def _acquire(path: Path, what: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise Busy(f"{path}: {holder} is computing {what}; wait for it or stop it") from None
        except OSError as error:
            os.close(descriptor)
            if error.errno in NO_LOCKS:
                raise CacheError(
                    f"{path}: this file system has no locks ({error.strerror}); divide the blocks among writers "
                    "instead: --part 1/1 for one, --part 1/3 2/3 3/3 for three, each started once"
                ) from error
            raise
        os.close(descriptor)  # the holder before us removed the file that we locked


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def make_marked_folder(parent: Path, *, prefix: str) -> tuple[Path, int]:
    """Make a temporary folder that counts as in use as long as the returned descriptor is open.

    Made anew when a sweeper took it between the two. Where the file system has no locks it stays unmarked. Files
    are not marked themselves, because HDF5 takes such a lock on the files that it writes.
    """
    while True:
        path = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        try:
            path.chmod(0o755)
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if _try_lock(descriptor) is not False and _is_still(path, descriptor):
            return path, descriptor
        os.close(descriptor)


@contextlib.contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether nobody marks or locks a file or folder (any more); if so, nobody can while the block lasts.

    Where the file system has no locks nobody can tell, and the answer is False.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _try_lock(descriptor) is True and _is_still(path, descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    """True: locked; False: somebody else has it; None: no locks here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
