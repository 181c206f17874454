"""The errors of the train split in a few numbers per pixel, made once and kept in a file for all splits.

    error[p]  = mean of the error                                        (the profile of error mode L4)
    slope, offset [p] = arg min sum (slope max(noisy, 0) + offset - error^2)^2,  slope >= 0, offset >= 0

over the kept train rows, with the noise of level 1, seed 0, draw 0. The variance is fitted against the *noisy* flux,
because that is all that the network sees: against the clean one the fit would be a relation that only the simulation
knows, too steep where the noise hides the flux. What is fed is then a function of what the network is fed anyway, and
tells nothing of the star beyond it, whatever the noise level; so one fit serves all levels, draws and seeds.
Least squares with both numbers kept from going below 0 give a variance that is never negative.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cache.atomic import publish_json, writing
from cache.canonical import digest_json, read_sealed, sha256
from cache.errors import ConfigError, SchemaVersion
from cache.progress import Advance, progress

from .fingerprint import Fingerprint, read_unchanged
from .mask import Mask, mask_digest
from .noise import NOISE_VERSION, standard_normal
from .row_digests import canonical_floats
from .spectra import SpectraFile

KIND = "train-error"
TRAIN_ERROR_VERSION = 1
"""Raised by hand when the numbers or the form of the file change."""

FIT_ROWS = 256
"""Rows summed together: fixed, so that sums do not depend on how rows are read."""
FLAT = 1e-12
"""A variance of the noisy flux below this share of its mean square is rounding: no slope can be told."""

Float64s = npt.NDArray[np.float64]
_ARRAYS = ("error", "slope", "offset")


@dataclass(frozen=True)
class TrainError:
    """Numbers per pixel after the mask, (L,) float64: mean error; slope and offset of error^2 on the noisy flux."""

    error: Float64s
    slope: Float64s
    offset: Float64s


def fit_train_error(
    train: SpectraFile, known: Fingerprint, *, mask: Mask | None, advance: Advance
) -> TrainError:
    """One pass over the kept train rows; InputError when a row has changed since its fingerprint."""
    keep: Any = slice(None) if mask is None else mask
    n_pixels = train.wave.size
    sums = np.zeros((5, train.wave[keep].size))
    for raw in read_unchanged(train, known.kept, known, at_once=FIT_ROWS):
        error = raw.slab.repaired_error()
        z = standard_normal(seed=0, split="train", rows=raw.rows, draw=0, n_pixels=n_pixels)
        noisy = np.maximum(np.maximum(raw.slab.flux, 0) + z * error, 0)[:, keep]
        error = error[:, keep]
        square = error**2
        sums += np.stack([v.sum(axis=0) for v in (error, square, noisy, noisy**2, noisy * square)])
        advance(len(raw.rows))
    slope, offset = nonnegative_line(*(sums[1:] / len(known.kept)))
    return TrainError(error=sums[0] / len(known.kept), slope=slope, offset=offset)


def nonnegative_line(
    y: Float64s, x: Float64s, x_square: Float64s, x_y: Float64s
) -> tuple[Float64s, Float64s]:
    """Slope and offset, both >= 0, of the least squares of y on x, from the means of y, x, x^2 and x y; x, y >= 0.

    Where the unconstrained slope is negative the best is slope 0, where the offset is, the line through the origin:
    the square sum is convex, so its constrained minimum lies on the border that the free one is beyond.
    """
    variance = x_square - x * x
    told = variance > FLAT * x_square
    slope = np.where(told, (x_y - x * y) / np.where(told, variance, 1.0), 0.0)
    slope = np.maximum(slope, 0.0)
    offset = y - slope * x
    through_origin = offset < 0
    slope = np.where(through_origin, x_y / np.where(x_square > 0, x_square, 1.0), slope)
    return slope, np.where(through_origin, 0.0, offset)


def saved_train_error(
    folder: Path,
    train: SpectraFile,
    known: Fingerprint,
    *,
    mask: Mask | None,
) -> tuple[TrainError, Path]:
    """Find `train-error-<digest>.json` of this train split in `folder`, or make it; what it holds, and where it is.

    The digest is that of the versions, the input, the rows kept and the mask. Raises ConfigError for a file of others
    under this name.
    """
    identity = {
        "version": TRAIN_ERROR_VERSION,
        "noise_version": NOISE_VERSION,
        "input": known.digest,
        "rows": digest_json(known.kept.tolist()),
        "mask": mask_digest(mask),
    }
    path = folder / f"{KIND}-{digest_json(identity)[:16]}.json"
    if not path.exists():
        with progress(len(known.kept), "errors of train", unit="spectra") as advance:
            fitted = fit_train_error(train, known, mask=mask, advance=advance)
        arrays = {name: getattr(fitted, name).tolist() for name in _ARRAYS}
        with writing(f"{path}: the errors of train"):
            publish_json(
                path,
                {
                    "kind": KIND,
                    **identity,
                    "wave": wave_digest(train.wave),
                    "n_rows": len(known.kept),
                    **arrays,
                },
            )
    found, told = load_train_error(path, wave=train.wave, mask=mask), read_sealed(path)
    if other := [name for name, value in identity.items() if told[name] != value]:
        raise ConfigError(
            f"{path}: is of another train split ({', '.join(other)} differ): it was renamed or replaced; take it away, "
            "and the next run makes it anew"
        )
    return found, path


def load_train_error(path: Path, *, wave: Float64s, mask: Mask | None) -> TrainError:
    """Read a file of `saved_train_error` for spectra on `wave` (L_file,) with this mask.

    Raises ConfigError when it is none or of other wavelengths or another mask, Damaged when it was altered,
    SchemaVersion for another format.
    """
    try:
        content = read_sealed(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: not there or not readable ({error}); extract train with --error-input constant to make it"
        ) from error
    if content.get("kind") != KIND:
        raise ConfigError(
            f"{path}: is a {content.get('kind', 'file of another kind')!r}, expected the {KIND} file that an "
            "extraction of train with --error-input constant or from-noisy saves"
        )
    if content["version"] != TRAIN_ERROR_VERSION:
        raise SchemaVersion(
            f"{path}: {KIND} file of version {content['version']}, this program reads {TRAIN_ERROR_VERSION}; "
            "extract train again to make it anew"
        )
    for name, ours in (("wave", wave_digest(wave)), ("mask", mask_digest(mask))):
        if content[name] != ours:
            raise ConfigError(
                f"{path}: was made with another {'wavelength grid' if name == 'wave' else 'mask'} than these spectra "
                "have; make one for them by extracting their train split with the same --error-input"
            )
    return TrainError(*(np.array(content[name], dtype=np.float64) for name in _ARRAYS))


def wave_digest(wave: Float64s) -> str:
    """Hex sha256 of the wavelengths, little-endian float64."""
    return sha256(canonical_floats(wave).tobytes())
