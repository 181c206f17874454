"""Feature stores without a network: provenance, rows and made-up values, written by cache.writer alone."""

import json

import numpy as np

from cache.arrays import ArrayName
from cache.canonical import canonical_json, seal
from cache.header import ATTRIBUTE
from cache.skeleton import RowTable
from cache.writer import Block, StoreWriter

FORWARD = ArrayName("enc_pre_latent", "forward", "seg_mean_K2")
BACKWARD = ArrayName("enc_pre_latent", "backward", "seg_mean_K2")
MEAN = ArrayName("enc_last", "forward", "global_mean")
WIDTH = 4
COMPUTED_WITH = {"engine": "made up", "threads": 1}


def provenance(split="train", *, arrays=(FORWARD,), n=10, width=WIDTH, **changes):
    """A complete provenance; `changes` replace fields, mappings leaf by leaf."""
    plain = {
        "schema": 1,
        "numerics": 1,
        "encoder": {
            "weights": "ab" * 32,
            "config": {"num_layers": 3},
            "origin": "checkpoint",
            "profile": None,
        },
        "error_input": "true",
        "input": "cd" * 32,
        "data_kind": "mock",
        "split": split,
        "rows": {"n": n, "selection": "all"},
        "mask": None,
        "noise": {"mode": "draw", "level": 1.0, "seed": 0, "draw": 0, "noise_version": 1},
        "precision": "fp32",
        "arrays": [[array.path, width] for array in sorted(arrays)],
    }
    for name, value in changes.items():
        plain[name] = {**plain[name], **value} if isinstance(plain[name], dict) else value
    return plain


def row_table(n=10, *, first_star=1000, labels=None):
    return RowTable(
        row=np.arange(n),
        star=np.arange(first_star, first_star + n, dtype=np.uint64),
        id=[f"star {k % 3}" for k in range(n)],
        labels={"log_g": np.linspace(1, 5, n), "mag": np.full(n, np.nan)} if labels is None else labels,
    )


def coordinates(width=WIDTH):
    return {
        "channel": np.arange(width) % 2,
        "segment": np.arange(width) // 2,
        "statistic": np.zeros(width),
        "wave_lo": 7000.0 + np.arange(width),
        "wave_hi": 7010.0 + np.arange(width),
    }


def values_of(array, n=10, width=WIDTH):
    """Values that differ from array to array."""
    seed = int.from_bytes(array.path.encode(), "big") % 2**32
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def begin_store(root, about=None, *, block_rows=4, rows=None, width=WIDTH):
    """A store of which no block is committed."""
    about = provenance() if about is None else about
    arrays = [ArrayName.parse(path) for path, _ in about["arrays"]]
    return StoreWriter.create(
        root,
        about,
        rows=row_table(about["rows"]["n"]) if rows is None else rows,
        coordinates={array: coordinates(width) for array in arrays},
        block_rows=block_rows,
    )


def fill(writer, blocks=None, computed_with=COMPUTED_WITH):
    """Commit blocks (all that are missing) with the values of `values_of`."""
    n, width = writer.header.n_rows, writer.header.provenance["arrays"][0][1]
    for block in writer.pending() if blocks is None else blocks:
        lo, hi = writer.header.block(block)
        arrays = {array: values_of(array, n, width)[lo:hi] for array in writer.header.arrays}
        with writer.claim(block) as free:
            assert free
            writer.commit(block, Block(arrays=arrays, input=f"slab {block}"), computed_with)
    return writer


def make_store(root, about=None, **options):
    """A finished store; its folder."""
    writer = fill(begin_store(root, about, **options))
    writer.record_run(
        "2026-01-01T00-00-00Z", {"command": "python -m extract run --made-up", "encoder": "tiny"}
    )
    return writer.path


def flip_byte(path, position=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))


def edit_header(store, *, sealed, **changes):
    """Change fields of the header; `sealed` gives it a matching digest again, as a careful forger would."""
    path = store / "zarr.json"
    content = json.loads(path.read_text())
    edited = {**content["attributes"][ATTRIBUTE], **changes}
    content["attributes"][ATTRIBUTE] = seal(edited) if sealed else edited
    path.write_text(json.dumps(content))


def edit_sealed(path, **changes):
    """Change fields of a sealed JSON file and seal it again."""
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(canonical_json(seal(content)))
