"""Two small surveys: one whose error tells log_g, one whose error is a profile times a random factor per star."""

import numpy as np
from hdf5_fixtures import write_table_layout
from survey_fakes import LAYER, POOLING, request, stars

from cache.selection import select, write_selection
from extract.pipeline import extract_features
from probes.audit_stores import ERROR_INPUTS

SIZES = {"train": 400, "val": 100, "test": 250}
ARRAYS = ((LAYER, "forward", POOLING),)


def telling_error(flux, rng):
    """sqrt(flux + sky), large enough to hide the flux."""
    return 0.9 * np.sqrt(np.maximum(flux, 0) + 0.05)


def dumb_error(flux, rng):
    """One profile for all, times a factor that knows nothing of the star."""
    profile = 0.1 + 0.02 * np.sin(np.arange(flux.shape[1]) / 20)
    return profile * rng.uniform(0.7, 1.4, (len(flux), 1))


def write_errors(folder, error_of, sizes=None):
    """A survey with train/, val/ and test/; data_kind is mock."""
    for seed, (split, n_rows) in enumerate((sizes or SIZES).items()):
        content = stars(n_rows, seed)
        error = error_of(content.arrays["flux"], np.random.default_rng([seed, 7]))
        error[:, [0, -1]] = np.nan
        content.arrays["error"] = error
        path = folder / split / "dataset.h5"
        path.parent.mkdir(parents=True)
        write_table_layout(path, content)
    return folder


def extract_all(survey, folder, error_inputs=ERROR_INPUTS, **changes):
    """Stores of the true error with the spectra beside, of the others, and the selection of the first."""
    asked = {"micro_batch": 50, "block_rows": 400, "jobs": 1, **changes}
    spectra = {
        "layers": (*asked.get("layers", (LAYER,)), "input_flux", "input_error"),
        "poolings": (*asked.get("poolings", (POOLING,)), "none"),
    }
    true = extract_features(request(survey, folder, **{**asked, **spectra}))
    for name in error_inputs:
        extract_features(request(survey, folder, error_input=name, **asked))
    write_selection(folder / "true.json", select(folder / "features", true, encoder="small"))
    return folder
