"""Extraction on an NVIDIA GPU: rates, what bounds them, and whether the features are those of the CPU.

(1) The engine alone, the input on the device: every precision, several micro-batches, one and both directions, beside
the users' way (whole network, hook) and the measured ceilings: matrix product in each precision, copy to the device.
(2) Largest difference of the pooled features from the CPU's fast engine, for every layer, on a golden or a random
network. (3) The whole command, `python -m extract run`, on a page-cached pfsspec file of float64 rows (default
100,000), per precision: from interpreter to exit, and its own account of the stages. Reference architecture. Prints
machine, versions, medians. Leaves nothing behind.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import torch
from command import LAYER, N_PIXELS, POOLING, REFERENCE
from command import command as run_command
from engines import BOTH, random_network, users_way

from cache.runlog import versions
from extract.checkpoint import load_encoder, save_checkpoint
from extract.encoder import BlindspotModel1D
from extract.engine import make_engine
from extract.fast.folding import fold
from extract.mock.survey import write_survey
from extract.tf32 import float32_products

PRECISIONS = ("fp32", "tf32", "bf16")
CHUNK_ROWS = 4096
FOUR = ("global_mean", "mean_max", "seg_mean_K8", "seg_mean_K16")


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="engine,equal,command")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batches", default="32,128,512")
    parser.add_argument("--repeats", type=int, default=2, help="of the whole command, per precision")
    parser.add_argument("--checkpoint", help="compare on this network instead of a random one")
    parser.add_argument("--folder", type=Path, help="for the files (default: a temporary folder)")
    flags = parser.parse_args()
    if not torch.cuda.is_available():
        print("not measured: this machine has no usable CUDA device")
        return
    print(f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores; {versions()}", flush=True)
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        work = Path(folder)
        model = random_network(REFERENCE["embed_dim"], REFERENCE["kernel_size"])
        save_checkpoint(model, work / "reference.ckpt")
        parts = flags.parts.split(",")
        if "engine" in parts:
            engine(model, [int(size) for size in flags.batches.split(",")])
        if "equal" in parts:
            equal(load_encoder(flags.checkpoint, None) if flags.checkpoint else model)
        if "command" in parts:
            command(work, flags.rows, flags.repeats)


def engine(model: BlindspotModel1D, sizes: list[int]) -> None:
    """Rates of the engine alone, and the ceilings."""
    ceilings = {precision: product_rate(precision) for precision in PRECISIONS}
    print("ceilings: " + ", ".join(f"{p} {rate / 1e12:.0f} TFLOP/s" for p, rate in ceilings.items()))
    print(f"copy of pinned memory to the device: {copy_rate() / 1e9:.1f} GB/s")
    flops = direct_flops(model)
    x = torch.rand(max(sizes), model.config.n_inputs, N_PIXELS, device="cuda")
    whole = model.cuda()
    rates = {size: rate_of(lambda n=size: users_way(whole, x[:n]), size) for size in sizes}
    best = max(rates.values())
    print(f"the users' way: {best:.0f} spectra/s at its best batch {max(rates, key=rates.__getitem__)}")
    for precision in PRECISIONS:
        for directions in (("forward",), BOTH):
            found = []
            for size in sizes:
                run = make_engine(
                    model, (LAYER,), (POOLING,), directions=directions, precision=precision, device="cuda"
                )
                rate = rate_of(lambda run=run, n=size: run(x[:n]), size)
                share = rate * flops * len(directions) / ceilings[precision]
                found.append(
                    f"batch {size}: {rate:.0f}/s ({rate / best:.1f}x, {100 * share:.0f} % of the ceiling)"
                )
            print(f"{precision} {'+'.join(directions):17s} {'; '.join(found)}", flush=True)
    layers = [name for name in model.layers if name.startswith(("enc", "pool"))]
    size = sizes[-1]
    one = make_engine(model, ("enc_last",), (POOLING,), precision="tf32", device="cuda")
    every = make_engine(model, layers, FOUR, precision="tf32", device="cuda")
    rates_of_two = [rate_of(lambda run=run: run(x[:size]), size) for run in (one, every)]
    print(
        f"every layer x 4 poolings takes {rates_of_two[0] / rates_of_two[1]:.2f}x of enc_last with one (tf32)"
    )
    model.cpu()


def rate_of(call: Callable[[], object], n: int, turns: int = 5) -> float:
    """Spectra per second, the median over turns of at least 0.1 s."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    torch.cuda.synchronize()
    calls = max(1, int(0.1 / (time.perf_counter() - started)))
    rates = []
    for _ in range(turns):
        started = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        rates.append(n * calls / (time.perf_counter() - started))
    return statistics.median(rates)


