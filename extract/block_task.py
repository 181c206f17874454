"""What any process needs to compute a row block, and what it tells about one."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from cache.arrays import ArrayName
from cache.header import Header

from .choices import devices_of
from .encoder import BlindspotModel1D
from .fed_error import FedError
from .fingerprint import Fingerprint
from .request import ExtractConfig
from .stages import StageTimes


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
    fed: FedError
    mask: NDArray[np.bool_] | None
    model: BlindspotModel1D
    weights: str
    """Digest that the model must still have when a block is committed."""
    device: str
    targets: tuple[Target, ...]
    computed_with: Mapping[str, Any] = field(default_factory=dict)

    @property
    def devices(self) -> tuple[str, ...]:
        """One device per compute thread."""
        devices = devices_of(self.device)
        return devices * (self.config.n_workers if self._has_threads else 1) if self.on_cpu else devices

    @property
    def on_cpu(self) -> bool:
        """Whether the processor's own cores compute."""
        return self.device == "cpu"

    @property
    def _has_threads(self) -> bool:
        """With other schedulers the processes are what computes side by side."""
        return self.config.scheduler == "local"

    def with_micro_batch(self, size: int, *, begun: bool) -> Self:
        """The task with another compute micro-batch; `begun` says that blocks were committed with a larger one."""
        config = replace(self.config, micro_batch=size, mixed=self.config.mixed or begun)
        return replace(self, config=config, computed_with={**self.computed_with, "micro_batch": size})


@dataclass(frozen=True)
class BlockDone:
    """What became of a block.

    `shown` rows were reported to the progress; `holder` says who else computes it; `micro_batch` is that of the
    computation when there was too little memory for the one asked for; `times` is what the stages did since the
    block before.
    """

    shown: int = 0
    holder: str | None = None
    micro_batch: int | None = None
    times: Mapping[str, StageTimes] = field(default_factory=dict)


def computed_with(config: ExtractConfig, device: str) -> dict[str, Any]:
    """What may change the last bits of features: kept in every commit record, never in the key."""
    names = {platform.machine()}
    if device.startswith("cuda"):
        names = {torch.cuda.get_device_name(name) for name in devices_of(device)}
    return {
        "engine": config.engine,
        "device": device.partition(":")[0],
        "processor": ", ".join(sorted(names)),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "blas": _blas(),
        "threads": config.n_threads,
        "micro_batch": config.n_together,
    }


def _blas() -> str:
    """The library that multiplies numpy's matrices, and which of its kernels this processor gets."""
    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    found = [info for info in found if "numpy" in info["filepath"]] or found
    return ", ".join(
        sorted({f"{i['internal_api']} {i['version']} {i.get('architecture', '')}".strip() for i in found})
    )
