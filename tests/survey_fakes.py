"""A survey of 256 pixels with labels that the flux tells, and requests for its features by a tiny network."""

from pathlib import Path

import numpy as np
from hdf5_fixtures import Example, write_table_layout

from cache import FeatureStore
from extract.pipeline import extract_features
from extract.prepare import prepare
from extract.request import ExtractConfig

DATA = Path(__file__).parent / "data"
CHECKPOINT, YAML = DATA / "small.ckpt", DATA / "small.yaml"
N_PIXELS = 256
SIZES = {"train": 40, "val": 12, "test": 16}
LAYER, POOLING = "enc_pre_latent", "seg_mean_K4"


def stars(n_rows, seed, *, n_pixels=N_PIXELS, first_id=0):
    """Spectra around 1 with a slope that follows T_eff, a line that follows log_g, and error near 0.1."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, n_pixels)
    labels = {
        "T_eff": rng.uniform(4000, 6000, n_rows),
        "log_g": rng.uniform(1, 5, n_rows),
        "mag": rng.uniform(20, 22, n_rows),
        "snr": np.full(n_rows, np.nan),
        "id": np.arange(first_id, first_id + n_rows),
    }
    slope = (labels["T_eff"] / 5000 - 1)[:, None] * x
    line = (labels["log_g"] / 5)[:, None] * np.exp(-((x - 0.3) ** 2) / 0.01)
    flux = 1 + slope - 0.6 * line + 0.01 * rng.standard_normal((n_rows, n_pixels))
    error = 0.1 + 0.02 * rng.random((n_rows, n_pixels))
    error[:, [0, -1]] = np.nan
    return Example({"wave": np.linspace(7100.0, 8850.0, n_pixels), "flux": flux, "error": error}, labels)


def write_survey(folder, sizes=None, **attributes):
    """train/, val/ and test/ with ids that start from 0 in each; `attributes` go to the root of every file."""
    for seed, (split, n_rows) in enumerate((sizes or SIZES).items()):
        path = folder / split / "dataset.h5"
        path.parent.mkdir(parents=True)
        write_table_layout(path, stars(n_rows, seed), attributes=attributes)
    return folder


def request(data, folder, **changes):
    """A request for one array; `data` is a survey's folder, a file (test), or a mapping of splits to files."""
    if not isinstance(data, dict):
        data = Path(data)
        data = (
            {s: (data / s / "dataset.h5",) for s in SIZES if (data / s).exists()}
            if data.is_dir()
            else {"test": (data,)}
        )
    plain = {
        "data": data,
        "checkpoint": str(CHECKPOINT),
        "config_model": YAML,
        "layers": (LAYER,),
        "poolings": (POOLING,),
        "device": "cpu",
        "threads": 1,
        "micro_batch": 8,
        "block_rows": 16,
        "out": folder / "features",
        "encoders": folder / "encoders",
        "digests": folder / "digests",
    }
    return ExtractConfig(**{**plain, **changes})


def only(paths, split="test"):
    """The one store of a split."""
    (path,) = paths[split]
    return FeatureStore.open(path)


def extract_one(data, folder, **changes):
    """The one store of a request for one split."""
    return only(extract_features(request(data, folder, **changes)))


def provenance(data, folder, **changes):
    """What the first test store of a request would be made from."""
    with prepare(request(data, folder, **changes)) as prepared:
        return prepared.plans["test"][0].provenance
