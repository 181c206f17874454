"""Reading spectra slab by slab into memory that is used again, and cutting slabs into pieces of a fixed size."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.errors import FileChanged

from .row_digests import LabelRows
from .spectra import SpectraFile
from .stored_slab import Float64s, StoredSlab


@dataclass(frozen=True)
class RawRows:
    """Some rows as stored, (n, L) float64, not compared with their digests yet.

    `memory` is what nobody needs any more once these rows, and all that were cut before them, are dealt with.
    """

    rows: NDArray[np.int64]
    slab: StoredSlab
    labels: LabelRows
    memory: tuple[Float64s, ...] = ()

    def part(self, start: int, stop: int) -> "RawRows":
        """Rows `start` to `stop`; the memory goes with the last of them."""
        noisy = self.slab.noisy
        return RawRows(
            self.rows[start:stop],
            StoredSlab(
                self.slab.flux[start:stop],
                self.slab.error[start:stop],
                None if noisy is None else noisy[start:stop],
            ),
            LabelRows(self.labels.values[start:stop], self.labels.ids[start:stop]),
            self.memory if stop == len(self.rows) else (),
        )


class SlabReader:
    """Reads rows of `spectra` into memory that is used again: fresh memory costs more than reading into it.

    One thread may read while others give memory back.
    """

    def __init__(self, spectra: SpectraFile, longest: int) -> None:
        """`longest` is the largest number of rows read at once, as far as there are so many."""
        self._spectra = spectra
        self._shape = (spectra.n_stored, min(longest, spectra.n_spectra), spectra.wave.size)
        self._free: deque[Float64s] = deque()

    def read(self, bounds: tuple[int, int]) -> RawRows:
        """Rows `bounds[0]` up to `bounds[1]`; FileChanged when there are not so many, and nothing is read."""
        first, end = bounds
        if not 0 <= first <= end <= self._spectra.n_spectra:
            raise FileChanged(
                f"{self._spectra.files[-1]}: rows {first} to {end} of all were asked for, and the files hold "
                f"{self._spectra.n_spectra}"
            )
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._shape, dtype="<f8")
        rows = slice(first, end)
        return RawRows(
            np.arange(first, end, dtype=np.int64),
            self._spectra.stored(rows, into=memory),
            LabelRows(self._spectra.label_rows(rows), self._spectra.stored_ids(rows)),
            (memory,),
        )

    def give_back(self, dealt_with: RawRows) -> None:
        """Take the memory of rows that nobody looks at any more."""
        self._free.extend(dealt_with.memory)


def runs_of(rows: NDArray[np.int64], longest: int) -> Iterator[tuple[int, int]]:
    """Cut increasing row numbers into (first, one past last) stretches without gaps, at most `longest` rows."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end] != rows[end - 1] + 1 or end - start == longest:
            yield int(rows[start]), int(rows[end - 1]) + 1
            start = end


def pieces_of(slabs: Iterable[RawRows], size: int) -> Iterator[RawRows]:
    """The rows of `slabs` in pieces of `size`, the last one shorter; copied only where a piece spans two slabs."""
    held: list[RawRows] = []
    n_held = 0
    for slab in slabs:
        start = 0
        while start < len(slab.rows):
            held.append(slab.part(start, min(start + size - n_held, len(slab.rows))))
            start += len(held[-1].rows)
            n_held += len(held[-1].rows)
            if n_held == size:
                yield _join(held)
                held, n_held = [], 0
    if held:
        yield _join(held)


def _join(parts: list[RawRows]) -> RawRows:
    if len(parts) == 1:
        return parts[0]
    noisy = [part.slab.noisy for part in parts if part.slab.noisy is not None]
    return RawRows(
        np.concatenate([part.rows for part in parts]),
        StoredSlab(
            np.concatenate([part.slab.flux for part in parts]),
            np.concatenate([part.slab.error for part in parts]),
            np.concatenate(noisy) if noisy else None,
        ),
        LabelRows(
            np.concatenate([part.labels.values for part in parts]),
            [name for part in parts for name in part.labels.ids],
        ),
        tuple(memory for part in parts for memory in part.memory),
    )
