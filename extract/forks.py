"""Processes forked from this one that answer requests: for work that threads would do one after another.

Hashing, reading and the noise are many short calls, between which a thread needs the interpreter's lock: eight threads
get twice as much done as one. A fork has a lock of its own, and everything that was in memory when it began.
"""

import contextlib
import multiprocessing
import pickle
import queue
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, Generic, Self, TypeVar

from cache.errors import CacheError

T = TypeVar("T")
R = TypeVar("R")


def may_fork() -> bool:
    """Whether the system can fork, and this process may: workers of dask may not have children."""
    can = "fork" in multiprocessing.get_all_start_methods()
    return can and not multiprocessing.current_process().daemon


def start_fork(work: Callable[..., object], *arguments: Any, daemon: bool) -> ForkProcess:
    """Begin `work` in a fork, which is deaf to Ctrl-C from its first moment on: whoever made it ends it.

    A daemon may not fork in its turn. Nothing is pickled.
    """
    fork = multiprocessing.get_context("fork").Process(target=_deaf, args=(work, *arguments), daemon=daemon)
    with _no_interrupts(), warnings.catch_warnings():
        # that we have threads; none of them holds a lock of ours
        warnings.simplefilter("ignore", DeprecationWarning)
        fork.start()
    return fork


def _deaf(work: Callable[..., object], *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    work(*arguments)


class Forks(Generic[T, R]):
    """`number` forks, each of which computes `answer` of one request at a time; a context manager.

    `answer` and all that it refers to are as they were when this was made; it must not touch a GPU, nor torch with more
    than one thread. Requests and answers are pickled on their way, `answer` is not. Make it while no other thread
    holds a lock that `answer` needs.
    """

    def __init__(self, answer: Callable[[T], R], number: int, *, advice: str) -> None:
        """Fork `number` times; `advice` is what the user can do when one is killed."""
        self._advice = advice
        context = multiprocessing.get_context("fork")
        pairs = [context.Pipe() for _ in range(number)]
        self._ours = [ours for ours, _ in pairs]
        self._forks: list[ForkProcess] = []
        for k, (_, theirs) in enumerate(pairs):
            # a pipe ends when its last copy is closed: no fork may keep one that is not its own
            foreign = [*self._ours, *(other for j, (_, other) in enumerate(pairs) if j > k)]
            self._forks.append(start_fork(_serve, answer, theirs, foreign, daemon=True))
            theirs.close()
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        for ours in self._ours:
            self._idle.put(ours)

    def ask(self, request: T) -> R:
        """The answer of whichever fork is idle first; from any thread.

        Raises what `answer` raised, CacheError when a fork was killed.
        """
        pipe = self._idle.get()
        try:
            pipe.send(request)
            error, found = pipe.recv()
        except (EOFError, OSError) as gone:
            self._idle.put(pipe)  # the next who asks is told the same
            raise CacheError(
                "a process of this command was killed, most likely for lack of memory; what was committed stays. "
                f"{self._advice}"
            ) from gone
        self._idle.put(pipe)  # not after an interruption: an answer may still come through it
        if error is not None:
            raise error
        answer: R = found
        return answer

    def close(self) -> None:
        """End the forks; requests that they are at are lost."""
        for pipe in self._ours:
            pipe.close()
        for fork in self._forks:
            fork.kill()  # they hold nothing that must be let go of in order
            fork.join()

    def __enter__(self) -> Self:
        """Nothing to do: they run."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        self.close()


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from this thread, and from what it forks, until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(answer: Callable[[Any], Any], pipe: Connection, foreign: Sequence[Connection]) -> None:
    """Answer until the other end is closed, which it also is when the parent is killed."""
    for other in foreign:
        other.close()
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = pipe.recv()
            found: tuple[Exception | None, Any]
            try:
                found = None, answer(request)
            except Exception as error:  # noqa: BLE001  it is raised where the answer was asked for
                found = _portable(error), None
            pipe.send(found)


def _portable(error: Exception) -> Exception:
    """The error, or its words where it cannot be pickled and read back."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    except Exception:  # noqa: BLE001  whatever its class does
        return CacheError(f"{type(error).__name__}: {error}")
    return error
