"""Remembering what a pass over one spectra file found, for as long as the file is the same.

One file per spectra file, mask and set of labels: 32 bytes of sha256, then an `.npz` archive they are the digest of.
Whatever does not match its digest, or tells of another file, size, time or inode, counts as not there.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cache.atomic import publish_bytes
from cache.canonical import canonical_json, digest_json, sha256
from cache.errors import ConfigError
from cache.npz import npz_arrays, npz_bytes

SIDECAR_VERSION = 2
"""Bump when digests, checks or their thresholds change meaning."""

SUFFIX = ".fingerprint"
_SHA_BYTES = 32


@dataclass(frozen=True)
class FileScan:
    """What one pass over a file of n rows found: digests (n, 32) uint8, stars (n,) uint64, bad rows per reason.

    `labels` is the digest of all labels and ids, so that they can be checked without reading any flux.
    """

    row_digests: npt.NDArray[np.uint8]
    stars: npt.NDArray[np.uint64]
    labels: str
    bad: Mapping[str, npt.NDArray[np.int64]]


def file_identity(status: os.stat_result) -> dict[str, int]:
    """By what a file is taken to be unchanged: size, time of the last change in ns, inode."""
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def sidecar_path(folder: Path, about: Mapping[str, Any]) -> Path:
    """Where the scan told apart by `about` (file, mask, labels; JSON values) is remembered."""
    return folder / f"{digest_json({'version': SIDECAR_VERSION, **about})[:32]}{SUFFIX}"


def _payload(path: Path) -> bytes | None:
    """The archive in a file of digests, or None when it is not there or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = content[_SHA_BYTES:]
    return payload if bytes.fromhex(sha256(payload)) == content[:_SHA_BYTES] else None


def remembered_sha256(path: Path) -> str | None:
    """Digest of what is remembered in a file of digests (hex), or None when it is not there or damaged."""
    payload = _payload(path)
    return None if payload is None else sha256(payload)


def recall(folder: Path, about: Mapping[str, Any], identity: Mapping[str, int]) -> FileScan | None:
    """The remembered scan, or None when there is none, it is damaged, or the file has another identity."""
    payload = _payload(sidecar_path(folder, about))
    if payload is None:
        return None
    arrays = npz_arrays(payload)
    told = json.loads(arrays["about"].tobytes())
    labels = told.pop("labels")
    if told != {**about, "identity": dict(identity)}:
        return None
    bad = {name.removeprefix("bad/"): arrays[name] for name in arrays if name.startswith("bad/")}
    return FileScan(arrays["row_digests"], arrays["stars"], labels, bad)


def check_can_remember(folder: Path) -> None:
    """Raise ConfigError, before a pass that may take an hour, when nothing can be written to the folder."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        problem = f"no right to write to {there}" if there.is_dir() else f"{there} is a file"
        raise ConfigError(
            f"{folder}: fingerprints cannot be remembered there ({problem}); give a folder you may write to: --digests"
        )


def remember_scan(
    folder: Path, about: Mapping[str, Any], identity: Mapping[str, int], scan: FileScan
) -> None:
    """Write the scan, whole or not at all; ConfigError when the folder cannot be written to."""
    told = canonical_json({**about, "identity": dict(identity), "labels": scan.labels}).encode()
    arrays = {
        "about": np.frombuffer(told, dtype=np.uint8),
        "row_digests": scan.row_digests,
        "stars": scan.stars,
    }
    payload = npz_bytes({**arrays, **{f"bad/{reason}": rows for reason, rows in scan.bad.items()}})
    path = sidecar_path(folder, about)
    try:
        publish_bytes(path, bytes.fromhex(sha256(payload)) + payload)
    except OSError as error:
        raise ConfigError(
            f"{path}: the fingerprint cannot be remembered ({error}); give a folder you may write to"
        ) from error
