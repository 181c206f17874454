"""Fingerprints begun in a process of their own while this one still imports torch, which takes longer than a second."""

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator
from functools import partial
from multiprocessing.context import ForkProcess

from cache.errors import BlindspotError
from cache.progress import Advance

from .fingerprint import fingerprint
from .forks import may_fork, start_fork
from .mask import load_mask
from .request import ExtractConfig
from .spectra import open_spectra

_SECONDS_BETWEEN_LOOKS = 0.02


class HeadStart:
    """A process that fingerprints the files of a request, and leaves what it finds where `fingerprint` recalls it."""

    def __init__(self, config: ExtractConfig) -> None:
        """Begin; made before torch is imported, when this process is small and has no threads."""
        self._place = {split: place for place, split in enumerate(config.data)}
        self._rows, self._done = (_shared_numbers(len(config.data)) for _ in range(2))
        self._fork: ForkProcess = start_fork(self._scan, config, os.getpid(), daemon=False)

    def wait(self, split: str, advance: Advance) -> None:
        """Wait until the process has dealt with a split, or given up; `advance` is called as rows are looked at.

        In the end `advance` has taken back what it was told: who asks for the fingerprint now tells it anew.
        """
        place, shown = self._place[split], 0
        while not self._done[place] and self._fork.is_alive():
            advance(self._rows[place] - shown)
            shown = self._rows[place]
            self._fork.join(_SECONDS_BETWEEN_LOOKS)
        advance(-shown)

    def end(self) -> None:
        """End the process, wherever it is: what it has remembered is whole."""
        self._fork.kill()
        self._fork.join()

    def _scan(self, config: ExtractConfig, parent: int) -> None:
        """In the fork: what is wrong with the files is left to the parent to find and to tell."""
        with contextlib.suppress(BlindspotError, OSError):
            for split, paths in config.data.items():
                place = self._place[split]
                with open_spectra(list(paths)) as spectra:
                    mask = None if config.mask is None else load_mask(config.mask, len(spectra.wave))
                    fingerprint(
                        spectra,
                        remember=config.digests,
                        policy=config.on_bad_rows,
                        noise=config.noise,
                        mask=mask,
                        progress=partial(self._count, place, parent),
                    )
                self._done[place] = True

    def _count(self, place: int, parent: int, rows: int) -> None:
        if os.getppid() != parent:  # it was killed, and nobody waits any more
            raise InterruptedError
        self._rows[place] += rows


def _shared_numbers(n: int) -> memoryview:
    """So many zeros that a fork and its parent both see."""
    return memoryview(mmap.mmap(-1, n * struct.calcsize("q"))).cast("q")


@contextlib.contextmanager
def head_start(config: ExtractConfig) -> Iterator[HeadStart | None]:
    """Begin the fingerprints of a request, and end what is left of it; None where the system cannot fork.

    None with a plan file too: what is remembered must be found as it was when the plan was made.
    """
    if config.plan is not None or not may_fork():
        yield None
        return
    begun = HeadStart(config)
    try:
        yield begun
    finally:
        begun.end()
