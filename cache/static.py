"""The files of a store that never change after its creation: metadata, rows, labels, coordinates."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .arrays import CHUNKS, FEATURES
from .canonical import digest_json, sha256
from .errors import Damaged
from .npz import Array


@dataclass(frozen=True)
class StaticFiles:
    """sha256 of every static file by relative name, as found at one moment.

    Arrays are decoded from bytes that are checked against it again, so that a file that is altered after the
    store was opened is refused as well.
    """

    store: Path
    digests: Mapping[str, str]

    @classmethod
    def of(cls, store: Path) -> "StaticFiles":
        """Read and digest the static files of a store."""
        names = sorted(_names(str(store), ""))
        return cls(store, {name: sha256((store / name).read_bytes()) for name in names})

    @property
    def digest(self) -> str:
        """The digest that the header of the store carries."""
        return digest_json([[name, digest] for name, digest in self.digests.items()])

    def strange(self) -> tuple[str, ...]:
        """Files that no store has: neither metadata nor a chunk."""
        return tuple(name for name in self.digests if name.rpartition("/")[2] not in ("zarr.json", "0"))

    def without(self, names: Collection[str]) -> "StaticFiles":
        """The same without some files."""
        return StaticFiles(self.store, {n: digest for n, digest in self.digests.items() if n not in names})

    def children(self, folder: str) -> tuple[str, ...]:
        """Names of the arrays directly under one folder, sorted."""
        depth = folder.count("/") + 1
        inside = [name.split("/") for name in self.digests if name.startswith(f"{folder}/")]
        return tuple(sorted({parts[depth] for parts in inside if len(parts) > depth + 1}))

    def array(self, name: str) -> Array:
        """One static array, decoded from checked bytes; Damaged when they are no longer those found on opening."""
        import zarr  # noqa: PLC0415  a quarter of a second, which whoever only writes stores need not wait
        from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415
        from zarr.storage import MemoryStore  # noqa: PLC0415

        files = {
            path.removeprefix(f"{name}/"): default_buffer_prototype().buffer.from_bytes(self._checked(path))
            for path in self.digests
            if path.startswith(f"{name}/")
        }
        return np.asarray(zarr.open_array(MemoryStore(files), mode="r")[:])

    def _checked(self, name: str) -> bytes:
        path = self.store / name
        try:
            content = path.read_bytes()
        except PermissionError:
            raise
        except OSError as error:
            raise Damaged(f"{path}: unreadable since the store was opened ({error})") from error
        if sha256(content) != self.digests[name]:
            raise Damaged(f"{path}: was altered since the store was opened")
        return content


def _names(folder: str, prefix: str) -> Iterator[str]:
    """Yield relative names of static files; names that start with a dot are ours or the file system's."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.name.startswith(".") or name == "zarr.json":
                continue
            if not entry.is_dir():
                yield name
            elif entry.name != CHUNKS or prefix.split("/")[3:] != [FEATURES, ""]:
                yield from _names(entry.path, f"{name}/")
