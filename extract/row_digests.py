"""Digests of single spectra, by which a changed row and a repeated star are known."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache.canonical import sha256

from .stored_slab import StoredSlab

DIGEST_BYTES = 32
_NOTHING = hashlib.sha256().digest()
_NAN_BITS = np.array(np.nan, dtype="<f8").view("<u8")

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelRows:
    """Labels of some rows: `values` (n, k) float64 in the order of `label_names`; `ids`, None where there is none."""

    values: Float64s
    ids: Sequence[str | None]

    def digest(self) -> str:
        """sha256 over the sha256 of every row, hex."""
        return sha256(b"".join(hashlib.sha256(row).digest() for row in self.row_bytes()))

    def row_bytes(self) -> list[bytes]:
        """What is hashed of each row: its values, little-endian, NaN in one form, then its id in UTF-8."""
        values = canonical_floats(self.values)
        return [row.tobytes() + (name or "").encode() for row, name in zip(values, self.ids, strict=True)]


@dataclass(frozen=True)
class RowDigests:
    """`digests` (n, 32) uint8; `stars` (n,) uint64, whose 16 hex digits begin the sha256 of the flux row.

    `labels` are the sha256 of the label rows end to end, what `LabelRows.digest` is made of.
    """

    digests: npt.NDArray[np.uint8]
    stars: npt.NDArray[np.uint64]
    labels: bytes


def canonical_floats(values: Float64s) -> Float64s:
    """Contiguous little-endian float64 in which every NaN has the same bits; the input when it is so already."""
    plain = np.ascontiguousarray(values, dtype="<f8")
    nan = np.isnan(plain)
    if not nan.any() or (plain[nan].view("<u8") == _NAN_BITS).all():
        return plain
    return np.where(nan, np.float64(np.nan), plain).astype("<f8", copy=False)


def row_digests_of(slab: StoredSlab, labels: LabelRows) -> RowDigests:
    """Digest every row: sha256(sha256(flux) + sha256(error) + sha256(noisy, or nothing) + sha256(label row)).

    All as stored, before any repair, as little-endian float64 bytes with NaN in one form.
    """
    flux, error = canonical_floats(slab.flux), canonical_floats(slab.error)
    noisy = None if slab.noisy is None else canonical_floats(slab.noisy)
    n_rows = flux.shape[0]
    digests = bytearray()
    stars = bytearray()
    label_digests = bytearray()
    for row, label_row in zip(range(n_rows), labels.row_bytes(), strict=True):
        hashed = [
            hashlib.sha256(flux[row].data).digest(),
            hashlib.sha256(error[row].data).digest(),
            _NOTHING if noisy is None else hashlib.sha256(noisy[row].data).digest(),
            hashlib.sha256(label_row).digest(),
        ]
        digests += hashlib.sha256(b"".join(hashed)).digest()
        stars += hashed[0][:8]
        label_digests += hashed[-1]
    return RowDigests(
        np.frombuffer(bytes(digests), dtype=np.uint8).reshape(n_rows, DIGEST_BYTES),
        np.frombuffer(bytes(stars), dtype=">u8").astype(np.uint64),
        bytes(label_digests),
    )
