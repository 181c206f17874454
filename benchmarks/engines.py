"""Rates of the frozen encoder: the users' way against every engine, in one interleaved run on all cores.

(A) the users' way: the whole network runs, forward hooks keep an activation, which is pooled; at its best batch size.
(B) the encoder's modules alone (`--engine plain`). (C) direct convolutions with folded norms, what the fast engine
falls back to. (D) the fast engine, one and two directions. (E) bf16. (F) the fast engine to the last layer: one layer
with one pooling against every layer with four. A to C use torch's threads, the others one worker with one thread per
core, as `extract run` does. Reference architecture with random weights and norms, unless a checkpoint is given. Prints
machine, versions, medians, paired ratios, processor time per wall time, the largest error against float64, and the
share of the measured ceiling.
"""

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from cache.runlog import versions
from extract.checkpoint import load_encoder
from extract.encoder import BlindspotModel1D
from extract.engine import Engine, make_engine
from extract.fast.direct import DirectEncoder
from extract.fast.folding import fold
from extract.fast.stack import make_stack
from extract.model_yaml import config_from_yaml
from extract.pooling import UnevenSegments, pool

LAYER, POOLING = "enc_pre_latent", "seg_mean_K8"
BOTH = ("forward", "backward")
USERS_BATCHES = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Way:
    """One way to run the encoder: `call()` treats `n` spectra on all cores."""

    name: str
    n: int
    call: Callable[[], object]
    flops: float
    """Floating-point operations for one spectrum, as this way does them."""


