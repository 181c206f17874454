"""Absorption by atoms: many weak lines, a few strong ones with damping wings, and hydrogen's Paschen series."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .atmosphere import Layer
from .grid import AIR, LSF_SIGMA, PIXEL, Float32Array, FloatArray, frozen, wave
from .growth import log_equivalent_width
from .lines import LineList, strong_lines, weak_lines
from .species import (
    BOLTZMANN,
    ELEMENTS,
    GAS_CONSTANT,
    LIGHT_SPEED,
    OTHER_VAN_DER_WAALS,
    RADIATIVE_DAMPING,
    SECOND_RADIATION,
    THETA,
    VAN_DER_WAALS,
    abundance,
    saha_constant,
)

ABSORPTION = 0.02654  # pi e^2 / (m c) in cm2 Hz
MICROTURBULENCE = 2e5  # cm / s
VAN_DER_WAALS_SLOPE = (
    0.38  # gamma_6 grows as T^0.38 (Barklem et al. 2000, A&AS 142, 467: T^((1 - alpha) / 2))
)
# Calibration: with it the Sun's Ca II lines have 1.6, 4.0 and 3.6 A (Moore et al. 1966: 1.5, 3.7, 2.6 A without blends)
LINE_FORMATION = 0.35
# A saturated line's depth at the Sun's and its slope per 1000 K above 4800 K (calibration: cores of Ca II in the Sun)
CORE_DEPTH, CORE_SLOPE = 0.78, -0.06
STRONG_REACH = 320  # pixels, 137 A
WEAK_REACH = 10  # pixels, 6 sigma of the line-spread function
CORE_SIGMA = 1.2  # pixels: the unresolved core of a strong line, before the line-spread function
DEEPEST = 0.95  # a single line leaves at least 5 % of the light
PASCHEN = tuple(range(12, 21))  # upper levels of Pa 12 (8750 A) ... Pa 20 (8392 A)
PASCHEN_REACH = 80.0  # A
PASCHEN_DEPTH, PASCHEN_DEEPEST = 0.7, 0.6  # of a saturated line; of the centre of any
RYDBERG = 109677.58  # 1 / cm, of hydrogen
PASCHEN_LEVEL, PASCHEN_WEIGHT = 12.088, 9.0  # eV and n^2 of the lower level, n = 3


@dataclass(frozen=True, kw_only=True)
class Strengths:
    """What the atmosphere makes of the lines of a list, float64 (B, n_lines).

    opacity: line-centre to continuum, without damping.  damping: Voigt parameter.
    doppler: Doppler width in A.  width: equivalent width in A.
    """

    opacity: FloatArray
    damping: FloatArray
    doppler: FloatArray
    width: FloatArray


def line_depth(labels: Mapping[str, FloatArray]) -> FloatArray:
    """Central depth of a saturated line, (B,)."""
    return np.asarray(CORE_DEPTH + CORE_SLOPE * (labels["T_eff"] - 4800.0) / 1000.0)


def line_strengths(labels: Mapping[str, FloatArray], layer: Layer, lines: LineList) -> Strengths:
    """Saha-Boltzmann populations (Gray 2005, eqs. 1.18 and 1.20), then the curve of growth."""
    populations, speeds, dampings = zip(
        *(_species(labels, layer, name) for name in lines.species), strict=True
    )
    population, speed, collisions = (
        np.stack(columns, axis=1)[:, lines.of_species] for columns in (populations, speeds, dampings)
    )
    theta = (THETA / layer.temperature)[:, None]
    centimetres = lines.wavelength * 1e-8
    frequency_width = speed / centimetres
    stimulated = 1.0 - np.exp(-SECOND_RADIATION / centimetres / layer.temperature[:, None])
    excited = 10.0 ** (lines.strength - lines.excitation * theta) * population * stimulated
    cross_section = ABSORPTION / np.sqrt(np.pi) / frequency_width * excited
    opacity = cross_section / layer.opacity[:, None] * LINE_FORMATION
    damping = collisions / (4.0 * np.pi * frequency_width)
    doppler = speed * lines.wavelength / LIGHT_SPEED
    growth = 10.0 ** log_equivalent_width(np.log10(opacity + 1e-9), np.log10(damping))
    return Strengths(
        opacity=opacity,
        damping=damping,
        doppler=doppler,
        width=line_depth(labels)[:, None] * doppler * growth,
    )


def _species(
    labels: Mapping[str, FloatArray], layer: Layer, species: str
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nuclei in this stage per H and per statistical weight, Doppler speed (cm / s), damping (rad / s), each (B,)."""
    element, stage = species.split()
    properties = ELEMENTS[element]
    ratio = saha_constant(element, layer.temperature) / layer.electron_pressure
    share = (
        ratio / (1.0 + ratio) / properties.ion if stage == "II" else 1.0 / (1.0 + ratio) / properties.neutral
    )
    thermal = 2.0 * GAS_CONSTANT * layer.temperature / properties.mass
    gas_number = layer.gas_pressure / (BOLTZMANN * layer.temperature)
    slope = VAN_DER_WAALS_SLOPE * np.log10(layer.temperature / 1e4)
    collisions = 10.0 ** (VAN_DER_WAALS.get(species, OTHER_VAN_DER_WAALS) + slope) * gas_number
    return (
        abundance(element, labels["M_H"], labels["a_M"]) * share,
        np.sqrt(thermal + MICROTURBULENCE**2),
        collisions + RADIATIVE_DAMPING,
    )


