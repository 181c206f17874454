"""Ridge: a whole path against separate scikit-learn fits, a survey of feature sets, and memory beyond a machine's.

(A) 20 penalties x 5 labels: `ridge_path` against StandardScaler once and 100 fits of sklearn.linear_model.Ridge in
float64, in turns, with the largest difference of a coefficient. (B) `fit_together` as the sweep calls it: 12 feature
sets (2 layers x global_mean, mean_max, seg_mean_K8 of 48 channels x forward, concat) x 5 labels x 20 penalties x
5 training sizes, chosen on 10,000 rows of val; making the features is not timed. (C) moments, path and val R2 of rows
that come in blocks, in a process of its own; its largest resident memory. Run as `python -m benchmarks.heads.ridge`.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from cache.runlog import versions
from probes.moments import moments
from probes.ridge import Ridge, path_from_moments, ridge_path
from probes.ridge_solutions import RidgePath, r2_of_blocks
from probes.together import Fit, TrainingSet, fit_together

Array = np.ndarray[Any, np.dtype[Any]]

ALPHAS = np.geomspace(1e-3, 1e7, 20)
N_LABELS = 5
SIZES = (1_000, 5_000, 10_000, 32_000, 100_000)
N_VAL = 10_000
CHANNELS = 48
WIDTHS = {"global_mean": CHANNELS, "mean_max": 2 * CHANNELS, "seg_mean_K8": 8 * CHANNELS}
DIRECTIONS = {"forward": 1, "concat": 2}
LAYERS = ("enc_pre_latent", "enc_last")
BLOCK_ROWS = 4096


def main() -> None:
    """Print machine, versions and three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of (A)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of (A)")
    parser.add_argument(
        "--streams", nargs="*", default=["1000000x384", "200000x4224"], help="rows x columns of each (C)"
    )
    parser.add_argument("--skip", nargs="*", choices=("path", "survey", "stream"), default=())
    parser.add_argument("--stream-here", metavar="ROWSxCOLUMNS", help="one (C) in this process")
    options = parser.parse_args()
    if options.stream_here:
        stream(*map(int, options.stream_here.split("x")))
        return
    threads = sorted({library["num_threads"] for library in threadpool_info()})
    print(f"machine: {processor()}, {os.cpu_count()} cores, threads {threads}; {versions()}")
    if "path" not in options.skip:
        compare_path(options.rows, repeats=options.repeats)
    if "survey" not in options.skip:
        time_survey()
    for shape in [] if "stream" in options.skip else options.streams:
        command = [sys.executable, "-m", "benchmarks.heads.ridge", "--stream-here", shape]
        subprocess.run(command, check=True)  # noqa: S603  # this script


