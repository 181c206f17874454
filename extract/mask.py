"""The wavelength mask of a network: which pixels of the file it was trained on."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cache.canonical import sha256
from cache.errors import InputError

Mask = npt.NDArray[np.bool_]


def load_mask(path: Path | str, n_pixels: int) -> Mask:
    """Read a `.npy` file of booleans, one per pixel of the file, True = keep; (n_pixels,).

    Raises InputError for anything else: another format, dtype, length, or a mask that keeps no pixel.
    """
    expected = f"expected a .npy file of {n_pixels} booleans, True = keep"
    try:
        # Mapped, so that the shape is known before anything of that size is allocated.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not readable as a mask ({error}); {expected}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path}: is an .npz archive; {expected}")
    if array.dtype != np.bool_:
        raise InputError(f"{path}: has dtype {array.dtype}; {expected}: save it with mask.astype(bool)")
    if array.shape != (n_pixels,):
        raise InputError(
            f"{path}: has shape {array.shape}; {expected}: one entry per pixel of the file, before masking"
        )
    mask = np.array(array)
    if not mask.any():
        raise InputError(f"{path}: keeps no pixel; {expected} (is it inverted?)")
    return mask


def mask_digest(mask: Mask | None) -> str | None:
    """Hex sha256 of the mask, one byte 0 or 1 per pixel; None without a mask."""
    return None if mask is None else sha256(np.ascontiguousarray(mask, dtype=np.uint8).tobytes())