def main() -> None:
    """Time all ways in turn and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="cores used (default: all)")
    parser.add_argument("--batch", type=int, default=32, help="micro-batch of the engines")
    parser.add_argument("--embed-dim", type=int, default=48)
    parser.add_argument("--kernel-size", type=int, default=25)
    parser.add_argument("--checkpoint", help="measure this network instead of a random one")
    parser.add_argument("--config-model", help="the YAML beside the checkpoint")
    flags = parser.parse_args()
    warnings.simplefilter("ignore", UnevenSegments)
    if flags.checkpoint:
        model = load_encoder(flags.checkpoint, flags.config_model)
    else:
        model = random_network(flags.embed_dim, flags.kernel_size)
    x = spectra(flags.batch, model.config.n_inputs, flags.length)
    with ThreadPoolExecutor(flags.threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        torch.set_num_threads(flags.threads)
        with threadpool_limits(1, user_api="blas"):
            ways = make_ways(model, x, workers, flags.threads)
            ceiling = fma_ceiling(workers, flags.threads)
            seconds, busy = interleave(ways, flags.repeats)
    config = model.config
    print(
        f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, {flags.threads} thread(s); {versions()}"
    )
    print(
        f"{config.num_layers} layers, {config.embed_dim} channels, kernel {config.kernel_size}, L {flags.length}, "
        f"micro-batch {flags.batch}; FMA ceiling (matrix product) {ceiling:.0f} GFLOP/s"
    )
    first = [t / ways[0].n for t in seconds[ways[0].name]]
    for way in ways:
        each = [t / way.n for t in seconds[way.name]]
        rate = 1 / statistics.median(each)
        ratio = statistics.median(a / b for a, b in zip(first, each, strict=True))
        print(
            f"{way.name:42s} {rate:8.1f} spectra/s {ratio:6.2f}x the users' way   cpu/wall {busy[way.name]:.2f}   "
            f"{way.flops / 1e9:6.3f} GFLOP, {100 * rate * way.flops / 1e9 / ceiling:3.0f} % of the ceiling"
        )
    one, every = (seconds[name] for name in list(seconds)[-2:])
    ratio = statistics.median(b / a for a, b in zip(one, every, strict=True))
    print(f"every layer x 4 poolings takes {ratio:.2f}x of one layer and pooling to the same depth")
    for line in errors(model, flags.length):
        print(line)


def random_network(embed_dim: int, kernel_size: int) -> BlindspotModel1D:
    """The reference architecture with random weights and norms that are not the identity."""
    torch.manual_seed(0)
    config = {"num_layers": 9, "embed_dim": embed_dim, "kernel_size": kernel_size, "use_bn": True}
    model = BlindspotModel1D(config_from_yaml(config)).eval()
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5)
    return model


def spectra(n: int, n_inputs: int, length: int) -> torch.Tensor:
    """Numbers of the size of fluxes and errors."""
    return torch.rand(n, n_inputs, length, generator=torch.Generator().manual_seed(1))


def users_way(model: BlindspotModel1D, x: torch.Tensor) -> torch.Tensor:
    """The whole network runs, a hook keeps the input of the last encoder block (both directions stacked)."""
    kept: list[torch.Tensor] = []
    hook = model.encoders[-1].register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[0]))
    with torch.inference_mode():
        model(x)
    hook.remove()
    return pool(kept[0], POOLING)


def make_ways(
    model: BlindspotModel1D, x: torch.Tensor, workers: ThreadPoolExecutor, n_workers: int
) -> list[Way]:
    """All ways; the last two are one layer and every layer to the same depth."""
    length = x.shape[-1]
    encoder = direct_flops(model, length)
    whole = whole_flops(model, length)
    poolings = ("global_mean", "mean_max", POOLING, "seg_mean_K16" if length >= 4096 else "seg_mean_K4")

    def engine(
        name: str, layers: Sequence[str], pools: Sequence[str], directions: Sequence[str], **how: str
    ) -> Way:
        run = make_engine(model, layers, pools, directions=directions, **how)
        flops = encoder if how else fast_flops(model, length, layers)
        return Way(name, n_workers * len(x), on_all(run, x, workers, n_workers), flops * len(directions))

    plain = make_engine(model, (LAYER,), (POOLING,), directions=BOTH, engine="plain")
    direct = DirectEncoder(model, dtype=torch.float32, device="cpu")

    def directly() -> None:
        with torch.inference_mode():
            for direction in BOTH:
                pool(direct.encode(x, (LAYER,), direction)[LAYER], POOLING)

    batch = best_batch(model, x)
    few = x[:batch] if batch <= len(x) else x.repeat(-(-batch // len(x)), 1, 1)[:batch]
    return [
        Way(f"A users' way (batch {batch})", batch, lambda: users_way(model, few), whole),
        Way("B modules of the encoder, both", len(x), lambda: plain(x), 2 * encoder),
        Way("C direct, folded, channels last, both", len(x), directly, 2 * encoder),
        engine("D fast, both", (LAYER,), (POOLING,), BOTH),
        engine("D fast, forward", (LAYER,), (POOLING,), BOTH[:1]),
        engine("E bf16, both", (LAYER,), (POOLING,), BOTH, precision="bf16"),
        engine("E bf16, forward", (LAYER,), (POOLING,), BOTH[:1], precision="bf16"),
        engine("F fast, forward, enc_last, one pooling", ("enc_last",), (POOLING,), BOTH[:1]),
        engine(f"F fast, forward, {len(model.layers)} layers x 4 poolings", model.layers, poolings, BOTH[:1]),
    ]


def on_all(run: Engine, x: torch.Tensor, workers: ThreadPoolExecutor, n: int) -> Callable[[], object]:
    """Run the same batch in every worker at once."""
    return lambda: list(workers.map(lambda _: run(x), range(n)))


def best_batch(model: BlindspotModel1D, x: torch.Tensor) -> int:
    """The batch size at which the users' way is fastest."""
    rates = {}
    for batch in USERS_BATCHES:
        few = x.repeat(-(-batch // len(x)), 1, 1)[:batch]
        users_way(model, few)
        times = []
        for _ in range(3):
            started = time.perf_counter()
            users_way(model, few)
            times.append(time.perf_counter() - started)
        rates[batch] = batch / min(times)
    return max(rates, key=rates.__getitem__)


def interleave(ways: list[Way], repeats: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Wall seconds of every turn, and processor seconds per wall second."""
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    processor_seconds = dict.fromkeys(seconds, 0.0)
    for way in ways:
        way.call()
    for _ in range(repeats):
        for way in ways:
            started, processor_started = time.perf_counter(), time.process_time()
            way.call()
            seconds[way.name].append(time.perf_counter() - started)
            processor_seconds[way.name] += time.process_time() - processor_started
    return seconds, {name: processor_seconds[name] / sum(seconds[name]) for name in seconds}


def direct_flops(model: BlindspotModel1D, length: int, layer: str = LAYER) -> float:
    """Operations of direct convolutions down to `layer`, one direction."""
    flops, n_blocks = 0.0, model.config.num_layers + (layer == "enc_last")
    for index, block in enumerate(list(model.encoders)[:n_blocks]):
        flops += 2.0 * block.conv.weight.numel() * length
        length = length // 2 if index else length
    return flops


def whole_flops(model: BlindspotModel1D, length: int) -> float:
    """Operations of the convolutions of the whole network, both directions."""
    lengths = [length >> depth for depth in range(model.config.num_layers)]
    flops = direct_flops(model, length, "enc_last") * 2
    for index, blocks in enumerate(zip(model.decoders_a, model.decoders_b, strict=True)):
        n_pixels = lengths[-2 - index]
        flops += sum(4.0 * block.conv.weight.numel() * n_pixels for block in blocks)
    return flops + sum(2.0 * block.conv.weight.numel() * length for block in model.nin_layers)


def fast_flops(model: BlindspotModel1D, length: int, layers: Sequence[str]) -> float:
    """Operations of the fast engine, one direction, poolings apart."""
    blocks = [fold(block) for block in model.encoders]
    return make_stack(model.config, blocks, length, layers=layers, poolings=(), directions=()).flops


def fma_ceiling(workers: ThreadPoolExecutor, n: int) -> float:
    """GFLOP/s of the best of large matrix products (numpy's, torch's) and a direct convolution, on all cores."""
    a, b = torch.rand(2, 1536, 1536)
    weight = torch.rand(64, 64, 1, 25).contiguous(memory_format=torch.channels_last)
    image = torch.rand(4, 64, 1, 4096).contiguous(memory_format=torch.channels_last)
    products: tuple[tuple[float, Callable[[], object]], ...] = (
        (2.0 * 1536**3, lambda: a.numpy() @ b.numpy()),
        (2.0 * 1536**3, lambda: a @ b),
        (2.0 * 4 * 4072 * weight.numel(), lambda: torch.nn.functional.conv2d(image, weight)),
    )
    best = 0.0
    for flops, product in products:
        for _ in range(5):
            started = time.perf_counter()
            list(workers.map(lambda _, product=product: product(), range(n)))
            best = max(best, n * flops / (time.perf_counter() - started) / 1e9)
    return best


def errors(model: BlindspotModel1D, length: int) -> list[str]:
    """Largest error of any pooled feature of any layer against the module in float64, and its size."""
    x = spectra(8, model.config.n_inputs, length)
    poolings = ("global_mean", "mean_max", POOLING)
    found = {
        "fast": make_engine(model, model.layers, poolings, directions=BOTH)(x),
        "plain": make_engine(model, model.layers, poolings, directions=BOTH, engine="plain")(x),
        "bf16": make_engine(model, model.layers, poolings, directions=BOTH, precision="bf16")(x),
    }
    exact = model.double()
    truth = {d: exact.encode(x.double(), model.layers, d) for d in BOTH}
    largest = max(maps.abs().max().item() for direction in truth.values() for maps in direction.values())
    lines = []
    for name, taps in found.items():
        error = max(
            (values - pool(truth[direction][layer], pooling)).abs().max().item()
            for (layer, direction, pooling), values in taps.items()
        )
        lines.append(
            f"{name}: largest error of a feature against float64 {error:.1e} (activations up to {largest:.3g})"
        )
    return lines


def processor() -> str:
    """The processor's name."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
