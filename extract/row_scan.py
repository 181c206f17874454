"""One pass over the rows of one file: digests, stars, bad rows."""

import contextlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache.canonical import sha256
from cache.progress import Advance

from .forks import Forks, may_fork
from .mask import Mask
from .request import usable_cores
from .row_checks import check_rows
from .row_digests import RowDigests, row_digests_of
from .sidecar import FileScan
from .slabs import RawRows, SlabReader, pieces_of
from .spectra import SpectraFile
from .stages import Line
from .stored_slab import repair_edges, repair_noisy_edges

READ_ROWS = 128
"""Rows read at a time; at 4096 pixels 8 MB, or 12 MB with a stored noise draw."""
ADVICE = "Run the same command again with more memory free"
_LOOK_ROWS = 16
"""Rows looked at together: a megabyte, about the size of a second cache."""
_FORK_FROM = 1024
"""Rows from which processes of their own, which take a hundredth of a second each to begin, are worth it."""

Rows = npt.NDArray[np.int64]


def scan_rows(spectra: SpectraFile, rows: slice, mask: Mask | None, progress: Advance | None) -> FileScan:
    """Read and look at `rows`, which are those of one file, on all cores: hashing takes most of the time.

    `mask` and `progress` as `fingerprint` has them; bad rows are numbered within the file.
    """
    reader = SlabReader(spectra, READ_ROWS)

    def look(bounds: tuple[int, int]) -> list[_Looked]:
        raw = reader.read(bounds)
        looked = [_look(spectra, part, mask) for part in pieces_of([raw], _LOOK_ROWS)]
        reader.give_back(raw)
        return looked

    slabs = [(lo, min(lo + READ_ROWS, rows.stop)) for lo in range(rows.start, rows.stop, READ_ROWS)]
    workers = usable_cores()
    found: list[_Looked] = []
    with contextlib.ExitStack() as stack:
        apart = workers > 1 and rows.stop - rows.start >= _FORK_FROM and may_fork()
        ask = stack.enter_context(Forks(look, workers, advice=ADVICE)).ask if apart else look
        line = stack.enter_context(Line())
        for looked in line.stage("check", workers, ahead=2 * workers).map(ask, slabs):
            found += looked
            if progress is not None:
                progress(sum(len(part.digests.stars) for part in looked))
    first_rows = np.cumsum([0, *(len(part.digests.stars) for part in found)])[:-1]
    bad: dict[str, list[Rows]] = {}
    for first, part in zip(first_rows, found, strict=True):
        for reason, places in part.bad.items():
            bad.setdefault(reason, []).append(first + places)
    return FileScan(
        np.concatenate([part.digests.digests for part in found]),
        np.concatenate([part.digests.stars for part in found]),
        sha256(b"".join(part.digests.labels for part in found)),
        {reason: np.concatenate(parts) for reason, parts in bad.items()},
    )


@dataclass(frozen=True)
class _Looked:
    """What was found of a few rows; `bad` are places among them."""

    digests: RowDigests
    bad: dict[str, Rows]


def _look(spectra: SpectraFile, raw: RawRows, mask: Mask | None) -> _Looked:
    digests = row_digests_of(raw.slab, raw.labels)
    if raw.slab.noisy is not None:  # after the digests, which are of what is stored; the memory is ours
        repair_noisy_edges(raw.slab.noisy, raw.slab.error)
    repair_edges(raw.slab.error)
    checks = check_rows(
        raw.slab.flux,
        raw.slab.error,
        noisy=raw.slab.noisy,
        stored_mask=spectra.stored_mask(slice(int(raw.rows[0]), int(raw.rows[-1]) + 1)),
        mask=mask,
    )
    bad = {reason: np.flatnonzero(is_bad) for reason, is_bad in checks.items() if is_bad.any()}
    return _Looked(digests, bad)
