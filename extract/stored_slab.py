"""Rows of spectra as a file holds them, and its error with the edges repaired."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StoredSlab:
    """Some rows as the file holds them, (n, L) little-endian float64; `noisy` is None unless every file has it."""

    flux: Float64s
    error: Float64s
    noisy: Float64s | None

    def repaired_error(self) -> Float64s:
        """`error`, a NaN in the first or last pixel replaced by its neighbour; a copy."""
        repaired = self.error.copy()
        repair_edges(repaired)
        return repaired


def repair_edges(error: npt.NDArray[np.floating]) -> None:
    """Replace NaN in the first or last pixel of (n, L) by its neighbour, in place."""
    if error.shape[1] >= 2:
        ends = error[:, [0, -1]]
        error[:, [0, -1]] = np.where(np.isnan(ends), error[:, [1, -2]], ends)


def repair_noisy_edges(noisy: npt.NDArray[np.floating], error: npt.NDArray[np.floating]) -> None:
    """Replace NaN in the first or last pixel of a stored draw (n, L) by its neighbour, in place.

    Only where `error` (n, L), as stored, is NaN too: noisy = flux + N error is NaN there for no other reason.
    """
    if noisy.shape[1] >= 2:
        ends, unknown = noisy[:, [0, -1]], np.isnan(error[:, [0, -1]])
        noisy[:, [0, -1]] = np.where(np.isnan(ends) & unknown, noisy[:, [1, -2]], ends)
