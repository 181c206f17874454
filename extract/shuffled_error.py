"""Which star's error another star is fed: a keyed derangement over a whole split, and reading those errors.

Definition (version 1), for the n kept rows of a split:

    unit   = the star of a row where some star has several rows; else the stretch of consecutive kept rows it is in,
             each of min(32, max(1, n // 32)) rows, the last one of what is left
    key    = first 16 bytes, as two little-endian uint64, of sha256(f"blindspot-error-shuffle/1/{seed}/{split}")
    word   = one 64-bit output per row of the file list, in order, of Philox4x64-10 with that key
    order  = the kept rows by (smallest word of the rows of the same unit, word of the row)
    donor  = of the row at place p of the order, the row at place (p + m) mod n, m the largest number of rows of a unit

Rows of a unit stand side by side in the order and are m at most, so that nobody gets the error of its own unit as long
as 2 m <= n; without which no derangement of the stars exists. Stretches make the errors of 32 neighbours those of 32
other neighbours, in another order: read together, at a small part of the cost of scattered rows. In a file sorted by
some label neighbours get errors of one place in it; that place is random, so that it tells nothing of their own.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from cache.errors import ConfigError

from .fingerprint import Fingerprint, read_unchanged
from .spectra import SpectraFile
from .stored_slab import repair_edges

SHUFFLE_VERSION = 1
"""Raised by hand when a row would get another row's error."""

STRETCH, FEWEST_STRETCHES = 32, 32
"""Neighbours whose errors come from one place, and how many such places there are at least."""

NOBODY = -1
"""Donor of a row that was left out."""

Rows = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


def donors_of(known: Fingerprint, *, seed: int, split: str) -> Rows:
    """The row whose error each row is fed, (N,) by row of the file list; `NOBODY` for rows that are not kept.

    A permutation of the kept rows that depends on them, their stars, `seed` and `split` alone. No row gets its own
    error, nor that of a row with the same star. Raises ConfigError when a star has more than half of the rows.
    """
    kept = known.kept
    unit, counts = _units(known.stars[kept])
    most = int(counts.max())
    if 2 * most > len(kept):
        star = int(known.stars[kept][np.flatnonzero(unit == counts.argmax())[0]])
        raise ConfigError(
            f"--error-input shuffled: {most} of the {len(kept)} rows of {split} are of one star ({star:016x}); every "
            "row needs the error of another star, so no star may have more than half of the rows; leave some out, or "
            "use --error-input constant"
        )
    words = _words(seed, split, len(known.stars))[kept]
    first = np.full(len(counts), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first, unit, words)
    order = np.lexsort((kept, words, unit, first[unit]))
    donors = np.full(len(known.stars), NOBODY, dtype=np.int64)
    donors[kept[order]] = np.roll(kept[order], -most)
    return donors


def _units(stars: npt.NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """Number of the unit of each row (n,), and rows of each unit (n_units,)."""
    _, unit, counts = np.unique(stars, return_inverse=True, return_counts=True)
    if counts.max() == 1:
        size = min(STRETCH, max(1, len(stars) // FEWEST_STRETCHES))
        unit = np.arange(len(stars)) // size
        counts = np.bincount(unit)
    return unit.astype(np.int64), counts.astype(np.int64)


def _words(seed: int, split: str, n_rows: int) -> npt.NDArray[np.uint64]:
    text = f"blindspot-error-shuffle/{SHUFFLE_VERSION}/{int(seed)}/{split}"
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u8").astype(np.uint64)
    return np.asarray(np.random.Philox(key=key).random_raw(n_rows), dtype=np.uint64)


def donor_errors(spectra: SpectraFile, rows: Rows, known: Fingerprint) -> Float64s:
    """The errors of `rows` (n,), which are scattered and in any order, each once: (n, L) float64, edge NaN repaired.

    Whole rows are read, because their digests cover flux and labels too; InputError when one has changed.
    """
    order = np.argsort(rows)
    ascending = rows[order]
    errors = np.empty((len(rows), spectra.wave.size))
    start = 0
    for raw in read_unchanged(spectra, ascending, known, at_once=len(rows)):
        errors[order[start : start + len(raw.rows)]] = raw.slab.error
        start += len(raw.rows)
    repair_edges(errors)
    return errors
