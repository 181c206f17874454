"""Computing one row block of every store that lacks it: the task that any number of processes may take."""

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cache.arrays import PSEUDO_LAYERS, ArrayName
from cache.canonical import sha256
from cache.errors import Busy, CheckpointError, Stale
from cache.header import Header
from cache.progress import Advance
from cache.writer import Block, StoreWriter

from .batches import Batch, make_batch, read_batches
from .checkpoint import weights_digest
from .denoise import denoise
from .encoder import BlindspotModel1D
from .engine import Engine, exact_float32, make_engine
from .fingerprint import Fingerprint
from .pooling import pool
from .request import ExtractConfig
from .spectra import open_spectra

Array = NDArray[Any]


@dataclass(frozen=True)
class Target:
    """One unfinished store: where it is, how it is cut, which draw it holds, which arrays."""

    path: Path
    header: Header
    draw: int | None
    arrays: tuple[ArrayName, ...]


@dataclass(frozen=True, kw_only=True)
class BlockTask:
    """All that is needed to compute any block of a group of stores with the same rows and block size."""

    config: ExtractConfig
    split: str
    files: tuple[Path, ...]
    fingerprint: Fingerprint
    mask: NDArray[np.bool_] | None
    model: BlindspotModel1D
    weights: str
    """Digest that the model must still have when a block is committed."""
    device: str
    targets: tuple[Target, ...]
    computed_with: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BlockDone:
    """What became of a block: `shown` rows were reported to the progress; `holder` says who else computes it."""

    shown: int = 0
    holder: str | None = None


def computed_with(config: ExtractConfig, device: str) -> dict[str, Any]:
    """What may change the last bits of features: kept in every commit record, never in the key."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return {
        "engine": config.engine,
        "device": device,
        "processor": name,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": config.n_threads,
        "micro_batch": config.micro_batch,
    }


def compute_block(task: BlockTask, block: int, advance: Advance | None = None) -> BlockDone:
    """Compute block `block` of every target that lacks it, and commit it.

    With a `holder` in the answer nothing was done: another process is computing the block. Raises CheckpointError
    when the model changed meanwhile, Stale when another process began to commit blocks computed otherwise.
    """
    torch.set_num_threads(task.config.n_threads)
    with contextlib.ExitStack() as claims:
        free: list[tuple[StoreWriter, Target]] = []
        for target in task.targets:
            writer = StoreWriter.open(target.path, claims="locks" if task.config.part is None else "parts")
            if writer.header != target.header:
                raise Stale(
                    f"{target.path}: was removed and begun anew meanwhile; run the same command again"
                )
            try:
                if claims.enter_context(writer.claim(block)):
                    free.append((writer, target))
            except Busy as error:
                return BlockDone(holder=str(error))
        if not free:
            return BlockDone()
        lo, hi = free[0][0].header.block(block)
        rows = task.fingerprint.kept[lo:hi]
        computed = _compute_rows(task, [target for _, target in free], rows, advance)
        if weights_digest(task.model) != task.weights:
            raise CheckpointError(
                "the encoder's weights or norm statistics changed during the run; this is a bug, nothing was committed"
            )
        digest = sha256(task.fingerprint.row_digests[rows].tobytes())
        for (writer, _), arrays in zip(free, computed, strict=True):
            writer.commit(
                block,
                Block(arrays=arrays, input=digest),
                dict(task.computed_with),
                mixing="accepted" if task.config.mixed else "refused",
            )
    return BlockDone(shown=0 if advance is None else hi - lo)


def _compute_rows(
    task: BlockTask, targets: Sequence[Target], rows: NDArray[np.int64], advance: Advance | None
) -> list[dict[ArrayName, Array]]:
    """Features of some rows for every target: one reading, one run of the network per draw."""
    engine = _NamedEngine(task, {array for target in targets for array in target.arrays})
    parts: list[dict[ArrayName, list[Array]]] = [{a: [] for a in t.arrays} for t in targets]
    draws = {target.draw for target in targets}
    with open_spectra(list(task.files)) as spectra:
        for group in read_batches(spectra, rows, task.fingerprint, task.config):
            for draw in sorted(draws, key=lambda d: -1 if d is None else d):
                batch = make_batch(
                    group,
                    split=task.split,
                    draw=draw,
                    mask=task.mask,
                    error_mode=str(task.model.config.error_mode),
                    profile=task.model.error_profile,
                    config=task.config,
                )
                features = dict(engine.run(batch))
                for target, store in zip(targets, parts, strict=True):
                    if target.draw == draw:
                        for array, values in store.items():
                            values.append(features[array])
            if advance is not None:
                advance(len(group.rows))
    return [{array: np.concatenate(values) for array, values in store.items()} for store in parts]


class _NamedEngine:
    """The engine for the network's layers and the pseudo-layers, by array name."""

    def __init__(self, task: BlockTask, arrays: set[ArrayName]) -> None:
        self._task = task
        self._arrays = arrays
        self._pseudo = sorted(array for array in arrays if array.layer in PSEUDO_LAYERS)
        network = arrays - set(self._pseudo)
        self._run: Engine | None = None
        self._model = task.model.to(task.device)
        if network:
            self._run = make_engine(
                task.model,
                sorted({array.layer for array in network}),
                sorted({array.pooling for array in network}),
                directions=sorted({array.direction for array in network}),
                precision=task.config.precision,
                device=task.device,
            )

    def run(self, batch: Batch) -> Iterator[tuple[ArrayName, Array]]:
        """Yield (array, values (B, D) float32) without the padding rows."""
        n = len(batch.noisy)
        if self._run is not None:
            for (layer, direction, pooling), values in self._run(batch.x).items():
                yield ArrayName(layer, direction, pooling), values[:n].cpu().numpy()
        maps: dict[str, torch.Tensor] = {}
        for array in self._pseudo:
            if array.layer not in maps:
                maps[array.layer] = self._pseudo_map(array.layer, batch)
            yield array, pool(maps[array.layer], array.pooling).numpy()

    def _pseudo_map(self, layer: str, batch: Batch) -> torch.Tensor:
        """The pseudo-layer as a map (B, 1, L) on the CPU."""
        if layer == "denoised":
            with torch.inference_mode(), exact_float32():
                x = batch.x.to(self._task.device)
                padding = x.new_zeros(len(x) - len(batch.noisy), x.shape[-1])
                noisy = torch.cat([batch.noisy.to(x), padding])
                error = torch.cat([batch.error.to(x), padding])
                return denoise(self._model, x, noisy, error)[: len(batch.noisy), None].cpu()
        plain = {"input_flux": batch.noisy, "input_error": batch.error, "clean_flux": batch.clean}
        return plain[layer][:, None]
