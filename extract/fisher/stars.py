"""The stars that Fisher matrices are made of: fingerprints, labels and spectra, and the train stars of an emulator."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cache import label_markers
from cache.canonical import digest_json
from cache.errors import ConfigError
from cache.progress import progress

from ..choices import DROP, FAIL
from ..fingerprint import Fingerprint, checked_labels, fingerprint, read_unchanged
from ..mask import Mask
from ..spectra import SpectraFile
from .information import LABELS, Float64s
from .local_gradient import EMULATOR_VERSION, RIDGE, LocalEmulator, local_emulator, scale_of
from .request import FisherRequest

SLAB_ROWS = 128
"""Rows made into matrices together: 128 x 6 x 4096 numbers of the scaled gradient are 25 MB."""

NEED_ALL = (
    f"Fisher matrices need all of {', '.join(LABELS)}: the simulator makes a star's flux of them, the gradient along "
    "each is taken at the star's own, and a ceiling without one takes it for known, and is too high"
)

Rows = npt.NDArray[np.int64]


def checked_spectra(
    spectra: SpectraFile, split: str, request: FisherRequest, mask: Mask | None
) -> Fingerprint:
    """The fingerprint of a split, with progress; InputError when rows are refused."""
    with progress(spectra.n_spectra, f"check {split}", unit="spectra") as advance:
        return fingerprint(
            spectra,
            remember=request.digests,
            policy=request.on_bad_rows,
            noise="none",
            mask=mask,
            progress=advance,
        )


def rows_with_labels(
    spectra: SpectraFile, known: Fingerprint, split: str, *, missing: str = FAIL, most: int | None = None
) -> tuple[Rows, Float64s]:
    """The first `most` kept rows (None: all), and the labels of all rows of the files (N, 5), finite in those.

    With `missing` `drop` rows without one of the labels are passed over. Raises ConfigError, which says why all are
    needed, for a label that is absent or an empty column, or in which a number such as -999 marks what is missing, with
    `fail` for one that is not finite in one of the rows.
    """
    if absent := [name for name in LABELS if name not in spectra.label_names]:
        raise ConfigError(
            f"{spectra.files[0]}: the {split} file has no {', '.join(absent)}; {NEED_ALL}; add {', '.join(absent)} to "
            "the file, or go without a ceiling for this survey"
        )
    places = [spectra.label_names.index(name) for name in LABELS]
    labels = checked_labels(spectra, known).values[:, places]
    rows = known.kept if missing == DROP else known.kept[:most]
    for name, column in zip(LABELS, labels.T, strict=True):
        marked = label_markers.told(column[known.kept], known.kept)
        if marked is not None:
            raise ConfigError(f"{spectra.files[0]}: {split}: label {name} {marked}; {NEED_ALL}")
        bad = rows[~np.isfinite(column[rows])]
        if bad.size and bad.size == len(rows):
            raise ConfigError(
                f"{spectra.files[0]}: label {name} is an empty column: NaN or inf in all {len(rows)} rows of {split}; "
                f"{NEED_ALL}; fill {name} in, or go without a ceiling for this survey"
            )
        if bad.size and missing != DROP:
            raise ConfigError(
                f"{spectra.files[0]}: label {name} is missing (NaN or inf) in {bad.size} of {len(rows)} rows of "
                f"{split} (first rows: {bad[:5].tolist()}); {NEED_ALL}; fill it in, or leave those stars without a "
                "matrix, and out of the ceiling, with --missing-labels drop (make: MISSING=drop)"
            )
    if missing == DROP:
        rows = known.kept[np.isfinite(labels[known.kept]).all(axis=1)][:most]
        if not rows.size:
            raise ConfigError(
                f"{spectra.files[0]}: no row of {split} has all of {', '.join(LABELS)}; {NEED_ALL}; fill them in, or "
                "go without a ceiling for this survey"
            )
    return rows, labels


def read_stars(
    spectra: SpectraFile, known: Fingerprint, rows: Rows
) -> Iterator[tuple[Rows, Float64s, Float64s]]:
    """Rows, flux as stored and repaired error (n, L_file) float64, slab by slab, compared with their digests."""
    for raw in read_unchanged(spectra, rows, known, at_once=SLAB_ROWS):
        yield raw.rows, raw.slab.flux, raw.slab.repaired_error()


class TrainStars:
    """The train split of an emulator, fingerprinted when it is first needed."""

    def __init__(self, spectra: SpectraFile, request: FisherRequest, mask: Mask | None) -> None:
        """Nothing is read yet; `spectra` stays the caller's to close."""
        self.spectra, self._request, self._mask = spectra, request, mask

    @cached_property
    def _known(self) -> Fingerprint:
        return checked_spectra(self.spectra, "train", self._request, self._mask)

    @cached_property
    def _labelled(self) -> tuple[Rows, Float64s]:
        """The first train rows that serve, as many as are asked for, and their labels."""
        asked = self._request
        rows, labels = rows_with_labels(
            self.spectra, self._known, "train", missing=asked.missing_labels, most=asked.train_rows
        )
        return rows, labels[rows]

    def describe(self) -> dict[str, Any]:
        """What goes into the key; ConfigError when no emulator can be made of these stars."""
        rows, labels = self._labelled
        scale_of(labels, neighbours=self._request.neighbours)
        return {
            "name": "emulator",
            "version": EMULATOR_VERSION,
            "train": self._known.digest,
            "train_rows": digest_json(rows.tolist()),
            "n_train": len(rows),
            "neighbours": self._request.neighbours,
            "ridge": RIDGE,
        }

    def emulator(self) -> LocalEmulator:
        """Read the clean flux of the rows, in their order."""
        rows, labels = self._labelled
        keep: Any = slice(None) if self._mask is None else self._mask
        flux = np.empty((len(rows), self.spectra.wave[keep].size), dtype=np.float32)
        done = 0
        with progress(len(rows), "train of the emulator", unit="spectra") as advance:
            for _, clean, _ in read_stars(self.spectra, self._known, rows):
                flux[done : done + len(clean)] = clean[:, keep]
                done += len(clean)
                advance(len(clean))
        return local_emulator(labels, flux, neighbours=self._request.neighbours)
