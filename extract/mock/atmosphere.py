"""Pressures and continuum opacity of a star at one optical depth, from its labels.

A star is two layers in local thermodynamic equilibrium. In each, gas pressure follows from hydrostatic equilibrium,
P = g tau / kappa(T, P_e), electron pressure from charge balance over the donors, and kappa is that of H-minus with
Rayleigh scattering on hydrogen (Gray 2005, chapters 8 and 9; John 1988, A&A 193, 189).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .grid import FloatArray
from .species import DONORS, THETA, abundance, saha_constant

MASS_PER_HYDROGEN = 2.34e-24  # g: 1.4 atomic mass units per hydrogen nucleus, helium included
NUCLEI_PER_HYDROGEN = 1.085  # He / H = 0.085 by number (Asplund et al. 2009)
H_MINUS_CONSTANT = 4.158e-10  # Gray 2005, eq. 8.12
H_MINUS_CROSS_SECTION = 3.9e-17  # cm2 at 8000 A (Wishart 1979, MNRAS 187, 59P)
FREE_FREE = 1.08  # bound-free to total H-minus at 8000 A (John 1988)
RAYLEIGH = 5.8e-13 / 8000.0**4 * 1.35  # cm2 per H at 8000 A (Dalgarno & Williams 1962); 1.35 for He and H2
N_ITERATIONS = 25  # the damped fixed point moves by less than 1e-6 after these in the whole label range

# T / T_eff, and 8000 A optical depth, where lines form (grey atmosphere)
LINE_TEMPERATURE, LINE_DEPTH = 0.87, 0.15
CONTINUUM_TEMPERATURE, CONTINUUM_DEPTH = 0.95, 0.45  # the same for hydrogen's high levels


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of B stars, float64 (B,): K, dyn / cm2, dyn / cm2, cm2 per hydrogen nucleus at 8000 A."""

    temperature: FloatArray
    gas_pressure: FloatArray
    electron_pressure: FloatArray
    opacity: FloatArray


def solve_layer(labels: Mapping[str, FloatArray], *, temperature: float, depth: float) -> Layer:
    """The layer at `temperature` (in units of T_eff) and optical depth `depth`, for labels of shape (B,)."""
    kelvin = temperature * labels["T_eff"]
    gravity = 10.0 ** labels["log_g"]
    theta = THETA / kelvin
    h_minus = H_MINUS_CONSTANT * H_MINUS_CROSS_SECTION * theta**2.5 * 10.0 ** (0.754 * theta)
    per_electron_pressure = FREE_FREE * h_minus / MASS_PER_HYDROGEN
    floor = RAYLEIGH / MASS_PER_HYDROGEN
    donors = np.stack([abundance(name, labels["M_H"], labels["a_M"]) for name in DONORS])
    ionisation = np.stack([saha_constant(name, kelvin) for name in DONORS])
    gas = 1e5 * (gravity / 2.7e4) ** 0.6 * depth  # the Sun's value, scaled: only a start
    electrons = gas * 1e-4
    for _ in range(N_ITERATIONS):
        free = (donors * ionisation / (ionisation + electrons)).sum(axis=0)
        # the geometric mean of old and new damps the swing between the two equations
        electrons = np.sqrt(electrons * np.maximum(free * gas / NUCLEI_PER_HYDROGEN, 1e-9))
        gas = np.sqrt(gas * gravity * depth / (per_electron_pressure * electrons + floor))
    opacity = (per_electron_pressure * electrons + floor) * MASS_PER_HYDROGEN
    return Layer(temperature=kelvin, gas_pressure=gas, electron_pressure=electrons, opacity=opacity)
