"""Rates of the feature store: committing, verifying and opening, and its share of an extraction.

Writes a store of 10 layers x 4 poolings (at 100,000 rows 2.9 GB). For every block in turn: the same bytes as plain
files, flushed (what the disk gives), the same values by plain zarr (crc32c, neither flushed nor recorded), a commit.
What the first two wrote is flushed and removed, untimed, before the next turn, so that nobody pays for another, and
memory is what they freed. Then every array in turn: its chunks as plain bytes, by plain zarr, and checked by
the store. The share is measured in extractions with the reference network. Prints machine, versions, medians, ratios.
"""

import argparse
import contextlib
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import zarr
from zarr.codecs import Crc32cCodec

from cache.arrays import ArrayName
from cache.chunks import Array
from cache.runlog import versions
from cache.skeleton import RowTable
from cache.store import FeatureStore
from cache.writer import Block, StoreWriter
from extract import blocks, pipeline, prepare
from extract.checkpoint import save_checkpoint
from extract.encoder import BlindspotModel1D
from extract.mock.survey import write_survey
from extract.model_yaml import config_from_yaml
from extract.request import ExtractConfig

WIDTHS = {"global_mean": 48, "mean_max": 96, "seg_mean_K4": 192, "seg_mean_K8": 384}
ARRAYS = {
    ArrayName(f"enc_{k}", "forward", pooling): width for k in range(10) for pooling, width in WIDTHS.items()
}
BLOCK_ROWS = 4096
REPEATS = 9


