"""Seeing every file-system event of an extraction before it happens, and dying at a chosen one.

Python announces most events by audit hooks; os.fsync has none and is wrapped. Events that change nothing are left
out: opening for reading, mkdir of a folder that is there, unlink of a name that is not. `tempfile` announces
itself too, but the open or mkdir that it does next is an event of its own, with nothing in between. Writing raises
no event; so opening counts twice, before it and ("opened") when the file is there, empty; not so in stores that
have not got their name yet, where no file matters.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEW_STORE = "new store"
"""A store that has not got its name yet."""
PLACES = (
    ("/digests/", "remembered digest"),
    (r"/features/[^/]+/\.[^/]", NEW_STORE),
    (r"\.lock$", "lock"),
    (r"/\.commit/", "commit record"),
    (r"/\.runs/", "run note"),
    (r"/features/c(/|$)", "chunk"),
    (r"/[0-9a-f]{16}$", "store folder"),
)

OnEvent = Callable[[str, str, str | None], None]
"""Called with the kind of event, the path, and for renames and links the new path."""


def watch(folder: Path, on_event: OnEvent) -> None:
    """From now on call `on_event` in this process and its forks before every event under `folder`."""
    watcher = _Watcher(folder, on_event)
    sys.addaudithook(watcher.audit)
    real = os.fsync

    def fsync(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        watcher.tell("os.fsync", _absolute(number, -1), None)
        real(number)

    os.fsync = fsync


def place(path: str) -> str:
    """What a path under the folder of a trial is, for counting."""
    return next((name for pattern, name in PLACES if re.search(pattern, path)), "folder")


class _Watcher:
    def __init__(self, folder: Path, on_event: OnEvent) -> None:
        self._prefix = f"{folder.resolve()}/"
        self._on_event = on_event
        self._inside = threading.local()

    def audit(self, kind: str, arguments: tuple[Any, ...]) -> None:
        match kind, arguments:
            case "open", (path, _, flags) if path is not None and (flags or 0) & WRITING:
                name = _absolute(path, -1)
                changes = flags & os.O_TRUNC or not os.path.lexists(name)
                self.tell(kind, name, None)
                if changes and place(name) != NEW_STORE:
                    self.tell("opened", name, None)
            case "os.mkdir", (path, _, folder):
                if not os.path.lexists(name := _absolute(path, folder)):
                    self.tell(kind, name, None)
            case (("os.remove" | "os.rmdir"), (path, folder)):
                if os.path.lexists(name := _absolute(path, folder)):
                    self.tell(kind, name, None)
            case (("os.rename" | "os.link"), (path, target, folder, target_folder)):
                self.tell(kind, _absolute(path, folder), _absolute(target, target_folder))
            case (("os.chmod" | "os.truncate" | "fcntl.flock"), (path, *_)):
                self.tell(kind, _absolute(path, -1), None)

    def tell(self, kind: str, path: str, target: str | None) -> None:
        """Pass an event on, unless `on_event` itself caused it."""
        if getattr(self._inside, "yes", False) or not f"{target or path}/".startswith(self._prefix):
            return
        self._inside.yes = True
        try:
            self._on_event(kind, path, target)
        finally:
            self._inside.yes = False


def _absolute(path: Any, folder: int) -> str:
    """The path of a name, of a name beside a folder descriptor, or of a descriptor."""
    if isinstance(path, int):
        return str(Path(f"/proc/self/fd/{path}").readlink())
    name = os.fsdecode(path)
    if folder >= 0 and not name.startswith("/"):
        return f"{Path(f'/proc/self/fd/{folder}').readlink()}/{name}"
    return os.path.abspath(name)  # noqa: PTH100  Path.absolute does not fold '..', Path.resolve follows links


class Counter:
    """Numbers events from 1 in order of time across processes, and kills them all before event number `at`.

    Each process appends bytes to one file through a descriptor of its own; where its byte lands is the number.
    """

    def __init__(self, file: Path, at: int, *, note: Path, before_dying: Callable[[], None]) -> None:
        """`note` gets the kind and place of the event died at; `at` 0 only counts."""
        self._file = file
        self._at = at
        self._note = note
        self._before_dying = before_dying
        self._descriptors: dict[int, int] = {}

    def __call__(self, kind: str, path: str, target: str | None) -> None:
        """Count one event; does not return from event number `at`."""
        process = os.getpid()
        if process not in self._descriptors:  # a descriptor from before a fork would share its position
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._descriptors[process] = os.open(self._file, flags, 0o644)
        descriptor = self._descriptors[process]
        os.write(descriptor, b".")
        if os.lseek(descriptor, 0, os.SEEK_CUR) == self._at:
            if kind == "opened":
                Path(path).write_bytes(b"")
            self._note.write_text(f"{kind} {place(target or path)}")
            self._before_dying()
            os.killpg(0, signal.SIGKILL)
            signal.pause()  # until the signal is here
