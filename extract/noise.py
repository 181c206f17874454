"""The noise of a spectrum: a fixed function of seed, split, row, draw and pixel, whoever asks and in what order.

Definition (version 1), for pixels 2k and 2k + 1 of a row:

    key   = first 16 bytes, as two little-endian uint64, of sha256(f"blindspot-noise/1/{seed}/{split}/{draw}")
    word  = the k-th 64-bit output of Philox4x64-10 with that key, started at counter [0, row, 0, 0]
    u1    = (upper 32 bits + 1) / 2^32 in (0, 1],  u2 = lower 32 bits / 2^32 in [0, 1)
    z[2k] = sqrt(-2 ln u1) cos(2 pi u2),  z[2k + 1] = sqrt(-2 ln u1) sin(2 pi u2)

in float64, rounded to float32. Philox: Salmon et al. 2011 (SC11), as in numpy, which steps the counter before the
first output; its raw words are a promise of numpy's, its normals are not, hence our own Box & Muller (1958).
Logarithm and cosine are series here, because the last bit of a library's depends on processor and version: with
additions, products, quotients and square roots alone, which IEEE 754 rounds in one way, the noise is the same to
the bit everywhere. The largest |z| is sqrt(64 ln 2) = 6.66.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cache.errors import ConfigError, UnknownName

NOISE_VERSION = 1
NOISE_MODES = ("draw", "stored", "none")

_SPLIT = re.compile(r"[A-Za-z0-9_.-]+")
_BLOCK_ROWS = 2
"""Rows transformed together: work arrays of 32 kB stay in the first cache, and below the size at which the C library
returns memory to the system after each use (measured: with 16 rows half the time went into page faults)."""

_FRACTION = np.int64((1 << 52) - 1)
_EXPONENT_OF_ONE = np.int64(1023 << 52)
_SQRT_2 = 1.4142135623730951
_LN_2 = 0.6931471805599453

Float64s = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]


def noise_key(*, seed: int, split: str, draw: int) -> npt.NDArray[np.uint64]:
    """The Philox key (2,) of one realisation; ConfigError when a part could be read two ways."""
    if seed < 0 or draw < 0:
        raise ConfigError(f"noise has seed {seed!r} and draw {draw!r}; expected whole numbers from 0")
    if not _SPLIT.fullmatch(split):
        raise ConfigError(f"noise has split {split!r}; expected letters, digits, '_', '.' and '-'")
    text = f"blindspot-noise/{NOISE_VERSION}/{int(seed)}/{split}/{int(draw)}"
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u8").astype(np.uint64)


def standard_normal(
    *, seed: int, split: str, rows: npt.NDArray[np.int64], draw: int, n_pixels: int
) -> Float32s:
    """Normal deviates (n, n_pixels) float32 of the rows (n,), which are file-list positions in any order.

    The pixel index is that of the file, before any wavelength mask. Raises ConfigError for negative rows.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if rows.ndim != 1 or (rows < 0).any():
        raise ConfigError(f"noise is asked for rows of shape {rows.shape}; expected a list of numbers from 0")
    generator = np.random.Philox(key=noise_key(seed=seed, split=split, draw=draw))
    n_words = (n_pixels + 1) // 2
    normals = np.empty((rows.size, n_pixels), dtype=np.float32)
    for first in range(0, rows.size, _BLOCK_ROWS):
        block = rows[first : first + _BLOCK_ROWS]
        words = np.stack([_words(generator, int(row), n_words) for row in block])
        normals[first : first + _BLOCK_ROWS] = _box_muller(words)[:, :n_pixels]
    return normals


def _words(generator: np.random.Philox, row: int, n_words: int) -> npt.NDArray[np.uint64]:
    """Raw words of one row. The generator is set, not made: making one asks the system for entropy first."""
    state: Any = generator.state
    state["state"]["counter"] = np.array([0, row, 0, 0], dtype=np.uint64)
    state["buffer_pos"] = 4  # nothing left over from another row
    generator.state = state
    return generator.random_raw(n_words)


def _box_muller(words: npt.NDArray[np.uint64]) -> Float32s:
    """Two normals for every 64-bit word: (n, w) -> (n, 2 w)."""
    radius = _log_uniform((words >> np.uint64(32)) + np.uint64(1))
    radius *= -2.0
    np.sqrt(radius, out=radius)
    cosine, sine = _cosine_sine(words & np.uint64(0xFFFFFFFF))
    normals = np.empty((words.shape[0], 2 * words.shape[1]), dtype=np.float32)
    normals[:, 0::2] = np.multiply(radius, cosine, out=cosine)
    normals[:, 1::2] = np.multiply(radius, sine, out=sine)
    return normals


