"""Dropout masks of a stack of networks, each network's from a stream of its own.

What a network drops depends on its seed alone, not on the networks beside it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

STREAM = 0x6D61736B
"""Sets the stream of masks apart from others with the same seed ("mask" in ASCII)."""
STEPS_AT_ONCE = 64
"""Steps for which a GPU draws masks at a time: one kernel for each network and layer instead of 64."""


class Masks(Protocol):
    """Where the masks of a stack come from."""

    def start_epoch(self) -> None:
        """Forget what was drawn ahead, so that the state is complete."""

    def fill(self, masks: Sequence[Tensor]) -> None:
        """Fill (K, B, width) of each hidden layer with 0 or 1 / (1 - dropout)."""

    def state(self) -> dict[str, Any]:
        """Where the streams are, as JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""


def make_masks(seeds: Sequence[int], dropouts: Sequence[float], device: torch.device) -> Masks:
    """The masks of networks with these seeds and dropouts on this device."""
    return GPUMasks(seeds, dropouts, device) if device.type == "cuda" else CPUMasks(seeds, dropouts)


class CPUMasks:
    """16 bits of numpy's SFC64 for each unit, ten times faster than torch's bernoulli_.

    The probability is that of dropout rounded to 1/65536, and the kept units are scaled by exactly that.
    """

    def __init__(self, seeds: Sequence[int], dropouts: Sequence[float]) -> None:
        """One stream for each seed."""
        self._streams = [np.random.SFC64([int(seed) % 2**64, STREAM]) for seed in seeds]
        self._kept = [max(1, round((1 - dropout) * 2**16)) for dropout in dropouts]

    def start_epoch(self) -> None:
        """Nothing is drawn ahead."""

    def fill(self, masks: Sequence[Tensor]) -> None:
        """See `Masks`."""
        for k, (stream, kept) in enumerate(zip(self._streams, self._kept, strict=True)):
            for mask in masks:
                if kept == 2**16:
                    mask[k].fill_(1.0)
                    continue
                bits = stream.random_raw(-(-mask[k].numel() // 4)).view(np.int16)[: mask[k].numel()]
                torch.lt(torch.from_numpy(bits).view(mask[k].shape), kept - 2**15, out=mask[k])
                mask[k].mul_(2**16 / kept)

    def state(self) -> dict[str, Any]:
        """The four words of each stream."""
        return {"words": [stream.state["state"]["state"].tolist() for stream in self._streams]}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Masks`."""
        for stream, words in zip(self._streams, state["words"], strict=True):
            stream.state = {**stream.state, "state": {"state": np.array(words, dtype=np.uint64)}}


class GPUMasks:
    """Masks drawn on the device by one torch generator for each network, for many steps at once."""

    def __init__(self, seeds: Sequence[int], dropouts: Sequence[float], device: torch.device) -> None:
        """One generator for each seed."""
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._keep = [1 - dropout for dropout in dropouts]
        self._scale = torch.tensor([1 / keep for keep in self._keep], device=device)[:, None, None]
        self._ahead: list[Tensor] = []
        self._next = STEPS_AT_ONCE

    def start_epoch(self) -> None:
        """See `Masks`."""
        self._next = STEPS_AT_ONCE

    def fill(self, masks: Sequence[Tensor]) -> None:
        """See `Masks`; a batch with fewer rows than the first one takes the first rows of what was drawn."""
        if not self._ahead:
            self._ahead = [
                torch.empty(len(m), STEPS_AT_ONCE, *m.shape[1:], dtype=torch.bool, device=m.device)
                for m in masks
            ]
        if self._next == STEPS_AT_ONCE:
            for k, (generator, keep) in enumerate(zip(self._generators, self._keep, strict=True)):
                for drawn in self._ahead:
                    drawn[k].bernoulli_(keep, generator=generator)
            self._next = 0
        for mask, drawn in zip(masks, self._ahead, strict=True):
            torch.mul(drawn[:, self._next, : mask.shape[1]], self._scale, out=mask)
        self._next += 1

    def state(self) -> dict[str, Any]:
        """The bytes of each generator."""
        return {"generators": [generator.get_state().tolist() for generator in self._generators]}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Masks`."""
        for generator, values in zip(self._generators, state["generators"], strict=True):
            generator.set_state(torch.tensor(values, dtype=torch.uint8))
