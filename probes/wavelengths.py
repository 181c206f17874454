"""Whether spectra are on the wavelengths that a head was trained on: the network sees pixels, and cannot tell."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cache.arrays import stored_directions
from cache.errors import ProbeError

from .features import FeaturePart
from .persistence import SavedHead
from .views import Array, FeatureView

WINDOWS = "windows"
"""In what is kept of the use of a head: by part, what `windows_of` says of its train features."""
MOST = 17
"""Windows that are kept of a part."""
SAME = 1e-6
"""Of a wavelength: what float32 rounds off is less, a tenth of a pixel at R = 50,000 is more."""

Windows = Mapping[str, Sequence[Sequence[float]]]
"""By part of the features, [lo, hi] of windows in Angstrom, in order."""


def windows_of(view: FeatureView, parts: Sequence[FeaturePart]) -> Windows:
    """Where the features of a view lie: of each part at most MOST of its different wavelength windows, evenly spread.

    They are the `wave_lo` and `wave_hi` of the stored features, in both directions where a part is made of both; other
    grids of as many pixels give others, unless they agree at all of these.
    """
    return {part.path: _spread(_every(view, part)).tolist() for part in parts}


def check_wavelengths(
    folder: Path, saved: SavedHead, view: FeatureView, parts: Sequence[FeaturePart]
) -> str | None:
    """A note where the head saved in `folder` does not tell the wavelengths of its training, else None.

    Raises ProbeError, naming the first part that differs and by how much, for features of a view at others.
    """
    trained: Windows | None = saved.use.get(WINDOWS)
    if trained is None:
        return (
            "note: the head was saved before heads kept their wavelengths: whether these spectra are on the grid of "
            "the training is not known, and on another one the predictions mean nothing; to have it checked, fit the "
            "head again with the command that made it and --refit"
        )
    for path, here in windows_of(view, parts).items():
        there = trained[path]
        if np.shape(there) == np.shape(here) and np.allclose(here, there, rtol=SAME, atol=0):
            continue
        raise ProbeError(
            f"{folder}: fitted to spectra on other wavelengths: the windows of {path} {_told(there, here)}. The "
            "network sees pixels, not wavelengths, so these predictions would be wrong without a sign: resample the "
            "spectra to the pixels of the train files (array `wave`), and extract them again"
        )
    return None


def _every(view: FeatureView, part: FeaturePart) -> Array:
    """The different windows (n, 2) of a part, in order."""
    stored = [view.coordinates(part.layer, part.pooling, one) for one in stored_directions(part.direction)]
    pairs = [np.stack([one["wave_lo"], one["wave_hi"]], axis=1) for one in stored]
    return np.unique(np.concatenate(pairs).astype(np.float64), axis=0)


def _spread(windows: Array) -> Array:
    """At most MOST of them, the first and the last among these."""
    places = np.linspace(0, len(windows) - 1, min(len(windows), MOST)).round().astype(np.intp)
    return np.asarray(windows[places])


def _told(there: Sequence[Sequence[float]], here: Sequence[Sequence[float]]) -> str:
    """How windows of the training and of these features differ."""
    of_training, of_these = (f"{np.min(w):.2f} to {np.max(w):.2f} Angstrom" for w in (there, here))
    apart = ""
    if np.shape(there) == np.shape(here):
        apart = f", apart by up to {np.abs(np.subtract(here, there)).max():.3g} Angstrom"
    return f"reach from {of_training} in training, from {of_these} in these features{apart}"