def main() -> None:
    """Run the three measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--spectra", type=int, default=256, help="spectra of the extraction")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to be measured")
    flags = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, one thread; {versions()}")
    with tempfile.TemporaryDirectory(dir=flags.folder, prefix="bench-") as name:
        store(Path(name), flags.rows)
        share(Path(name), flags.spectra)


def store(folder: Path, n_rows: int) -> None:
    """Write, open and verify one store; the same bytes and values otherwise, in turn."""
    writer = begin(folder / "ours", n_rows)
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {"plain files, fsync": [], "plain zarr": [], "store": []}
    for block in writer.pending():
        lo, hi = writer.header.block(block)
        values = {a: rng.standard_normal((hi - lo, width), dtype=np.float32) for a, width in ARRAYS.items()}
        ways = {
            "plain files, fsync": lambda: write_files(folder / "raw", values),  # noqa: B023
            "plain zarr": lambda: write_zarr(folder / "zarr", values),  # noqa: B023
            "store": lambda: commit(writer, block, values),  # noqa: B023
        }
        for way, run in ways.items():
            seconds[way].append(timed(run) / sum(v.nbytes for v in values.values()))
            os.sync()
            for name in ("raw", "zarr"):
                shutil.rmtree(folder / name, ignore_errors=True)
    told("write", seconds)
    opening = [timed(lambda: FeatureStore.open(writer.path)) for _ in range(REPEATS)]
    size = f"{len(ARRAYS)} arrays, {n_rows} rows, {writer.header.n_blocks} blocks"
    print(f"open, {size}: {statistics.median(opening):.3f} s")
    opened = FeatureStore.open(writer.path)
    seconds = {"plain files": [], "plain zarr": [], "store": []}
    for array, width in ARRAYS.items():
        chunks = sorted((writer.path / array.path / "features/c").glob("*/0"))
        ways = {
            "plain files": lambda: [chunk.read_bytes() for chunk in chunks],  # noqa: B023
            "plain zarr": lambda: zarr.open_array(writer.path / array.path / "features", mode="r")[:],  # noqa: B023
            "store": lambda: [None for _ in opened.blocks(array)],  # noqa: B023
        }
        for way, run in ways.items():
            seconds[way].append(timed(run) / (4 * n_rows * width))
    told("read (store: verify)", seconds)
    whole = timed(opened.verify)
    print(f"verify, the whole store in one go: {4 * n_rows * sum(ARRAYS.values()) / whole / 1e6:.0f} MB/s")


def write_files(folder: Path, values: dict[ArrayName, Array]) -> None:
    """Every array as one file, flushed."""
    folder.mkdir()
    for array, content in values.items():
        with (folder / array.path.replace("/", "-")).open("wb") as stream:
            stream.write(content.data)
            stream.flush()
            os.fsync(stream.fileno())


def write_zarr(folder: Path, values: dict[ArrayName, Array]) -> None:
    """Every array by plain zarr, with a checksum."""
    group = zarr.create_group(folder)
    for array, content in values.items():
        group.create_array(
            array.path, data=content, chunks=content.shape, filters=None, compressors=[Crc32cCodec()]
        )


def commit(writer: StoreWriter, block: int, values: dict[ArrayName, Array]) -> None:
    """One block by the store: chunks, sha256, flushes, record."""
    with writer.claim(block):
        writer.commit(block, Block(arrays=values, input="0" * 64), {})


def begin(root: Path, n_rows: int) -> StoreWriter:
    """An empty store with nine labels."""
    about = {
        "schema": 1, "numerics": 1, "encoder": {}, "error_input": "true", "input": "0" * 64, "data_kind": "mock",
        "split": "test", "rows": {"n": n_rows, "selection": "all"}, "mask": None,
        "noise": {"mode": "none", "level": 1.0, "seed": None, "draw": None, "noise_version": None},
        "precision": "fp32", "arrays": [[array.path, ARRAYS[array]] for array in sorted(ARRAYS)],
    }  # fmt: skip
    names = ("channel", "segment", "statistic", "wave_lo", "wave_hi")
    return StoreWriter.create(
        root,
        about,
        rows=RowTable(
            row=np.arange(n_rows),
            star=np.arange(n_rows, dtype=np.uint64),
            id=[str(k) for k in range(n_rows)],
            labels={f"label_{k}": np.linspace(k, k + 1, n_rows) for k in range(9)},
        ),
        coordinates={array: {name: np.zeros(width) for name in names} for array, width in ARRAYS.items()},
        block_rows=BLOCK_ROWS,
    )


def share(folder: Path, n_spectra: int) -> None:
    """Time of fingerprint and commits in an extraction of every layer x four poolings and of one layer."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = {"num_layers": 9, "embed_dim": 48, "kernel_size": 25, "use_bn": True}
    model = BlindspotModel1D(config_from_yaml(network)).eval()
    save_checkpoint(model, folder / "reference.ckpt")
    files = write_survey(folder / "data", n_train=1, n_val=1, n_test=n_spectra, seed=0, mag=21.5)
    for layers, poolings in ((("enc_pre_latent",), ("seg_mean_K8",)), (("all",), tuple(WIDTHS))):
        spent: dict[str, float] = {"fingerprint": 0.0, "create": 0.0, "commit": 0.0}
        with (
            counting(prepare, "fingerprint", spent, "fingerprint"),
            counting(pipeline, "open_writer", spent, "create"),
            counting(blocks.StoreWriter, "commit", spent, "commit"),
        ):
            out = folder / f"features-{len(poolings)}"
            asked = ExtractConfig(
                data={"test": (files["test"],)}, checkpoint=str(folder / "reference.ckpt"), error_mode="pixel",
                layers=layers, poolings=poolings, jobs=1, out=out, digests=folder / f"digests-{len(poolings)}",
            )  # fmt: skip
            whole = timed(lambda: pipeline.extract_features(asked))  # noqa: B023
        parts = ", ".join(f"{name} {second:.2f} s" for name, second in spent.items())
        percent = 100 * (spent["fingerprint"] + spent["commit"]) / whole
        what = f"extraction, reference network, {n_spectra} spectra, layer(s) {layers[0]} x {len(poolings)} poolings"
        print(f"{what}: {whole:.1f} s, of it {parts}; fingerprint + commits {percent:.2f} %")


@contextlib.contextmanager
def counting(owner: object, name: str, spent: dict[str, float], label: str) -> Iterator[None]:
    """Add the time spent in a function to `spent`."""
    original = getattr(owner, name)

    def counted(*args: object, **kwargs: object) -> object:
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent[label] += time.perf_counter() - started

    setattr(owner, name, counted)
    try:
        yield
    finally:
        setattr(owner, name, original)


def timed(run: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def told(what: str, seconds_per_byte: dict[str, list[float]]) -> None:
    """Print the median rate of every way, and the medians of the paired ratios of the store to the others."""
    for way, seconds in seconds_per_byte.items():
        ratio = statistics.median(s / o for s, o in zip(seconds, seconds_per_byte["store"], strict=True))
        print(f"{what}, {way}: {1e-6 / statistics.median(seconds):.0f} MB/s (store / this: {ratio:.2f})")


if __name__ == "__main__":
    main()
