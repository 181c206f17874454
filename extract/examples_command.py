"""`python -m extract examples`: a few spectra as they are, as the network gets them, and denoised, as one record."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cache.arrays import ArrayName
from cache.commandline import Verb

from .few_spectra import FewSpectra, Rows, batches_of, masked_wave, recorded, to_request
from .named_engine import NamedEngine
from .prepare import Prepared

N_ROWS = 8
LAYERS = {
    "flux": "clean_flux",
    "noisy": "input_flux",
    "error": "input_error",
    "denoised": "denoised",
}
"""Arrays of the record, and the pseudo-layers that hold the same numbers in a store."""


class ExamplesSettings(FewSpectra):
    """Keep a few test spectra, clean, noisy and denoised, in a record for figures.

    The record of kind 'examples' has wave (L,), flux, noisy, error and denoised (n, L), row and star. Rows are spread
    evenly over the split. What is on record is not made again.
    Example: python -m extract examples --data artifacts/data/mock --checkpoint shipped
    """

    rows: int = Field(N_ROWS, ge=1, le=64, description="how many spectra")


def make_examples(settings: ExamplesSettings) -> str:
    """Write the record, unless it is there and unchanged, and return its run id; raises what `prepare` raises."""
    return recorded(
        to_request(settings, layers=tuple(LAYERS.values()), poolings=("none",)),
        settings.results,
        n_rows=settings.rows,
        view=lambda *_: {"view": "spectra"},
        arrays=_arrays,
    )


def _arrays(prepared: Prepared, split: str, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    names = {ArrayName(layer, "forward", "none"): name for name, layer in LAYERS.items()}
    engine = NamedEngine(prepared.model, names, config=prepared.config, device=prepared.device)
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in LAYERS}
    for batch in batches_of(prepared, split, rows):
        for array, values in engine.features(batch):
            parts[names[array]].append(values.numpy())
    return {
        "wave": masked_wave(prepared, split),
        **{name: np.concatenate(part) for name, part in parts.items()},
        "row": rows,
        "star": prepared.fingerprints[split].stars[rows],
    }


def run(settings: ExamplesSettings) -> None:
    """Write the record and print where it is."""
    make_examples(settings)


VERB = Verb(ExamplesSettings, run)
