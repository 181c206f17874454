"""TiO and CN in the mock atmosphere: how much there is, and where their bands absorb."""

import functools
import itertools
from collections.abc import Mapping

import numpy as np

from .atmosphere import NUCLEI_PER_HYDROGEN, Layer
from .grid import AIR, PIXEL, FloatArray, frozen, smooth, wave, wave_edges
from .species import SECOND_RADIATION, THETA

# Nuclei per hydrogen nucleus in the Sun, log10 (Asplund et al. 2009)
SOLAR_C, SOLAR_N, SOLAR_O, SOLAR_TI = -3.57, -4.17, -3.31, -7.05
# log10 of P(A) P(B) / P(AB) in dyn / cm2 = c0 + c1 theta + c2 theta^2 + c3 theta^3 (Tsuji 1973, A&A 23, 411)
DISSOCIATION = {
    "CO": (13.820, -11.795, 0.1722, -0.0229),
    "N2": (13.590, -10.585, 0.2207, -0.0300),
    "CN": (12.805, -8.279, 0.0642, -0.0074),
    "C2": (12.804, -6.518, 0.0977, -0.0127),
    "TiO": (13.398, -8.596, 0.4087, -0.0579),
}
COOLEST_FIT = 4700.0  # K: the equilibria are not followed to hotter layers, where the bands are gone anyway
# Mean cross-sections in cm2 per molecule over the arm. Calibrations by eye, not measurements: CN dents an M_H = 0 giant
# by a few per cent, TiO rules below 4000 K
CROSS_SECTION = {"CN": 5e-20, "TiO": 7e-19}
# Band heads (Angstrom in air, relative strength): TiO gamma, gamma' and delta systems (Pearse & Gaydon 1976; Jorgensen
# 1994, A&A 284, 179); CN red system (Davis & Phillips 1963; Brooke et al. 2014, ApJS 210, 23).
HEADS = {
    "TiO": (
        *((7054, 0.60), (7088, 0.70), (7126, 0.80), (7197, 0.30), (7270, 0.20), (7589, 0.50), (7628, 0.50)),
        *((7666, 0.50), (8206, 0.10), (8250, 0.10), (8300, 0.08), (8432, 0.35), (8442, 0.25), (8452, 0.20)),
    ),
    "CN": (
        *((7089, 0.25), (7259, 0.30), (7437, 0.25), (7629, 0.10), (7876, 0.90), (7916, 0.60), (8067, 0.70)),
        *((8108, 0.50), (8271, 0.50), (8316, 0.30), (8485, 0.30), (8703, 0.20)),
    ),
}
# Rotational constants B of the upper and the lower state in 1 / cm (Huber & Herzberg 1979)
ROTATION = {"TiO": (0.5074, 0.5354), "CN": (1.698, 1.891)}
# Components of each band by spin-orbit splitting, offsets in 1 / cm: CN's A 2-Pi state is split by 52.6 (Huber and
# Herzberg 1979); the three heads of each TiO band are in the list
COMPONENTS = {"TiO": (0.0,), "CN": (0.0, 52.6)}
ROTATIONAL_TEMPERATURE = 3800.0  # K


@functools.cache
def band_template(molecule: str) -> FloatArray:
    """Absorption of `molecule` by pixel at unit mean, float64 (4096,), read-only.

    Each head starts P, Q and R branches, nu(J) of a rigid rotator with Boltzmann-populated levels (Herzberg 1950).
    """
    upper, lower = ROTATION[molecule]
    levels = np.arange(1, 90)
    population = (2 * levels + 1) * np.exp(
        -SECOND_RADIATION * lower * levels * (levels + 1) / ROTATIONAL_TEMPERATURE
    )
    population /= population.sum()
    bend = (upper - lower) * levels**2
    # from the band's origin to the turn of its R branch
    to_head = (upper + lower) ** 2 / (4.0 * (lower - upper))
    template = np.zeros(len(wave()))
    for (head, strength), split in itertools.product(HEADS[molecule], COMPONENTS[molecule]):
        origin = 1e8 / head / AIR - to_head - split
        branches = (
            (origin + 2 * upper + (3 * upper - lower) * levels + bend, 0.5),  # R
            (origin + (upper - lower) * levels + bend, 1.0),  # Q
            (origin - (upper + lower) * levels + bend, 0.5),  # P
        )
        for wavenumber, share in branches:
            counts = np.histogram(1e8 / wavenumber / AIR, bins=wave_edges(), weights=population * share)[0]
            template += strength * counts / PIXEL
    template = smooth(template[None])[0]
    return frozen(template / template.mean())


def band_depths(labels: Mapping[str, FloatArray], layer: Layer) -> dict[str, FloatArray]:
    """Mean line-to-continuum opacity of each molecule, {'CN': (B,), 'TiO': (B,)}.

    C and O bind into CO first, then C into C2, N into N2; what is left makes CN and TiO.
    """
    theta = THETA / np.minimum(layer.temperature, COOLEST_FIT)
    hydrogen_pressure = layer.gas_pressure / NUCLEI_PER_HYDROGEN
    equilibrium = {
        name: 10.0 ** (c0 + c1 * theta + c2 * theta**2 + c3 * theta**3) / hydrogen_pressure
        for name, (c0, c1, c2, c3) in DISSOCIATION.items()
    }
    M_H, a_M, C_M = labels["M_H"], labels["a_M"], labels["C_M"]
    carbon, nitrogen = 10.0 ** (SOLAR_C + M_H + C_M), 10.0 ** (SOLAR_N + M_H)
    oxygen, titanium = 10.0 ** (SOLAR_O + M_H + a_M), 10.0 ** (SOLAR_TI + M_H + a_M)
    total = carbon + oxygen + equilibrium["CO"]
    monoxide = 0.5 * (total - np.sqrt(np.maximum(total * total - 4.0 * carbon * oxygen, 0.0)))
    # 1e-12 and 1e-9 per hydrogen: what the difference of two nearly equal numbers cannot resolve
    free_carbon, free_oxygen = np.maximum(carbon - monoxide, 1e-12), np.maximum(oxygen - monoxide, 1e-9)
    # C2 holds what CO leaves in a carbon star: c + 2 c^2 / K = carbon - monoxide
    free_carbon *= 2.0 / (1.0 + np.sqrt(1.0 + 8.0 * free_carbon / equilibrium["C2"]))
    free_nitrogen = 2.0 * nitrogen / (1.0 + np.sqrt(1.0 + 8.0 * nitrogen / equilibrium["N2"]))
    bound = free_oxygen / equilibrium["TiO"]
    numbers = {
        "CN": free_carbon * free_nitrogen / equilibrium["CN"],
        "TiO": titanium * bound / (1.0 + bound),
    }
    return {name: number / layer.opacity * CROSS_SECTION[name] for name, number in numbers.items()}
