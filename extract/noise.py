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

from .choices import NOISE_MODES

NOISE_VERSION = 1

_SPLIT = re.compile(r"[A-Za-z0-9_.-]+")
_WORK_WORDS = 16384
"""Words transformed together: six work arrays of 128 kB stay in the second cache, and a call costs little."""

_FRACTION_BITS = 52
_LN_2 = 0.6931471805599453
_SQRT_2 = 1.4142135623730951
_TO_THE_NEXT_EXPONENT = (1 << _FRACTION_BITS) - (int(np.float64(_SQRT_2).view(np.int64)) + 1) % (
    1 << _FRACTION_BITS
)
"""Added to the bits of a float64, this raises its exponent by one if its mantissa is above sqrt(2)."""
_SIGN = np.uint64(1 << 63)

# The first terms left out: t^22 / 23 < 1e-18 with |t| < 0.1716; x^17 / 17! < 5e-17 and x^18 / 18! < 3e-18, |x| <= pi/4.
_LOGARITHM = tuple(-2.0 * (2.0 / (2 * k + 1)) for k in range(11))
_SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(8))
_COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(9))

UInt64s = npt.NDArray[np.uint64]
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
    normals = np.empty((rows.size, n_pixels), dtype=np.float32)
    block_rows = max(1, _WORK_WORDS // ((n_pixels + 1) // 2))
    work = _Work((min(block_rows, rows.size), (n_pixels + 1) // 2))
    for first in range(0, rows.size, block_rows):
        block = rows[first : first + block_rows]
        here = work.first(len(block))
        _fill_words(generator, block, here.words)
        _box_muller(here, normals[first : first + block_rows])
    return normals


class _Work:
    """Arrays (n, w) that every step writes into: fresh memory would cost more than the arithmetic."""

    def __init__(self, shape: tuple[int, ...], arrays: npt.NDArray[np.int64] | None = None) -> None:
        self._arrays = np.empty((6, *shape), dtype=np.int64) if arrays is None else arrays
        self.words = self._arrays[0].view(np.uint64)
        self.radius, self.x, self.cosine, self.sine, self.spare = self._arrays[1:].view(np.float64)

    def first(self, n_rows: int) -> "_Work":
        """The same arrays for fewer rows."""
        return _Work((), self._arrays[:, :n_rows])


def _fill_words(
    generator: np.random.Philox, rows: npt.NDArray[np.int64], words: npt.NDArray[np.uint64]
) -> None:
    """Raw words of rows. The generator is set, not made: making one asks the system for entropy first."""
    state: Any = generator.state
    state["buffer_pos"] = 4  # nothing left over from another row
    for row, out in zip(rows, words, strict=True):
        state["state"]["counter"] = np.array([0, row, 0, 0], dtype=np.uint64)
        generator.state = state
        out[:] = generator.random_raw(out.size)


def _box_muller(work: _Work, out: Float32s) -> None:
    """Two normals for every 64-bit word (n, w): float32 (n, 2 w), or (n, 2 w - 1)."""
    _radius(work)
    _cosine_sine(work)
    n_odd = out.shape[1] // 2
    np.multiply(work.radius, work.cosine, out=out[:, 0::2], casting="same_kind")
    np.multiply(work.radius[:, :n_odd], work.sine[:, :n_odd], out=out[:, 1::2], casting="same_kind")


def _radius(work: _Work) -> None:
    """sqrt(-2 ln u1), by ln u1 = exponent times ln 2 + 2 artanh((m - 1) / (m + 1)), 1/sqrt(2) < m <= sqrt(2).

    The factor -2 is in the coefficients: a power of two changes no rounding.
    """
    u1, t, square, logarithm = work.radius, work.x, work.cosine, work.sine
    exponent = work.spare.view(np.int64)
    np.right_shift(work.words, np.uint64(32), out=exponent.view(np.uint64))
    exponent += 1
    np.multiply(exponent, 2.0**-32, out=u1)
    bits = u1.view(np.int64)
    np.add(bits, _TO_THE_NEXT_EXPONENT, out=exponent)
    exponent >>= _FRACTION_BITS
    exponent -= 1023
    np.left_shift(exponent, _FRACTION_BITS, out=t.view(np.int64))
    bits -= t.view(np.int64)  # u1 is m now
    np.subtract(u1, 1.0, out=t)
    u1 += 1.0
    t /= u1
    np.multiply(t, t, out=square)
    _polynomial(square, _LOGARITHM, out=logarithm)
    logarithm *= t
    np.multiply(exponent, -2.0 * _LN_2, out=t)
    logarithm += t
    np.sqrt(logarithm, out=work.radius)


def _cosine_sine(work: _Work) -> None:
    """Cosine and sine of 2 pi u2, by the Taylor series about the nearest quarter turn."""
    words, x, square = work.words, work.x, work.spare
    words += np.uint64(1 << 29)  # bits 30 and 31 count the nearest quarter turn from now on
    np.bitwise_and(words, np.uint64((1 << 30) - 1), out=x.view(np.uint64))
    since = x.view(np.int64)
    since -= 1 << 29
    np.multiply(since, 0.5 * math.pi * 2.0**-30, out=x)
    np.multiply(x, x, out=square)
    _polynomial(square, _SINE, out=work.sine)
    work.sine *= x
    _polynomial(square, _COSINE, out=work.cosine)
    _turn(words, work.cosine.view(np.uint64), work.sine.view(np.uint64), spare=work.spare.view(np.uint64))


def _turn(words: UInt64s, cosine: UInt64s, sine: UInt64s, *, spare: UInt64s) -> None:
    """Turn the bits of (cosine, sine) by the quarter turns in bits 30 and 31: swap at odd ones, then set signs."""
    np.left_shift(words, np.uint64(33), out=spare)
    odd = spare.view(np.int64)
    odd >>= 63  # all bits of bit 30
    swap = np.bitwise_xor(cosine, sine)
    swap &= spare
    cosine ^= swap
    sine ^= swap
    np.left_shift(words, np.uint64(32), out=spare)
    spare &= _SIGN
    sine ^= spare
    words += np.uint64(1 << 30)
    np.left_shift(words, np.uint64(32), out=spare)
    spare &= _SIGN
    cosine ^= spare


def _polynomial(x: Float64s, coefficients: Sequence[float], out: Float64s) -> None:
    """Sum of c_k x^k by Horner's rule, one rounding after each product and each sum."""
    np.multiply(x, coefficients[-1], out=out)
    out += coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        out *= x
        out += coefficient


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
        return _given(stored, "stored", flux.shape).copy()
    clipped: Float32s = np.maximum(flux, 0).astype(np.float32, copy=False)
    if mode == "none":
        return clipped
    sigma = error if level == 1 else error * level
    noisy: Float32s = _given(z, "draw", flux.shape) * sigma.astype(np.float32, copy=False)
    noisy += clipped
    return noisy


def _given(array: npt.NDArray[np.floating] | None, mode: str, shape: tuple[int, ...]) -> Float32s:
    if array is None or array.shape != shape:
        found = "nothing" if array is None else f"shape {array.shape}"
        raise ConfigError(f"noise mode {mode!r} needs an array of the shape of flux, {shape}; found {found}")
    return array.astype(np.float32, copy=False)
