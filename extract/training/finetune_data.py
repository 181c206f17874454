"""Batches of spectra with fresh keyed noise, as the network is fed them, with their labels and noise level."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache.errors import ConfigError
from cache.progress import progress

from ..batches import Spectra, make_batch, read_batches
from ..fed_error import FedError
from ..prepare import Prepared
from .finetune_rows import Float64s, Rows, labels_of

T = TypeVar("T")
R = TypeVar("R")

MEMORY_SHARE = 0.8
"""Of the machine's memory that spectra may fill."""


class TrainingBatch(NamedTuple):
    """One step's input x (B, C_in, L) float32, labels y (B, t) float64 in their units, and the noise's level."""

    x: Tensor
    y: Tensor | None
    noise_level: float | None


@dataclass(frozen=True)
class SplitSpectra:
    """One split in memory: n spectra float32, and what is known of them, (n, ...) in the order of the rows."""

    split: str
    spectra: Spectra
    fed: FedError
    stars: NDArray[np.uint64]
    y: Float64s
    stored: dict[str, Float64s]

    def __len__(self) -> int:
        """Spectra."""
        return len(self.stars)


def load_splits(
    prepared: Prepared, labels: Sequence[str], rows: Mapping[str, Rows]
) -> dict[str, SplitSpectra]:
    """Read these rows of every split into memory; labels are checked before any spectrum is read.

    Raises ProbeError when a label is not finite, ConfigError when the machine's memory cannot hold the
    spectra, InputError when a file has changed since its digest was made.
    """
    y = {split: labels_of(prepared, split, chosen, labels) for split, chosen in rows.items()}
    _check_memory(prepared, rows)
    return {split: _load(prepared, split, chosen, y[split]) for split, chosen in rows.items()}


def _arrays_held(prepared: Prepared, split: str) -> int:
    return 2 + (prepared.config.noise == "stored") + (prepared.fed[split].donors is not None)


def _check_memory(prepared: Prepared, rows: Mapping[str, Rows]) -> None:
    needed = sum(
        4 * _arrays_held(prepared, split) * kept.size * prepared.spectra[split].wave.size
        for split, kept in rows.items()
    )
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY_SHARE * there:
        raise ConfigError(
            f"the spectra take {needed / 1e9:.1f} GB in memory and this machine has {there / 1e9:.1f} GB; train on "
            "fewer with --num-samples, or extract features and fit probes on the cache, which streams"
        )


def _load(prepared: Prepared, split: str, rows: Rows, y: Float64s) -> SplitSpectra:
    source, known, fed = prepared.spectra[split], prepared.fingerprints[split], prepared.fed[split]
    held: list[NDArray[np.float32]] = [
        np.empty((rows.size, source.wave.size), dtype=np.float32)
        for _ in range(_arrays_held(prepared, split))
    ]
    start = 0
    with progress(rows.size, f"read {split}", unit="spectra") as advance:
        for group in read_batches(source, rows, known, prepared.config, fed):
            parts = [a for a in (group.flux, group.error, group.stored, group.shuffled) if a is not None]
            for array, part in zip(held, parts, strict=True):
                array[start : start + len(part)] = part
            start += len(group.rows)
            advance(len(group.rows))
    stored = held[2] if prepared.config.noise == "stored" else None
    shuffled = held[-1] if fed.donors is not None else None
    return SplitSpectra(
        split=split,
        spectra=Spectra(rows, held[0], held[1], stored, shuffled),
        fed=fed,
        stars=known.stars[rows],
        y=y,
        stored={name: source.labels(name)[rows] for name in source.label_names},
    )


class BatchMaker:
    """Batches of one split: some of its spectra with the noise of one draw, mask and error channels applied."""

    def __init__(self, prepared: Prepared, source: SplitSpectra) -> None:
        """Noise is keyed by (seed, split, row, draw, pixel): no batch depends on those before it."""
        self._prepared, self.source = prepared, source
        self._draws = prepared.config.noise == "draw"

    def make(self, indices: NDArray[np.int64], draw: int) -> TrainingBatch:
        """The spectra at these places of the split; `draw` is passed over where noise is not drawn."""
        held, model = self.source.spectra, self._prepared.model
        group = Spectra(
            held.rows[indices],
            held.flux[indices],
            held.error[indices],
            None if held.stored is None else held.stored[indices],
            None if held.shuffled is None else held.shuffled[indices],
        )
        batch = make_batch(
            group,
            split=self.source.split,
            draw=draw if self._draws else None,
            mask=self._prepared.mask,
            error_mode=str(model.config.error_mode),
            profile=model.error_profile,
            config=replace(self._prepared.config, micro_batch=len(indices)),
            fed=self.source.fed,
        )
        y = torch.from_numpy(self.source.y[indices])
        return TrainingBatch(batch.x, y, self._prepared.config.noise_level)


Places = tuple[NDArray[np.int64], int]
"""Places of the split and the draw of one batch."""


class Batches:
    """An endless supply of passes over a split, made ahead by threads; what a Trainer takes for a data loader."""

    def __init__(
        self, maker: BatchMaker, places: Callable[[], Sequence[Places]], *, n_batches: int, n_threads: int
    ) -> None:
        """`places` is asked at the first batch of each pass for all n_batches."""
        self._maker, self._places, self._n_batches, self._n_threads = maker, places, n_batches, n_threads

    def __len__(self) -> int:
        """Batches of a pass."""
        return self._n_batches

    def __iter__(self) -> Iterator[TrainingBatch]:
        """One pass; places are asked for at its first batch, when the Trainer knows the epoch that it resumes."""
        yield from ahead(lambda at: self._maker.make(*at), self._places(), n_threads=self._n_threads)


def in_order(n: int, batch_size: int, *, draw: int = 0) -> list[Places]:
    """All n places in ascending order, in batches of one draw."""
    return [(np.arange(first, min(first + batch_size, n)), draw) for first in range(0, n, batch_size)]


def ahead(function: Callable[[T], R], items: Iterable[T], *, n_threads: int) -> Iterator[R]:
    """Map in order, with threads that work ahead by two items each; without threads, when asked."""
    if n_threads == 0:
        yield from map(function, items)
        return
    pending: deque[Any] = deque()
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
