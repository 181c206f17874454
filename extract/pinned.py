"""Memory that processes share, and that GPUs copy from by themselves."""

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cache.errors import ConfigError

LESS = "use a smaller --micro-batch, fewer --draws at once or fewer --jobs"
_PORTABLE = 1  # cudaHostRegisterPortable: pinned for every GPU, not for one


def shared_memory(shape: tuple[int, ...]) -> Tensor:
    """Zeros of this shape, float32, that forks made later share with us; ConfigError where there is no room."""
    n_bytes = 4 * int(np.prod(shape))
    try:
        memory = mmap.mmap(-1, max(1, n_bytes))
    except OSError as error:
        raise ConfigError(
            f"no {n_bytes / 2**30:.1f} GiB of shared memory for the batches ({error}); {LESS}"
        ) from error
    return torch.frombuffer(memory, dtype=torch.float32, count=n_bytes // 4).reshape(shape)


@contextlib.contextmanager
def pinned(memory: Tensor, devices: Sequence[str]) -> Iterator[None]:
    """Pin `memory` for the GPUs; without CUDA nothing happens. Nobody may read it any more when the block ends.

    Raises ConfigError when CUDA refuses.
    """
    if not torch.cuda.is_available():
        yield
        return
    with torch.cuda.device(devices[0]):
        status = int(_cuda().cudaHostRegister(memory.data_ptr(), memory.nbytes, _PORTABLE))
    if status != 0:
        raise ConfigError(
            f"CUDA cannot pin {memory.nbytes / 2**30:.1f} GiB for the batches (error {status}); {LESS}"
        )
    try:
        yield
    finally:
        # a GPU that failed fails here again; what it failed with first is what the user must read
        with contextlib.suppress(RuntimeError):
            for device in devices:
                torch.cuda.synchronize(device)
            with torch.cuda.device(devices[0]):
                _cuda().cudaHostUnregister(memory.data_ptr())


def _cuda() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]
