"""Batches for a GPU, made by forks of this process in pinned memory that they share with it."""

import mmap
import queue
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from cache.arrays import PSEUDO_LAYERS
from cache.errors import ConfigError

from .batches import Batch
from .block_task import BlockTask
from .forks import Forks
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
    """Slots of shared memory, and the forks that fill them; a context manager.

    A slot holds, for each draw, the network's input (micro_batch, C_in, L), and where pseudo-layers are asked for the
    error and the clean flux besides, all float32.
    """

    def __init__(self, task: BlockTask, spectra: SpectraFile, *, n_forks: int, n_slots: int) -> None:
        """Take the memory and fork; `n_slots` batches can wait or be in work at a time."""
        self._task, self._spectra = task, spectra
        self._with_spectra = any(a.layer in PSEUDO_LAYERS for target in task.targets for a in target.arrays)
        self._n_inputs = task.model.config.n_inputs
        n_pixels = spectra.wave.size if task.mask is None else int(np.count_nonzero(task.mask))
        planes = self._n_inputs + (2 if self._with_spectra else 0)
        n_draws = len({target.draw for target in task.targets})
        shape = (n_slots, n_draws, task.config.n_together, planes, n_pixels)
        self._memory = mmap.mmap(-1, 4 * int(np.prod(shape)))
        self._slots = torch.frombuffer(self._memory, dtype=torch.float32).reshape(shape)
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(n_slots):
            self._free.put(slot)
        self._reader = SlabReader(spectra, task.config.slab_rows)  # each fork gets its own by being a copy
        self._forks = Forks(self._fill, n_forks)
        self._pinned = torch.cuda.is_available()

    def __enter__(self) -> Self:
        """Pin the memory, after the forks were made: they must not touch a GPU."""
        if self._pinned:
            _check(_cuda().cudaHostRegister(self._slots.data_ptr(), len(self._memory), 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the forks and give the memory back."""
        self._forks.close()
        if self._pinned:
            torch.cuda.synchronize()
            _check(_cuda().cudaHostUnregister(self._slots.data_ptr()))

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
        held = self._slots[slot, place]
        x = held[:, : self._n_inputs]
        error, clean = (held[:n, -2], held[:n, -1]) if self._with_spectra else (x[:0, 0], x[:0, 0])
        return Batch(noisy=x[:n, 0], error=error, clean=clean, x=x)

    def _fill(self, request: _Request) -> None:
        """In a fork: read, check, add noise, write to the slot."""
        task, config = self._task, self._task.config
        torch.set_num_threads(1)  # the threads of the parent's torch are not here
        slabs = map(self._reader.read, runs_of(request.rows, config.slab_rows))
        (raw,) = pieces_of(slabs, config.n_together)
        made = batches(task, self._spectra, raw, request.draws)
        for place, (_, batch) in enumerate(made):
            held = self._slots[request.slot, place]
            held[:, : self._n_inputs] = batch.x
            if self._with_spectra:
                held[: len(request.rows), -2] = batch.error
                held[: len(request.rows), -1] = batch.clean
        self._reader.give_back(raw)


def _cuda() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def _check(status: Any) -> None:
    """Raise ConfigError when CUDA refuses to pin memory."""
    if int(status) != 0:
        raise ConfigError(
            f"CUDA cannot pin memory for the batches (error {int(status)}); use a smaller --micro-batch or fewer --jobs"
        )
