"""All tables of many synthetic records, in all formats: seconds by step. The goal is 500 records under 5 s.

Writes probe records of one label (layers x poolings x directions x heads x seeds, controls, learning curves of the
MLPs) and the comparison of all their pairs into a temporary folder, then reads, builds, renders and writes everything
in one process, as `python -m reports tables` does, and once more in a process of its own, from the start of the
interpreter to its exit. Prints machine, versions, medians. `--profile` adds what took longest.
"""

import argparse
import cProfile
import itertools
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cache.records import write_record
from cache.runlog import versions
from reports.formats import FORMATS
from reports.generate import build_files, build_tables
from reports.source import read_source

LAYERS = (*(f"enc_{number}" for number in range(9)), "enc_pre_latent", "enc_last")
POOLINGS = ("global_mean", "mean_max", "seg_mean_K8", "seg_mean_K16")
HEADS = ("ols", "ridge", "lightgbm", "mlp_1")
DIRECTIONS = ("forward", "concat")
SPLITS = ("train", "val", "test")
CONTROLS = ("none", "shuffled_labels", "random_encoder")
METRICS = ("r2", "rmse", "mae", "bias", "bias_median", "sigma_mad")
N_EPOCHS = 50


def main() -> None:
    """Measure all steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    flags = parser.parse_args()
    print(versions())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "results"
        write_all(root, flags.records)
        steps = [measured(root) for _ in range(flags.repeats)]
        for name in steps[0]:
            print(f"{name:<24}{statistics.median(step[name] for step in steps):8.2f} s")
        command = [
            sys.executable,
            "-m",
            "reports",
            "tables",
            "--results",
            str(root),
            "--out",
            f"{folder}/out",
        ]
        whole = []
        for _ in range(flags.repeats):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603  our own command
            whole.append(time.perf_counter() - start)
        print(f"{'the command, whole':<24}{statistics.median(whole):8.2f} s, {flags.records} records")
        if flags.profile:
            with cProfile.Profile() as profile:
                measured(root)
            pstats.Stats(profile).sort_stats("cumtime").print_stats(40)


def measured(root: Path) -> dict[str, float]:
    """Seconds of reading, building and each format."""
    start = time.perf_counter()
    source = read_source(root, None)
    seconds = {"read": time.perf_counter() - start}
    start = time.perf_counter()
    documents = build_tables(source)
    seconds["build"] = time.perf_counter() - start
    for name in FORMATS:
        start = time.perf_counter()
        build_files(source, documents, formats=[name])
        seconds[name] = time.perf_counter() - start
    return seconds


def write_all(root: Path, n_records: int) -> None:
    """Probe records and the comparison of all their pairs (124,750 of 500)."""
    rng = np.random.default_rng(0)
    predictions = {"row": np.arange(4), "split": np.array(["test"] * 4)}
    digests: dict[str, str] = {}
    for spec in itertools.islice(specs(), n_records):
        arrays = history(rng) if spec["head"] == "mlp_1" else None
        result = result_of(float(rng.uniform(0, 0.9)), spec)
        run = write_record(
            root, kind="probe", spec=spec, result=result, run={}, predictions=predictions, arrays=arrays
        )
        digests[run] = digest_of(root, run)
    runs = sorted(digests)
    n_pairs = len(runs) * (len(runs) - 1) // 2
    numbers = {
        name: rng.uniform(0, 1, n_pairs).round(6).tolist()
        for name in ("difference", "lo", "hi", "p", "p_holm")
    }
    numbers["n_eff"] = rng.uniform(5, 500, n_pairs).round(6).tolist()
    binned = {
        "edges": [2.0, 5.0, 7.0, 9.0, 30.0],
        "n": [250] * 4,
        "r2": {run: [[0.5, 0.4, 0.6]] * 4 for run in runs},
    }
    write_record(
        root,
        kind="comparison",
        spec={
            "label": "log_g",
            "test": {"data_kind": "mock", "noise_level": 1.0},
            "runs": "all",
            "method": "none",
        },
        result={
            "status": "ok",
            "error": None,
            "stores": {},
            "runs": runs,
            "predictions": digests,
            "seeds": [],
            "selectivity": [
                {"run": run, "random_encoder": {"run": runs[0], "difference": 0.2}} for run in runs
            ],
            "bins": {"snr": binned, "mag": binned},
            **numbers,
        },
        run={},
    )


def digest_of(root: Path, run: str) -> str:
    """The digest of a record's predictions, as its comparison names it."""
    from cache.records import read_record  # noqa: PLC0415

    return read_record(root, run).files["predictions"]


def specs() -> Iterator[dict]:
    """Specs of probes, different in features, head, control and seed."""
    for seed, control, layer, pooling, direction, head in itertools.product(
        range(100), CONTROLS, LAYERS, POOLINGS, DIRECTIONS, HEADS
    ):
        yield {
            "head": head,
            "params": {"alpha": 0.001} if head == "ridge" else {"seed": seed},
            "probe_version": 1,
            "labels": ["log_g"],
            "features": {
                "parts": [{"layer": layer, "direction": direction, "pooling": pooling}],
                "pca": None,
                "segments": None,
            },
            "family": f"{CONTROLS.index(control) // 2}f" * 32,
            "stores": {split: [f"{index}a" * 32] for index, split in enumerate(SPLITS)},
            "draws": {split: [0] for split in SPLITS},
            "noise_levels": dict.fromkeys(SPLITS, 1.0),
            "noise_mode": "draw",
            "inputs": {split: [f"{index}b" * 32] for index, split in enumerate(SPLITS)},
            "train_size": None,
            "seed": seed,
            "error_input": "true",
            "control": control,
            "selection": "fixed",
            "data_kind": "mock",
            "cross": [],
            "group": None,
        }


def result_of(r2: float, spec: dict) -> dict:
    """A result with scores and intervals."""
    scores = dict.fromkeys(METRICS, 1 - r2) | {"r2": r2}
    ends = {name: [value - 0.03, value + 0.03] for name, value in scores.items()}
    return {
        "status": "ok",
        "error": None,
        "d": 384,
        "n": {"train": 8000, "val": 1000, "test": 1000},
        "n_rows": {"train": 8000, "val": 1000, "test": 1000},
        "scores": {split: {"log_g": scores} for split in SPLITS},
        "intervals": {split: {"log_g": ends} for split in ("val", "test")},
        "interval_method": "synthetic",
        "chosen": {},
        "flags": [],
        "weights": "3e" * 32,
        "stores": {key: "4c" * 32 for keys in spec["stores"].values() for key in keys},
    }


def history(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A learning curve of N_EPOCHS."""
    names = ("train_loss", "train_rmse", "val_loss", "val_rmse", "val_mae", "val_r2", "lr")
    return {"history_epoch": np.arange(N_EPOCHS)} | {
        f"history_{name}": rng.uniform(0, 1, N_EPOCHS) for name in names
    }


if __name__ == "__main__":
    main()
