"""The noise-free flux of a star from its labels."""

import functools
from collections.abc import Mapping

import numpy as np

from .atmosphere import (
    CONTINUUM_DEPTH,
    CONTINUUM_TEMPERATURE,
    LINE_DEPTH,
    LINE_TEMPERATURE,
    solve_layer,
)
from .atomic import add_weak_lines, multiply_paschen_lines, multiply_strong_lines
from .grid import Float32Array, FloatArray, frozen, smooth, wave
from .molecules import band_depths, band_template

MEDIAN_FLUX = 0.75  # the scale of the users' files
COLOUR = 1.0 / 0.96  # colour temperature of the continuum over T_eff, for a limb-darkened disc near 8000 A
PIVOT = 8000.0  # A
PLANCK = 1.4388e8  # h c / k in A K
# Optical depth at which a molecule's bands saturate (TiO hides 70 % of the light, CN 40 %), and their growth before:
# calibrations, because the lines of one layer and one mean template cannot blend as real ones do
BAND_DEPTHS, BAND_GROWTH = {"CN": 0.5, "TiO": 1.2}, 0.9


@functools.cache
def _molecule_templates() -> dict[str, Float32Array]:
    return {name: frozen(band_template(name).astype(np.float32)) for name in BAND_DEPTHS}


@functools.cache
def _planck_terms() -> tuple[Float32Array, Float32Array]:
    """(lambda / pivot)^-5 and -h c / (lambda k colour), each float32 (4096,)."""
    return (
        frozen(((wave() / PIVOT) ** -5).astype(np.float32)),
        frozen((PLANCK / wave() / COLOUR).astype(np.float32)),
    )


def continuum(temperature: FloatArray) -> Float32Array:
    """Planck's law at 1.04 T_eff, divided by its value at 8000 A, float32 (B, 4096)."""
    shape, exponent = _planck_terms()
    pivot = np.expm1(PLANCK / PIVOT / COLOUR / temperature)[:, None].astype(np.float32)
    kelvin = temperature[:, None].astype(np.float32)
    light: Float32Array = np.divide(exponent, kelvin)  # 2.5 to 5: exp - 1 loses nothing
    np.exp(light, out=light)
    light -= 1
    np.divide(pivot, light, out=light)
    light *= shape
    return light


def clean_flux(labels: Mapping[str, FloatArray]) -> Float32Array:
    """Noise-free flux, float32 (B, 4096), median 0.75, of stars with labels T_eff, log_g, M_H, a_M, C_M of shape (B,).

    Continuum times atomic lines times molecular bands. A row's bytes depend on the row alone as long as B is the same:
    every step is elementwise or a reduction along the pixels.
    """
    line_layer = solve_layer(labels, temperature=LINE_TEMPERATURE, depth=LINE_DEPTH)
    hot_layer = solve_layer(labels, temperature=CONTINUUM_TEMPERATURE, depth=CONTINUUM_DEPTH)
    depth = np.zeros((len(labels["T_eff"]), len(wave())), dtype=np.float32)
    for name, column in band_depths(labels, line_layer).items():
        band = (-BAND_GROWTH / BAND_DEPTHS[name] * column).astype(np.float32)[
            :, None
        ] * _molecule_templates()[name]
        np.exp(band, out=band)
        band -= 1
        band *= -BAND_DEPTHS[name]
        depth += band
    add_weak_lines(depth, labels, line_layer)
    light = np.ones_like(depth)
    multiply_strong_lines(light, labels, line_layer)
    multiply_paschen_lines(light, labels, line_layer, hot_layer)
    flux = smooth(light)
    np.negative(depth, out=depth)
    np.exp(depth, out=depth)
    flux *= depth
    flux *= continuum(labels["T_eff"])
    flux *= np.float32(MEDIAN_FLUX) / np.median(flux, axis=1, keepdims=True)
    return flux
