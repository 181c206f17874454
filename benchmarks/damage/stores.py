"""Made-up finished stores: the one that is damaged, and three of other runs whose files serve as stale copies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cache.arrays import ArrayName
from cache.skeleton import RowTable
from cache.writer import Block, StoreWriter

N_ROWS, BLOCK_ROWS = 150, 32
"""Five blocks, the last one short; the chunks are larger than a page of 4096 bytes."""

WIDTHS = {
    ArrayName("enc_2", "forward", "seg_mean_K5"): 40,
    ArrayName("enc_pre_latent", "forward", "seg_mean_K5"): 40,
    ArrayName("enc_pre_latent", "backward", "seg_mean_K5"): 40,
}
COMPUTED_WITH = {"engine": "made up", "threads": 1, "micro_batch": 16}
NO_VALUES = ("mag", "snr")
"""Labels without one value: their files are equal, so that swapping them changes nothing."""

INPUT = "12" * 32
"""Input digest of every run: the same file list."""


@dataclass(frozen=True)
class Run:
    """One run of a made-up extraction."""

    name: str
    values: int
    """Seed of the features."""
    labels: int
    """Seed of rows, stars, identifiers, labels and coordinates."""
    weights: str
    """Two hex digits; other weights give another key."""


ORIGINAL = Run("original", values=1, labels=1, weights="ab")
OTHERS = (
    Run("same key, other values", values=2, labels=2, weights="ab"),
    Run("other weights, same rows", values=3, labels=1, weights="cd"),
    Run("other weights and rows", values=4, labels=4, weights="ef"),
)


def provenance(run: Run) -> dict[str, Any]:
    """A complete provenance."""
    return {
        "schema": 1,
        "numerics": 1,
        "encoder": {
            "weights": run.weights * 32,
            "config": {"num_layers": 4, "embed_dim": 8, "norm": "bn", "dilation": 1, "blindspot": True},
            "origin": "checkpoint",
            "profile": None,
        },
        "error_input": "true",
        "input": INPUT,
        "data_kind": "mock",
        "split": "train",
        "rows": {"n": N_ROWS, "selection": "all"},
        "mask": None,
        "noise": {"mode": "draw", "level": 1.0, "seed": 0, "draw": 0, "noise_version": 1},
        "precision": "fp32",
        "arrays": [[array.path, WIDTHS[array]] for array in sorted(WIDTHS)],
    }


def row_table(run: Run) -> RowTable:
    """Rows with string identifiers and labels, some of which have no value."""
    rng = np.random.default_rng([run.labels, 0])
    log_g = rng.standard_normal(N_ROWS)
    log_g[rng.integers(0, N_ROWS, 9)] = np.nan
    return RowTable(
        row=np.arange(N_ROWS) + 1000 * run.labels,
        star=rng.integers(0, 2**63, N_ROWS, dtype=np.uint64),
        id=[f"{run.labels}-{rng.integers(10**6)}" for _ in range(N_ROWS)],
        labels={"log_g": log_g, **{name: np.full(N_ROWS, np.nan) for name in NO_VALUES}},
    )


def coordinates(array: ArrayName, run: Run) -> dict[str, np.ndarray]:
    """Coordinates of the feature axis; the wavelengths differ by array and run."""
    width = WIDTHS[array]
    edge = 7000.0 + 10 * list(WIDTHS).index(array) + run.labels
    return {
        "channel": np.arange(width) % 8,
        "segment": np.arange(width) // 8,
        "statistic": np.zeros(width),
        "wave_lo": edge + np.arange(width),
        "wave_hi": edge + 5 + np.arange(width),
    }


def values(array: ArrayName, run: Run) -> np.ndarray:
    """Features, (N, D) float32."""
    rng = np.random.default_rng([run.values, list(WIDTHS).index(array)])
    return rng.standard_normal((N_ROWS, WIDTHS[array])).astype(np.float32)


def write_store(root: Path, run: Run) -> Path:
    """A finished store under `root`; its folder."""
    writer = StoreWriter.create(
        root,
        provenance(run),
        rows=row_table(run),
        coordinates={array: coordinates(array, run) for array in WIDTHS},
        block_rows=BLOCK_ROWS,
    )
    fill(writer, {array: values(array, run) for array in WIDTHS})
    note = {"command": "python -m extract run --data FOLDER --checkpoint X", "encoder": "made up"}
    writer.record_run("2026-01-01T00-00-00Z", note)
    return writer.path


def fill(writer: StoreWriter, features: Mapping[ArrayName, np.ndarray]) -> None:
    """Commit every block that is not committed, as the next extraction would."""
    for block in writer.pending():
        lo, hi = writer.header.block(block)
        computed = {array: matrix[lo:hi] for array, matrix in features.items()}
        with writer.claim(block) as free:
            if free:
                writer.commit(block, Block(arrays=computed, input=f"slab {block}"), COMPUTED_WITH)
