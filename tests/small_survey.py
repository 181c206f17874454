"""Small stores on which commands of probes run, and the flags for them."""

import numpy as np
from store_fakes import BACKWARD, FORWARD, WIDTH, coordinates, provenance

from cache.skeleton import RowTable
from cache.writer import Block, StoreWriter

N = {"train": 60, "val": 20, "test": 24}
TRUTH = np.array([1.0, -2.0, 0.5, 0.0])


def survey_store(
    root,
    split,
    *,
    arrays=(FORWARD, BACKWARD),
    labels=True,
    shared=0,
    stars=None,
    width=WIDTH,
    about=None,
    lacking=(),
    kept=None,
    moved=None,
    **changes,
):
    """Features with which log_g is linear up to noise; `shared` stars are those of train, or all are `stars`.

    Further columns than WIDTH are noise; `about` is what the run note says. Rows `lacking` have no log_g; `kept` (n,)
    bool are the rows that the store has. `moved` makes other wavelengths of those of the windows.
    """
    n = N[split]
    rng = np.random.default_rng([ord(split[1]), changes.get("noise", {}).get("draw") or 0, 1])
    truth = np.random.default_rng(ord(split[1])).standard_normal((n, WIDTH))
    values = (truth + 0.05 * rng.standard_normal(truth.shape)).astype(np.float32)
    values = np.concatenate([values, rng.standard_normal((n, width - WIDTH)).astype(np.float32)], axis=1)
    first = 1000 * list(N).index(split)
    star = np.array(range(first, first + n) if stars is None else stars, dtype=np.uint64)
    star[:shared] = np.arange(shared)
    log_g = 3 + truth @ TRUTH
    log_g[list(lacking)] = np.nan
    here = np.flatnonzero(np.ones(n, dtype=bool) if kept is None else kept)
    table = {
        "log_g": log_g,
        "T_eff": 5000 + 100 * truth[:, 0],
        "snr": 5 + np.arange(n) % 7,
        "gap": np.where(np.arange(n) == 3, np.nan, 1.0),
    }
    there = coordinates(width)
    if moved is not None:
        there |= {name: moved(there[name]) for name in ("wave_lo", "wave_hi")}
    writer = StoreWriter.create(
        root,
        provenance(
            split,
            arrays=arrays,
            n=here.size,
            width=width,
            input=split.encode().hex().ljust(64, "0"),
            **changes,
        ),
        rows=RowTable(
            here,
            star[here],
            [str(k) for k in here],
            {name: column[here] for name, column in table.items()} if labels else {},
        ),
        coordinates=dict.fromkeys(arrays, there),
        block_rows=16,
    )
    values = values[here]
    for block in writer.pending():
        lo, hi = writer.header.block(block)
        made = {a: -values[lo:hi] if a == BACKWARD else values[lo:hi] for a in arrays}
        writer.commit(block, Block(arrays=made, input=""), {"engine": "made up"})
    writer.record_run("2026-01-01T00-00-00Z", {"encoder": "tiny"} | (about or {}))
    return writer.path


def flags(features, results, *more):
    """Without controls, unless they are asked for."""
    plain = () if "--controls" in more else ("--controls", "none")
    return ("--features", features, "--poolings", FORWARD.pooling, "--results", results, *plain, *more)
