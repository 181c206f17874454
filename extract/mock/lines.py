"""The atomic line list of the mock survey, as data.

Wavelengths in air (Angstrom), lower excitation potentials (eV) and log gf, rounded, after the NIST Atomic Spectra
Database and VALD3 (Ryabchikova et al. 2015, Phys. Scr. 90, 054005). The list holds what is visible at R = 5000 in
stars of 3750 to 6000 K; it is meant for right trends, not for abundance work.
"""

import functools
from dataclasses import dataclass

import numpy as np

from .grid import FloatArray, frozen

# species: wavelength, excitation, log gf; ...   Synthesised with explicit damping wings:
STRONG = """
Ca II: 8498.02,1.692,-1.42  8542.09,1.700,-0.46  8662.14,1.692,-0.72
Na I: 8183.26,2.102,0.24  8194.81,2.104,0.49
K I: 7664.90,0.000,0.13  7698.96,0.000,-0.17
Mg I: 8806.76,4.346,-0.14
Fe I: 8327.06,2.198,-1.53  8387.77,2.176,-1.49  8468.41,2.223,-2.07  8661.90,2.223,-1.44  8688.62,2.176,-1.21
Fe I: 8824.22,2.198,-1.54
"""
# Represented by their equivalent width alone, because the line-spread function is wider than they are:
WEAK = """
Mg I: 7387.69,5.753,-1.00  7657.60,5.108,-1.27  7691.55,5.753,-0.78  8098.72,5.946,-1.10  8213.03,5.753,-0.51
Mg I: 8712.68,5.932,-1.09  8717.83,5.933,-0.93  8736.02,5.946,-0.72
Ca I: 7148.15,2.709,0.14  7202.19,2.709,-0.26  7326.15,2.933,-0.21
Al I: 7361.57,4.021,-0.90  7362.30,4.022,-0.75  7835.31,4.022,-0.65  7836.13,4.022,-0.49  8772.87,4.022,-0.32
Al I: 8773.90,4.022,-0.16
Si I: 7405.77,5.614,-0.82  7415.95,5.616,-0.50  7423.50,5.619,-0.31  7918.38,5.954,-0.61  7932.35,5.964,-0.47
Si I: 7944.00,5.984,-0.31  8556.78,5.871,-0.15  8648.47,6.206,0.05  8728.01,6.181,-0.36  8742.45,5.871,-0.51
Si I: 8752.01,5.871,-0.36
O I: 7771.94,9.146,0.37  7774.17,9.146,0.22  7775.39,9.146,0.00  8446.36,9.521,0.24
Rb I: 7800.27,0.000,0.14  7947.60,0.000,-0.17
Ti I: 7209.44,1.460,-0.50  7244.85,1.443,-0.81  7251.71,1.430,-0.84  7344.69,1.460,-0.99  7357.73,1.443,-1.12
Ti I: 7949.15,1.503,-1.46  8024.84,1.879,-1.14  8068.24,1.873,-1.20  8364.24,0.836,-1.76  8377.86,0.826,-1.61
Ti I: 8382.53,0.818,-1.63  8396.90,0.813,-1.78  8412.36,0.818,-1.39  8426.50,0.826,-1.20  8434.96,0.848,-0.84
Ti I: 8435.65,0.836,-1.02  8450.87,2.249,-0.80  8518.03,2.134,-1.00  8548.09,1.873,-1.20  8675.37,1.067,-1.67
Ti I: 8682.98,1.053,-1.94  8692.33,1.046,-2.29  8734.71,1.053,-2.38
V I: 8116.79,1.081,-1.10  8161.06,1.064,-1.20
Cr I: 7355.90,2.890,-0.29  7400.18,2.900,-0.11  7462.31,2.914,0.04  8348.28,2.708,-1.90
Ni I: 7122.19,3.542,0.04  7393.60,3.606,-0.27  7409.35,3.796,-0.10  7414.50,1.986,-2.57  7422.28,3.635,-0.14
Ni I: 7522.76,3.658,-0.57  7525.11,3.635,-0.55  7555.60,3.847,-0.05  7574.05,3.833,-0.58  7714.31,1.935,-2.20
Ni I: 7727.62,3.679,-0.17  7748.89,3.706,-0.35  7788.94,1.951,-2.42  7797.59,3.898,-0.26
Fe I: 7130.92,4.218,-0.79  7164.44,4.191,-0.73  7187.32,4.103,-0.15  7207.40,4.154,-0.50  7293.05,4.256,-0.90
Fe I: 7320.68,4.558,-1.10  7389.40,4.301,-0.46  7411.15,4.283,-0.30  7445.75,4.256,-0.10  7491.65,4.301,-0.90
Fe I: 7495.07,4.221,-0.10  7511.02,4.178,0.12  7531.14,4.371,-0.56  7568.90,4.283,-0.77  7583.79,3.018,-1.89
Fe I: 7586.02,4.313,-0.46  7664.29,2.990,-1.68  7742.70,4.991,-0.42  7748.27,2.949,-1.75  7780.56,4.473,0.03
Fe I: 7832.20,4.435,0.11  7937.14,4.312,0.15  7945.85,4.386,0.09  7998.94,4.371,0.15  8046.05,4.415,0.03
Fe I: 8085.17,4.446,-0.12  8220.38,4.320,0.20  8239.13,2.424,-3.18  8248.13,4.371,-0.89  8365.63,3.251,-2.05
Fe I: 8439.57,4.549,-0.59  8471.74,4.956,-0.90  8514.07,2.198,-2.23  8526.67,4.913,-0.76  8582.26,2.990,-2.13
Fe I: 8598.83,4.386,-1.09  8611.80,2.845,-1.93  8621.60,2.949,-2.32  8674.75,2.831,-1.80  8757.19,2.845,-2.06
Fe I: 8763.97,4.652,-0.15  8793.34,4.607,-0.09  8838.43,2.858,-2.05
"""


@dataclass(frozen=True, kw_only=True)
class LineList:
    """Lines of one kind; arrays are float64 (n_lines,) and read-only.

    species: names such as 'Fe I', each once.  of_species: (n_lines,) index into `species`.
    """

    species: tuple[str, ...]
    of_species: FloatArray
    wavelength: FloatArray
    excitation: FloatArray
    strength: FloatArray


def parse_lines(text: str) -> LineList:
    """Read a list written as above: `species: wavelength,excitation,log_gf ...`, one species a text line."""
    rows: list[tuple[str, float, float, float]] = []
    for text_line in text.strip().splitlines():
        species, _, entries = text_line.partition(":")
        for entry in entries.split():
            wavelength, excitation, strength = map(float, entry.split(","))
            rows.append((species, wavelength, excitation, strength))
    names = tuple(sorted({row[0] for row in rows}))
    return LineList(
        species=names,
        of_species=frozen(np.array([names.index(row[0]) for row in rows], dtype=np.intp)),
        wavelength=frozen(np.array([row[1] for row in rows])),
        excitation=frozen(np.array([row[2] for row in rows])),
        strength=frozen(np.array([row[3] for row in rows])),
    )


@functools.cache
def strong_lines() -> LineList:
    """Lines whose damping wings are resolved."""
    return parse_lines(STRONG)


@functools.cache
def weak_lines() -> LineList:
    """Lines that the line-spread function hides."""
    return parse_lines(WEAK)
