"""One row block of one array as a file: the bytes of a zarr chunk (little-endian float32, then their crc32c)."""

import os
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np

from .canonical import sha256
from .errors import Damaged
from .npz import Array

CRC_BYTES = 4
"""Length of the checksum at the end of a chunk (zarr v3 codec `crc32c`)."""


@dataclass(frozen=True)
class ChunkSeal:
    """What one chunk file must be: its size, its last four bytes (the crc32c), the sha256 of its values."""

    size: int
    tail: str
    sha256: str


def write_chunk(path: Path, values: Array, chunk_rows: int) -> ChunkSeal:
    """Write `values`, (n, D) float32 with n <= `chunk_rows`, as zarr would; the file is not flushed to the disk.

    A short last chunk is filled up with NaN, the fill value. Raises OSError when the disk refuses.
    """
    padding = np.full((chunk_rows - len(values), values.shape[1]), np.nan, dtype="<f4")
    plain = np.ascontiguousarray(values, dtype="<f4").tobytes()
    body = plain + padding.tobytes() if len(padding) else plain
    tail = _checksum(body)
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as stream:
        if hasattr(os, "posix_fallocate"):
            # room in one piece: faster, and a full disk is told before the write
            os.posix_fallocate(stream.fileno(), 0, len(body) + len(tail))
        stream.write(body)
        stream.write(tail)
    return ChunkSeal(len(body) + len(tail), tail.hex(), sha256(plain))


def read_chunk(path: Path, shape: tuple[int, int], seal: ChunkSeal) -> Array:
    """The first `shape` (n, D) values of a chunk, float32, read-only; Damaged unless they are the committed ones.

    Checks size, stored crc32c, crc32c of the body and sha256 of the values: the first three cover every byte of
    the file, the last does not depend on the crc.
    """
    try:
        content = path.read_bytes()
    except PermissionError:
        raise
    except OSError as error:
        raise Damaged(f"{path}: unreadable although its block was committed ({error.strerror})") from error
    _compare(path, (len(content), content[-CRC_BYTES:].hex()), seal)
    if _checksum(content[:-CRC_BYTES]) != content[-CRC_BYTES:]:
        raise Damaged(f"{path}: its content does not match its crc32c")
    values = np.frombuffer(content, dtype="<f4", count=shape[0] * shape[1]).reshape(shape)
    if sha256(values.data) != seal.sha256:
        raise Damaged(f"{path}: does not hold the committed values")
    return values


def check_tail(path: Path, seal: ChunkSeal) -> None:
    """Compare size and stored crc32c of a chunk with its record, without reading the body; Damaged otherwise."""
    try:
        with path.open("rb", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - CRC_BYTES))
            tail = stream.read()
    except PermissionError:
        raise
    except OSError as error:
        raise Damaged(f"{path}: unreadable although its block was committed ({error.strerror})") from error
    _compare(path, (size, tail.hex()), seal)


def _compare(path: Path, found: tuple[int, str], seal: ChunkSeal) -> None:
    """Compare (size, crc) of a file with the committed ones."""
    if found != (seal.size, seal.tail):
        raise Damaged(
            f"{path}: is not the committed file (size {found[0]}, crc {found[1]}; "
            f"committed size {seal.size}, crc {seal.tail})"
        )


def with_checksum(body: bytes) -> bytes:
    """The content of a chunk file: `body`, then its crc32c."""
    return body + _checksum(body)


def _checksum(body: bytes) -> bytes:
    return int(google_crc32c.value(body)).to_bytes(CRC_BYTES, "little")
