"""The fingerprint of the spectra: one pass that digests every row, tells the stars apart and finds the bad rows.

row digest   = see `row_digests`
slab digest  = sha256(row digests of rows 4096 i to 4096 (i + 1), of all files end to end)
input digest = sha256(canonical JSON of version, n_rows, wave digest, label names, has_noisy, slab digests)
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cache.canonical import digest_json, sha256
from cache.errors import FileChanged, InputError, UnknownName
from cache.progress import Advance

from .choices import BAD_ROW_POLICIES
from .mask import Mask
from .remembered import about_scan
from .row_checks import REASONS, STORED_DRAW
from .row_digests import LabelRows, canonical_floats, row_digests_of
from .row_scan import scan_rows
from .sidecar import FileScan, check_can_remember, file_identity, recall, remember_scan
from .slabs import RawRows, SlabReader, runs_of
from .spectra import SpectraFile, open_spectra

FINGERPRINT_VERSION = 1
SLAB_ROWS = 4096

_SHOWN_ROWS = 5

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fingerprint:
    """What is known of N spectra after one pass.

    `digest`: input digest, hex. `row_digests` (N, 32) uint8. `stars` (N,) uint64. `bad`: rows per reason of
    `row_checks.REASONS`, ascending, only reasons that occur. `kept` (M,): rows that are bad for none, ascending.
    `labels`: per file, the digest of its labels and ids.
    """

    digest: str
    row_digests: npt.NDArray[np.uint8]
    stars: npt.NDArray[np.uint64]
    bad: Mapping[str, Rows]
    kept: Rows
    labels: tuple[str, ...]


def fingerprint(
    spectra: SpectraFile,
    *,
    remember: Path | None,
    policy: str = "fail",
    noise: str = "stored",
    mask: Mask | None = None,
    progress: Advance | None = None,
) -> Fingerprint:
    """Read everything once, or recall what an earlier pass found in files that have not changed since.

    `remember` is the folder of the sidecars (None: neither recall nor remember). `mask` (L,), True = keep: only those
    pixels are checked; digests cover all. `policy` 'fail' refuses bad rows, 'drop' leaves them out of `kept`.
    `noise`: the mode of the request; a stored draw that is not finite makes a row bad with 'stored' alone.
    `progress` is called with the number of rows just dealt with.
    Raises InputError with counts, first rows and files when rows are refused, when none is left, or when a file
    changes during the pass.
    """
    if policy not in BAD_ROW_POLICIES:
        raise UnknownName("policy for bad rows", policy, BAD_ROW_POLICIES)
    if mask is not None and (mask.dtype != np.bool_ or mask.shape != spectra.wave.shape):
        raise InputError(
            f"the mask is {mask.dtype} of shape {mask.shape}, expected booleans of shape {spectra.wave.shape}: one for "
            "each pixel of the files"
        )
    scans = [
        _scan_file(spectra, path, rows, remember, mask, progress)
        for path, rows in zip(spectra.files, _rows_by_file(spectra), strict=True)
    ]
    row_digests = np.concatenate([scan.row_digests for scan in scans])
    bad = _global_rows(scans, spectra.first_rows)
    if noise != "stored":
        bad.pop(STORED_DRAW, None)
    usable = np.ones(spectra.n_spectra, dtype=bool)
    for rows in bad.values():
        usable[rows] = False
    if not usable.any() or (policy == "fail" and bad):
        raise _refusal(spectra, bad, int(np.count_nonzero(~usable)))
    return Fingerprint(
        digest=input_digest(spectra, row_digests),
        row_digests=row_digests,
        stars=np.concatenate([scan.stars for scan in scans]),
        bad=bad,
        kept=np.flatnonzero(usable).astype(np.int64),
        labels=tuple(scan.labels for scan in scans),
    )


def input_digest(spectra: SpectraFile, row_digests: npt.NDArray[np.uint8]) -> str:
    """The tree hash over the row digests (N, 32), with what all rows share."""
    starts = range(0, len(row_digests), SLAB_ROWS)
    return digest_json(
        {
            "version": FINGERPRINT_VERSION,
            "n_rows": spectra.n_spectra,
            "wave": sha256(canonical_floats(spectra.wave).tobytes()),
            "label_names": list(spectra.label_names),
            "has_noisy": spectra.has_noisy,
            "slabs": [sha256(row_digests[start : start + SLAB_ROWS].tobytes()) for start in starts],
        }
    )


def check_unchanged(spectra: SpectraFile, raw: RawRows, known: Fingerprint) -> None:
    """Compare rows as they were read now with the fingerprint.

    Raises FileChanged naming the first row that differs and its file.
    """
    found = row_digests_of(raw.slab, raw.labels).digests
    differs = np.flatnonzero((found != known.row_digests[raw.rows]).any(axis=1))
    if differs.size:
        row = int(raw.rows[differs[0]])
        path, local = spectra.locate(row)
        raise FileChanged(
            f"{path}: row {local} (row {row} of all) is not what it was when the input digest was made, nor are "
            f"{differs.size - 1} others of rows {raw.rows[0]} to {raw.rows[-1] + 1}"
        )


def read_unchanged(
    spectra: SpectraFile, rows: Rows, known: Fingerprint, *, at_once: int
) -> Iterator[RawRows]:
    """Yield ascending `rows` in stretches of `at_once` at most, each compared with the fingerprint (FileChanged).

    The memory of a stretch is that of the next ones: copy what is kept.
    """
    reader = SlabReader(spectra, at_once)
    for bounds in runs_of(rows, at_once):
        raw = reader.read(bounds)
        check_unchanged(spectra, raw, known)
        yield raw
        reader.give_back(raw)


def open_again(files: Sequence[Path], known: Fingerprint) -> SpectraFile:
    """Open the files of a fingerprint; FileChanged when rows, pixels, wavelengths or label names are others by now."""
    spectra = open_spectra(list(files))
    if input_digest(spectra, known.row_digests) == known.digest:
        return spectra
    spectra.close()
    raise FileChanged(
        f"{', '.join(map(str, files[:3]))}{', ...' if len(files) > 3 else ''}: {spectra.n_spectra} spectra of "
        f"{spectra.wave.size} pixels, which are not the {len(known.row_digests)} spectra, the wavelengths, labels and "
        "stored noise that the input digest was made of"
    )


def checked_labels(spectra: SpectraFile, known: Fingerprint) -> LabelRows:
    """Labels and ids of all rows, if they are those of the fingerprint; InputError naming the file otherwise."""
    parts = [_labels(spectra, rows) for rows in _rows_by_file(spectra)]
    for path, part, digest in zip(spectra.files, parts, known.labels, strict=True):
        if part.digest() != digest:
            raise FileChanged(
                f"{path}: its labels or ids are not what they were when the input digest was made"
            )
    return LabelRows(
        np.concatenate([part.values for part in parts]), [name for part in parts for name in part.ids]
    )


def _rows_by_file(spectra: SpectraFile) -> list[slice]:
    """The rows of each file in the numbering of the whole list."""
    return [slice(a, b) for a, b in itertools.pairwise((*spectra.first_rows, spectra.n_spectra))]


def _labels(spectra: SpectraFile, rows: slice) -> LabelRows:
    return LabelRows(spectra.label_rows(rows), spectra.stored_ids(rows))


def _scan_file(
    spectra: SpectraFile,
    path: Path,
    rows: slice,
    remember: Path | None,
    mask: Mask | None,
    progress: Advance | None,
) -> FileScan:
    about = about_scan(spectra, path, mask)
    identity = file_identity(spectra.status(path))  # of the open file: another one may lie there by now
    scan = None if remember is None else recall(remember, about, identity)
    if scan is not None and len(scan.row_digests) == rows.stop - rows.start:
        if progress is not None:
            progress(rows.stop - rows.start)
        return scan
    if remember is not None:
        check_can_remember(remember)
    scan = scan_rows(spectra, rows, mask, progress)
    if not (file_identity(path.stat()) == identity == file_identity(spectra.status(path))):
        raise InputError(f"{path}: changed while it was read; run the command again when nobody writes to it")
    if remember is not None:
        remember_scan(remember, about, identity, scan)
    return scan


def _global_rows(scans: list[FileScan], first_rows: tuple[int, ...]) -> dict[str, Rows]:
    """Bad rows of all files in the numbering of the whole list, reasons in their fixed order."""
    bad = {}
    for reason in REASONS:
        parts = [
            first + scan.bad[reason]
            for scan, first in zip(scans, first_rows, strict=True)
            if reason in scan.bad
        ]
        if parts:
            bad[reason] = np.concatenate(parts).astype(np.int64)
    return bad


def _refusal(spectra: SpectraFile, bad: Mapping[str, Rows], n_bad: int) -> InputError:
    lines = [f"{n_bad} of {spectra.n_spectra} spectra cannot be used:"]
    for reason, rows in bad.items():
        shown = []
        for row in rows[:_SHOWN_ROWS]:
            path, local = spectra.locate(int(row))
            shown.append(f"row {row} (row {local} of {path})")
        more = ", ..." if len(rows) > _SHOWN_ROWS else ""
        lines.append(f"  {reason}: {len(rows)} rows, first {', '.join(shown)}{more}; {REASONS[reason]}")
    lines.append(
        "none is left; mend the files"
        if n_bad == spectra.n_spectra
        else "mend the files, or leave such rows out with --on-bad-rows drop"
    )
    return InputError("\n".join(lines))
