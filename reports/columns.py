"""The columns of a row: their names and types, and words that stand in them."""

from collections.abc import Mapping

SPLITS = ("train", "val", "test")
METRICS = ("r2", "rmse", "mae", "bias", "bias_median", "sigma_mad")
INTERVAL_SPLITS = ("test", "val")

DRAWN = "draw"
"""Noise mode of noise that is drawn by a seed."""
FRESH_NOISE = "fresh"
"""What stands for the draws of train where every batch has noise of its own."""
FROZEN = "end to end, encoder frozen"
FINE_TUNED = "end to end, encoder fine-tuned"

TEXT, INTEGER, FLOAT = "object", "Int64", "float64"
IDENTITY: Mapping[str, str] = {
    "role": TEXT,
    "layer": TEXT,
    "direction": TEXT,
    "pooling": TEXT,
    "pca": TEXT,
    "segments": TEXT,
    "head": TEXT,
    "params": TEXT,
    "control": TEXT,
    "training": TEXT,
    "train_size": INTEGER,
    "seed": INTEGER,
    "error_input": TEXT,
    "noise_level_train": FLOAT,
    "noise_level_test": FLOAT,
    "draws_train": TEXT,
    "draws_test": TEXT,
    "rows_test": TEXT,
    "data_kind": TEXT,
}
"""Columns that say what a run is, with their types: tidy frames of other tables repeat them for each run."""

COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(("run_id", "kind", "status", "error"), TEXT),
    **IDENTITY,
    **dict.fromkeys(
        (
            *("label", "unit", "fitted_labels", "precision", "noise_mode", "inputs", "input_test"),
            *("kept_test", "draws_val", "selection", "cross", "group", "family", "weights"),
            *("encoder", "data_files", "file_test"),
            *("state", "stores", "interval_method", "chosen", "flags"),
        ),
        TEXT,
    ),
    **dict.fromkeys(("noise_seed", "probe_version", "d", "age_test"), INTEGER),
    **dict.fromkeys((f"{count}_{split}" for count in ("n", "n_rows") for split in SPLITS), INTEGER),
    "noise_level_val": FLOAT,
    **dict.fromkeys((f"{split}_{metric}" for split in SPLITS for metric in METRICS), FLOAT),
    **dict.fromkeys(
        (
            f"{split}_{metric}_{end}"
            for split in INTERVAL_SPLITS
            for metric in METRICS
            for end in ("lo", "hi")
        ),
        FLOAT,
    ),
    **dict.fromkeys(
        (f"published_{name}" for name in ("train_r2", "val_r2", "test_r2", "test_rmse", "test_mae")), FLOAT
    ),
}
IN_UNIT_OF_LABEL = ("rmse", "mae", "bias", "bias_median", "sigma_mad")
"""Metrics in the label's unit; R2 has none."""
