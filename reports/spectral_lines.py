"""The strong lines of the red spectra, to find one's way in wavelength."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from .style import FAINT, SOFT
from .typesetting import SMALL


@dataclass(frozen=True, kw_only=True)
class SpectralLine:
    """A line: species and wavelength in air, Angstrom."""

    species: str
    wave: float


# Wavelengths in air, Angstrom: NIST Atomic Spectra Database, https://physics.nist.gov/asd.
LINES = (
    SpectralLine(species="K I", wave=7664.90),
    SpectralLine(species="K I", wave=7698.96),
    SpectralLine(species="Na I", wave=8183.26),
    SpectralLine(species="Na I", wave=8194.82),
    SpectralLine(species="Ca II", wave=8498.02),
    SpectralLine(species="Ca II", wave=8542.09),
    SpectralLine(species="Ca II", wave=8662.14),
    SpectralLine(species="Mg I", wave=8806.76),
)
TOGETHER = 0.04
"""Lines of one species nearer to each other than this part of the axis share a name."""


def wavelength_note(data_kind: str) -> str:
    """How the wavelengths of the data and those of the lines compare."""
    if data_kind == "mock":
        return "Wavelengths of the mock survey, and of the lines marked, are in air."
    # Index of refraction of air at 7600 to 8800 A minus 1: 2.75e-4 (Ciddor 1996, Appl. Opt. 35, 1566).
    return (
        "Lines are marked at their wavelengths in air; where those of the file are in vacuum, features lie 2.1 to 2.4 "
        "Å to the red of them."
    )


def lines_between(low: float, high: float) -> Iterator[tuple[str, Sequence[SpectralLine]]]:
    """Names and lines within the range: lines of one species near each other are named together."""
    group: list[SpectralLine] = []
    for line in (line for line in LINES if low <= line.wave <= high):
        if group and (
            line.species != group[0].species or line.wave - group[-1].wave > TOGETHER * (high - low)
        ):
            yield group[0].species, tuple(group)
            group = []
        group.append(line)
    if group:
        yield group[0].species, tuple(group)


def mark_lines(axes: Axes, *, named: bool = True) -> None:
    """Dotted lines across the axes, with their names above it; call it when the wavelength axis has its limits."""
    low, high = axes.get_xlim()
    for species, lines in lines_between(low, high):
        for line in lines:
            axes.axvline(line.wave, color=FAINT, linewidth=0.7, linestyle=":", zorder=0.5)
        if named:
            centre = (lines[0].wave + lines[-1].wave) / 2
            axes.text(
                centre,
                1.01,
                species,
                transform=axes.get_xaxis_transform(),
                fontsize=SMALL,
                color=SOFT,
                ha="center",
                va="bottom",
            )


def holds_line(low: float, high: float) -> bool:
    """Whether a line lies within the range, ends included."""
    return any(low <= line.wave <= high for line in LINES)
