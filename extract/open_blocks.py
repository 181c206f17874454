"""Row blocks between their claim and their commit: which stores lack them, and where their features gather."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cache.arrays import ArrayName
from cache.canonical import sha256
from cache.errors import Busy, CheckpointError, Stale
from cache.writer import Block, StoreWriter

from .block_task import BlockDone, BlockTask, Target
from .checkpoint import weights_digest

Array = NDArray[Any]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class OpenBlock:
    """A claimed block: the stores that lack it, its rows, and arrays (rows, D) for the features of each store."""

    number: int
    rows: Rows
    free: list[tuple[StoreWriter, Target]]
    features: list[dict[ArrayName, Array]]
    claims: contextlib.ExitStack

    def store(self, start: int, draw: int | None, features: Mapping[ArrayName, torch.Tensor]) -> None:
        """Write features (n, D) of one draw to their place, from row `start` of the block on."""
        for (_, target), arrays in zip(self.free, self.features, strict=True):
            if target.draw == draw:
                for array, values in arrays.items():
                    found = features[array].numpy()
                    values[start : start + len(found)] = found


def claimed(
    task: BlockTask, blocks: Sequence[int], claims: contextlib.ExitStack, aside: list[tuple[int, BlockDone]]
) -> Iterator[OpenBlock]:
    """Claim blocks one by one, as they are asked for; those that are there or held by somebody go `aside`.

    `claims` lets go of what is not committed when it is closed. Raises Stale when a store was begun anew meanwhile.
    """
    for number in blocks:
        ours = claims.enter_context(contextlib.ExitStack())
        try:
            free = _free_targets(task, number, ours)
        except Busy as error:
            ours.close()
            aside.append((number, BlockDone(holder=str(error))))
            continue
        if not free:
            ours.close()
            aside.append((number, BlockDone()))
            continue
        lo, hi = free[0][0].header.block(number)
        features = [
            {array: _unwritten(hi - lo, width) for array, width in _widths(writer, target)}
            for writer, target in free
        ]
        yield OpenBlock(number, task.fingerprint.kept[lo:hi], free, features, ours)


def _unwritten(n_rows: int, width: int) -> Array:
    """NaN everywhere, so that a row which nobody writes is refused when the block is committed."""
    return np.full((n_rows, width), np.nan, dtype=np.float32)


def _free_targets(
    task: BlockTask, number: int, claims: contextlib.ExitStack
) -> list[tuple[StoreWriter, Target]]:
    """The stores that lack the block, claimed; Busy when another process computes it for one of them."""
    free = []
    for target in task.targets:
        writer = StoreWriter.open(target.path, claims="locks" if task.config.part is None else "parts")
        if writer.header != target.header:
            raise Stale(f"{target.path}: was removed and begun anew meanwhile; run the same command again")
        if claims.enter_context(writer.claim(number)):
            free.append((writer, target))
    return free


def _widths(writer: StoreWriter, target: Target) -> list[tuple[ArrayName, int]]:
    widths = dict(writer.header.provenance["arrays"])
    return [(array, widths[array.path]) for array in target.arrays]


def commit(task: BlockTask, block: OpenBlock) -> tuple[int, int]:
    """Commit a computed block to its stores and let go of it; its number and how many rows it has.

    Raises CheckpointError when the model changed meanwhile, CacheError when a disk refuses.
    """
    if weights_digest(task.model) != task.weights:
        raise CheckpointError(
            "the encoder's weights or norm statistics changed during the run; this is a bug, nothing was committed"
        )
    digest = sha256(task.fingerprint.row_digests[block.rows].tobytes())
    for (writer, _), arrays in zip(block.free, block.features, strict=True):
        writer.commit(
            block.number,
            Block(arrays=arrays, input=digest),
            dict(task.computed_with),
            mixing="accepted" if task.config.mixed else "refused",
        )
    block.claims.close()
    return block.number, len(block.rows)
