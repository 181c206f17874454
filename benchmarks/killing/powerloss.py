"""What a power cut may take: contents of files not fsynced, names in folders not fsynced.

A ledger follows every event of one process. `cut` then makes the folder look as a disk may look after the cut:
unsynced files are empty or half, unsynced new names are gone (a folder with all in it), unsynced renames are
undone, unsynced removals are undone. POSIX promises no more; which of these are lost is chosen name by name.
"""

import itertools
import os
import shutil
import threading
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from pathlib import Path

Lost = Callable[[], bool]
"""Asked once per name and file that may be lost."""


class Ledger:
    """What is not yet durable under one folder; events are passed on to `then` before they are entered."""

    def __init__(
        self,
        graveyard: Path,
        then: Callable[[str, str, str | None], None],
        *,
        lasting: Collection[str] = (),
    ) -> None:
        """`graveyard` keeps hard links of removed files, on the same file system; `lasting` folders are never lost."""
        self._graveyard = graveyard
        self._lasting = frozenset(lasting)
        self._then = then
        self._unsynced: set[str] = set()
        self._new: dict[str, str | None] = {}  # new name -> the durable name it had before, if any
        self._synced_names: set[str] = set()
        self._removed: list[tuple[str, Path | None]] = []  # name, kept link (None: a folder)
        self._numbers = itertools.count()
        self._lock = threading.RLock()

    def __call__(self, kind: str, path: str, target: str | None) -> None:
        """Enter one event; the lock keeps zarr's threads apart while a cut goes on."""
        with self._lock:
            self._then(kind, path, target)
            match kind:
                case "open" | "os.truncate":
                    self._unsynced.add(path)
                    if not os.path.lexists(path):
                        self._new.setdefault(path, None)
                case "os.mkdir" if path not in self._lasting:
                    self._new[path] = None
                case "os.rename" if target is not None:
                    self._rename(path, target)
                case "os.link" if target is not None:
                    self._new[target] = None
                    if path in self._unsynced:
                        self._unsynced.add(target)
                case "os.remove" | "os.rmdir":
                    self._remove(path)
                case "os.fsync":
                    self._synced(path)

    def _rename(self, path: str, target: str) -> None:
        if Path(target).is_file():
            self._remove(target)
        before = self._new.pop(path, path)
        self._unsynced = {_moved(name, path, target) for name in self._unsynced}
        self._new = {
            _moved(name, path, target): was and _moved(was, path, target) for name, was in self._new.items()
        }
        self._removed = [(_moved(name, path, target), kept) for name, kept in self._removed]
        self._new[target] = before

    def _remove(self, path: str) -> None:
        self._unsynced.discard(path)
        if path in self._new:
            del self._new[path]
            return
        kept = None
        if not Path(path).is_dir():
            kept = self._graveyard / str(next(self._numbers))
            kept.hardlink_to(path)
        self._removed.append((path, kept))

    def _synced(self, path: str) -> None:
        self._unsynced.discard(path)
        self._synced_names |= {name for name in self._new if name.rpartition("/")[0] == path}
        self._new = {name: was for name, was in self._new.items() if name.rpartition("/")[0] != path}
        self._removed = [(name, kept) for name, kept in self._removed if name.rpartition("/")[0] != path]

    def durable(self, pattern: str) -> list[str]:
        """Names that match a glob pattern of file names and whose folder was fsynced since they came."""
        with self._lock:
            synced = (name for name in self._synced_names if fnmatch(name, pattern))
            return sorted(name for name in synced if os.path.lexists(name))

    def cut(self, lost: Lost, keep_half: bool) -> None:  # noqa: FBT001  half or nothing of an unsynced file
        """Lose what `lost` says; the process must die next."""
        with self._lock:
            for name in sorted(self._unsynced):
                if Path(name).is_file() and lost():
                    os.truncate(name, Path(name).stat().st_size // 2 if keep_half else 0)
            for name, was in sorted(self._new.items()):
                if os.path.lexists(name) and lost():
                    _undo(Path(name), was)
            for name, kept in reversed(self._removed):
                if not os.path.lexists(name) and Path(name).parent.is_dir() and lost():
                    if kept is None:
                        Path(name).mkdir()
                    else:
                        Path(name).hardlink_to(kept)


def _moved(name: str, path: str, target: str) -> str:
    return target + name[len(path) :] if name == path or name.startswith(f"{path}/") else name


def _undo(path: Path, was: str | None) -> None:
    if was is not None and not os.path.lexists(was):
        path.rename(was)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
