"""Progress of long work: a bar with rate and ETA on a terminal, a plain line now and then otherwise."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
INSTANT_SECONDS = 0.1

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress(total: int, label: str, *, unit: str = "rows") -> Iterator[Advance]:
    """Yield a function to call with the number of newly done units; `unit` is a plural. Writes to standard error."""
    if sys.stderr.isatty():
        with tqdm(total=total, desc=label, unit=unit, unit_scale=False, dynamic_ncols=True) as bar:

            def update(done: int) -> None:
                bar.update(done)

            yield update
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


def _line(label: str, finished: int, total: int, unit: str, seconds: float) -> None:
    told = f"{label}: {finished}/{total} {unit}"
    if (
        finished < total or seconds >= INSTANT_SECONDS
    ):  # else it was known already: a rate would tell of nothing
        rate = finished / seconds if seconds > 0 else 0.0
        left = (total - finished) / rate if rate > 0 else 0.0
        ending = f"{left:.0f} s left" if finished < total else f"{seconds:.1f} s"
        told += f", {rate:.0f}" if rate >= 10 else f", {rate:.2g}"
        told += f" {unit}/s, {ending}"
    sys.stderr.write(f"{told}\n")
    sys.stderr.flush()