def _log_uniform(numerator: npt.NDArray[np.uint64]) -> Float64s:
    """ln(numerator / 2^32) for numerators 1 to 2^32: exponent times ln 2, and 2 artanh((m - 1) / (m + 1))."""
    bits = numerator.astype(np.float64).view(np.int64)
    mantissa = ((bits & _FRACTION) | _EXPONENT_OF_ONE).view(np.float64)
    exponent = (bits >> 52) - (1023 + 32)
    upper = mantissa > _SQRT_2  # so that 1/sqrt(2) < m <= sqrt(2), and |t| < 0.1716
    exponent += upper
    mantissa *= np.where(upper, 0.5, 1.0)
    t = (mantissa - 1.0) / (mantissa + 1.0)
    # The first term left out is t^22 / 23 < 1e-18.
    logarithm = _polynomial(t * t, [2.0 / (2 * k + 1) for k in range(11)])
    logarithm *= t
    logarithm += exponent * _LN_2
    return logarithm


def _cosine_sine(turn: npt.NDArray[np.uint64]) -> tuple[Float64s, Float64s]:
    """Cosine and sine of turn / 2^32 of a full turn, by the Taylor series about the nearest quarter turn."""
    quarter = (turn + np.uint64(1 << 29)) >> np.uint64(30)
    x = (turn.astype(np.int64) - (quarter << np.uint64(30)).astype(np.int64)) * (0.5 * math.pi * 2.0**-30)
    square = x * x
    # |x| <= pi/4: the first terms left out are x^17 / 17! < 5e-17 and x^18 / 18! < 3e-18.
    sine = _polynomial(square, [(-1) ** k / math.factorial(2 * k + 1) for k in range(8)])
    sine *= x
    cosine = _polynomial(square, [(-1) ** k / math.factorial(2 * k) for k in range(9)])
    odd = (quarter & np.uint64(1)).astype(bool)
    turned_cosine, turned_sine = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    turned_cosine *= 1.0 - ((quarter + np.uint64(1)) & np.uint64(2))
    turned_sine *= 1.0 - (quarter & np.uint64(2))
    return turned_cosine, turned_sine


def _polynomial(x: Float64s, coefficients: Sequence[float]) -> Float64s:
    """Sum of c_k x^k by Horner's rule, one rounding after each product and each sum."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total *= x
        total += coefficient
    return total


def noisy_flux(
    flux: npt.NDArray[np.floating],
    error: npt.NDArray[np.floating],
    *,
    mode: str,
    level: float = 1.0,
    z: Float32s | None = None,
    stored: npt.NDArray[np.floating] | None = None,
) -> Float32s:
    """What the network sees, float32, in the shape of `flux`; `error` is one sigma with its edges repaired.

    * `draw`: max(flux, 0) + z * (error * level); the clipped flux and the product in brackets, which is what the
      error channel holds, are rounded to float32 first; `z` is needed.
    * `stored`: the draw kept in the file; `stored` is needed, and level 1, since it was drawn already.
    * `none`: max(flux, 0).

    The noisy flux is not clipped. Raises UnknownName for another mode, ConfigError for a missing array or a level
    that is negative, not finite, or other than 1 with `stored`.
    """
    if mode not in NOISE_MODES:
        raise UnknownName("noise mode", mode, NOISE_MODES)
    if not np.isfinite(level) or level < 0:
        raise ConfigError(f"the noise level is {level!r}; expected a finite number from 0")
    if mode == "stored":
        if level != 1:
            raise ConfigError(
                f"stored noise was drawn at level 1, found level {level!r}; use noise mode 'draw'"
            )
        return _given(stored, "stored", flux.shape)
    clipped: Float32s = np.maximum(flux, 0).astype(np.float32)
    if mode == "none":
        return clipped
    sigma = (error * level).astype(np.float32)
    noisy: Float32s = clipped + _given(z, "draw", flux.shape) * sigma
    return noisy


def _given(array: npt.NDArray[np.floating] | None, mode: str, shape: tuple[int, ...]) -> Float32s:
    if array is None or array.shape != shape:
        found = "nothing" if array is None else f"shape {array.shape}"
        raise ConfigError(f"noise mode {mode!r} needs an array of the shape of flux, {shape}; found {found}")
    return array.astype(np.float32)
