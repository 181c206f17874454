"""The arrays of one spectra file: where each layout keeps them, and what they must look like."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cache.errors import InputError

from .pfsspec import Params, flat_params, read_params
from .safe_hdf5 import find, open_hdf5

MOCK_ATTRIBUTE = "blindspot_mock"
"""Root attribute that the mock survey writes; its presence makes a file mock data."""

PFSSPEC_KEYS = {
    "flux": "dataset/arrays/flux/value",
    "error": "dataset/arrays/error/value",
    "wave": "spectrumdataset/wave",
    "noisy": "dataset/arrays/noisy/value",
    "mask": "dataset/arrays/mask/value",
}
PFSSPEC_PARAMS = "dataset/params"
FLAT_KEYS = {name: name for name in PFSSPEC_KEYS}
_NEEDED = ("flux", "error", "wave")

NM_RANGE = (200.0, 2500.0)
"""Wavelengths all inside this range are taken for nanometres: PFS covers 380-1260 nm, 3800-12600 Angstrom."""
LOG_RANGE = (1000.0, 30000.0)
"""Logarithms of Angstrom that all lie inside this range are taken for such; as micrometres they would be 3 to 10."""
LOGARITHMS = (("log10", "10**wave", 10.0), ("the natural logarithm", "exp(wave)", math.e))
MICRON_MAX = 100.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """One open file: data sets of shape (N, L), wave (L,) float64 in Angstrom, and the columns of labels."""

    path: Path
    file: h5py.File
    flux: h5py.Dataset
    error: h5py.Dataset
    noisy: h5py.Dataset | None
    mask: h5py.Dataset | None
    wave: npt.NDArray[np.float64]
    params: Params
    is_mock: bool

    @property
    def n_spectra(self) -> int:
        """Rows of flux."""
        return int(self.flux.shape[0])


def open_source(path: Path) -> Source:
    """Open one file of either layout and check all that can be checked without reading the spectra.

    Raises InputError: missing keys, shapes or dtypes that do not fit, wave not increasing or not in Angstrom,
    params of another length than the arrays, data kept outside the file, a pickle that is no list of strings.
    """
    file = open_hdf5(path)
    try:
        return _source(path, file)
    except BaseException:
        file.close()
        raise


def _source(path: Path, file: h5py.File) -> Source:
    keys = _keys(path, file)
    found: dict[str, Any] = {name: _array(file, key) for name, key in keys.items()}
    flux = found["flux"]
    _check_shapes(path, found)
    wave = _wave(path, found["wave"], flux.shape[1])
    read = flat_params if keys is FLAT_KEYS else _pfsspec_params
    return Source(
        path=path,
        file=file,
        flux=flux,
        error=found["error"],
        noisy=found["noisy"],
        mask=found["mask"],
        wave=wave,
        params=read(file, flux.shape[0]),
        is_mock=MOCK_ATTRIBUTE in file.attrs,
    )


def _keys(path: Path, file: h5py.File) -> dict[str, str]:
    """The layout that the file has, told by the arrays every file must hold."""
    layouts = (PFSSPEC_KEYS, FLAT_KEYS)
    lacking = [[repr(keys[name]) for name in _NEEDED if find(file, keys[name]) is None] for keys in layouts]
    nearest = min((0, 1), key=lambda k: len(lacking[k]))
    if not lacking[nearest]:
        return layouts[nearest]
    wanted = [", ".join(repr(keys[name]) for name in _NEEDED) for keys in layouts]
    raise InputError(
        f"{path}: lacks {', '.join(lacking[nearest])}; expected the pfsspec layout ({wanted[0]}) or the flat one "
        f"({wanted[1]}); the root holds {sorted(file)}"
    )


def _array(file: h5py.File, key: str) -> h5py.Dataset | None:
    found = find(file, key)
    if found is None or isinstance(found, h5py.Dataset):
        return found
    raise InputError(f"{file.filename}: {key} is a group, expected a data set")


def _check_shapes(path: Path, found: dict[str, Any]) -> None:
    flux = found["flux"]
    if flux.ndim != 2:
        raise InputError(f"{path}: {flux.name} has shape {flux.shape}, expected (spectra, pixels)")
    if 0 in flux.shape:
        raise InputError(f"{path}: {flux.name} has shape {flux.shape}: no spectra; expected at least one row")
    for name in ("error", "noisy", "mask"):
        dataset = found[name]
        if dataset is not None and dataset.shape != flux.shape:
            raise InputError(
                f"{path}: {dataset.name} has shape {dataset.shape}, flux has {flux.shape}; "
                "expected the same shape"
            )
    for name, kinds in (("flux", "f"), ("error", "f"), ("noisy", "f"), ("mask", "iub")):
        dataset = found[name]
        if dataset is not None and (dataset.dtype.kind not in kinds or dataset.dtype.itemsize > 8):
            expected = "float32 or float64" if kinds == "f" else "integers, nonzero for a bad pixel"
            raise InputError(
                f"{path}: {dataset.name} has dtype {dataset.dtype}, expected {expected}; "
                "rewrite the file with that dtype"
            )


def _wave(path: Path, dataset: h5py.Dataset, n_pixels: int) -> npt.NDArray[np.float64]:
    where = f"{path}: {dataset.name}"
    if dataset.shape != (n_pixels,) or dataset.dtype.kind not in "fiu":
        raise InputError(
            f"{where} is {dataset.dtype} of shape {dataset.shape}, expected one real wavelength in Angstrom for each "
            f"of the {n_pixels} pixels of flux"
        )
    wave: npt.NDArray[np.float64] = dataset[()].astype("<f8")
    bad = np.flatnonzero(~np.isfinite(wave))
    if bad.size:
        raise InputError(
            f"{where} is not finite at {bad.size} pixels, first {bad[0]}; expected wavelengths in Angstrom"
        )
    falls = np.flatnonzero(np.diff(wave) <= 0)
    if falls.size:
        first = int(falls[0])
        raise InputError(
            f"{where} is not strictly increasing: pixel {first} has {float(wave[first])!r}, pixel {first + 1} has "
            f"{float(wave[first + 1])!r} ({falls.size} such steps); sort wave, flux and error by wavelength"
        )
    seen = f"{where} runs from {wave[0]:g} to {wave[-1]:g}, expected Angstrom"
    if wave[0] <= 0:
        raise InputError(f"{seen}: wavelengths are positive")
    for logarithm, power, base in LOGARITHMS:
        if math.log(LOG_RANGE[0], base) <= wave[0] and wave[-1] <= math.log(LOG_RANGE[1], base):
            raise InputError(
                f"{seen}; it looks like {logarithm} of Angstrom, write {power} ({base ** wave[0]:.0f} to "
                f"{base ** wave[-1]:.0f}); or, if it is micrometres, multiply by 10000"
            )
    if wave[-1] < MICRON_MAX:
        raise InputError(f"{seen}; it looks like micrometres, multiply by 10000")
    if NM_RANGE[0] <= wave[0] and wave[-1] <= NM_RANGE[1]:
        raise InputError(f"{seen}; it looks like nm, multiply by 10")
    return wave


def _pfsspec_params(file: h5py.File, n_spectra: int) -> Params:
    group = find(file, PFSSPEC_PARAMS)
    if group is None:
        return Params()
    params = read_params(group)
    if params.n_rows is not None and params.n_rows != n_spectra:
        relation = "shorter" if params.n_rows < n_spectra else "longer"
        raise InputError(
            f"{file.filename}: the params table has {params.n_rows} rows, {relation} than the arrays with "
            f"{n_spectra}; which label belongs to which spectrum cannot be known: write the file again"
        )
    return params
