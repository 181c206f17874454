"""Processes to be killed: forked from one that has imported everything, or started as users start them.

A forked extraction is the real `extract_features` on a process that skips the seconds of importing torch. Three
things are replaced in it: worker processes are forked too instead of spawned, and run notes name neither git
commit nor versions (which take longer to find out than a small extraction).
"""

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from cache import runlog
from cache.errors import BlindspotError
from extract.pipeline import extract_features
from extract.request import ExtractConfig

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
ENDED, USER_ERROR, CRASHED = 0, 2, 3


def adopt_orphans() -> None:
    """Make this process the parent of workers whose parent is killed, so that it can wait for their end."""
    ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0)


def prepare_fork() -> None:
    """Replace what the docstring above names; for processes that do nothing else afterwards."""
    torch.set_num_threads(1)
    original = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: original("fork" if method == "spawn" else method)  # type: ignore[assignment]  # narrower on purpose
    runlog.git_commit = lambda: None
    runlog.versions = dict


class Log:
    """Standard output and error of processes: a pipe, because a file would feel their limits of file size."""

    def __init__(self) -> None:
        """Make a pipe that takes 1 MiB without a reader."""
        self._read, self.descriptor = os.pipe()
        fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, 2**20)
        os.set_blocking(self._read, False)

    def text(self) -> str:
        """What was written since the last call."""
        parts = []
        try:
            while part := os.read(self._read, 2**16):
                parts.append(part)
        except BlockingIOError:
            pass  # nothing more
        return b"".join(parts).decode(errors="replace")


def start_forked(request: ExtractConfig, log: Log, *, arm: Callable[[], None] = lambda: None) -> int:
    """Fork an extraction in a process group of its own; `arm` runs in it first. Returns its process id."""
    process = os.fork()
    if process == 0:
        code = CRASHED
        try:
            os.setpgid(0, 0)
            write_to(log)
            arm()
            extract_features(request)
            code = ENDED
        except (BlindspotError, OSError) as error:  # as cache.commandline does
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            code = USER_ERROR
        except BaseException:  # noqa: BLE001  this is the end of a process; the log tells
            traceback.print_exc()
        finally:
            os._exit(code)  # whatever happens, this process must not return into the program
    own_group(process)
    return process


def start_command(command: list[str], log: Log, folder: Path) -> int:
    """Start a real command in `folder`, in a process group of its own; returns its process id."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = log.descriptor
    started = subprocess.Popen(  # noqa: S603  our own command, no shell
        command, stdout=out, stderr=out, env=environment, cwd=folder, process_group=0
    )
    started.returncode = 0  # waited for below, by id
    return started.pid


def own_group(process: int) -> None:
    """Set the process group from outside as well, so that it can be killed at once."""
    with contextlib.suppress(PermissionError, ProcessLookupError):  # it was faster
        os.setpgid(process, process)


def kill_group(process: int) -> None:
    """kill -9 to the process and its workers."""
    with contextlib.suppress(ProcessLookupError):  # it ended before
        os.killpg(process, signal.SIGKILL)


def kill_command(process: int) -> None:
    """kill -9 to a real command and its workers; multiprocessing's resource tracker lives on to remove semaphores."""
    with contextlib.suppress(ProcessLookupError):  # it ended before
        os.kill(process, signal.SIGKILL)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # that one ended meanwhile
            ours = os.getpgid(int(folder.name)) == process
            if ours and b"resource_tracker" not in (folder / "cmdline").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)


def wait_all() -> dict[int, int]:
    """Wait for every child and every orphan; exit codes by process id, negative for signals."""
    codes = {}
    while True:
        try:
            process, status = os.wait()
        except ChildProcessError:
            return codes
        codes[process] = os.waitstatus_to_exitcode(status)


def write_to(log: Log) -> None:
    """Turn standard output and error of this process to the log."""
    os.dup2(log.descriptor, 1)
    os.dup2(log.descriptor, 2)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def in_forks(tasks: Iterable[tuple[Any, Callable[[], None]]], slots: int) -> Iterator[Any]:
    """Run each task (name, function) in a fork, `slots` at a time; yield the names as they end."""
    running: dict[int, Any] = {}
    waiting = iter(tasks)
    while True:
        while len(running) < slots and (task := next(waiting, None)) is not None:
            name, function = task
            process = os.fork()
            if process == 0:
                _run_and_exit(function)
            running[process] = name
        if not running:
            return
        process, _ = os.wait()
        if process in running:
            yield running.pop(process)


def _run_and_exit(function: Callable[[], None]) -> None:
    code = CRASHED
    try:
        adopt_orphans()
        function()
        code = ENDED
    except BaseException:  # noqa: BLE001  this is the end of a process
        traceback.print_exc()
    finally:
        os._exit(code)


def sleep_until_begun(work: Path, process: int) -> None:
    """Wait for the first thing that an extraction writes, or for its end."""
    while not work.exists() or not any(work.iterdir()):
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.002)
