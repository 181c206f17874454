"""How many mock spectra one core makes per second: machine, versions, median rate.

Run: python benchmarks/mock_survey.py [--rows 4096] [--repeats 5]
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from extract.mock.survey import MOCK_VERSION, generate, write_survey


def processor() -> str:
    """The processor's name where the system tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def rates_of_generation(n_rows: int, repeats: int) -> list[float]:
    """Spectra per second of `generate`, in memory, once per repeat."""
    rates = []
    for repeat in range(repeats):
        rows = np.arange(repeat * n_rows, (repeat + 1) * n_rows)
        started = time.perf_counter()
        generate(rows, seed=0)
        rates.append(n_rows / (time.perf_counter() - started))
    return rates


def rates_of_writing(n_rows: int, repeats: int) -> list[float]:
    """Spectra per second of `write_survey`, to the disk and flushed, once per repeat."""
    rates = []
    for seed in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            write_survey(Path(folder), n_train=n_rows - 2, n_val=1, n_test=1, seed=seed)
            rates.append(n_rows / (time.perf_counter() - started))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, whatever the libraries would like
    with threadpool_limits(1):
        generate(np.arange(1), seed=0)  # builds the tables
        generated = rates_of_generation(arguments.rows, arguments.repeats)
        written = rates_of_writing(arguments.rows, arguments.repeats)
    print(f"machine: {processor()}, {os.cpu_count()} cores, {platform.platform()}; one core used")
    packages = ("numpy", "scipy", "h5py")
    print(f"python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages))
    print(
        f"mock version {MOCK_VERSION}, {arguments.rows} rows, {arguments.repeats} repeats; spectra per second"
    )
    for what, rates in (("generate", generated), ("write_survey", written)):
        print(f"{what}: median {statistics.median(rates):.0f}, from {min(rates):.0f} to {max(rates):.0f}")
    signal = generate(np.arange(arguments.rows), seed=0, mag=21.5).labels["snr"]
    print(f"median signal-to-noise at magnitude 21.5: {np.median(signal):.2f}")


if __name__ == "__main__":
    main()
