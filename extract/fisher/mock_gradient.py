"""Gradients of the mock survey's own spectra: the generator again, with labels shifted a little to both sides."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cache.errors import InputError

from ..mock.grid import N_PIXELS
from ..mock.spectrum import clean_flux
from ..mock.survey import BATCH, MOCK_VERSION, RANGES
from .information import LABELS, Float64s

STEPS: Mapping[str, float] = {"T_eff": 1.2, "log_g": 0.003, "M_H": 0.003, "a_M": 0.003, "C_M": 0.003}
"""Half of the distance between the two spectra of a central difference, K and dex.

Chosen on 512 stars: with half or twice these, or a stencil of four points, the prior-aware standard deviations of the
labels change by 2e-4 at most (median over stars) and the mean variance of log_g by less than 1e-4. Longer steps bridge
the kinks of the generator (a table of the curve of growth, clipped lines), shorter ones drown in its float32.
"""
AGREES = 1e-5
"""Of the flux, relative to 1: the generator gives the spectrum of the file to float32 rounding on any machine."""


def describe() -> dict[str, object]:
    """What goes into the key."""
    return {"name": "mock", "mock_version": MOCK_VERSION, "steps": dict(STEPS)}


def mock_gradient(labels: Float64s, flux: Float64s, rows: npt.NDArray[np.int64]) -> Float64s:
    """D flux / d label of mock stars, (n, 5, L_file) float64, by central differences; labels (n, 5), flux (n, L_file).

    Raises InputError, naming the first of `rows`, when the generator does not give `flux` for these labels: the
    spectra are not those of this version of the mock survey, and their gradient would be another's.
    """
    _check_made_by_the_generator(labels, flux, rows)
    gradient = np.empty((len(labels), len(LABELS), flux.shape[1]))
    for place, name in enumerate(LABELS):
        shift = np.zeros(len(LABELS))
        shift[place] = STEPS[name]
        up, down = labels + shift, labels - shift
        distance = (up - down)[:, place, None]  # as rounded
        gradient[:, place] = (_flux(up) - _flux(down)) / distance
    return gradient


def _check_made_by_the_generator(labels: Float64s, flux: Float64s, rows: npt.NDArray[np.int64]) -> None:
    low, high = np.array([RANGES[name] for name in LABELS]).T
    outside = ((labels < low) | (labels > high)).any(axis=1)
    if flux.shape[1] != N_PIXELS:
        place, told = 0, f"makes {N_PIXELS} pixels, not {flux.shape[1]}"
    elif outside.any():
        place = int(np.argmax(outside))
        told = f"has no star with its labels {labels[place].tolist()}"
    else:
        differs = np.abs(_flux(labels) - flux).max(axis=1)
        if (differs <= AGREES).all():
            return
        place = int(np.argmax(differs > AGREES))
        told = f"gives another spectrum for its labels (by up to {differs[place]:.2g})"
    raise InputError(
        f"row {rows[place]}: the mock survey (version {MOCK_VERSION}) {told}; the file was made otherwise: make it "
        "anew with python -m extract mock, or use --method emulator"
    )


def _flux(labels: Float64s) -> Float64s:
    """Clean spectra (n, L_file), made in the generator's own batches so that no neighbour changes a bit."""
    made = []
    for start in range(0, len(labels), BATCH):
        part = labels[start : start + BATCH]
        padded = np.concatenate([part, np.repeat(part[-1:], BATCH - len(part), axis=0)])
        columns = {name: padded[:, place].copy() for place, name in enumerate(LABELS)}
        made.append(clean_flux(columns)[: len(part)].astype(np.float64))
    return np.concatenate(made)
