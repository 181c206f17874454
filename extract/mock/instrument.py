"""Telescope, sky and detector: the one-sigma error of a spectrum taken on a given night."""

import functools
from dataclasses import dataclass

import numpy as np

from .grid import LSF_SIGMA, Float32Array, FloatArray, frozen, smooth, wave

# Calibrations: with these the median signal-to-noise per pixel is 7 at magnitude 21.5, as in the users' files
REFERENCE_MAGNITUDE = 21.5
ELECTRONS = 385.0  # per pixel of a star of flux 1 at that magnitude, over all exposures
SKY_RATIO = 1.6  # dark sky continuum over that star
READ_VARIANCE = 500.0  # electrons^2 per pixel: 12 exposures of several rows with 3 electrons each
SKY_SLOPE = 0.25  # the dark continuum grows by a quarter per 1000 A (by eye)
OH_SCALE = 14.0  # peak of an OH line of strength 1 over the dark continuum (by eye)
O2_GLOW, O2_CENTRE, O2_WIDTH = 0.8, 8645.0, 18.0  # the O2 (0-1) emission band near 8645 A
# OH night-glow lines: wavelength (A), relative strength; rounded after Osterbrock et al. 1996, PASP 108, 277, and
# Rousselot et al. 2000, A&A 354, 1134; close pairs are merged
OH_LINES = """
7240.9 0.3  7244.9 0.8  7276.4 1.2  7284.4 0.6  7303.7 0.8  7316.3 1.5  7329.1 0.8  7340.9 1.4  7358.7 0.5
7369.2 0.7  7392.2 0.5  7402.0 0.3  7523.0 0.3  7571.7 0.4  7712.3 0.3  7715.9 0.6  7750.6 1.9  7759.9 0.6
7780.5 0.5  7794.1 1.9  7808.5 0.9  7821.5 1.8  7841.3 0.9  7853.2 1.1  7870.7 0.7  7890.0 0.5  7913.7 2.0
7921.2 1.0  7949.2 0.7  7964.7 2.4  7993.3 2.3  8014.1 0.8  8025.8 1.6  8062.4 0.5  8288.6 1.3  8298.4 0.7
8310.7 0.9  8344.6 2.8  8352.8 1.0  8382.4 0.8  8399.2 3.4  8415.2 1.4  8430.2 3.0  8452.3 1.3  8465.4 2.0
8493.4 1.0  8504.6 1.0  8538.7 0.4  8548.7 0.3  8761.0 0.8  8767.9 2.2  8778.3 2.6  8790.9 1.2  8827.1 4.0
8836.1 1.6  8849.7 2.6
"""
# Telluric absorption: water bands (first, last A, number of lines, mean depth) and the O2 A band, whose P branch
# widens from the head at 7593.7 A (Kurucz et al. 1984; Hinkle et al. 2003)
WATER = ((7160.0, 7345.0, 60, 0.25), (8130.0, 8350.0, 70, 0.25))
WATER_SIGMA, WATER_DEEPEST = 0.75, 1.5
O2_HEAD, O2_END, O2_FADE, O2_DEPTH = 7593.7, 7700.0, 38.0, 1.1
O2_SPACING, O2_SPREADING = 2.6, 0.05
LINES_SEED = 7  # places the water lines, which are not those of any atlas


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a night multiplies: throughput, sky continuum, OH lines; float64 (B,), 1 on an ordinary night."""

    throughput: FloatArray
    continuum: FloatArray
    oh: FloatArray


CONDITION_SCATTER = {
    "throughput": 0.10,
    "continuum": 0.20,
    "oh": 0.30,
}  # standard deviations of the logarithms


@functools.cache
def transmission() -> Float32Array:
    """Share of the light that telluric O2 and water let through, float32 (4096,), read-only."""
    grid = wave()
    random = np.random.Generator(np.random.Philox(key=LINES_SEED))
    depth = np.zeros(len(grid))
    for first, last, number, mean_depth in WATER:
        centres = first + (last - first) * random.random(number)
        depths = np.minimum(-mean_depth * np.log1p(-random.random(number)), WATER_DEEPEST)
        profiles = np.exp(-0.5 * ((grid - centres[:, None]) / WATER_SIGMA) ** 2)
        depth += (depths[:, None] * profiles).sum(axis=0)
    beyond = np.maximum(grid - O2_HEAD, 0.0)
    # lines are O2_SPACING + O2_SPREADING x apart
    phase = np.log1p(O2_SPREADING * beyond / O2_SPACING) / O2_SPREADING
    comb = 1.6 + np.cos(2.0 * np.pi * phase)
    inside = (grid > O2_HEAD) & (grid < O2_END)
    depth += O2_DEPTH * np.where(inside, np.exp(-beyond / O2_FADE) * comb, 0.0)
    return frozen(smooth(np.exp(-depth)[None])[0].astype(np.float32))


@functools.cache
def sky_continuum() -> Float32Array:
    """Dark sky in units of its level at 8000 A, float32 (4096,), read-only."""
    return frozen((1.0 + SKY_SLOPE * (wave() - 8000.0) / 1000.0).astype(np.float32))


@functools.cache
def sky_lines() -> Float32Array:
    """OH lines and O2 glow in units of the dark sky at 8000 A, float32 (4096,), read-only."""
    grid = wave()
    table = np.array(OH_LINES.split(), dtype=float).reshape(-1, 2)
    emission = np.zeros(len(grid))
    for centre, strength in table:
        emission += OH_SCALE * strength * np.exp(-0.5 * ((grid - centre) / LSF_SIGMA) ** 2)
    glow = np.exp(-0.5 * ((grid - O2_CENTRE) / O2_WIDTH) ** 2) * (1.0 + 0.5 * np.sin(1.9 * grid))
    return frozen((emission + O2_GLOW * glow).astype(np.float32))


def one_sigma(flux: Float32Array, magnitude: FloatArray, conditions: Conditions) -> Float32Array:
    """Error in units of flux, float32 (B, 4096): photons of star and sky, and read noise.

    error = sqrt(S T flux + sky + read) / (S T), S the star's electrons and T the telluric transmission; `flux` is the
    noise-free one, as in the users' simulations, so that the error carries the flux.
    """
    brightness = 10.0 ** (-0.4 * (magnitude - REFERENCE_MAGNITUDE))
    scale = (ELECTRONS * conditions.throughput * brightness).astype(np.float32)[:, None] * transmission()
    dark = (ELECTRONS * SKY_RATIO * conditions.continuum).astype(np.float32)[:, None] * sky_continuum()
    variance = (ELECTRONS * SKY_RATIO * conditions.oh).astype(np.float32)[:, None] * sky_lines()
    variance += dark
    variance += np.float32(READ_VARIANCE)
    variance += scale * flux
    np.sqrt(variance, out=variance)
    variance /= scale
    return variance
