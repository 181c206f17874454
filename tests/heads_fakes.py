"""A sample, and settings with which each head fits to it in a moment."""

import numpy as np

QUICK = {
    "ols": {},
    "ridge": {},
    "lightgbm": {"n_trees": 20, "min_child": 5, "threads": 1},
    "mlp_1": {"max_epochs": 12, "hidden": (16,), "threads": 1, "batch_size": 32, "learning_rate": 0.01},
    "mlp_2": {"max_epochs": 12, "hidden": (16, 8), "threads": 1, "batch_size": 32, "learning_rate": 0.01},
    "mean": {},
}
"""Settings with which each head fits in a moment."""


def sample(n=160, d=5, t=None, *, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)).astype(dtype)
    y = X @ rng.standard_normal((d, t or 1)) + 0.2 * rng.standard_normal((n, t or 1))
    return X, (y if t else y[:, 0])
