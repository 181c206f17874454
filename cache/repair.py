"""Taking damaged blocks out of a store, so that the next run computes only those again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from .atomic import TEMPORARY_PREFIX, sync
from .canonical import sha256
from .commits import Commit, check_chunk, commit_path, read_commit
from .errors import Damaged
from .header import COMMIT_FOLDER, FEATURES, Header, check_static, read_header


@dataclass(frozen=True)
class Repair:
    """What was taken out: block numbers, and why each."""

    blocks: tuple[int, ...]
    reasons: tuple[str, ...]


def repair(store: Path) -> Repair:
    """Remove the commit record of every damaged block; chunks stay until they are written again.

    Raises Damaged when header, rows, labels or coordinates are altered: these cannot be recomputed block by block,
    the store has to be deleted and extracted again.
    """
    header = read_header(store)
    check_static(store, header)
    blocks, reasons = [], []
    for block in range(header.n_blocks):
        try:
            commit = read_commit(store, header, block)
            if commit is not None:
                _check_block(store, header, commit)
        except Damaged as error:
            commit_path(store, block).unlink()
            blocks.append(block)
            reasons.append(str(error))
    for leftover in (store / COMMIT_FOLDER).glob(f"{TEMPORARY_PREFIX}*"):
        leftover.unlink()
    sync(store / COMMIT_FOLDER)
    return Repair(tuple(blocks), tuple(reasons))


def _check_block(store: Path, header: Header, commit: Commit) -> None:
    """Compare every chunk of a block with its record, values included."""
    lo, hi = commit.rows
    for array in header.arrays:
        check_chunk(store, array, commit)
        features = zarr.open_array(store / array.path / FEATURES, mode="r")
        try:
            values = np.ascontiguousarray(features[lo:hi])
        except ValueError as error:
            raise Damaged(f"{store}: {array.path} block {commit.block}: {error}") from error
        if sha256(values.tobytes()) != commit.arrays[array.path].sha256:
            raise Damaged(f"{store}: {array.path} block {commit.block} does not have the committed values")