@functools.cache
def weak_profiles() -> tuple[tuple[slice, Float32Array], ...]:
    """For each weak line the pixels it reaches and its profile there, float32, unit area in A, read-only."""
    profiles = []
    for centre in weak_lines().wavelength:
        window = _window(centre, WEAK_REACH)
        offset = (wave()[window] - centre) / LSF_SIGMA
        profile = np.exp(-0.5 * offset**2) / (np.sqrt(2.0 * np.pi) * LSF_SIGMA)
        profiles.append((window, frozen(profile.astype(np.float32))))
    return tuple(profiles)


def add_weak_lines(depth: Float32Array, labels: Mapping[str, FloatArray], layer: Layer) -> None:
    """Add the weak lines to the optical `depth` (B, 4096) in place.

    Line by line, because a matrix product may round differently in another batch.
    """
    widths = line_strengths(labels, layer, weak_lines()).width.astype(np.float32)
    for number, (window, profile) in enumerate(weak_profiles()):
        depth[:, window] += widths[:, number, None] * profile


def multiply_strong_lines(light: Float32Array, labels: Mapping[str, FloatArray], layer: Layer) -> None:
    """Multiply `light` (B, 4096) in place with the strong lines, not yet smoothed by the line-spread function.

    Wings: a eta / (sqrt(pi) (v^2 + 1.5)) through the saturation law. The core gets what the wings lack of the
    equivalent width.
    """
    lines = strong_lines()
    strengths = line_strengths(labels, layer, lines)
    deepest = line_depth(labels).astype(np.float32)[:, None]
    for number, centre in enumerate(lines.wavelength):
        window = _window(centre, STRONG_REACH)
        offset = wave()[window] - centre
        opacity, damping, doppler, width = (
            values[:, number, None].astype(np.float32)
            for values in (strengths.opacity, strengths.damping, strengths.doppler, strengths.width)
        )
        squared = (offset * offset).astype(np.float32) / (doppler * doppler) + np.float32(1.5)
        wing = opacity * damping / np.float32(np.sqrt(np.pi)) / squared
        depth = wing / (1 + wing)
        depth *= deepest
        missing = np.maximum(width - depth.sum(axis=1, keepdims=True) * np.float32(PIXEL), 0)
        core = np.exp(-0.5 * (offset / (CORE_SIGMA * PIXEL)) ** 2)
        inner = np.abs(offset) < 7.0 * CORE_SIGMA * PIXEL
        depth[:, inner] += missing * (core / (core.sum() * PIXEL)).astype(np.float32)[inner]
        light[:, window] *= 1 - np.clip(depth, 0, DEEPEST)


def multiply_paschen_lines(
    light: Float32Array, labels: Mapping[str, FloatArray], line_layer: Layer, hot_layer: Layer
) -> None:
    """Multiply `light` (B, 4096) in place with Pa 12 to Pa 20: Lorentz lines whose Stark width grows as P_e^(2/3)."""
    temperature = labels["T_eff"]
    ratio = saha_constant("H", temperature) / hot_layer.electron_pressure
    excited = (
        PASCHEN_WEIGHT
        / ELEMENTS["H"].neutral
        * 10.0 ** (-PASCHEN_LEVEL * THETA / temperature)
        / (1.0 + ratio)
    )
    for level in PASCHEN:
        centre = 1e8 / (RYDBERG * (1.0 / 9.0 - 1.0 / level**2)) / AIR
        oscillator = 6.0 / level**3  # asymptotic hydrogenic f of 3 -> n (Kramers)
        stark = 2.0 + 2e-3 * level**2 * (hot_layer.electron_pressure / 30.0) ** (2.0 / 3.0)  # A, half width
        per_frequency = PASCHEN_DEPTH * ABSORPTION * oscillator * excited / line_layer.opacity
        width = per_frequency * (centre * 1e-8) ** 2 / LIGHT_SPEED * 1e8
        depth = np.minimum(width / (np.pi * stark), PASCHEN_DEEPEST)[:, None].astype(np.float32)
        near = _window(centre, round(PASCHEN_REACH / PIXEL))
        offset = (wave()[near] - centre).astype(np.float32)
        profile: Float32Array = np.divide(offset, stark[:, None].astype(np.float32))
        profile *= profile
        profile += 1
        np.divide(depth, profile, out=profile)
        np.subtract(1, profile, out=profile)
        light[:, near] *= profile


def _window(centre: float, reach: int) -> slice:
    """The pixels within `reach` of the one that holds `centre`, cut at the ends of the grid."""
    pixel = int(np.searchsorted(wave(), centre))
    return slice(max(pixel - reach, 0), min(pixel + reach, len(wave())))
