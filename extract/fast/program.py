"""The stack laid out for one batch size and direction: buffers, and the calls that are made on them for each batch."""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..encoder import NEGATIVE_SLOPE
from .blocks import Rows, Step
from .stack import Poolers, Stack

Features = dict[tuple[str, str, str], Rows]
"""(layer, direction, pooling) -> (B, D) float32."""


class Program:
    """Everything that can be decided before a batch comes: what is left takes no time beside the arithmetic.

    Holds the buffers of one thread. The first block and the first stage are run for a few spectra at a time, while
    their activations, the longest ones, are in the cache.
    """

    def __init__(self, stack: Stack, *, n_spectra: int, n_inputs: int, direction: str) -> None:
        self._stack, self._n, self._direction = stack, n_spectra, direction
        self._features: Features = {}
        self._pixels = _zeros(n_spectra, stack.first.n_rows, n_inputs)
        self._chunks = [stage.block.chunk for stage in stack.stages] or [1]
        self._sources = [
            _zeros(n_spectra if index else self._chunks[0], stage.block.n_rows, stack.n_channels)
            for index, stage in enumerate(stack.stages)
        ]
        sizes = [stage.block.scratch(min(stage.block.chunk, n_spectra)) for stage in stack.stages]
        self._scratch = _zeros(max([stack.first.scratch(self._chunks[0]), *sizes]))
        self._steps = [step for lo in range(0, n_spectra, self._chunks[0]) for step in self._top(lo)]
        for index, chunk in enumerate(self._chunks[1:], start=1):
            for lo in range(0, n_spectra, chunk):
                self._steps += self._stage(index, self._sources[index][lo : lo + chunk], lo)

    def __call__(self, x: Tensor) -> Features:
        """Features of x (B, C_in, L) float32 on the CPU, B and C_in as laid out; the arrays are new."""
        lead = self._stack.first.lead
        entry = torch.from_numpy(self._pixels)[:, lead : lead + self._stack.length]
        entry.copy_((x.flip(-1) if self._direction == "backward" else x).transpose(1, 2))
        with np.errstate(all="ignore"):  # as torch does; what comes of inf and nan is told by inf and nan
            for step in self._steps:
                step()
        return {name: values.copy() for name, values in self._features.items()}

    def _top(self, lo: int) -> list[Step]:
        """The first block and the first stage for the chunk of spectra that begins with `lo`."""
        stack = self._stack
        pixels = self._pixels[lo : lo + self._chunks[0]]
        if stack.stages:
            source, lead = self._sources[0][: len(pixels)], stack.stages[0].block.lead
        else:
            source, lead = _zeros(len(pixels), stack.length, stack.n_channels), 0
        activations = source[:, lead : lead + stack.length]
        steps = [*stack.first.prepare(pixels, activations, self._scratch), _activation(activations)]
        steps += self._taps("enc_0", stack.first_taps, activations, lo)
        return steps + self._stage(0, source, lo) if stack.stages else steps

    def _stage(self, index: int, source: Rows, lo: int) -> list[Step]:
        """One block on (b, rows, C), its activation function, its pool, its taps.

        LeakyReLU increases, so it may follow the maximum, where it has half of the work.
        """
        stage = self._stack.stages[index]
        outputs, steps = stage.block.prepare(source, self._scratch)
        if stage.shifted:
            steps.append(partial(outputs[:, 0].fill, 0))
        if stage.taps:
            steps.append(_activation(outputs))
        if stage.n_pooled:
            pooled = self._pooled(index, lo, len(source))
            steps += stage.block.pool(outputs, pooled)
            if not stage.taps:
                steps.append(_activation(pooled))
            steps += self._taps(stage.pooled_layer, stage.pooled_taps, pooled, lo)
        return steps + self._taps(stage.layer, stage.taps, outputs, lo)

    def _pooled(self, index: int, lo: int, n: int) -> Rows:
        """Where the pool behind a stage writes (n, cells, C): the source of the next stage, if there is one."""
        n_pooled = self._stack.stages[index].n_pooled
        if index + 1 == len(self._stack.stages):
            return _zeros(n, n_pooled, self._stack.n_channels)
        lead = self._stack.stages[index + 1].block.lead
        return self._sources[index + 1][lo : lo + n, lead : lead + n_pooled]

    def _taps(self, layer: str, poolers: Poolers, rows: Rows, lo: int) -> list[Step]:
        """The poolings of rows (b, R, C) of a layer that somebody asked for; rows that are no cell are overwritten."""

        def store(pooling: str, width: int) -> Rows:
            values = self._features.setdefault((layer, self._direction, pooling), _zeros(self._n, width))
            return values[lo : lo + len(rows)]

        return poolers[self._direction].prepare(rows, store) if poolers else []


def _zeros(*shape: int) -> Rows:
    return np.zeros(shape, dtype=np.float32)


def _activation(rows: Rows) -> Step:
    return partial(functional.leaky_relu, torch.from_numpy(rows), NEGATIVE_SLOPE, inplace=True)
