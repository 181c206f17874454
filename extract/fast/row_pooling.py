"""Poolings of activations held as rows (b, R, C), every pooling of one layer from one pass over it."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ..pooling import parse_pooling, plain_edges
from .blocks import Rows, Step

STRIP_ROWS = 128
"""About how many rows are summed at once: few strips meet the edge of a segment, so the sums cost little."""
FOLD = 4
"""Rows that stand side by side while maxima are taken: vectors of 4 C numbers instead of C."""


class RowPooling:
    """The poolings of a layer of `length` cells whose rows come in any order.

    `pixels` (R,) says which cell a row is; rows below 0 or from `length` on are none. With the direction `backward`
    cells are counted from the other end. Means are linear: first the sums of every strip of rows between the edges of
    all segments, then of each segment. Raises InputError for more segments than cells.
    """

    def __init__(
        self, pixels: NDArray[np.int64], length: int, poolings: Sequence[str], direction: str
    ) -> None:
        self._poolings = {name: parse_pooling(name) for name in poolings}
        edges = {name: plain_edges(length, pooling.n_segments) for name, pooling in self._poolings.items()}
        valid = (pixels >= 0) & (pixels < length)
        self._invalid, self._some_cell = np.flatnonzero(~valid), int(np.flatnonzero(valid)[0])
        cells = np.where(valid, pixels if direction == "forward" else length - 1 - pixels, -1)
        stretches = np.unique(np.concatenate(list(edges.values())))
        stretch = np.where(valid, np.searchsorted(stretches, cells, side="right") - 1, -1)
        whole = len(pixels) // STRIP_ROWS * STRIP_ROWS
        strips = [stretch[:whole].reshape(-1, STRIP_ROWS), stretch[None, whole:]]
        self._members, summed = zip(*(_strip_members(part) for part in strips if part.size), strict=True)
        stretch_of_sum = np.concatenate(summed)
        self._means = {name: _segment_means(stretches, edges[name], stretch_of_sum) for name in poolings}

    def prepare(self, rows: Rows, store: Callable[[str, int], Rows]) -> list[Step]:
        """Steps that pool rows (b, R, C), overwriting those that are no cell, into `store(pooling, D)`, (b, D)."""
        b, _, n_channels = rows.shape
        n_sums = sum(members.shape[0] * members.shape[1] for members in self._members)
        sums = np.empty((b, n_sums, n_channels), dtype=np.float32)
        steps: list[Step] = []
        row = first = 0
        for members in self._members:
            n_strips, n_slots, n_rows = members.shape
            strips = rows[:, row : row + n_strips * n_rows].reshape(b, n_strips, n_rows, n_channels)
            out = sums[:, first : first + n_strips * n_slots].reshape(b, n_strips, n_slots, n_channels)
            steps.append(partial(np.matmul, members, strips, out=out))
            row, first = row + n_strips * n_rows, first + n_strips * n_slots
        for name, pooling in self._poolings.items():
            n_means = pooling.n_segments * n_channels
            values = store(name, 2 * n_means if pooling.kind == "mean_max" else n_means)
            means = values[:, :n_means].reshape(b, pooling.n_segments, n_channels)
            steps.append(partial(np.matmul, self._means[name], sums, out=means))
            if pooling.kind == "mean_max":
                if self._invalid.size:
                    steps.append(partial(self._overwrite, rows))
                steps += _maxima(rows, values[:, n_means:])
        return steps

    def _overwrite(self, rows: Rows) -> None:
        rows[:, self._invalid] = rows[:, self._some_cell, None]


def _strip_members(stretch: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
    """For rows in strips (n, rows) with the stretch of each, -1 for none: which rows are added to which sum.

    Returns members (n, slots, rows), 0 or 1, and the stretch of every sum (n * slots,), -1 for an empty slot.
    """
    present = [np.unique(row[row >= 0]) for row in stretch]
    slots = np.full((len(stretch), max(1, *(len(found) for found in present))), -1)
    for strip, found in enumerate(present):
        slots[strip, : len(found)] = found
    members = (slots[:, :, None] == stretch[:, None]) & (slots[:, :, None] >= 0)
    return members.astype(np.float32), slots.ravel()


def _segment_means(
    stretches: NDArray[np.int64], edges: NDArray[np.int64], stretch_of_sum: NDArray[np.int64]
) -> Rows:
    """(segments, sums): 1 / length of the segment where it contains the stretch of the sum."""
    means = np.zeros((len(edges) - 1, len(stretch_of_sum)), dtype=np.float32)
    starts = np.where(stretch_of_sum >= 0, stretches[stretch_of_sum], -1)
    for segment, (start, end) in enumerate(pairwise(edges)):
        means[segment, (starts >= start) & (starts < end)] = 1 / (end - start)
    return means


def _maxima(rows: Rows, out: Rows) -> list[Step]:
    """Steps that take the maxima of rows (b, R, C) over R into `out` (b, C)."""
    b, n_rows, n_channels = rows.shape
    whole = n_rows // FOLD * FOLD
    found = np.empty((b, FOLD + 1, n_channels), dtype=np.float32)
    tensors = torch.from_numpy(rows), torch.from_numpy(found), torch.from_numpy(out)
    steps: list[Step] = []
    if whole:
        folded = tensors[0][:, :whole].reshape(b, whole // FOLD, FOLD * n_channels)
        steps.append(partial(torch.amax, folded, 1, out=tensors[1][:, :FOLD].flatten(1)))
    if whole < n_rows:
        steps.append(partial(torch.amax, tensors[0][:, whole:], 1, out=tensors[1][:, FOLD]))
    used = tensors[1][:, 0 if whole else FOLD : FOLD if whole == n_rows else None]
    steps.append(partial(torch.amax, used, 1, out=tensors[2]))
    return steps
