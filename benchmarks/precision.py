"""What a precision costs and what it changes: rate, feature error, and the log g that a ridge probe reads from it.

Extracts the splits of a survey (default: the demo's mock survey, `make mock`) with the shipped encoder by every engine
and precision of this machine, `enc_pre_latent` with seg_mean_K8, both directions, into a temporary folder; fits ridge
with alpha chosen on val; compares test R2 with that of fp32 by a paired bootstrap over stars. Prints one table.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.runlog import versions
from cache.store import FeatureStore
from extract.pipeline import extract_features
from extract.request import ExtractConfig, find_data
from probes.metrics import r2
from probes.registry import make_probe
from probes.statistics import paired_difference

LAYER, POOLING, LABEL = "enc_pre_latent", "seg_mean_K8", "log_g"
BASE = ("fp32", "fast")


@dataclass(frozen=True)
class Extracted:
    """Features and labels of the three splits as one engine and precision gave them."""

    seconds: float
    X: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    stars: np.ndarray
    """Of the test split."""


def main() -> None:
    """Extract with each way, fit, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="artifacts/data/mock", help="folder with train/ val/ test/")
    parser.add_argument("--checkpoint", default="shipped")
    parser.add_argument("--device", default="cpu")
    flags = parser.parse_args()
    ways = [BASE, ("fp32", "plain"), ("bf16", "fast")]
    if flags.device.startswith("cuda"):
        ways.append(("tf32", "fast"))
    found = {way: extract(flags, *way) for way in ways}
    base = found[BASE]
    predicted = {way: predict(extracted) for way, extracted in found.items()}
    n = {split: len(labels) for split, labels in base.y.items()}
    print(f"{flags.device}; {versions()}")
    print(f"{n['train']} train, {n['test']} test stars; features have a scale of {base.X['test'].std():.3g}")
    for way, extracted in found.items():
        errors = np.abs(extracted.X["test"] - base.X["test"])
        score = r2(base.y["test"], predicted[way])
        change = paired_difference(base.y["test"], predicted[way], predicted[BASE], stars=base.stars)
        print(
            f"{way[0]:5s} {way[1]:6s} {sum(n.values()) / extracted.seconds:7.0f} spectra/s in all   feature error: "
            f"largest {errors.max():.1e}, root mean square {np.sqrt((errors**2).mean()):.1e}   {LABEL} R2 {score:.5f}, "
            f"change {change.difference:+.5f} [{change.interval.lo:+.5f}, {change.interval.hi:+.5f}]"
        )


def extract(flags: argparse.Namespace, precision: str, engine: str) -> Extracted:
    """Run the whole extraction into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        config = ExtractConfig(
            data=find_data(flags.data),
            checkpoint=flags.checkpoint,
            layers=(LAYER,),
            poolings=(POOLING,),
            directions=("forward", "backward"),
            precision=precision,
            engine=engine,
            device=flags.device,
            out=out / "features",
            digests=Path("artifacts/digests"),
        )
        started = time.perf_counter()
        paths = extract_features(config)
        seconds = time.perf_counter() - started
        stores = {split: FeatureStore.open(found[0]) for split, found in paths.items()}
        return Extracted(
            seconds=seconds,
            X={s: np.asarray(store.features(LAYER, POOLING, "concat")) for s, store in stores.items()},
            y={s: np.asarray(store.labels(LABEL)) for s, store in stores.items()},
            stars=np.asarray(stores["test"].stars),
        )


def predict(extracted: Extracted) -> np.ndarray:
    """Labels of the test stars by ridge, alpha chosen on val."""
    head = make_probe("ridge", alpha="val")
    head.fit(extracted.X["train"], extracted.y["train"], X_val=extracted.X["val"], y_val=extracted.y["val"])
    return head.predict(extracted.X["test"])


if __name__ == "__main__":
    main()
