"""The whole command against its own engine: `python -m extract run`, HDF5 in, committed store out, with peak memory.

Writes a mock survey and a checkpoint of the reference architecture with random weights; then in turn lets the fast
engine alone run on one thread per core, and the command in a process of its own: from the start of the interpreter to
its exit, with an empty cache and no remembered digests. Then the command with a small network on a small and on a ten
times larger file, for its memory. Prints machine, versions, medians of paired ratios, and the command's own account.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from cache.runlog import versions
from extract.checkpoint import save_checkpoint
from extract.encoder import BlindspotModel1D
from extract.engine import make_engine
from extract.mock.survey import write_survey
from extract.model_yaml import config_from_yaml

LAYER, POOLING = "enc_pre_latent", "seg_mean_K8"
REFERENCE = {"num_layers": 9, "embed_dim": 48, "kernel_size": 25, "use_bn": True, "output_channels": 2}
SMALL = {"num_layers": 7, "embed_dim": 8, "kernel_size": 5, "use_bn": True, "output_channels": 2}
N_PIXELS = 4096


@dataclass(frozen=True)
class Finished:
    """One run of the command."""

    seconds: float
    peak: int
    """Largest resident memory, bytes."""
    stats: dict


def main() -> None:
    """Measure rate and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument(
        "--many-rows", type=int, default=100_000, help="of the larger file; 0 leaves memory out"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the files (default: a temporary folder)")
    flags = parser.parse_args()
    print(versions())
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        work = Path(folder)
        rate(work, flags.rows, flags.repeats)
        if flags.many_rows:
            memory(work, (flags.many_rows // 10, flags.many_rows))


def rate(work: Path, n_rows: int, repeats: int) -> None:
    """The command's rate as a share of the engine's, one and both directions."""
    survey = write_survey(work / "survey", n_train=1, n_val=1, n_test=n_rows, seed=0)["test"]
    survey.read_bytes()  # from now on in the page cache
    model = network(REFERENCE, work / "reference.ckpt")
    for directions in (("forward",), ("forward", "backward")):
        shares, engine_rates, command_rates, last = [], [], [], None
        for _ in range(repeats):
            before = engine_rate(model, directions)
            last = command(work, survey, "reference.ckpt", directions)
            both = (before + engine_rate(model, directions)) / 2
            engine_rates.append(both)
            command_rates.append(n_rows / last.seconds)
            shares.append(command_rates[-1] / both)
        print(
            f"{n_rows} spectra, {'+'.join(directions)}: engine {statistics.median(engine_rates):.0f}/s, command "
            f"{statistics.median(command_rates):.0f}/s, share {100 * statistics.median(shares):.1f} % "
            f"({', '.join(f'{100 * share:.1f}' for share in shares)}), peak memory {last.peak / 2**20:.0f} MiB"
        )
        print(json.dumps(last.stats))


def memory(work: Path, sizes: tuple[int, int]) -> None:
    """Peak memory of the command with a small network, for two sizes of file."""
    network(SMALL, work / "small.ckpt")
    for n_rows in sizes:
        path = flat_file(work / f"flat_{n_rows}.h5", n_rows)
        done = command(work, path, "small.ckpt", ("forward",))
        print(
            f"{n_rows} spectra, small network: {n_rows / done.seconds:.0f} spectra/s, "
            f"peak memory {done.peak / 2**20:.0f} MiB"
        )
        path.unlink()


def network(about: dict, path: Path) -> BlindspotModel1D:
    """Random weights of an architecture, saved as a checkpoint too."""
    torch.manual_seed(0)
    model = BlindspotModel1D(config_from_yaml(about)).eval()
    save_checkpoint(model, path)
    return model


def flat_file(path: Path, n_rows: int) -> Path:
    """A flat float32 file of noise around one; what the values are does not matter to memory."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        flux = file.create_dataset("flux", (n_rows, N_PIXELS), "f4")
        error = file.create_dataset("error", (n_rows, N_PIXELS), "f4")
        file["wave"] = np.linspace(7100.0, 8850.0, N_PIXELS)
        for lo in range(0, n_rows, 1000):
            flux[lo : lo + 1000] = 1 + random.random((min(1000, n_rows - lo), N_PIXELS), dtype=np.float32)
            error[lo : lo + 1000] = 0.1
    return path


def engine_rate(model: BlindspotModel1D, directions: tuple[str, ...], seconds: float = 4.0) -> float:
    """Spectra per second of the engine alone, one thread per core, on a batch that is in memory."""
    n_threads = os.cpu_count() or 1
    engine = make_engine(model, (LAYER,), (POOLING,), directions=directions)
    x = torch.rand(32, model.config.n_inputs, N_PIXELS)

    def work(until: float | None) -> int:
        torch.set_num_threads(1)
        engine(x)
        n = 0
        while until is not None and time.perf_counter() < until:
            engine(x)
            n += len(x)
        return n

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, [None] * n_threads))
        started = time.perf_counter()
        done = sum(pool.map(work, [started + seconds] * n_threads))
        return done / (time.perf_counter() - started)


def peak_memory(pid: int) -> int:
    """The largest resident memory that a process has had since its program began, bytes (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(found[0]) * 1024 if found else 0


def command(
    work: Path,
    data: Path,
    checkpoint: str,
    directions: tuple[str, ...],
    *,
    device: str = "cpu",
    precision: str = "fp32",
) -> Finished:
    """One run of the whole command into an empty cache."""
    shutil.rmtree(work / "out", ignore_errors=True)
    argv = [
        sys.executable,
        "-m",
        "extract",
        "run",
        "--data",
        str(data),
        "--checkpoint",
        str(work / checkpoint),
    ]
    argv += [
        "--error-mode",
        "pixel",
        "--layers",
        LAYER,
        "--poolings",
        POOLING,
        "--directions",
        ",".join(directions),
    ]
    for name in ("out", "digests", "encoders"):
        argv += [f"--{name}", str(work / "out" / name)]
    argv += ["--device", device, "--precision", precision, "--stats", str(work / "stats.json")]
    started = time.perf_counter()
    peak = 0
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own command
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0.05)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"the command failed: {' '.join(argv)}")
    return Finished(seconds, peak, json.loads((work / "stats.json").read_text()))


if __name__ == "__main__":
    main()
