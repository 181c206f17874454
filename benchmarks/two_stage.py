"""What the cache is worth: heads on 1, 2, 4, 8 stored noise draws against end-to-end training with fresh noise.

One mock survey, one shipped encoder, one recipe (mlp_1, batches of 256, no early stop), equally many epochs. The cached
way: `extract run` with N draws of train and one of val and test, then the head, which sees the next draw in each epoch.
End to end: the encoder runs in every step, on noise that is new in every epoch, by the fast engine; the plain module,
which is what the group's script runs, is timed for a few epochs, since its features differ by rounding alone. Both ways
have as many threads; both start with files whose digests are remembered. Prints machine, versions, wall and processor
seconds, val and test R2 of the epoch that is best on val, paired differences with intervals; writes R2 against seconds
as JSON and as a plot. Run as `python -m benchmarks.two_stage`.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from lightning.pytorch.loggers.logger import Logger

from cache import FeatureStore
from cache.runlog import versions
from extract.mock.survey import write_survey
from extract.pipeline import extract_features
from extract.prepare import prepare
from extract.training.finetune_command import FinetuneSettings
from extract.training.finetune_data import load_splits
from extract.training.finetune_fit import fit, make_module, predictions
from extract.training.finetune_order import FinetuneData
from extract.training.finetune_request import machine_of, recipe_of, request_of
from extract.training.finetune_rows import choose_rows
from probes.metrics import r2
from probes.mlp import MLP
from probes.statistics import paired_difference

LAYER, POOLING, LABEL = "enc_pre_latent", "seg_mean_K8", "log_g"
SPLITS = ("train", "val", "test")


@dataclass
class Way:
    """One way to a trained head: seconds on the wall and on the processors, curve on val, predictions."""

    name: str
    wall: float = 0.0
    processor: float = 0.0
    preparing: float = 0.0
    """Wall seconds before the first epoch: reading, extraction."""
    curve: list[tuple[float, float, float]] = field(default_factory=list)
    """(wall seconds, processor seconds, val R2) after each epoch."""
    y_hat: dict[str, np.ndarray] = field(default_factory=dict)


class Clock(Logger):
    """Val R2 and the times, on the wall and on the processors, at which it was known."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, float, float]] = []

    name, version = "clock", 0

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing is kept."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # noqa: ARG002
        """Take the time."""
        if "val/r2" in metrics:
            self.seen.append((time.perf_counter(), time.process_time(), float(metrics["val/r2"])))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--val", type=int, default=1000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument(
        "--plain-epochs", type=int, default=2, help="of the plain module, which is timed only"
    )
    parser.add_argument("--draws", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, default=Path("artifacts/reports"), help="of two_stage.json and .png"
    )
    flags = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {flags.threads} thread(s)")
    print({**versions(), "torch": torch.__version__})
    torch.set_num_threads(flags.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_survey(folder / "data", n_train=flags.train, n_val=flags.val, n_test=flags.test, seed=0)
        with prepare(request_of(settings(flags, folder))):  # from now on digests are remembered
            pass
        fresh = end_to_end(settings(flags, folder), folder / "fast")
        plain = timed_plain(flags, folder)
        cached = [with_cache(flags, folder, n_draws) for n_draws in flags.draws]
        truth = labels_of(folder)
    report(fresh, plain, cached, truth, flags)


def settings(flags: argparse.Namespace, folder: Path, **changes: Any) -> FinetuneSettings:
    """The settings of an end-to-end training."""
    told = {
        "data": str(folder / "data"),
        "max_epochs": flags.epochs,
        "patience": flags.epochs,
        "device": "cpu",
        "threads": flags.threads,
        "logger": (),
        "out": folder / "finetune",
        "features": folder / "features",
        "digests": folder / "digests",
    }
    return FinetuneSettings(**{**told, **changes})


def end_to_end(asked: FinetuneSettings, folder: Path) -> Way:
    """Read, train with fresh noise, predict."""
    way, clock = Way(f"end to end, {asked.engine} engine"), Clock()
    recipe, machine = recipe_of(asked), machine_of(asked)
    wall, processor = time.perf_counter(), time.process_time()
    with prepare(request_of(asked)) as prepared:
        splits = load_splits(prepared, recipe.labels, choose_rows(prepared, recipe.labels, {}).rows)
        data = FinetuneData(prepared, splits, recipe, n_workers=machine.n_workers)
        module = make_module(prepared, data, recipe, machine)
        way.preparing = time.perf_counter() - wall
        fit(module, data, recipe, machine, folder=folder, loggers=[clock])
        way.wall, way.processor = time.perf_counter() - wall, time.process_time() - processor
        way.curve = [(then - wall, used - processor, value) for then, used, value in clock.seen]
        way.y_hat = {split: predictions(module, data, split)[:, 0] for split in ("val", "test")}
    return way


def timed_plain(flags: argparse.Namespace, folder: Path) -> Way:
    """The plain module for a few epochs; seconds of all epochs by proportion."""
    asked = settings(flags, folder, engine="plain", max_epochs=flags.plain_epochs)
    way = end_to_end(asked, folder / "plain")
    share = flags.epochs / flags.plain_epochs
    training = way.wall - way.preparing
    per_wall = way.processor / way.wall
    way.wall = way.preparing + share * training
    way.processor = way.wall * per_wall
    return way


def with_cache(flags: argparse.Namespace, folder: Path, n_draws: int) -> Way:
    """Extract draws, then fit the head to them."""
    way = Way(f"cached, {n_draws} draw(s)")
    wall, processor = time.perf_counter(), time.process_time()
    found = extracted(flags, folder, n_draws)
    X, y, stars = (
        np.concatenate(parts) for parts in zip(*(sample_of(s) for s in found["train"]), strict=True)
    )
    X_val, y_val, _ = sample_of(found["val"][0])
    way.preparing, prepared = time.perf_counter() - wall, time.process_time() - processor
    head = MLP(
        max_epochs=flags.epochs,
        patience=flags.epochs,
        threads=flags.threads,
        augment="draw_per_epoch" if n_draws > 1 else "none",
    )
    head.fit(X, y, X_val=X_val, y_val=y_val, groups=stars)
    way.wall, way.processor = time.perf_counter() - wall, time.process_time() - processor
    shares = np.arange(1, flags.epochs + 1) / flags.epochs
    way.curve = [
        (
            way.preparing + s * (way.wall - way.preparing),
            prepared + s * (way.processor - prepared),
            float(value),
        )
        for s, value in zip(shares, head.arrays_["history_val_r2"], strict=True)
    ]
    way.y_hat = {split: head.predict(sample_of(found[split][0])[0]) for split in ("val", "test")}
    return way


def extracted(flags: argparse.Namespace, folder: Path, n_draws: int) -> dict[str, list[FeatureStore]]:
    """Stores of a folder of their own: n draws of train, the first of val and test."""
    base = request_of(settings(flags, folder))
    base = replace(base, out=folder / f"draws-{n_draws}", threads=1, jobs=flags.threads)
    paths: dict[str, list[Path]] = {}
    for split in SPLITS:
        draws = n_draws if split == "train" else 1
        paths |= extract_features(replace(base, data={split: base.data[split]}, draws=draws))
    return {split: [FeatureStore.open(path) for path in found] for split, found in paths.items()}


def sample_of(store: FeatureStore) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, label, stars."""
    return store.features(LAYER, POOLING), store.labels(LABEL), store.stars


def labels_of(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label and stars of val and test, from any store."""
    stores = next(folder.glob("draws-*"))
    found = {}
    for split in ("val", "test"):
        (path,) = (stores / split).iterdir()
        _, y, stars = sample_of(FeatureStore.open(path))
        found[split] = y, stars
    return found


def report(
    fresh: Way, plain: Way, cached: list[Way], truth: dict[str, Any], flags: argparse.Namespace
) -> None:
    """Tables on standard output, JSON and plot beside."""
    print(
        f"\n{flags.train} train, {flags.val} val, {flags.test} test stars, {flags.epochs} epochs, {LABEL}\n"
    )
    print("| way | before training, s | in all, s | processor, s | val R2 | test R2 |")
    print("|---|---:|---:|---:|---:|---:|")
    for way in (fresh, *cached):
        scores = " | ".join(f"{r2(truth[split][0], way.y_hat[split]):.4f}" for split in ("val", "test"))
        print(f"| {way.name} | {way.preparing:.2f} | {way.wall:.2f} | {way.processor:.2f} | {scores} |")
    print(
        f"| {plain.name} ({flags.plain_epochs} epochs timed) | {plain.preparing:.2f} | {plain.wall:.1f} | "
        f"{plain.processor:.1f} | | |"
    )
    print(
        "\n| cached draws | faster than plain, wall (processor) | than the fast engine | head alone, than plain "
        "| fresh - cached, val R2 | test R2 |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    enough = {}
    for n_draws, way in zip(flags.draws, cached, strict=True):
        told = []
        for split, (y, stars) in truth.items():
            found = paired_difference(y, fresh.y_hat[split], way.y_hat[split], stars=stars)
            told.append(f"{found.difference:+.4f} [{found.interval.lo:+.4f}, {found.interval.hi:+.4f}]")
            enough.setdefault(split, []).append(found.interval.lo <= 0 <= found.interval.hi)
        head = (plain.wall - plain.preparing) / (way.wall - way.preparing)
        ratios = " | ".join(
            f"{other.wall / way.wall:.1f} ({other.processor / way.processor:.1f})" for other in (plain, fresh)
        )
        print(f"| {n_draws} | {ratios} | {head:.0f} | {' | '.join(told)} |")
    for split, contains in enough.items():
        first = next((n for n, inside in zip(flags.draws, contains, strict=True) if inside), None)
        print(f"{split}: the interval contains 0 with {first or 'none of the tried numbers of'} draw(s)")
    flags.out.mkdir(parents=True, exist_ok=True)
    kept = [
        {name: value for name, value in asdict(way).items() if name != "y_hat"}
        for way in (fresh, plain, *cached)
    ]
    (flags.out / "two_stage.json").write_text(json.dumps(kept, indent=1))
    plot((fresh, *cached), flags.out / "two_stage.png")


def plot(ways: tuple[Way, ...], path: Path) -> None:
    """Best val R2 so far against seconds."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  after the backend is chosen

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for way in ways:
        _, seconds, scores = zip(*way.curve, strict=True)
        axes.plot(seconds, np.maximum.accumulate(scores), label=way.name)
    axes.set(
        xscale="log", xlabel="processor seconds, extraction included", ylabel=f"best val R2 so far, {LABEL}"
    )
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
