"""Batches for a GPU, made by forks of this process in pinned memory that they share with it."""

import queue
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cache.arrays import PSEUDO_LAYERS

from .batches import Batch
from .block_task import BlockTask
from .forks import Forks
from .pinned import shared_memory
from .slabs import SlabReader, pieces_of, runs_of
from .spectra import SpectraFile
from .task_batches import Draw, batches

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class _Request:
    """Make these draws of these rows and leave them in this slot."""

    rows: Rows
    draws: tuple[Draw, ...]
    slot: int


class SharedBatches:
    """Slots of shared memory, and the forks that fill them.

    A slot holds, for each draw, the network's input (micro_batch, C_in, L), and where pseudo-layers are asked for the
    error and the clean flux (micro_batch, 2, L), all float32.
    """

    def __init__(self, task: BlockTask, spectra: SpectraFile, *, n_forks: int, n_slots: int) -> None:
        """Take the memory and fork; `n_slots` batches can wait or be in work at a time."""
        self._task, self._spectra = task, spectra
        n_pixels = spectra.wave.size if task.mask is None else int(np.count_nonzero(task.mask))
        slots = (n_slots, len({target.draw for target in task.targets}), task.config.n_together)
        self.inputs = shared_memory((*slots, task.model.config.n_inputs, n_pixels))
        pseudo = any(a.layer in PSEUDO_LAYERS for target in task.targets for a in target.arrays)
        self._others = shared_memory((*slots, 2, n_pixels)) if pseudo else None
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(n_slots):
            self._free.put(slot)
        self._reader = SlabReader(spectra, task.config.slab_rows)  # each fork gets its own by being a copy
        self._forks = Forks(
            self._fill,
            n_forks,
            advice="Run the same command again with fewer --jobs or a smaller --micro-batch",
        )

    def close(self) -> None:
        """End the forks."""
        self._forks.close()

    def make(self, rows: Rows, draws: tuple[Draw, ...]) -> tuple[int, list[tuple[Draw, Batch]]]:
        """A slot with the draws, in order, of at most micro_batch rows, and its batches; from any thread.

        The batches are of the slot's memory: give it back with `release` when nobody reads them any more. Raises what
        reading and checking the rows raises.
        """
        slot = self._free.get()
        self._forks.ask(_Request(rows, draws, slot))
        return slot, [(draw, self._batch(slot, k, len(rows))) for k, draw in enumerate(draws)]

    def release(self, slot: int) -> None:
        """The batches of the slot are not read any more."""
        self._free.put(slot)

    def _batch(self, slot: int, place: int, n: int) -> Batch:
        x = self.inputs[slot, place]
        if self._others is None:
            return Batch(noisy=x[:n, 0], error=x[:0, 0], clean=x[:0, 0], x=x)
        error, clean = self._others[slot, place, :n].unbind(1)
        return Batch(noisy=x[:n, 0], error=error, clean=clean, x=x)

    def _fill(self, request: _Request) -> None:
        """In a fork: read, check, add noise, write to the slot."""
        task, config = self._task, self._task.config
        torch.set_num_threads(1)  # the threads of the parent's torch are not here
        slabs = map(self._reader.read, runs_of(request.rows, config.slab_rows))
        (raw,) = pieces_of(slabs, config.n_together)
        made = batches(task, self._spectra, raw, request.draws)
        for place, (_, batch) in enumerate(made):
            self.inputs[request.slot, place] = batch.x
            if self._others is not None:
                held = self._others[request.slot, place, : len(request.rows)]
                held[:, 0], held[:, 1] = batch.error, batch.clean
        self._reader.give_back(raw)
