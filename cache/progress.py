"""Progress of long work: a bar with rate and ETA on a terminal, a plain line now and then otherwise."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
INSTANT_SECONDS = 0.1

Advance = Callable[[int], object]
Told = Callable[[int, int, str], None]
"""Called with how many steps are done, of how many at most, and their name, a plural."""


def untold(done: int, at_most: int, unit: str) -> None:
    """For work that nobody watches."""


@contextlib.contextmanager
def progress(total: int, label: str, *, unit: str = "rows") -> Iterator[Advance]:
    """Yield a function to call with the number of newly done units; `unit` is a plural. Writes to standard error."""
    if sys.stderr.isatty():
        with tqdm(total=total, desc=label, unit=unit, unit_scale=False, dynamic_ncols=True) as bar:
            yield bar.update
        return
    started = last = time.monotonic()
    finished = 0

    def advance(done: int) -> None:
        nonlocal finished, last
        finished += done
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            _line(label, finished, total, unit, now - started)

    yield advance
    _line(label, finished, total, unit, time.monotonic() - started)


@contextlib.contextmanager
def steps(label: str) -> Iterator[Told]:
    """Yield what one long piece of work calls after each step, when it may end before `at_most`.

    On a terminal a bar that goes when the work is done, otherwise a plain line now and then; nothing for short work.
    """
    if sys.stderr.isatty():
        with contextlib.ExitStack() as stack:
            bars: list[tqdm[Any]] = []

            def show(done: int, at_most: int, unit: str) -> None:
                if not bars:
                    bar = tqdm(
                        total=at_most,
                        desc=label,
                        unit=unit,
                        leave=False,
                        dynamic_ncols=True,
                        initial=done - 1,
                    )
                    bars.append(stack.enter_context(bar))
                bars[0].update(done - bars[0].n)

            yield show
        return
    first: tuple[int, float] | None = None
    last = time.monotonic()

    def tell(done: int, at_most: int, unit: str) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = (done, now) if first is None else first  # work that goes on begins with more than one
        if now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        told = f"{label}: {done} of at most {at_most} {unit}"
        if done > first[0]:
            rate = (done - first[0]) / (now - first[1])
            told += f", {rate:.2g} {unit}/s, at most {(at_most - done) / rate:.0f} s left"
        sys.stderr.write(f"{told}\n")
        sys.stderr.flush()

    yield tell


def _line(label: str, finished: int, total: int, unit: str, seconds: float) -> None:
    told = f"{label}: {finished}/{total} {unit}"
    if finished < total or seconds >= INSTANT_SECONDS:  # else it was known already
        rate = finished / seconds if seconds > 0 else 0.0
        left = (total - finished) / rate if rate > 0 else 0.0
        ending = f"{left:.0f} s left" if finished < total else f"{seconds:.1f} s"
        told += f", {rate:.0f}" if rate >= 10 else f", {rate:.2g}"
        told += f" {unit}/s, {ending}"
    sys.stderr.write(f"{told}\n")
    sys.stderr.flush()
