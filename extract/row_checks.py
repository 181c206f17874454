"""Which spectra cannot be used: one check of DESIGN 7 for each named reason."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from .mask import Mask

FLUX_MAX = 1e6
FLUX_MEAN_MIN = 1e-6
"""Beyond these a file is in other units than the networks were trained on: normalised to about 1, or in nJy, where a
star of magnitude 15 has 4e6 and one of 20 has 4e4. F_lambda in cgs is about 1e-17 and Jy about 1e-5 at magnitude 21."""

STORED_DRAW = "noisy_not_finite"
"""The reason that matters where the stored noise draw is used, with `--noise stored`."""

REASONS: Final[Mapping[str, str]] = {
    "flux_not_finite": "flux is NaN or infinite",
    "error_not_finite": "error is NaN or infinite (NaN in the first or last pixel is repaired and does not count)",
    "error_not_positive": "error is zero or negative (pfsspec may store a non-finite error as 0)",
    "all_zero": "every pixel of flux is zero (a row that was allocated but never written)",
    "stored_mask": "the mask in the file marks bad pixels that would be used (give the network's own mask with --mask)",
    "flux_scale": f"max |flux| is above {FLUX_MAX:g} or mean |flux| below {FLUX_MEAN_MIN:g}: wrong unit?",
    STORED_DRAW: (
        "the stored noise draw is NaN or infinite (NaN in the first or last pixel, where the error is NaN too, is "
        "repaired and does not count)"
    ),
}
"""Stable short names of what makes a row bad, in the order they are reported, and what they mean."""


def check_rows(
    flux: npt.NDArray[np.float64],
    error: npt.NDArray[np.float64],
    *,
    noisy: npt.NDArray[np.float64] | None = None,
    stored_mask: npt.NDArray[np.bool_] | None = None,
    mask: Mask | None = None,
) -> dict[str, npt.NDArray[np.bool_]]:
    """For every reason, which rows of (n, L) arrays are bad: (n,) each; a row may be bad for several reasons.

    `error` and `noisy` have their edge NaN repaired. `stored_mask` is True at bad pixels. With `mask` (L,), True =
    keep, only the pixels kept are looked at.
    """
    if mask is not None:
        flux, error = flux[:, mask], error[:, mask]
        noisy = None if noisy is None else noisy[:, mask]
        stored_mask = None if stored_mask is None else stored_mask[:, mask]
    # NaN and infinity reach the extremes, so two passes tell whether all values are finite.
    with np.errstate(invalid="ignore", over="ignore"):
        flux_low, flux_high = flux.min(axis=1), flux.max(axis=1)
        error_low, error_high = error.min(axis=1), error.max(axis=1)
        largest = np.maximum(np.abs(flux_low), np.abs(flux_high))
        absurd = (largest > FLUX_MAX) | _is_faint(flux)
    nothing = np.zeros(flux.shape[0], dtype=bool)
    flux_finite, zero = np.isfinite(flux_low) & np.isfinite(flux_high), largest == 0
    return {
        "flux_not_finite": ~flux_finite,
        "error_not_finite": ~(np.isfinite(error_low) & np.isfinite(error_high)),
        "error_not_positive": error_low <= 0,
        "all_zero": zero,
        "stored_mask": nothing if stored_mask is None else stored_mask.any(axis=1),
        "flux_scale": absurd & flux_finite & ~zero,
        STORED_DRAW: nothing if noisy is None else ~np.isfinite(noisy).all(axis=1),
    }


def _is_faint(flux: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether mean |flux| of each row is below FLUX_MEAN_MIN; |mean flux| is a bound that needs no copy."""
    faint: npt.NDArray[np.bool_] = ~(np.abs(flux.mean(axis=1)) > 2 * FLUX_MEAN_MIN)
    if faint.any():
        faint[faint] = np.abs(flux[faint]).mean(axis=1) < FLUX_MEAN_MIN
    return faint
