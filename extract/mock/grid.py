"""The wavelength grid of the mock survey: pixel centres, edges and the line-spread function."""

import functools
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
_Float = TypeVar("_Float", np.float32, np.float64)
_Array = TypeVar("_Array", bound=npt.NDArray[Any])

N_PIXELS = 4096
AIR = 1.000275  # refractive index of air near 8000 to 8500 A
FIRST_EDGE, LAST_EDGE = 7100.2, 8849.8  # Angstrom in air; the edges of the users' medium-resolution files
PIXEL = (LAST_EDGE - FIRST_EDGE) / N_PIXELS  # Angstrom
RESOLVING_POWER = 5000.0  # PFS, medium resolution (Tamura et al. 2016, SPIE 9908)
LSF_SIGMA = 8000.0 / RESOLVING_POWER / 2.3548  # Angstrom; one Gaussian for the whole arm, taken at 8000 A
LSF_REACH = 6  # pixels to either side, 3.8 sigma


def frozen(array: _Array) -> _Array:
    """`array` itself, made read-only: tables are shared by every caller."""
    array.flags.writeable = False
    return array


@functools.cache
def wave_edges() -> FloatArray:
    """Edges of the pixels in Angstrom (air), float64 (4097,), read-only."""
    return frozen(np.linspace(FIRST_EDGE, LAST_EDGE, N_PIXELS + 1))


@functools.cache
def wave() -> FloatArray:
    """Centres of the pixels in Angstrom (air), float64 (4096,), read-only."""
    edges = wave_edges()
    return frozen(0.5 * (edges[:-1] + edges[1:]))


@functools.cache
def lsf_weights() -> FloatArray:
    """Half of the line-spread function: weights of the pixels 0, 1, ... LSF_REACH away; the whole sums to 1."""
    weights = np.exp(-0.5 * (np.arange(LSF_REACH + 1) * PIXEL / LSF_SIGMA) ** 2)
    return frozen(weights / (2 * weights.sum() - weights[0]))


def smooth(spectra: npt.NDArray[_Float]) -> npt.NDArray[_Float]:
    """Convolve each row of `spectra` (B, 4096) with the line-spread function; edges are repeated outwards."""
    n_pixels = spectra.shape[1]
    padded = np.pad(spectra, ((0, 0), (LSF_REACH, LSF_REACH)), mode="edge")
    weights = lsf_weights().astype(spectra.dtype)
    smoothed: npt.NDArray[_Float] = np.multiply(padded[:, LSF_REACH : LSF_REACH + n_pixels], weights[0])
    for step in range(1, LSF_REACH + 1):
        left = padded[:, LSF_REACH - step : LSF_REACH - step + n_pixels]
        pair = left + padded[:, LSF_REACH + step : LSF_REACH + step + n_pixels]
        pair *= weights[step]
        smoothed += pair
    return smoothed
