"""The fast engine of the CPU: one stack of blocks for each length of spectra, one program per thread and batch size."""

import threading
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from ..encoder import BlindspotModel1D, Block, check_input
from ..layers import check_direction
from .folding import fold
from .program import Program
from .stack import Stack, make_stack

BATCH = 32
"""Spectra in the buffers at once: large enough for the products of the short last layers, 30 MB for the reference."""
PROGRAMS, STACKS = 4, 4
"""Programs that a thread keeps: two directions of whole batches and of a rest. Stacks that all threads keep."""


class SpectralEncoder:
    """Pooled features of x (B, C_in, L) in float32 on the CPU, from any number of threads.

    Batches beyond BATCH spectra are taken in parts. Raises InputError for a wrong shape, or spectra too short for the
    pools or the segments.
    """

    def __init__(
        self,
        model: BlindspotModel1D,
        layers: Sequence[str],
        poolings: Sequence[str],
        directions: Sequence[str],
    ) -> None:
        for direction in directions:
            check_direction(direction, model.config)
        self._config = model.config
        self._blocks = [fold(cast("Block", block)) for block in model.encoders]
        self._layers, self._poolings, self._directions = tuple(layers), tuple(poolings), tuple(directions)
        self._stacks: dict[int, Stack] = {}
        self._lock = threading.Lock()
        self._threads = threading.local()

    def __call__(self, x: Tensor) -> dict[tuple[str, str, str], Tensor]:
        """Features (B, D) of every layer, direction and pooling."""
        check_input(x, self._config, self._layers)
        if not len(x):
            return {name: values[:0] for name, values in self(x.new_zeros(1, *x.shape[1:])).items()}
        with torch.inference_mode():
            x = x.to("cpu", torch.float32)
            parts = [self._run(x[lo : lo + BATCH]) for lo in range(0, len(x), BATCH)]
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _run(self, x: Tensor) -> dict[tuple[str, str, str], Tensor]:
        found: dict[tuple[str, str, str], Tensor] = {}
        for direction in self._directions:
            features = self._program(x, direction)(x)
            found |= {name: torch.from_numpy(values) for name, values in features.items()}
        return found

    def _program(self, x: Tensor, direction: str) -> Program:
        programs: dict[tuple[int, int, str], Program] = self._threads.__dict__.setdefault("programs", {})
        key = (len(x), x.shape[-1], direction)
        program = programs.pop(key, None) or Program(
            self._stack(x.shape[-1]), n_spectra=len(x), n_inputs=self._config.n_inputs, direction=direction
        )
        programs[key] = program  # the last one used stands last
        if len(programs) > PROGRAMS:
            programs.pop(next(iter(programs)))
        return program

    def _stack(self, length: int) -> Stack:
        with self._lock:
            if length not in self._stacks:
                if len(self._stacks) == STACKS:
                    self._stacks.pop(next(iter(self._stacks)))
                self._stacks[length] = make_stack(
                    self._config,
                    self._blocks,
                    length,
                    layers=self._layers,
                    poolings=self._poolings,
                    directions=self._directions,
                )
            return self._stacks[length]
