"""MLP: an epoch of ours against the plain DataLoader loop, seeds trained together, and val R2 of both.

Same recipe on both sides: batches of 256 in random order, Linear-GELU-Dropout-Linear, MSE, AdamW, gradient clipped to
0.5. The plain loop is TensorDataset, DataLoader(shuffle=True), nn.Sequential, autograd. Both are timed with each number
of threads, in turns; the table says which was best for whom. Run as `python -m benchmarks.heads.mlp`.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cache.runlog import versions
from probes.base import Array, CheckedSample
from probes.metrics import r2
from probes.mlp import MLP
from probes.mlp_features import Features, label_scaling, scaled
from probes.mlp_member import Member, Recipe
from probes.mlp_network import Stack, make_network
from probes.mlp_order import EveryRow
from probes.mlp_training import TrainingData, train
from probes.together import Fit, TrainingSet, fit_alone, fit_together

D, HIDDEN, BATCH = 384, 256, 256


def main() -> None:
    """Print machine, versions and three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5, help="turns of the epoch timings")
    parser.add_argument("--together", type=int, default=8, help="seeds trained together")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of the fits that are trained together")
    parser.add_argument("--seeds", type=int, default=6, help="seeds of the comparison of val R2")
    parser.add_argument("--skip", nargs="*", choices=("epoch", "together", "scores"), default=())
    options = parser.parse_args()
    device = torch.device(options.device)
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores", end="")
    print(f", {torch.cuda.get_device_name()}" if device.type == "cuda" else "")
    print({**versions(), "torch": torch.__version__})
    if "epoch" not in options.skip:
        compare_epochs(options.rows, device, rounds=options.rounds)
    if "together" not in options.skip:
        compare_together(options.rows, device, n_fits=options.together, epochs=options.epochs)
    if "scores" not in options.skip:
        compare_scores(options.rows // 5, device, n_seeds=options.seeds)


def survey(n: int, *, seed: int) -> tuple[Array, Array]:
    """Features (n, D) float32 and a label that is partly nonlinear in them, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D), dtype=np.float32)
    ways = np.random.default_rng(99).standard_normal((D, 3)) / np.sqrt(D)
    linear, bent, curved = (X @ ways).T
    y = linear + np.tanh(2 * bent) + 0.5 * curved**2 + 0.5 * rng.standard_normal(n)
    return X, y


def compare_epochs(n: int, device: torch.device, *, rounds: int) -> None:
    """One label, one hidden layer of 256, dropout 0.1: seconds an epoch."""
    X, y = (torch.from_numpy(a.astype(np.float32)) for a in survey(n, seed=0))
    ways: dict[str, Callable[[], float]] = {}
    for threads in dict.fromkeys((1, os.cpu_count() or 1)):
        ways[f"plain, {threads} threads"] = lambda t=threads: plain_epoch(X, y[:, None], device, t)
        ways[f"ours, {threads} threads"] = lambda t=threads: our_epoch(X.to(device), y[:, None].to(device), t)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # to warm up
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way())
    best = {
        side: min(statistics.median(s) for name, s in seconds.items() if name.startswith(side))
        for side in ("plain", "ours")
    }
    print(
        f"\nan epoch at {n} x {D}, batch {BATCH}, hidden {HIDDEN}, one label, {device.type}: median (range), s"
    )
    for name, taken in seconds.items():
        print(f"  {name:20s} {statistics.median(taken):.4f}  ({min(taken):.4f} to {max(taken):.4f})")
    print(
        f"  best threads each: {best['plain']:.4f} / {best['ours']:.4f} = {best['plain'] / best['ours']:.2f}x"
    )


def plain_epoch(X: torch.Tensor, y: torch.Tensor, device: torch.device, threads: int) -> float:
    """Seconds of one epoch the plain way; making network, optimiser and loader is not counted."""
    torch.set_num_threads(threads)
    network = make_network(D, 1, hidden=(HIDDEN,), dropout=0.1).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    loader = DataLoader(TensorDataset(X, y), batch_size=BATCH, shuffle=True)
    started = time.perf_counter()
    plain_pass(network, optimiser, loader, device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def plain_pass(
    network: nn.Module, optimiser: torch.optim.Optimizer, loader: DataLoader, device: torch.device
) -> None:
    """One epoch of the plain loop; rows are on the CPU and go to the device batch by batch."""
    network.train()
    for X, y in loader:
        loss = nn.functional.mse_loss(network(X.to(device)), y.to(device))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimiser.step()


@dataclass
class TimedMember(Member):
    """A member that notes when its epochs ended."""

    ends: list[float] = field(default_factory=list)

    def end_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Note the time; nothing waits on the device any more by then."""
        self.ends.append(time.perf_counter())
        super().end_epoch(*args, **kwargs)


def our_epoch(X: torch.Tensor, y: torch.Tensor, threads: int) -> float:
    """Seconds of the second epoch of a training of two."""
    torch.set_num_threads(threads)
    head = MLP(selection="fixed", max_epochs=2)
    recipe = Recipe(**{name: getattr(head, name) for name in Recipe.__dataclass_fields__})
    member = TimedMember(recipe, label_scaling(np.zeros((2, 1)), "none"), None)
    stack = Stack([make_network(D, 1, hidden=(HIDDEN,), dropout=0.1)], X.device)
    train([member], stack, TrainingData(X=X, y=y, X_val=None, visits=EveryRow(len(X))), batch_size=BATCH)
    return member.ends[1] - member.ends[0]


def compare_together(n: int, device: torch.device, *, n_fits: int, epochs: int) -> None:
    """Whole fits with val scores, from the rows to the fitted head."""
    X, y = survey(n, seed=0)
    X_val, y_val = survey(n // 10, seed=1)
    data = TrainingSet(X=X, Y=y[:, None], X_val=X_val, Y_val=y_val[:, None])
    threads = os.cpu_count() or 1

    def fits(n_seeds: int) -> list[Fit]:
        heads = [
            MLP(seed=seed, max_epochs=epochs, device=device.type, threads=threads) for seed in range(n_seeds)
        ]
        return [Fit(head=head, columns=(0,), n_rows=n) for head in heads]

    def timed(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    timed(lambda: fit_alone(fits(1)[0], data))  # to warm up
    one, after, together = [], [], []
    for _ in range(3):
        one.append(timed(lambda: fit_alone(fits(1)[0], data)))
        together.append(timed(lambda: fit_together(fits(n_fits), data)))
        after.append(timed(lambda: [fit_alone(fit, data) for fit in fits(n_fits)]))
    one_s, together_s, after_s = (statistics.median(s) for s in (one, together, after))
    print(f"\n{n_fits} seeds, {epochs} epochs at {n} x {D}, {device.type}: medians of 3, s")
    print(f"  one fit {one_s:.3f}, {n_fits} one after another {after_s:.3f}, together {together_s:.3f}")
    print(
        f"  together / one {together_s / one_s:.2f}, one after another / together {after_s / together_s:.2f}"
    )


def compare_scores(n: int, device: torch.device, *, n_seeds: int) -> None:
    """Best val R2 of 12 epochs at one learning rate, on the same standardised rows."""
    epochs = 12
    X, y = survey(n, seed=0)
    X_val, y_val = survey(n // 2, seed=1)
    scores: dict[str, list[float]] = {"plain": [], "ours": []}
    for seed in range(n_seeds):
        scores["plain"].append(plain_score(X, y, X_val, y_val, device, seed=seed, epochs=epochs))
        head = MLP(seed=seed, max_epochs=epochs, plateau_patience=epochs, device=device.type)
        head.fit(X, y, X_val=X_val, y_val=y_val)
        scores["ours"].append(r2(y_val, head.predict(X_val)))
    print(f"\nval R2, best of {epochs} epochs, {n} rows, {n_seeds} seeds, {device.type}: mean +- std (range)")
    for name, values in scores.items():
        spread = f"({min(values):.4f} to {max(values):.4f})"
        print(f"  {name:6s} {np.mean(values):.4f} +- {np.std(values, ddof=1):.4f}  {spread}")


def plain_score(
    X: Array, y: Array, X_val: Array, y_val: Array, device: torch.device, *, seed: int, epochs: int
) -> float:
    """Best val R2 of the plain loop."""
    torch.manual_seed(seed)
    of_y = label_scaling(y[:, None], "standard")
    sample = CheckedSample(X=X, Y=y[:, None], X_val=X_val)
    cpu = torch.device("cpu")
    features = Features.of(sample, cpu)
    rows = TensorDataset(features.X, scaled(of_y, y[:, None], cpu))
    loader = DataLoader(rows, batch_size=BATCH, shuffle=True)
    network = make_network(D, 1, hidden=(HIDDEN,), dropout=0.1).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    found = []
    for _ in range(epochs):
        plain_pass(network, optimiser, loader, device)
        network.eval()
        with torch.no_grad():
            y_hat = network(features.X_val.to(device)).double().cpu().numpy()[:, 0]
        found.append(r2(y_val, y_hat * of_y.scale[0] + of_y.mean[0]))
    return max(found)


if __name__ == "__main__":
    main()
