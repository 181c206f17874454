"""Cut the golden arrays down to tests/data/golden_cut.npz: two rows, every 32nd cell, every 37th output pixel.

Run once, from the repository root, where ../shared/golden exists: `python tests/data/cut_golden.py`.
The checkpoints and YAML files beside it are plain copies of the golden ones.
"""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
ROWS = [0, 3]  # forward; the backward twins stand 8 rows further down
CELLS, PIXELS = 32, 37


def cut() -> dict[str, np.ndarray]:
    """Collect `{network}/{L}/{name}` for the small networks and `inputs/{L}/{name}`."""
    kept: dict[str, np.ndarray] = {}
    for length in (4096, 3481):
        with np.load(GOLDEN / f"inputs_L{length}.npz") as inputs:
            for name in ("noisy", "error"):
                kept[f"inputs/{length}/{name}"] = inputs[name][ROWS]
    for network, length in (("small", 4096), ("small", 3481), ("mu_ln", 4096)):
        with np.load(GOLDEN / f"{network}_L{length}.npz") as arrays:
            for name in arrays:
                if name == "out":
                    kept[f"{network}/{length}/out"] = arrays[name][ROWS][..., ::PIXELS]
                elif not name.endswith(("_mean", "_std", "_max")):
                    both = [*ROWS, *(row + 8 for row in ROWS)]
                    kept[f"{network}/{length}/{name}"] = arrays[name][both][..., ::CELLS]
    return kept


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).parent / "golden_cut.npz", **cut())
