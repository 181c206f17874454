"""Engines of the compute threads: features of network layers and pseudo-layers, by array name."""

import copy
import threading
from collections.abc import Collection, Iterator, Sequence
from functools import partial

import torch

from cache.arrays import PSEUDO_LAYERS, ArrayName

from .batches import Batch
from .denoise import denoise
from .encoder import BlindspotModel1D
from .engine import Engine, make_engine
from .pooling import parse_pooling, pool_quietly
from .request import ExtractConfig
from .tf32 import exact_float32


class NamedEngine:
    """One engine on one device; on the CPU for any number of threads, on a GPU for one at a time."""

    def __init__(
        self, model: BlindspotModel1D, arrays: Collection[ArrayName], *, config: ExtractConfig, device: str
    ) -> None:
        """Build the engine of the arrays as `config` has it; the model itself stays where it is."""
        self._device = device
        self._pseudo = sorted(array for array in arrays if array.layer in PSEUDO_LAYERS)
        self._model = model if device == "cpu" else copy.deepcopy(model).to(device)
        network = sorted(set(arrays) - set(self._pseudo))
        self._run: Engine | None = None
        if network:
            self._run = make_engine(
                self._model,
                sorted({array.layer for array in network}),
                sorted({array.pooling for array in network}),
                directions=sorted({array.direction for array in network}),
                precision=config.precision,
                device=device,
                engine=config.engine,
            )

    def features(self, batch: Batch) -> Iterator[tuple[ArrayName, torch.Tensor]]:
        """Yield (array, values (B, D) float32 on the CPU) without the padding rows."""
        n = len(batch.noisy)
        x = batch.x.to(self._device, non_blocking=True)
        if self._run is not None:
            for (layer, direction, pooling), values in self._run(x).items():
                yield ArrayName(layer, direction, pooling), values[:n].cpu()
        maps: dict[str, torch.Tensor] = {}
        for array in self._pseudo:
            if array.layer not in maps:
                maps[array.layer] = self._pseudo_map(array.layer, batch, x)
            yield array, pool_quietly(maps[array.layer], parse_pooling(array.pooling))

    def _pseudo_map(self, layer: str, batch: Batch, x: torch.Tensor) -> torch.Tensor:
        """The pseudo-layer as a map (B, 1, L) on the CPU."""
        if layer == "denoised":
            with torch.inference_mode(), exact_float32():
                padding = x.new_zeros(len(x) - len(batch.noisy), x.shape[-1])
                noisy = torch.cat([batch.noisy.to(x), padding])
                error = torch.cat([batch.error.to(x), padding])
                return denoise(self._model, x, noisy, error)[: len(batch.noisy), None].cpu()
        plain = {"input_flux": batch.noisy, "input_error": batch.error, "clean_flux": batch.clean}
        return plain[layer][:, None]


class Engines:
    """The engines of the compute threads: one for each device, since those of the CPU keep buffers for each thread."""

    def __init__(
        self,
        model: BlindspotModel1D,
        arrays: Collection[ArrayName],
        *,
        config: ExtractConfig,
        devices: Sequence[str],
    ) -> None:
        """Nothing is built yet; `devices` has one entry per compute thread."""
        self._make = partial(NamedEngine, model, arrays, config=config)
        self._devices = list(devices)
        self._made: dict[str, NamedEngine] = {}
        self._lock = threading.Lock()
        self._thread = threading.local()

    def mine(self) -> NamedEngine:
        """The engine of the device that this thread has taken; the first thread of a device builds it."""
        if not hasattr(self._thread, "device"):
            with self._lock:
                self._thread.device = self._devices.pop()
                if self._thread.device not in self._made:
                    self._made[self._thread.device] = self._make(device=self._thread.device)
        return self._made[self._thread.device]


def pinned_copy(batch: Batch) -> Batch:
    """The batch with its input in memory that a GPU copies from by itself; as it is, where there is no GPU."""
    if not torch.cuda.is_available():
        return batch
    return Batch(batch.noisy, batch.error, batch.clean, batch.x.pin_memory())
