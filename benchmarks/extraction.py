"""Rate of the frozen encoder: the users' way (whole forward pass with hooks) against the engine, interleaved.

Prints machine, versions, medians and paired ratios. Reference architecture, both directions, one thread by default.
"""

import argparse
import platform
import statistics
import time

import torch

from cache.runlog import versions
from extract.encoder import BlindspotModel1D
from extract.engine import make_engine
from extract.model_yaml import config_from_yaml
from extract.pooling import pool

LAYER, POOLING = "enc_pre_latent", "seg_mean_K8"


def main() -> None:
    """Time both ways alternately and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--embed-dim", type=int, default=48)
    parser.add_argument("--kernel-size", type=int, default=25)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    model = BlindspotModel1D(
        config_from_yaml(
            {"num_layers": 9, "embed_dim": flags.embed_dim, "kernel_size": flags.kernel_size, "use_bn": True}
        )
    ).eval()
    x = torch.rand(flags.batch, model.config.n_inputs, 4096)
    both = make_engine(model, (LAYER,), (POOLING,), directions=("forward", "backward"))
    one = make_engine(model, (LAYER,), (POOLING,))
    ways = {
        "users' way": lambda: users_way(model, x),
        "engine, both": lambda: both(x),
        "engine, forward": lambda: one(x),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(flags.repeats):
        for name, way in ways.items():
            started = time.process_time()
            way()
            seconds[name].append(time.process_time() - started)
    print(
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {flags.threads} thread(s); {versions()}"
    )
    print(
        f"9 layers, {flags.embed_dim} channels, kernel {flags.kernel_size}, batch {flags.batch}, L 4096, CPU seconds"
    )
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(seconds["users' way"], times, strict=True)]
        rate = flags.batch / statistics.median(times)
        print(f"{name:16s} {rate:8.1f} spectra/s   {statistics.median(ratios):5.2f}x the users' way")


def users_way(model: BlindspotModel1D, x: torch.Tensor) -> torch.Tensor:
    """The whole network runs, a hook keeps the input of the last encoder block (both directions stacked)."""
    kept: list[torch.Tensor] = []
    hook = model.encoders[-1].register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[0]))
    with torch.inference_mode():
        model(x)
    hook.remove()
    return pool(kept[0], POOLING)


if __name__ == "__main__":
    main()
