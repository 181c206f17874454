"""How tests/data/store_v1 was made: PYTHONPATH=. python tests/make_store_v1.py (fails when the folder is there)."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from cache.arrays import ArrayName
from cache.skeleton import RowTable
from cache.writer import Block, StoreWriter

N_ROWS, BLOCK_ROWS, WIDTH = 6, 4, 3
ARRAY = ArrayName("enc_pre_latent", "forward", "global_mean")
ABOUT = {
    "schema": 1,
    "numerics": 1,
    "encoder": {"weights": "0" * 64, "config": {"num_layers": 3}, "origin": "checkpoint", "profile": None},
    "error_input": "true",
    "input": "1" * 64,
    "data_kind": "mock",
    "split": "test",
    "rows": {"n": N_ROWS, "selection": "all"},
    "mask": None,
    "noise": {"mode": "draw", "level": 1.0, "seed": 0, "draw": 0, "noise_version": 1},
    "precision": "fp32",
    "arrays": [[ARRAY.path, WIDTH]],
}


def expected():
    """The features in the store."""
    return {ARRAY: np.arange(N_ROWS * WIDTH, dtype=np.float32).reshape(N_ROWS, WIDTH) / 8}


def build(root):
    """Write the store under `root`; its folder."""
    writer = StoreWriter.create(
        root,
        ABOUT,
        rows=RowTable(
            row=np.arange(N_ROWS),
            star=np.arange(N_ROWS, dtype=np.uint64) + 7,
            id=[f"s{k}" for k in range(N_ROWS)],
            labels={"log_g": np.arange(1.0, N_ROWS + 1)},
        ),
        coordinates={
            ARRAY: {
                "channel": np.arange(WIDTH),
                "segment": np.zeros(WIDTH),
                "statistic": np.zeros(WIDTH),
                "wave_lo": np.full(WIDTH, 7100.0),
                "wave_hi": np.full(WIDTH, 8800.0),
            }
        },
        block_rows=BLOCK_ROWS,
    )
    for block in writer.pending():
        lo, hi = writer.header.block(block)
        values = {array: all_rows[lo:hi] for array, all_rows in expected().items()}
        writer.commit(block, Block(arrays=values, input="2" * 64), {"engine": "none"})
    return writer.path


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(build(Path(folder)), Path(__file__).parent / "data" / "store_v1")
