"""The experiments: which attacks, on which extraction, with how many workers."""

import random
from collections.abc import Callable, Mapping

from . import attacks
from .lab import Lab, Row, Subject
from .trial import Attack

SMALL = {"train": 10, "test": 6}
ONE_SPLIT = {"train": 10}
LONGER = {"train": 40, "test": 12}
PAGE = 4096
N_REAL = 10
"""Kills of real commands, beside the forked ones, per number of workers: seconds each, for importing torch."""
N_FULL = 16
SPARE_EVENTS = 3
"""Threads of zarr race to make folders, so that runs differ by a few events; so many more are tried."""
STRICT = 12
"""The last so many events, when commit records are there, for the strictest power cut."""
FILE_SIZES = (0, 800, 80)
"""Bytes, as a range: too small for lock, chunk, commit record, run note; the last ones are enough for some."""


def random_times(lab: Lab) -> list[Row]:
    """kill -9 at random times, forked runs (up to three kills in succession) and real commands."""
    subject = lab.subject("longer", LONGER)
    rows = []
    for workers in (1, 2):
        rng = random.Random(lab.seed + workers)  # noqa: S311  not for secrets
        n_real = 0 if lab.sample else min(N_REAL, lab.n_random)
        seconds = lab.one(subject, workers, attacks.at_event(0)).seconds
        forked: list[tuple[str, Attack]] = []
        for k in lab.chosen(range(lab.n_random)):
            seed, kills = rng.randrange(2**32), rng.choice((1, 1, 2, 3))
            forked.append((f"{k}", attacks.at_random_times(seed, seconds=seconds, kills=kills)))
        rows.append(lab.table_row("random times", workers, subject, forked))
        if n_real:
            seconds = lab.one(subject, workers, attacks.command_uninterrupted).seconds
            real = [
                (f"{k}", attacks.command_at_random_time(rng.randrange(2**32), seconds=seconds))
                for k in range(n_real)
            ]
            rows.append(lab.table_row("random times, command", workers, subject, real))
    return rows


def every_event(lab: Lab) -> list[Row]:
    """kill -9 before every file-system event: two splits with one worker, one split with two."""
    rows = []
    for workers, name, sizes in ((1, "small", SMALL), (2, "one-split", ONE_SPLIT)):
        subject = lab.subject(name, sizes)
        named = [(f"{n}", attacks.at_event(n)) for n in _numbers(lab, _count_events(lab, subject, workers))]
        rows.append(lab.table_row("every event", workers, subject, named))
    return rows


def power_cuts(lab: Lab) -> list[Row]:
    """Before every event all that is not durable is lost, before some a random part of it.

    The folders above the stores are taken to last, except in the last row: without them nothing would be left to
    look at when they were made without fsync, and in the last row that is what is looked at.
    """
    subject = lab.subject("one-split-power", ONE_SPLIT)
    above = ("features", "digests", *(f"features/{split}" for split in ONE_SPLIT))
    count = _count_events(lab, subject, 1)
    numbers = _numbers(lab, count)
    everything = [(f"{n}", attacks.power_cut(n, lambda: True, lasting=above)) for n in numbers]
    partly = [(f"{n}", attacks.power_cut(n, _coin(lab.seed + n), lasting=above)) for n in numbers[::4]]
    strictly = [
        (f"{n}", attacks.power_cut(n, lambda: True)) for n in lab.chosen(range(count - STRICT, count))
    ]
    return [
        lab.table_row("power cut", 1, subject, everything),
        lab.table_row("power cut, part lost", 1, subject, partly),
        lab.table_row("power cut, folders too", 1, subject, strictly),
    ]


def disk_full(lab: Lab) -> list[Row]:
    """Extraction into tmpfs of many sizes that are too small, and with a limit of file sizes after the first block."""
    subject = lab.subject("one-split-full", ONE_SPLIT)
    used = lab.one(subject, 1, attacks.tmpfs_usage)
    rows = []
    for workers in (1, 2):
        if used.wrong:
            break
        pages = lab.chosen(range(1, used.events, max(1, used.events // N_FULL)))
        named = [(f"{n} pages", attacks.full_disk(n * PAGE)) for n in pages]
        rows.append(lab.table_row("tmpfs full", workers, subject, named))
        if lab.sample is None:
            pages = [used.events * part // 8 for part in (3, 7)]
            real = [(f"{n} pages", attacks.full_disk(n * PAGE, real=True)) for n in pages]
            rows.append(lab.table_row("tmpfs full, command", workers, subject, real))
    for workers in (1, 2):
        limits = [(f"{n} bytes", attacks.file_size_limit(n)) for n in lab.chosen(range(*FILE_SIZES))]
        rows.append(lab.table_row("file size limit", workers, subject, limits))
    return rows


def three_writers(lab: Lab) -> list[Row]:
    """Three extractions started together into one folder."""
    subject = lab.subject("longer-writers", LONGER)
    rows = []
    for workers in (1, 2):
        named = [(f"{k}", attacks.writers_together(3)) for k in lab.chosen(range(10))]
        rows.append(lab.table_row("three writers", workers, subject, named))
    if lab.sample is None:
        named = [(f"{k}", attacks.writers_together(3, real=True)) for k in range(5)]
        rows.append(lab.table_row("three writers, command", 1, subject, named))
    return rows


EXPERIMENTS: Mapping[str, Callable[[Lab], list[Row]]] = {
    "random": random_times,
    "events": every_event,
    "power": power_cuts,
    "full": disk_full,
    "writers": three_writers,
}


def _count_events(lab: Lab, subject: Subject, workers: int) -> int:
    """Events of an uninterrupted run."""
    return max(lab.one(subject, workers, attacks.at_event(0)).events for _ in range(1 if lab.sample else 3))


def _numbers(lab: Lab, count: int) -> list[int]:
    """Numbers of the events to die at: every one of an uninterrupted run, and some spare ones."""
    return lab.chosen(range(1, count + 1 + (0 if lab.sample else SPARE_EVENTS)))


def _coin(seed: int) -> Callable[[], bool]:
    rng = random.Random(seed)  # noqa: S311  not for secrets
    return lambda: rng.random() < 0.5
