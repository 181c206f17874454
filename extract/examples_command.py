"""`python -m extract examples`: a few spectra as they are, as the network gets them, and denoised, as one record."""

import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cache.arrays import ArrayName
from cache.commandline import Verb
from cache.records import write_record
from cache.runlog import run_log

from .named_engine import NamedEngine
from .one_pass import FewSpectra, Rows, about_rows, batches_of, spec_of, spread, to_request
from .prepare import Prepared, prepare

KIND = "examples"
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
    evenly over the split. Example: python -m extract examples --data artifacts/data/mock --checkpoint shipped
    """

    rows: int = Field(N_ROWS, ge=1, le=64, description="how many spectra")


def make_examples(settings: ExamplesSettings) -> str:
    """Write the record and return its run id; raises what `prepare` raises."""
    started = time.time()
    request = to_request(settings, layers=tuple(LAYERS.values()), poolings=("none",))
    with prepare(request, say=_say) as prepared:
        (split,) = prepared.spectra
        rows = spread(prepared.fingerprints[split].kept, settings.rows)
        arrays = _arrays(prepared, split, rows)
        spec = {**spec_of(prepared, split, rows), "view": "spectra"}
        result = about_rows(prepared, split, rows)
    _, run = run_log(started=started, command=request.command, about={})
    return write_record(settings.results, kind=KIND, spec=spec, result=result, run=run, arrays=arrays)


def _arrays(prepared: Prepared, split: str, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    names = {ArrayName(layer, "forward", "none"): name for name, layer in LAYERS.items()}
    engine = NamedEngine(prepared.model, names, config=prepared.config, device=prepared.device)
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in LAYERS}
    for _, batch in batches_of(prepared, split, rows):
        for array, values in engine.features(batch):
            parts[names[array]].append(values.numpy())
    wave = prepared.spectra[split].wave
    return {
        "wave": wave if prepared.mask is None else wave[prepared.mask],
        **{name: np.concatenate(part) for name, part in parts.items()},
        "row": rows,
        "star": prepared.fingerprints[split].stars[rows],
    }


def run(settings: ExamplesSettings) -> None:
    """Write the record and print where it is."""
    _say(f"wrote {settings.results}/records/{make_examples(settings)}.json")


VERB = Verb(ExamplesSettings, run)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