def sample(n: int, d: int, *, seed: int) -> tuple[Array, Array]:
    """Features (n, d) float32 that share 20 factors, and labels (n, t) that follow the factors."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((20, d), dtype=np.float32)
    factors = rng.standard_normal((n, 20), dtype=np.float32)
    X = rng.standard_normal((n, d), dtype=np.float32)
    X += factors @ mixing
    X += np.float32(3)
    return X, factors[:, :N_LABELS] + 0.3 * rng.standard_normal((n, N_LABELS))


def compare_path(n: int, *, repeats: int) -> None:
    """(A)."""
    X, Y = sample(n, 384, seed=1)
    ours, theirs, ratios = list[float](), list[float](), list[float]()
    ridge_path(X[:2000], Y[:2000], ALPHAS)
    for _ in range(repeats):
        started = time.perf_counter()
        path = ridge_path(X, Y, ALPHAS)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        coef = separate_fits(X, Y)
        theirs.append(time.perf_counter() - started)
        ratios.append(theirs[-1] / ours[-1])
    error = np.linalg.norm(path.coef - coef, axis=2) / np.linalg.norm(coef, axis=2)
    print(f"(A) {len(ALPHAS)} penalties x {N_LABELS} labels, {n} x 384 float32, {repeats} turns")
    print(f"    ridge_path                 {statistics.median(ours):8.3f} s")
    print(f"    separate scikit-learn fits {statistics.median(theirs):8.3f} s")
    print(
        f"    ratio {statistics.median(ratios):.0f}x ({', '.join(f'{ratio:.0f}' for ratio in ratios)});",
        end=" ",
    )
    print(f"largest relative difference of coefficients {error.max():.1e}")


def separate_fits(X: Array, Y: Array) -> Array:
    """Coefficients (a, t, d) in the units of X, by a fit of scikit-learn for each penalty and label."""
    scaler = StandardScaler()
    Z = scaler.fit_transform(X.astype(np.float64))
    fits = [[PlainRidge(alpha=alpha).fit(Z, y).coef_ for y in Y.T] for alpha in ALPHAS]
    return np.array(fits) / scaler.scale_


def time_survey() -> None:
    """(B)."""
    total = 0.0
    print(f"(B) {N_LABELS} labels x {len(ALPHAS)} penalties x sizes {SIZES}, chosen on {N_VAL} rows of val")
    for layer in LAYERS:
        for pooling, width in WIDTHS.items():
            for direction, factor in DIRECTIONS.items():
                seconds, r2 = time_feature_set(width * factor, seed=len(layer))
                total += seconds
                name = f"{layer}/{direction}/{pooling}"
                print(f"    {name:40s} d {width * factor:4d} {seconds:7.2f} s   best val R2 {r2:.4f}")
    n_fits = len(LAYERS) * len(WIDTHS) * len(DIRECTIONS) * N_LABELS * len(SIZES)
    print(f"    {n_fits} heads, {n_fits * len(ALPHAS)} solutions in {total:.1f} s")


def time_feature_set(d: int, *, seed: int) -> tuple[float, float]:
    """Seconds of all fits to one feature set, and the best R2 on val of any of them."""
    (X, Y), (X_val, Y_val) = sample(max(SIZES), d, seed=seed), sample(N_VAL, d, seed=seed + 1)
    heads = [
        Fit(
            head=Ridge("val", alpha_min=ALPHAS[0], alpha_max=ALPHAS[-1], n_alphas=len(ALPHAS)),
            columns=(label,),
            n_rows=n,
        )
        for label in range(N_LABELS)
        for n in SIZES
    ]
    started = time.perf_counter()
    failures = fit_together(heads, TrainingSet(X=X, Y=Y, X_val=X_val, Y_val=Y_val))
    seconds = time.perf_counter() - started
    if any(failures):
        raise SystemExit(f"a fit failed: {failures}")
    return seconds, max(float(fit.head.arrays_["val_r2"].max()) for fit in heads)


def stream(n: int, d: int) -> None:
    """(C), in this process."""
    at_rest = peak()
    making = [0.0]
    started = time.perf_counter()
    (found,) = moments(blocks(n, d, making, seed=1))
    accumulated = time.perf_counter()
    path = path_from_moments(found, ALPHAS)
    solved = time.perf_counter()
    best = best_r2(path, blocks(N_VAL, d, making, seed=2))
    scored = time.perf_counter()
    print(
        f"(C) {n} x {d} in blocks of {BLOCK_ROWS} rows: peak {peak():.0f} MiB ({at_rest:.0f} before);",
        end=" ",
    )
    print(
        f"moments {accumulated - started:.1f} s, {len(ALPHAS)} penalties {solved - accumulated:.1f} s, "
        f"val R2 {scored - solved:.1f} s ({best:.4f}); of this making the rows {making[0]:.1f} s"
    )


def best_r2(path: RidgePath, of_val: Iterator[tuple[Array, Array]]) -> float:
    """The best R2 of any solution."""
    return float(r2_of_blocks([path], of_val)[0].max())


def blocks(n: int, d: int, making: list[float], *, seed: int) -> Iterator[tuple[Array, Array]]:
    """Yield n rows in blocks: stretches of one sample, stretched or shrunk by a random factor."""
    started = time.perf_counter()
    X, Y = sample(2 * BLOCK_ROWS, d, seed=seed)
    rng = np.random.default_rng(seed)
    for start in range(0, n, BLOCK_ROWS):
        stop = min(BLOCK_ROWS, n - start)
        first = int(rng.integers(0, BLOCK_ROWS))
        rows = X[first : first + stop] * np.float32(rng.uniform(0.9, 1.1))
        making[0] += time.perf_counter() - started
        yield rows, Y[first : first + stop]
        started = time.perf_counter()


def peak() -> float:
    """The largest resident memory of this process since its program began, MiB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def processor() -> str:
    """The processor's name."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
