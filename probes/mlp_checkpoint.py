"""The state of an unfinished training on disk: one safetensors file, replaced whole."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from cache.atomic import publish_bytes
from cache.canonical import canonical_json, seal, sha256
from cache.errors import Damaged, Stale

CHECKPOINT_SCHEMA = 1
"""Raised when the format changes, or when the same settings come to mean another training."""
METADATA = "blindspot_training"


@dataclass(frozen=True)
class TrainingState:
    """Everything from which a training goes on to the same bits: `tensors` on the CPU, and `numbers` as JSON."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class Checkpoint:
    """Where a training keeps its state, at most every `seconds`, and which fit (`fit`, JSON) the state is of."""

    def __init__(self, path: Path, *, fit: Mapping[str, Any], seconds: float) -> None:
        """Nothing is read or written yet."""
        self._path, self._seconds = path, seconds
        self._fit = {"schema_version": CHECKPOINT_SCHEMA, **fit}
        self._last = time.monotonic()

    def read(self) -> TrainingState | None:
        """What an earlier process left, or None.

        Raises Stale when it is of another fit and Damaged when the file is not whole; neither is removed or ignored.
        """
        if not self._path.exists():
            return None
        content = self._path.read_bytes()
        try:
            tensors = safetensors.torch.load(content)
            with safetensors.safe_open(self._path, framework="pt") as file:
                described = json.loads(file.metadata()[METADATA])
            whole = described == seal(described) and described["tensors"] == _digest(tensors)
        except (KeyError, TypeError, ValueError, RecursionError, safetensors.SafetensorError):
            whole = False
        if not whole:
            raise Damaged(f"{self._path}: not a whole training state; remove it, the training starts anew")
        for name in dict.fromkeys([*self._fit, *described["fit"]]):
            there, here = (
                described["fit"].get(name),
                json.loads(canonical_json({"": self._fit.get(name)}))[""],
            )
            if there != here:
                raise Stale(
                    f"{self._path}: the training of another fit: {name} is {there!r} there and {here!r} here; "
                    "give another path, or remove the file to start anew"
                )
        return TrainingState(tensors, described["numbers"])

    def due(self) -> bool:
        """Whether the last state is older than `seconds`."""
        return time.monotonic() - self._last >= self._seconds

    def write(self, state: TrainingState) -> None:
        """Replace the file by this state."""
        described = {"fit": self._fit, "numbers": state.numbers, "tensors": _digest(state.tensors)}
        metadata = {METADATA: canonical_json(seal(described))}
        publish_bytes(self._path, safetensors.torch.save(state.tensors, metadata=metadata))
        self._last = time.monotonic()

    def remove(self) -> None:
        """The training is over."""
        self._path.unlink(missing_ok=True)


def _digest(tensors: dict[str, Tensor]) -> str:
    return sha256(safetensors.torch.save(tensors))
