"""The ways in which extractions are attacked: kills, power cuts, full disks, other writers."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from .events import Counter, OnEvent, watch
from .examine import left_over, uncommitted
from .powerloss import Ledger, Lost
from .processes import (
    ENDED,
    USER_ERROR,
    kill_command,
    kill_group,
    sleep_until_begun,
    wait_all,
)
from .tmpfs import mount_tmpfs, resize_tmpfs
from .trial import Attack, Site

ROOMY = 64 * 2**20
"""Bytes of a tmpfs that holds any of our small extractions."""


def at_event(number: int) -> Attack:
    """kill -9 before file-system event `number`; 0 only counts the events and takes the time."""

    def attack(site: Site) -> None:
        _die_at(site, number, lambda counter: counter, before_dying=lambda: None)

    return attack


def power_cut(number: int, lost: Lost, *, lasting: tuple[str, ...] = ()) -> Attack:
    """Die before event `number` of a run of one process, and lose of what is not durable what `lost` says.

    Folders named by `lasting` (relative) are taken to be durable. A commit record whose folder was fsynced must
    be there afterwards.
    """

    def attack(site: Site) -> None:
        ledgers: list[Ledger] = []
        told = site.folder / "durable"

        def through_ledger(counter: Counter) -> OnEvent:
            graveyard = site.folder / "graveyard"
            graveyard.mkdir()
            folders = [str(site.work.resolve() / name) for name in lasting]
            ledgers.append(Ledger(graveyard, counter, lasting=folders))
            return ledgers[0]

        def cut() -> None:
            told.write_text("\n".join(ledgers[0].durable("*/.commit/[0-9]*.json")))
            ledgers[0].cut(lost, keep_half=number % 2 == 0)

        _die_at(site, number, through_ledger, before_dying=cut)
        records = told.read_text().split() if told.exists() else []
        site.outcome.wrong += [f"{name}: committed, but lost" for name in records if not Path(name).exists()]

    return attack


def _die_at(
    site: Site,
    number: int,
    seen_by: Callable[[Counter], OnEvent],
    *,
    before_dying: Callable[[], None],
) -> None:
    file, note = site.folder / "counter", site.folder / "note"

    def arm() -> None:
        counter = Counter(file, number, note=note, before_dying=before_dying)
        watch(site.work, seen_by(counter))

    started = time.monotonic()
    site.start(arm)
    codes = wait_all()
    site.outcome.seconds = time.monotonic() - started
    site.outcome.events = file.stat().st_size
    site.outcome.stopped = int(note.exists())
    if note.exists():
        site.outcome.where = note.read_text()
        if set(codes.values()) != {-signal.SIGKILL}:
            site.outcome.wrong.append(
                f"was not killed: exit codes {sorted(codes.values())}: {site.log.text()}"
            )
    elif set(codes.values()) != {ENDED}:
        site.outcome.wrong.append(f"uninterrupted run: exit codes {sorted(codes.values())}")


def at_random_times(seed: int, *, seconds: float, kills: int) -> Attack:
    """kill -9 after a random part of the `seconds` that a forked run takes, `kills` times in succession."""

    def attack(site: Site) -> None:
        rng = random.Random(seed)  # noqa: S311  not for secrets
        for _ in range(kills):
            delay = rng.uniform(0, seconds)
            process = site.start()
            time.sleep(delay)
            kill_group(process)
            site.outcome.stopped += wait_all().get(process) == -9

    return attack


def command_at_random_time(seed: int, *, seconds: float) -> Attack:
    """kill -9 to a real `python -m extract run` within `seconds` of the first thing it writes."""

    def attack(site: Site) -> None:
        delay = random.Random(seed).uniform(0, seconds)  # noqa: S311  not for secrets
        process = site.start_command()
        sleep_until_begun(site.work, process)
        time.sleep(delay)
        kill_command(process)
        site.outcome.stopped += wait_all().get(process) == -9

    return attack


def command_uninterrupted(site: Site) -> None:
    """A real command, timed from the first thing it writes to its end."""
    process = site.start_command()
    sleep_until_begun(site.work, process)
    started = time.monotonic()
    site.end(ENDED, what="command")
    site.outcome.seconds = time.monotonic() - started


def tmpfs_usage(site: Site) -> None:
    """Run in a roomy tmpfs; `events` is the number of pages it takes."""
    mount_tmpfs(site.work, ROOMY)
    site.start()
    site.end(ENDED, what="in a tmpfs")
    room = os.statvfs(site.work)
    site.outcome.events = room.f_blocks - room.f_bfree


def full_disk(n_bytes: int, *, real: bool = False) -> Attack:
    """Run in a tmpfs of `n_bytes`: a clean error, nothing half-written; then the tmpfs gets room."""

    def attack(site: Site) -> None:
        mount_tmpfs(site.work, n_bytes)
        _fail(site, real=real)
        resize_tmpfs(site.work, ROOMY)

    return attack


def file_size_limit(n_bytes: int) -> Attack:
    """From the first committed block on, no process may write a file of more than `n_bytes`."""

    def attack(site: Site) -> None:
        def limit_after_commit(kind: str, path: str, _: str | None) -> None:
            if kind == "os.fsync" and path.endswith("/.commit") and any(Path(path).glob("[0-9]*.json")):
                resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))

        _fail(site, arm=lambda: watch(site.work, limit_after_commit))

    return attack


def _fail(site: Site, arm: Callable[[], None] = lambda: None, *, real: bool = False) -> None:
    if real:
        site.start_command()
    else:
        site.start(arm)
    # the last bytes of room may be those that are needed
    site.outcome.stopped = site.end(ENDED, USER_ERROR, what="without room")
    site.outcome.leftovers += left_over(site.work, site.ending) + uncommitted(site.work)


def writers_together(n_writers: int, *, real: bool = False) -> Attack:
    """Start the same extraction several times at once; every one must end well."""

    def attack(site: Site) -> None:
        for _ in range(n_writers):
            if real:
                site.start_command()
            else:
                site.start()
        site.end(ENDED, what=f"{n_writers} writers")
        site.outcome.leftovers += left_over(site.work, site.ending)

    return attack
