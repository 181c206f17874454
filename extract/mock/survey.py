"""The mock survey: which star stands in which row, its spectrum and error, and the three files of a data set.

A row is a star. Everything random about it comes from Philox with a key made from the seed and the row as counter, so
that a row is the same whatever is made with it. The bytes are those of one machine and numpy; elsewhere they agree to
rounding.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cache.errors import ConfigError, InputError
from cache.progress import Advance

from .files import edges_as_pfsspec, pfsspec_writer
from .grid import Float32Array, FloatArray, wave
from .instrument import CONDITION_SCATTER, Conditions, one_sigma
from .spectrum import clean_flux

MOCK_VERSION = 1  # raise it when any number of any row changes
RANGES = {  # of the users' training set
    "T_eff": (3750.0, 6000.0),  # K
    "log_g": (1.0, 5.0),
    "M_H": (-2.5, 0.75),
    "a_M": (-0.25, 0.5),
    "C_M": (-0.75, 0.5),
}
DEFAULT_MAG = (20.5, 22.5)
FAINTEST, BRIGHTEST = 30.0, 10.0  # beyond these the errors lose their meaning
FIRST_ROW = {"train": 0, "val": 10**9, "test": 2 * 10**9}  # rows of the seed that the splits begin at
LARGEST_SPLIT = 10**9
BATCH = 128  # rows made at once; always this many, so that numpy takes the same path for every row
SLAB = 4 * BATCH  # rows written at once
N_WORDS = 10  # random words per row: 5 labels, magnitude, 4 for the night

Magnitude = float | tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class MockSpectra:
    """Spectra of n stars.

    wave: float64 (4096,), A.  flux, error: float32 (n, 4096), noise-free and one sigma.
    labels: T_eff (K), log_g, M_H, a_M, C_M, mag, redshift (0: the stars are at rest), snr (median of flux / error),
    each float64 (n,), and id, int64 (n,), the row.
    """

    wave: FloatArray
    flux: Float32Array
    error: Float32Array
    labels: dict[str, npt.NDArray[Any]]


def generate(rows: npt.ArrayLike, *, seed: int, mag: Magnitude = DEFAULT_MAG) -> MockSpectra:
    """The stars of `rows` (integers >= 0, (n,), any order) of the survey `seed`.

    mag: one magnitude, or the ends of a uniform distribution; the other labels do not depend on it.
    Raises ConfigError for rows or magnitudes out of range.
    """
    ends = _magnitudes(mag)
    wanted = _rows(rows)
    n_pixels = len(wave())
    flux = np.empty((len(wanted), n_pixels), dtype=np.float32)
    error = np.empty_like(flux)
    columns: list[dict[str, npt.NDArray[Any]]] = []
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        padded = np.concatenate([part, np.repeat(part[-1], BATCH - len(part))])
        labels, conditions = draw_stars(padded, seed=seed, mag=ends)
        batch_flux = clean_flux(labels)
        batch_error = one_sigma(batch_flux, labels["mag"], conditions)
        labels["snr"] = np.median(batch_flux / batch_error, axis=1).astype(np.float64)
        labels["id"] = padded
        flux[start : start + len(part)] = batch_flux[: len(part)]
        error[start : start + len(part)] = batch_error[: len(part)]
        columns.append({name: column[: len(part)] for name, column in labels.items()})
    names = columns[0]
    return MockSpectra(
        wave=wave(),
        flux=flux,
        error=error,
        labels={name: np.concatenate([part[name] for part in columns]) for name in names},
    )


def draw_stars(
    rows: npt.NDArray[np.int64], *, seed: int, mag: tuple[float, float]
) -> tuple[dict[str, npt.NDArray[Any]], Conditions]:
    """Labels and observing conditions of `rows`, each (n,): uniform labels, log-normal conditions (Box-Muller)."""
    uniform = (_random_words(rows, seed) >> np.uint64(11)) * 2.0**-53  # 53 bits, in [0, 1)
    labels: dict[str, npt.NDArray[Any]] = {
        name: low + (high - low) * uniform[:, column]
        for column, (name, (low, high)) in enumerate(RANGES.items())
    }
    labels["mag"] = mag[0] + (mag[1] - mag[0]) * uniform[:, 5]
    labels["redshift"] = np.zeros(len(rows))
    radius = np.sqrt(-2.0 * np.log1p(-uniform[:, 6:8]))
    angle = 2.0 * np.pi * uniform[:, 8:10]
    normal = {
        "throughput": radius[:, 0] * np.cos(angle[:, 0]),
        "continuum": radius[:, 0] * np.sin(angle[:, 0]),
        "oh": radius[:, 1] * np.cos(angle[:, 1]),
    }
    return labels, Conditions(
        **{name: np.exp(CONDITION_SCATTER[name] * values) for name, values in normal.items()}
    )


def _random_words(rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """The first N_WORDS words of Philox4x64-10 (Salmon et al. 2011) at counter [0, row, 0, 0], (n, N_WORDS)."""
    digest = hashlib.sha256(f"blindspot-mock/{MOCK_VERSION}/{seed}".encode()).digest()
    key = np.frombuffer(digest[:16], dtype="<u8")
    words = np.empty((len(rows), N_WORDS), dtype=np.uint64)
    for position, row in enumerate(rows):
        words[position] = np.random.Philox(key=key, counter=[0, int(row), 0, 0]).random_raw(N_WORDS)
    return words


def write_survey(
    folder: Path,
    *,
    n_train: int,
    n_val: int,
    n_test: int,
    seed: int,
    mag: Magnitude = DEFAULT_MAG,
    progress: Advance | None = None,
) -> dict[str, Path]:
    """Write `folder`/{train,val,test}/dataset.h5 in the layout of pfsspec, float64, and return the paths.

    Split s holds the rows FIRST_ROW[s], FIRST_ROW[s] + 1, ... of the seed: no star stands in two splits, and a longer
    file begins with the rows of a shorter one. A file that already holds exactly these spectra is kept, a mock
    file made otherwise is replaced. `progress` is told of rows as they are finished.
    Raises ConfigError for sizes or magnitudes out of range, InputError when a file in the way is not a mock survey's.
    """
    sizes = {"train": n_train, "val": n_val, "test": n_test}
    ends = _magnitudes(mag)
    for split, n_rows in sizes.items():
        if not 1 <= n_rows <= LARGEST_SPLIT:
            raise ConfigError(f"n_{split} is {n_rows}; expected 1 to {LARGEST_SPLIT}")
    paths = {split: Path(folder) / split / "dataset.h5" for split in sizes}
    kept = {
        split: _holds(path, _attributes(split, sizes[split], seed, ends)) for split, path in paths.items()
    }
    for split, path in paths.items():
        if not kept[split]:
            _write_split(path, split, n_rows=sizes[split], seed=seed, mag=ends, progress=progress)
        elif progress is not None:
            progress(sizes[split])
    return paths


def _write_split(
    path: Path, split: str, *, n_rows: int, seed: int, mag: tuple[float, float], progress: Advance | None
) -> None:
    attributes = _attributes(split, n_rows, seed, mag)
    with pfsspec_writer(path, wave(), n_rows=n_rows, attributes=attributes) as writer:
        for start in range(0, n_rows, SLAB):
            rows = np.arange(start, min(start + SLAB, n_rows)) + FIRST_ROW[split]
            spectra = generate(rows, seed=seed, mag=mag)
            writer.append(spectra.flux, edges_as_pfsspec(spectra.error), params=spectra.labels)
            if progress is not None:
                progress(len(rows))


def _attributes(split: str, n_rows: int, seed: int, mag: tuple[float, float]) -> dict[str, str | int]:
    """The attributes of the root group, which say of a file what it holds."""
    return {
        "blindspot_mock": str(MOCK_VERSION),
        "mock_seed": str(seed),
        "mock_mag": json.dumps(mag),
        "mock_first_row": FIRST_ROW[split],
        "mock_rows": n_rows,
    }


def _holds(path: Path, attributes: Mapping[str, str | int]) -> bool:
    """Whether the mock file at `path` has these `attributes`; files are published whole, so they suffice.

    Raises InputError when there is something else at `path`.
    """
    if not path.exists():
        return False
    advice = "move it away or choose another folder; it was left untouched"
    try:
        with h5py.File(path, "r") as file:
            found = {name: str(file.attrs[name]) for name in attributes if name in file.attrs}
    except OSError as error:
        raise InputError(
            f"{path}: expected a mock survey or nothing, found no HDF5 file ({error}); {advice}"
        ) from error
    if "blindspot_mock" not in found:
        raise InputError(f"{path}: is not a mock survey (no root attribute 'blindspot_mock'); {advice}")
    return found == {name: str(value) for name, value in attributes.items()}


def _magnitudes(mag: Magnitude) -> tuple[float, float]:
    low, high = (mag, mag) if isinstance(mag, int | float) else mag
    if not BRIGHTEST <= low <= high <= FAINTEST:
        raise ConfigError(
            f"mag is {mag!r}; expected a number or (low, high) within {BRIGHTEST} and {FAINTEST}"
        )
    return float(low), float(high)


def _rows(rows: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(rows)
    if array.ndim != 1 or len(array) == 0 or array.dtype.kind not in "iu" or array.min() < 0:
        raise ConfigError(
            f"rows have shape {array.shape}, dtype {array.dtype}; expected integers >= 0, (n,), n >= 1"
        )
    return array.astype(np.int64)
