"""Named arrays as the bytes of one npz archive, without pickles."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """The archive of some arrays or numbers; equal bytes for equal values in equal order."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def npz_arrays(content: bytes) -> dict[str, Array]:
    """The arrays of an archive, by name; numpy's ValueError for what is none."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
