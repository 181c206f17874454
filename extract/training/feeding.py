"""Stars made ahead of the training by forks of this process: a GPU takes thousands in a second."""

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..error_input import channels
from ..forks import Forks
from .stars import CHUNK, Batch, Stars

Made = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""noisy, error, flux, each (n, L)."""


class AheadFeeder:
    """Batches by number, the very ones of `Feeder`; a context manager. Batches are best asked for in order."""

    def __init__(self, stars: Stars, *, batch_size: int, n_forks: int) -> None:
        """Serve batches of `batch_size` stars, up to two chunks ahead for each of `n_forks` forks."""
        self._stars, self._batch_size = stars, batch_size
        self._profile = stars.profile  # made once, before the forks
        self._per_chunk = max(1, CHUNK // batch_size)
        self._ahead = 2 * n_forks
        self._chunks: dict[int, Future[Batch]] = {}
        self._forks: Forks[int, Made] = Forks(
            self._make, n_forks, advice="Run the same command again with fewer --star-processes"
        )
        self._threads = ThreadPoolExecutor(n_forks, "stars")

    def __enter__(self) -> Self:
        """Nothing to do: the first batch starts the work."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the forks; what was made ahead is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._forks.close()
        self._threads.shutdown(wait=True)

    def batch(self, number: int) -> Batch:
        """The stars number * batch_size and the following ones."""
        index, position = divmod(number, self._per_chunk)
        self._chunks = {k: made for k, made in self._chunks.items() if k >= index}
        for k in range(index, index + self._ahead + 1):
            if k not in self._chunks:
                self._chunks[k] = self._threads.submit(self._chunk, k)
        chunk = self._chunks[index].result()
        return chunk.rows(position * self._batch_size, (position + 1) * self._batch_size)

    def _chunk(self, index: int) -> Batch:
        noisy, error, flux = map(torch.from_numpy, self._forks.ask(index))
        x = channels(self._stars.error_mode, noisy, error, profile=self._profile)
        return Batch(x=x, noisy=noisy, error=error, flux=flux)

    def _make(self, index: int) -> Made:
        """In a fork: the stars of a chunk, as arrays."""
        torch.set_num_threads(1)  # the threads of the parent's torch are not here
        size = self._per_chunk * self._batch_size
        made = self._stars.make(index * size, size)
        return made.noisy.numpy(), made.error.numpy(), made.flux.numpy()
