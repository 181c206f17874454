"""A small file system of one's own: a tmpfs in a mount namespace that ends with the process."""

import ctypes
import os
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REMOUNT, MS_REC, MS_PRIVATE = 32, 16384, 1 << 18


def mount_tmpfs(folder: Path, n_bytes: int) -> None:
    """Mount a tmpfs of `n_bytes` (whole pages) on `folder`, seen by this process and its children only.

    OSError where neither root nor an unprivileged user may do that. Needs a process of one thread.
    """
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _check(_libc().unshare(CLONE_NEWNS), "unshare")
    else:
        _check(_libc().unshare(CLONE_NEWNS | CLONE_NEWUSER), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _check(_libc().mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount / as private")
    folder.mkdir(parents=True, exist_ok=True)
    _mount(folder, n_bytes, 0)


def resize_tmpfs(folder: Path, n_bytes: int) -> None:
    """Give the mounted tmpfs another size."""
    _mount(folder, n_bytes, MS_REMOUNT)


def _mount(folder: Path, n_bytes: int, flags: int) -> None:
    options = f"size={n_bytes}".encode()
    _check(_libc().mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options), f"mount {folder}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