def product_rate(precision: str) -> float:
    """FLOP/s of a large matrix product."""
    size = 8192
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    with float32_products(precision):
        return rate_of(lambda: a @ b, 1, turns=3) * 2 * size**3


def copy_rate() -> float:
    """Bytes per second from pinned memory to the device."""
    host = torch.empty(64 << 20, dtype=torch.float32).pin_memory()
    return rate_of(lambda: host.to("cuda", non_blocking=True), 1, turns=3) * host.numel() * 4


def direct_flops(model: BlindspotModel1D) -> float:
    """Operations of the encoder's convolutions down to the last pool, one direction, one spectrum."""
    total, length = 0, N_PIXELS
    for index, block in enumerate(list(model.encoders)[:-1]):
        total += 2 * fold(block).weight.numel() * length
        length = length // 2 if index else length
    return float(total)


def equal(model: BlindspotModel1D) -> None:
    """Largest difference of each precision's features from those of the CPU's fast engine in fp32."""
    x = torch.rand(64, model.config.n_inputs, N_PIXELS, generator=torch.Generator().manual_seed(1))
    layers = [name for name in model.layers if name.startswith(("enc", "pool"))]
    expected = make_engine(model, layers, FOUR[:3], directions=BOTH)(x)
    largest = max(float(values.abs().max()) for values in expected.values())
    for name in ("plain", "fast"):
        for precision in PRECISIONS if name == "fast" else ("fp32",):
            run = make_engine(
                model, layers, FOUR[:3], directions=BOTH, precision=precision, device="cuda", engine=name
            )
            found = run(x)
            error = max(float((found[key].cpu() - values).abs().max()) for key, values in expected.items())
            print(
                f"{name} {precision}: largest difference from the CPU {error:.2g} (features up to {largest:.2g})"
            )
    model.cpu()


def command(work: Path, n_rows: int, repeats: int) -> None:
    """The whole command per precision, in turns."""
    started = time.perf_counter()
    data = survey_file(work, n_rows)
    print(f"wrote {data.stat().st_size / 1e9:.1f} GB in {time.perf_counter() - started:.0f} s", flush=True)
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(repeats):
        for precision in PRECISIONS:
            done = run_command(work, data, "reference.ckpt", ("forward",), device="cuda", precision=precision)
            took, stats = done.seconds, done.stats["splits"]["test"]
            seconds[precision].append(took)
            print(
                f"{precision}: {took:.1f} s from start to exit, {n_rows / took:.0f}/s; while extracting "
                f"{stats['rows_per_second']:.0f}/s\n   {json.dumps(stats['stages'])}",
                flush=True,
            )
    for precision, each in seconds.items():
        print(f"{precision}: median {n_rows / statistics.median(each):.0f} spectra/s, the whole command")


def survey_file(work: Path, n_rows: int) -> Path:
    """A pfsspec file of float64 rows: a small mock survey, tiled, every copy scaled so that no star repeats."""
    small = write_survey(work / "small", n_train=1, n_val=1, n_test=CHUNK_ROWS, seed=0)["test"]
    target = work / "dataset.h5"
    with h5py.File(small) as source, h5py.File(target, "w") as file:
        file["spectrumdataset/wave"] = source["spectrumdataset/wave"][()]
        for name in ("flux", "error"):
            rows = source[f"dataset/arrays/{name}/value"][()]
            out = file.create_dataset(
                f"dataset/arrays/{name}/value", (n_rows, N_PIXELS), "f8", chunks=(CHUNK_ROWS, N_PIXELS)
            )
            for number, lo in enumerate(range(0, n_rows, CHUNK_ROWS)):
                out[lo : lo + CHUNK_ROWS] = rows[: n_rows - lo] * (1 + 1e-4 * number)
    os.sync()  # or its way to the disk would stand in the way of the stores'
    return target


if __name__ == "__main__":
    main()
