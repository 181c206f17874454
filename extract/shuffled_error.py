"""Which star's error another star is fed: a keyed derangement over a whole split, and reading those errors.

Definition (version 1), for the kept rows of a split:

    key    = first 16 bytes, as two little-endian uint64, of sha256(f"blindspot-error-shuffle/1/{seed}/{split}")
    word   = one 64-bit output per row of the file list, in order, of Philox4x64-10 with that key
    order  = the kept rows by (smallest word of the rows of the same star, word, row)
    donor  = of the row at place p of the order, the row at place (p + m) mod n

m is the largest number of rows of one star. Rows of a star stand side by side in the order and are m at most, so that
nobody gets the error of a row of its own star as long as 2 m <= n, without which no derangement of the stars exists.
Where every star has one row, m = 1 and the derangement is one cycle through all rows in random order.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from cache.errors import ConfigError

from .fingerprint import Fingerprint, check_unchanged
from .slabs import SlabReader, runs_of
from .spectra import SpectraFile, repair_edges

SHUFFLE_VERSION = 1
"""Raised by hand when a row would get another row's error."""

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
    _, star, counts = np.unique(known.stars[kept], return_inverse=True, return_counts=True)
    most = int(counts.max())
    if 2 * most > len(kept):
        name = int(known.stars[kept][np.flatnonzero(star == counts.argmax())[0]])
        raise ConfigError(
            f"--error-input shuffled: {most} of the {len(kept)} rows of {split} are of one star ({name:016x}); every "
            "row needs the error of another star, so no star may have more than half of the rows; leave some out, or "
            "use --error-input constant"
        )
    words = _words(seed, split, len(known.stars))[kept]
    first = np.full(len(counts), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first, star, words)
    order = np.lexsort((kept, words, star, first[star]))
    donors = np.full(len(known.stars), NOBODY, dtype=np.int64)
    donors[kept[order]] = np.roll(kept[order], -most)
    return donors


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
    reader = SlabReader(spectra, len(rows))
    errors = np.empty((len(rows), spectra.wave.size))
    start = 0
    for bounds in runs_of(ascending, len(rows)):
        raw = reader.read(bounds)
        check_unchanged(spectra, raw, known)
        errors[order[start : start + len(raw.rows)]] = raw.slab.error
        start += len(raw.rows)
        reader.give_back(raw)
    repair_edges(errors)
    return errors
