"""Kill sweeps of probes, run them again, run them elsewhere, and compare every byte with an uninterrupted serial run.

Writes made-up feature stores (two layers, two poolings, both directions, two noise draws), then runs one sweep:
serially and undisturbed; killed with `kill -9` as often as asked for while records appear, the first time a serial one,
then one with worker processes, and resumed; under dask with two workers. Records (without `run`), predictions, arrays
and heads must be the same bytes, and nothing else may be left.

Prints machine, versions and a table; exit status 1 when anything differs. One or two minutes on two cores.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from cache.arrays import ArrayName
from cache.canonical import canonical_json, sha256
from cache.runlog import versions
from cache.skeleton import RowTable
from cache.writer import Block, StoreWriter

N_CHANNELS, N_SEGMENTS = 6, 4
LAYERS, POOLINGS, DIRECTIONS = (
    ("enc_pre_latent", "enc_last"),
    ("global_mean", f"seg_mean_K{N_SEGMENTS}"),
    ("forward", "backward"),
)
LABELS = ("log_g", "T_eff", "M_H")
SERIAL, PROCESSES, DASK = (
    ("--scheduler", "local"),
    ("--scheduler", "processes", "--jobs", "2"),
    ("--scheduler", "dask", "--jobs", "2"),
)
IN_BOTH = {
    "layers": [*LAYERS, "+".join(LAYERS)],
    "poolings": list(POOLINGS),
    "directions": ["forward", "concat"],
    "draws": 2,
}
TREES = ["ridge.alpha=val", "lightgbm.n_trees=8", "lightgbm.threads=1"]
WHOLE = IN_BOTH | {
    "heads": ["ols", "ridge", "lightgbm", "mlp_1"],
    "params": [*TREES, "mlp_1.max_epochs=3", "mlp_1.hidden=[8]"],
    "labels": [*LABELS, "log_g+T_eff"],
    "controls": ["none", "shuffled_labels"],
    "train_sizes": [40, "all"],
    "pca": ["none", 5],
}
SMALL = IN_BOTH | {
    "layers": [LAYERS[0]],
    "heads": ["ols", "ridge", "lightgbm"],
    "params": TREES,
    "labels": ["log_g", "T_eff"],
    "controls": ["none"],
    "pca": ["none", 5],
}


@dataclass(frozen=True)
class Compared:
    """What a results folder holds beside an uninterrupted one."""

    files: int
    differing: tuple[str, ...]
    leftovers: int


def main() -> int:
    """Run and compare; 1 when anything differs."""
    flags = _flags()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}; {versions()}")
    folder = Path(tempfile.mkdtemp(prefix="sweeps-", dir=flags.folder)).resolve()
    try:
        return _compare_all(folder, flags)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compare_all(folder: Path, flags: argparse.Namespace) -> int:
    write_stores(folder / "features", flags.rows)
    choices = SMALL if flags.small else WHOLE
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**choices, "features": str(folder / "features")}))
    serial = folder / "serial"
    seconds = finish(folder, serial, SERIAL)
    wanted = contents(serial)
    n_cells = len(list((serial / "records").iterdir()))
    print(f"{n_cells} cells, {len(wanted)} files, {flags.rows} train stars x 2 draws\n")
    print(f"{'':34s}{'seconds':>9s}{'kills':>7s}{'files':>7s}{'other bytes':>13s}{'left over':>11s}")
    print(f"{'serial, undisturbed':34s}{seconds:9.1f}{0:7d}{len(wanted):7d}")
    wrong = 0
    for name, schedule in (("killed, resumed, 2 processes", PROCESSES), ("dask, 2 workers", DASK)):
        results, kills = folder / name.replace(" ", "-"), flags.kills if schedule is PROCESSES else 0
        started = time.monotonic()
        for k in range(kills):
            how = SERIAL if k == 0 and kills > 1 else PROCESSES
            kill(folder, results, how, when=n_cells * (k + 1) // (kills + 1))
        finish(folder, results, schedule)
        found = compare(results, wanted)
        wrong += len(found.differing) + found.leftovers
        print(
            f"{name:34s}{time.monotonic() - started:9.1f}{kills:7d}{found.files:7d}{len(found.differing):13d}"
            f"{found.leftovers:11d}"
        )
        for path in found.differing[:5]:
            print(f"  differs: {path}")
    return int(wrong > 0)


def write_stores(root: Path, n_stars: int) -> None:
    """Stores of three splits and two draws whose labels are linear in the features, up to noise."""
    arrays = [ArrayName(*names) for names in _product()]
    for number, (split, n) in enumerate(
        {"train": n_stars, "val": n_stars // 4, "test": n_stars // 4}.items()
    ):
        truth = np.random.default_rng(number).standard_normal((n, N_CHANNELS))
        rows = RowTable(
            row=np.arange(n),
            star=np.arange(n, dtype=np.uint64) + np.uint64(10**6 * number),
            id=[str(k) for k in range(n)],
            labels={name: 3 + truth @ np.roll(np.arange(N_CHANNELS) / 5, k) for k, name in enumerate(LABELS)},
        )
        for draw in range(2 if split == "train" else 1):
            rng = np.random.default_rng([number, draw])
            writer = StoreWriter.create(
                root,
                _provenance(split, arrays, n=n, draw=draw),
                rows=rows,
                coordinates={array: _coordinates(array) for array in arrays},
                block_rows=n,
            )
            noisy = {
                array: np.tile(truth, (1, _width(array) // N_CHANNELS))
                + rng.standard_normal((n, _width(array)))
                for array in arrays
            }
            block = Block(arrays={array: v.astype(np.float32) for array, v in noisy.items()}, input="")
            writer.commit(0, block, {"engine": "made up"})


def _product() -> list[tuple[str, str, str]]:
    return [
        (layer, direction, pooling) for layer in LAYERS for direction in DIRECTIONS for pooling in POOLINGS
    ]


def _width(array: ArrayName) -> int:
    return N_CHANNELS if array.pooling == "global_mean" else N_CHANNELS * N_SEGMENTS


def _coordinates(array: ArrayName) -> dict[str, np.ndarray]:
    place = np.arange(_width(array))
    return {
        "channel": place % N_CHANNELS,
        "segment": place // N_CHANNELS,
        "statistic": np.zeros(place.size),
        "wave_lo": 7000.0 + place // N_CHANNELS,
        "wave_hi": 7010.0 + place // N_CHANNELS,
    }


def _provenance(split: str, arrays: list[ArrayName], *, n: int, draw: int) -> dict[str, object]:
    return {
        "schema": 1,
        "numerics": 1,
        "encoder": {"weights": "ab" * 32, "config": {}, "origin": "checkpoint", "profile": None},
        "error_input": "true",
        "input": sha256(split.encode()),
        "data_kind": "mock",
        "split": split,
        "rows": {"n": n, "selection": "all"},
        "mask": None,
        "noise": {"mode": "draw", "level": 1.0, "seed": 0, "draw": draw, "noise_version": 1},
        "precision": "fp32",
        "arrays": [[array.path, _width(array)] for array in sorted(arrays)],
    }


def start(folder: Path, results: Path, schedule: tuple[str, ...]) -> subprocess.Popen[str]:
    """The real command, as users start it."""
    command = [
        sys.executable,
        "-m",
        "probes",
        "sweep",
        "--config",
        folder / "sweep.yaml",
        "--results",
        results,
    ]
    return subprocess.Popen(  # noqa: S603  our own command
        [*map(str, command), *schedule], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(folder: Path, results: Path, schedule: tuple[str, ...]) -> float:
    """Run a sweep to its end; returns the seconds it took."""
    started = time.monotonic()
    process = start(folder, results, schedule)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"the sweep failed: {errors}")
    return time.monotonic() - started


def kill(folder: Path, results: Path, schedule: tuple[str, ...], *, when: int) -> None:
    """Kill a sweep once there are `when` records; its workers must end by themselves."""
    process = start(folder, results, schedule)
    while len(list((results / "records").glob("*.json"))) < when:
        try:
            process.wait(timeout=0.005)
        except subprocess.TimeoutExpired:
            continue
        raise SystemExit(f"the sweep ended before it could be killed: {process.communicate()[1]}")
    process.send_signal(signal.SIGKILL)
    process.communicate()  # its workers hold the pipe: this waits for all of them


def contents(results: Path) -> dict[str, str]:
    """sha256 of every file, of records without what may differ between runs."""
    return {
        path.relative_to(results).as_posix(): _digest(path)
        for path in sorted(results.rglob("*"))
        if path.is_file()
    }


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.parent.name == "records":
        record = json.loads(content)
        content = canonical_json({k: v for k, v in record.items() if k not in ("run", "self")}).encode()
    return sha256(content)


def compare(results: Path, wanted: dict[str, str]) -> Compared:
    """What differs from the files of the uninterrupted run, and what is left over."""
    found = contents(results)
    over = [name for name in found if name not in wanted]
    differing = tuple(name for name in wanted if found.get(name) != wanted[name])
    return Compared(len(found), differing, len(over))


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=400, help="train stars; val and test have a quarter each")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="48 cells instead of some 1500")
    parser.add_argument("--folder", type=Path, help="where it writes (default: the usual temporary folder)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
