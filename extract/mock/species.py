"""Elements of the mock atmosphere: abundances, ionisation equilibrium and collisional damping."""

from dataclasses import dataclass

import numpy as np

from .grid import FloatArray

THETA = 5039.8  # K: theta = 5039.8 / T, of log10 exp(-E / k T) = -theta E with E in eV
BOLTZMANN = 1.380649e-16  # erg / K (CODATA 2018)
GAS_CONSTANT = 8.314463e7  # erg / (K mol) (CODATA 2018)
LIGHT_SPEED = 2.99792458e10  # cm / s
SAHA_CONSTANT = -0.1762  # log10 for pressures in dyn / cm2 (Gray 2005, eq. 1.20)
SECOND_RADIATION = 1.4388  # h c / k in cm K (CODATA 2018)


@dataclass(frozen=True, kw_only=True)
class Element:
    """What the atmosphere must know of one chemical element.

    abundance: log10 N / N_H + 12 in the Sun (Asplund et al. 2009, ARA&A 47, 481, table 1).
    mass: atomic mass units.  ionisation: first potential in eV (NIST Atomic Spectra Database).
    neutral, ion: partition functions of stages I and II near 5000 K (Gray 2005, appendix D.2), taken as constant.
    follows: what the abundance moves with: 'H' nothing, 'M' [M/H], 'a' [M/H] + [alpha/M].
    """

    abundance: float
    mass: float
    ionisation: float
    neutral: float
    ion: float
    follows: str = "M"


ELEMENTS = {
    "H": Element(abundance=12.00, mass=1.008, ionisation=13.598, neutral=2.0, ion=1.0, follows="H"),
    "O": Element(abundance=8.69, mass=16.0, ionisation=13.618, neutral=8.9, ion=4.0, follows="a"),
    "Na": Element(abundance=6.24, mass=23.0, ionisation=5.139, neutral=2.1, ion=1.0),
    "Mg": Element(abundance=7.60, mass=24.3, ionisation=7.646, neutral=1.05, ion=2.0, follows="a"),
    "Al": Element(abundance=6.45, mass=27.0, ionisation=5.986, neutral=5.9, ion=1.0),
    "Si": Element(abundance=7.51, mass=28.1, ionisation=8.152, neutral=9.5, ion=5.8, follows="a"),
    "K": Element(abundance=5.03, mass=39.1, ionisation=4.341, neutral=2.2, ion=1.0),
    "Ca": Element(abundance=6.34, mass=40.1, ionisation=6.113, neutral=1.2, ion=2.3, follows="a"),
    "Ti": Element(abundance=4.95, mass=47.9, ionisation=6.828, neutral=32.0, ion=56.0, follows="a"),
    "V": Element(abundance=3.93, mass=50.9, ionisation=6.746, neutral=50.0, ion=43.0),
    "Cr": Element(abundance=5.64, mass=52.0, ionisation=6.767, neutral=10.5, ion=7.2),
    "Fe": Element(abundance=7.50, mass=55.8, ionisation=7.902, neutral=28.0, ion=44.0),
    "Ni": Element(abundance=6.22, mass=58.7, ionisation=7.640, neutral=30.0, ion=11.0),
    "Rb": Element(abundance=2.52, mass=85.5, ionisation=4.177, neutral=2.2, ion=1.0),
}
DONORS = ("H", "Na", "Mg", "Al", "Si", "K", "Ca", "Fe")  # who gives the free electrons below 6000 K

# log10 of gamma_6 / N_H at 10^4 K in rad cm3 / s (VALD3, Ryabchikova et al. 2015, after Barklem et al. 2000)
VAN_DER_WAALS = {"Ca II": -7.65, "Na I": -7.20, "K I": -7.40, "Mg I": -7.35, "Fe I": -7.55}
OTHER_VAN_DER_WAALS = -7.50
RADIATIVE_DAMPING = (
    1.0e8  # rad / s, of the order of the classical constant 0.2223e16 / lambda^2 with lambda in A
)


def abundance(element: str, M_H: FloatArray, a_M: FloatArray) -> FloatArray:
    """Number of nuclei of `element` per hydrogen nucleus, (B,)."""
    properties = ELEMENTS[element]
    shift = {"H": 0.0 * M_H, "M": M_H, "a": M_H + a_M}[properties.follows]
    return np.asarray(10.0 ** (properties.abundance - 12.0 + shift))


def saha_constant(element: str, temperature: FloatArray) -> FloatArray:
    """Ions per neutral atom times electron pressure in dyn / cm2, for a temperature in K.

    The Saha equation (Gray 2005, eq. 1.20): log10 (N+ / N0) P_e = 2.5 log10 T - chi theta + log10 (U+ / U0) - 0.1762.
    """
    properties = ELEMENTS[element]
    exponent = (
        SAHA_CONSTANT
        + np.log10(properties.ion / properties.neutral)
        + 2.5 * np.log10(temperature)
        - properties.ionisation * THETA / temperature
    )
    return np.asarray(10.0**exponent)
