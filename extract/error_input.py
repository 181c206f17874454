"""The error channels that a network was trained with: one function per error mode (REFERENCE.md, section 3)."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from cache.errors import InputError, UnknownName

N_BINS = 16  # L2
MIN_BIN_PIXELS = 256  # L2 is refused below: finer bins would follow the flux again
SMOOTHING_PIXELS = 501  # L3, odd: the window is centred

Values = Tensor | npt.NDArray[np.floating]


def _pixel(error: Tensor, _profile: Tensor | None) -> Tensor:
    return error[:, None]


def _none(error: Tensor, _profile: Tensor | None) -> Tensor:
    return error[:, None][:, :0]


def _rms(error: Tensor) -> Tensor:
    return error.square().mean(dim=1, keepdim=True).sqrt()


def _l0(error: Tensor, _profile: Tensor | None) -> Tensor:
    return _rms(error)[:, None].expand(-1, 1, error.shape[1])


def _l1(error: Tensor, _profile: Tensor | None) -> Tensor:
    ordered = error.sort(dim=1).values
    n_pixels = error.shape[1]
    position = 0.9 * (n_pixels - 1)
    below = int(position)
    above = min(below + 1, n_pixels - 1)
    # torch.quantile refuses more than 2**24 values, a batch of 4096 spectra
    quantile = torch.lerp(ordered[:, below], ordered[:, above], position - below)
    median = ordered[:, (n_pixels - 1) // 2]  # the lower of the two middle values
    return torch.stack([_rms(error)[:, 0], median, quantile], dim=1)[..., None].expand(-1, 3, n_pixels)


def _l2(error: Tensor, _profile: Tensor | None) -> Tensor:
    width = error.shape[1] // N_BINS
    if width < MIN_BIN_PIXELS:
        raise InputError(
            f"error mode 'L2' on {error.shape[1]} pixels makes bins of {width} pixels; at least "
            f"{MIN_BIN_PIXELS} are needed: finer bins leak the flux. Use the mode the network was trained with"
        )
    means = error[:, : N_BINS * width].reshape(-1, N_BINS, width).mean(dim=2)
    bins = (torch.arange(error.shape[1], device=error.device) // width).clamp(max=N_BINS - 1)
    return means[:, bins][:, None]


def _l3(error: Tensor, _profile: Tensor | None) -> Tensor:
    half = SMOOTHING_PIXELS // 2
    padded = functional.pad(error[:, None], (half, half), mode="replicate")
    sums = functional.pad(padded.cumsum(dim=2), (1, 0))
    return (sums[..., SMOOTHING_PIXELS:] - sums[..., :-SMOOTHING_PIXELS]) / SMOOTHING_PIXELS


def _l4(error: Tensor, profile: Tensor | None) -> Tensor:
    return _needed("L4", profile, error).expand(error.shape[0], 1, -1)


def _l5(error: Tensor, profile: Tensor | None) -> Tensor:
    shape = _needed("L5", profile, error)
    return (shape / shape.mean()) * _rms(error)[:, None]


_MODES: dict[str, tuple[int, Callable[[Tensor, Tensor | None], Tensor]]] = {
    "pixel": (1, _pixel),
    "none": (0, _none),
    "L0": (1, _l0),
    "L1": (3, _l1),
    "L2": (1, _l2),
    "L3": (1, _l3),
    "L4": (1, _l4),
    "L5": (1, _l5),
}
ERROR_MODES = tuple(_MODES)
PROFILE_MODES = ("L4", "L5")


def n_error_channels(mode: str) -> int:
    """How many channels `mode` adds after the flux: 0, 1 or 3. Raises UnknownName."""
    if mode not in _MODES:
        raise UnknownName("error mode", mode, ERROR_MODES)
    return _MODES[mode][0]


def channels(mode: str, noisy: Values, error: Values, *, profile: Values | None = None) -> Tensor:
    """What the network is fed: noisy flux and the error channels of `mode`, (B, L), (B, L) -> (B, C_in, L).

    `error` is one sigma per pixel in the unit of the flux, already times the noise level and masked.
    `profile` (L,) is the mean error per pixel of the training set; L4 and L5 need it, the others ignore it.
    The result has the dtype and device of `noisy`; statistics are taken in float64. Values are not checked
    for being finite. Raises InputError for shapes that do not fit, UnknownName for the mode.
    """
    n_error_channels(mode)
    flux, sigma = torch.as_tensor(noisy), torch.as_tensor(error)
    if flux.ndim != 2 or flux.shape != sigma.shape:
        raise InputError(
            f"noisy flux of shape {tuple(flux.shape)} with error of shape {tuple(sigma.shape)}; "
            "expected the same (B, L)"
        )
    shape = None if profile is None else torch.as_tensor(profile).to(flux.device, torch.float64)
    added = _MODES[mode][1](sigma.to(flux.device, torch.float64), shape)
    return torch.cat([flux[:, None], added.to(flux.dtype)], dim=1)


def _needed(mode: str, profile: Tensor | None, error: Tensor) -> Tensor:
    if profile is None:
        raise InputError(
            f"error mode {mode!r} needs the mean error per pixel of the training set: none is in the checkpoint "
            "(`sigma_profile`) and none was given (`--profile FILE.npy`)"
        )
    if profile.shape != error.shape[1:]:
        raise InputError(
            f"error mode {mode!r}: the profile has shape {tuple(profile.shape)}, the spectra have "
            f"{error.shape[1]} pixels (after the mask); give a profile of that length"
        )
    if not bool((profile.isfinite() & (profile > 0)).all()):
        raise InputError(f"error mode {mode!r}: the profile holds values that are not finite and positive")
    return profile
