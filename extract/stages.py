"""Bounded stages on threads: one reads while the next computes and the last one writes, in order.

The caller's thread is the pump: it hands items from stage to stage and takes the results, so that errors and Ctrl-C
come up there, and nothing of the caller's (progress, messages) is called from another thread.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

CALLER = "caller"
"""What the pump does when it waits for no stage."""


@dataclass(frozen=True)
class StageTimes:
    """What the threads of one stage did, in seconds added over its threads.

    `waiting_for` says during how much of `waiting_s` the pump waited for which stage. With `shares_threads` this is
    part of the work of another stage, done in its threads.
    """

    threads: int = 0
    busy_s: float = 0.0
    waiting_s: float = 0.0
    items: int = 0
    waiting_for: Mapping[str, float] = field(default_factory=dict)
    shares_threads: bool = False

    def plus(self, other: "StageTimes", sign: int = 1) -> "StageTimes":
        """The sum, or with `sign` -1 what came since `other`; the larger number of threads."""
        names = {*self.waiting_for, *other.waiting_for}
        return StageTimes(
            max(self.threads, other.threads),
            self.busy_s + sign * other.busy_s,
            self.waiting_s + sign * other.waiting_s,
            self.items + sign * other.items,
            {n: self.waiting_for.get(n, 0.0) + sign * other.waiting_for.get(n, 0.0) for n in sorted(names)},
            self.shares_threads or other.shares_threads,
        )


class Line:
    """Stages that begin and end together: leaving the context waits until no thread of theirs is left.

    The first error of any stage is raised in the caller, at the next item that is handed on; items that wait are
    dropped then, those in work are finished.
    """

    def __init__(self) -> None:
        """Begin without a stage."""
        self._stages: dict[str, Stage] = {}
        self._lock = threading.Lock()
        self._last = time.perf_counter()
        self._waits_for = CALLER
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        """Nothing to do: threads start with their first items."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what waits, finish what is in work."""
        for stage in self._stages.values():
            stage.pool.shutdown(wait=False, cancel_futures=True)
        interrupted: KeyboardInterrupt | None = None
        joined = threading.Event()
        threading.Thread(target=self._join, args=(joined,), daemon=True).start()
        while not joined.is_set():
            try:  # an interrupted join of ours would take the threads for ended (bpo-45274)
                joined.wait()
            except KeyboardInterrupt as again:  # a commit may be in work, and its claim must outlast it
                interrupted = again
        self._error = None
        if interrupted is not None:
            raise interrupted

    def _join(self, joined: threading.Event) -> None:
        for stage in self._stages.values():
            stage.pool.shutdown(wait=True)
        joined.set()

    def stage(
        self, name: str, threads: int = 1, *, ahead: int, start: Callable[[], object] = lambda: None
    ) -> "Stage":
        """Add a stage; at most `ahead` of its items are in work or waiting when it gives one back.

        `start` is called in each of its threads first.
        """
        stage = Stage(self, name, ThreadPoolExecutor(threads, name, start), threads=threads, ahead=ahead)
        with self._moment():
            self._stages[name] = stage
        return stage

    def times(self) -> dict[str, StageTimes]:
        """What each stage, and each part of one, did so far; a part's work is not counted as its stage's too."""
        with self._moment():
            found = {}
            for name, s in self._stages.items():
                busy = s.busy - sum(seconds for seconds, _ in s.parts.values())
                found[name] = StageTimes(s.threads, busy, sum(s.idle.values()), s.items, dict(s.idle))
                for part, (seconds, items) in s.parts.items():
                    found[part] = StageTimes(s.threads, seconds, items=items, shares_threads=True)
            return found

    def check(self) -> None:
        """Raise the first error of any stage."""
        if self._error is not None:
            raise self._error

    def run(self, stage: "Stage", function: Callable[[T], R], item: T) -> R:
        """Call `function` in a thread of `stage` and keep account of it."""
        with self._moment():
            stage.running += 1
        try:
            return function(item)
        except BaseException as error:
            self._error = self._error or error
            raise
        finally:
            with self._moment():
                stage.running -= 1
                stage.items += 1

    def wait_for(self, stage: "Stage", future: Future[R]) -> R:
        """The result of a future of `stage`, once it is there."""
        with self._moment():
            self._waits_for = stage.name
        try:
            return future.result()
        finally:
            with self._moment():
                self._waits_for = CALLER

    def add_to_part(self, stage: "Stage", name: str, seconds: float, *, n_items: int) -> None:
        """Note work of a thread of `stage` that goes by another name."""
        with self._lock:
            before, items = stage.parts.get(name, (0.0, 0))
            stage.parts[name] = (before + seconds, items + n_items)

    @contextlib.contextmanager
    def _moment(self) -> Iterator[None]:
        """Account for the time since the last change of anything; then the block may change something."""
        with self._lock:
            now = time.perf_counter()
            for stage in self._stages.values():
                stage.account(now - self._last, self._waits_for)
            self._last = now
            yield


class Stage:
    """One stage of a line; made by `Line.stage`."""

    def __init__(self, line: Line, name: str, pool: ThreadPoolExecutor, *, threads: int, ahead: int) -> None:
        """Use `Line.stage`."""
        self.name = name
        self.threads = threads
        self.pool = pool
        self.running = 0
        self.items = 0
        self.busy = 0.0
        self.idle: dict[str, float] = {}
        self.parts: dict[str, tuple[float, int]] = {}
        self._line = line
        self._ahead = ahead

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield function(item) of every item, in their order; items are taken as results are asked for."""
        pending: deque[Future[R]] = deque()
        for item in items:
            self._line.check()
            pending.append(self.pool.submit(self._line.run, self, function, item))
            if len(pending) > self._ahead:
                yield self._line.wait_for(self, pending.popleft())
        while pending:
            self._line.check()
            yield self._line.wait_for(self, pending.popleft())

    def part(self, name: str, work: Iterable[T]) -> Iterator[T]:
        """Yield from `work`, which is done in this stage's threads, and account for it under a name of its own."""
        items = iter(work)
        while True:
            started = time.perf_counter()
            item = next(items, None)
            self._line.add_to_part(self, name, time.perf_counter() - started, n_items=int(item is not None))
            if item is None:
                return
            yield item

    def account(self, seconds: float, waits_for: str) -> None:
        """Add what the threads did for some seconds while the pump waited for another stage."""
        self.busy += self.running * seconds
        idle = self.threads - self.running
        self.idle[waits_for] = self.idle.get(waits_for, 0.0) + idle * seconds
