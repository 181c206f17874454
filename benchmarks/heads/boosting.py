"""LightGBM: the published configuration for five labels, binned afresh for each and on shared bins.

`conservative` (15 leaves, 50 trees, rate 0.05). Both ways alternate in one run; the saved models are compared byte by
byte, between the two ways and between numbers of threads. Run as `python -m benchmarks.heads.boosting`.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

from cache.runlog import versions
from probes.base import Array
from probes.boosting import LightGBM
from probes.boosting_bins import Bins
from probes.together import Fit, TrainingSet, fit_alone, fit_together

D, LABELS = 384, 5


def main() -> None:
    """Print machine, versions, medians, and whether the bytes are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(versions())
    data = survey(options.rows)
    steps = one_label(data, options.threads)
    print(f"\n{options.rows} x {D}, {options.threads} threads, conservative: one label, s")
    print("  " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in steps.items()))
    compare(data, threads=options.threads, rounds=options.rounds)
    compare_threads(data)


def survey(n: int) -> TrainingSet:
    """Features (n, D) float32 and LABELS labels that are partly nonlinear in them, with noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, D), dtype=np.float32)
    ways = X @ rng.standard_normal((D, 2 * LABELS)) / np.sqrt(D)
    Y = ways[:, :LABELS] + np.tanh(2 * ways[:, LABELS:]) + 0.5 * rng.standard_normal((n, LABELS))
    return TrainingSet(X=X, Y=Y)


def fits(data: TrainingSet, threads: int) -> list[Fit]:
    """The published configuration, label by label."""
    return [
        Fit(head=LightGBM("conservative", threads=threads), columns=(k,), n_rows=len(data.X))
        for k in range(LABELS)
    ]


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def one_label(data: TrainingSet, threads: int) -> dict[str, float]:
    """Checks and binning, and growing on bins that are there."""
    head = LightGBM("conservative", threads=threads)
    y: Array = data.Y[:, 0]
    sample = head.prepare(data.X, y)
    bins = Bins(sample, threads=threads)
    binning = timed(lambda: bins.train(y))
    return {"binning": binning, "50 trees on bins": timed(lambda: head.grow(sample, bins))}


def compare(data: TrainingSet, *, threads: int, rounds: int) -> None:
    """All labels, fresh against shared."""
    fresh, shared, equal = [], [], True
    for _ in range(rounds):
        alone, together = fits(data, threads), fits(data, threads)
        fresh.append(timed(lambda some=alone: [fit_alone(fit, data) for fit in some]))
        shared.append(timed(lambda some=together: fit_together(some, data)))
        pairs = zip(alone, together, strict=True)
        equal &= all(one.head.to_files() == other.head.to_files() for one, other in pairs)
    a, b = statistics.median(fresh), statistics.median(shared)
    print(f"\n{LABELS} labels, medians of {rounds}, s: fresh {a:.2f}, shared bins {b:.2f}, {a / b:.2f}x")
    print(f"  {rounds} fits of each label, both ways: models equal byte by byte: {equal}")


def compare_threads(data: TrainingSet) -> None:
    """Whether the number of threads moves a prediction of the first label."""
    found = {}
    for threads in (1, 2, 4):
        fit = fits(data, threads)[0]
        fit_alone(fit, data)
        found[threads] = fit.head.predict(data.X)
    for threads, y_hat in found.items():
        difference = float(np.abs(y_hat - found[1]).max())
        print(f"  predictions with {threads} threads differ from those with one by at most {difference:.1e}")


if __name__ == "__main__":
    main()
