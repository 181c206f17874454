"""A feature view in memory, with which the tests of probes work."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cache.provenance import family, store_key
from probes.kinship import check_kin
from probes.persistence import load_head
from probes.predict import predictions_of

LAYER, POOLING = "enc_pre_latent", "seg_mean_K2"
N_FEATURES = 6


def provenance(
    split, *, origin="checkpoint", level=1.0, draw=0, error_input="true", source="files", precision="fp32"
):
    return {
        "schema": 1,
        "numerics": 1,
        "encoder": {"weights": "ab" * 32, "config": {"num_layers": 3}, "origin": origin, "profile": None},
        "error_input": error_input,
        "input": f"{source}-{split}",
        "data_kind": "mock",
        "split": split,
        "rows": {"n": 1, "selection": "all"},
        "mask": None,
        "noise": {"mode": "draw", "level": level, "seed": 0, "draw": draw, "noise_version": 1},
        "precision": precision,
        "arrays": [[LAYER, "forward", POOLING]],
    }


@dataclass
class FakeView:
    """What `cache.FeatureView` offers to probes, from arrays."""

    X: np.ndarray
    stored: dict[str, np.ndarray]
    stars: np.ndarray
    provenance: dict[str, Any]
    rows: np.ndarray = field(default_factory=lambda: np.arange(0))

    def __post_init__(self):
        if not self.rows.size:
            self.rows = np.arange(len(self.X))

    @property
    def label_names(self):
        return tuple(self.stored)

    @property
    def family(self):
        return family(self.provenance)

    @property
    def split(self):
        return self.provenance["split"]

    @property
    def stores(self):
        return {store_key(self.provenance): "digest of " + self.split}

    def features(self, layer, pooling, direction="forward"):  # noqa: ARG002  one pooling will do
        forward = {LAYER: self.X, "input_flux": self.X[:, :2]}[layer]
        return np.concatenate([forward, -forward], axis=1) if direction == "concat" else forward

    def coordinates(self, layer, pooling, direction="forward"):  # noqa: ARG002  one pooling will do
        """Two channels in three segments, segment by segment; the pseudo-layer has pixels."""
        if layer == "input_flux":
            pixels = {"channel": np.zeros(2), "segment": np.arange(2), "statistic": np.full(2, 2)}
            return pixels | {"wave_lo": 7000.0 + np.arange(2), "wave_hi": 7000.0 + np.arange(2)}
        n = 2 if direction == "concat" else 1
        return {
            "channel": np.tile(np.arange(N_FEATURES) % 2, n),
            "segment": np.tile(np.arange(N_FEATURES) // 2, n),
            "statistic": np.zeros(N_FEATURES * n),
            "wave_lo": np.tile(7000.0 + np.arange(N_FEATURES) // 2, n),
            "wave_hi": np.tile(7001.0 + np.arange(N_FEATURES) // 2, n),
        }

    def labels(self, name):
        return self.stored[name]


def make_view(split, n=40, *, seed=0, first_star=None, signal=1.0, stars=None, **origin):
    """Two labels that are linear in the features, plus noise; stars differ between splits."""
    rng = np.random.default_rng([seed, ("train", "val", "test").index(split)])
    X = rng.standard_normal((n, N_FEATURES)).astype(np.float32)
    weights = np.random.default_rng(99).standard_normal((N_FEATURES, 2))
    y = signal * X @ weights + 0.3 * rng.standard_normal((n, 2))
    start = {"train": 0, "val": 10**6, "test": 2 * 10**6}[split] if first_star is None else first_star
    return FakeView(
        X=X,
        stored={"log_g": y[:, 0], "T_eff": 5000 + 300 * y[:, 1], "mag": rng.uniform(20, 22, n)},
        stars=np.arange(start, start + n, dtype=np.uint64) if stars is None else stars,
        provenance=provenance(split, **origin),
    )


def make_views(n_train=80, n_val=40, n_test=40, **options):
    return {
        split: [make_view(split, n, **options)]
        for split, n in (("train", n_train), ("val", n_val), ("test", n_test))
    }


def predict_view(folder, view, **allowed):
    """What `probes predict` does with a head and a view."""
    saved = load_head(folder)
    check_kin(folder, saved, view, **allowed)
    return predictions_of(saved, view)
