"""Writing feature stores: created whole, filled block by block, never edited afterwards."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from .arrays import ArrayName, safe_name
from .atomic import TEMPORARY_PREFIX, building, publish_json, sync
from .chunks import Array, write_chunk
from .commits import Commit, commit_path, computed_with_text, publish_commit, read_commit
from .errors import CacheError, Damaged, Stale
from .header import COMMIT_FOLDER, RUNS_FOLDER, Header, check_static, chunk_path, read_header
from .locks import exclusive
from .provenance import store_key
from .skeleton import Coordinates, RowTable, write_skeleton

Claims = Literal["locks", "parts"]
"""How writers keep apart: by a lock per block, or because each was given blocks of its own (`--part`)."""


@dataclass(frozen=True)
class Block:
    """The computed values of one row block: per array (n, D) float32, and the digest of its input rows."""

    arrays: Mapping[ArrayName, Array]
    input: str


class StoreWriter:
    """Fills one store block by block; several processes may fill one store."""

    def __init__(self, path: Path, header: Header, claims: Claims = "locks") -> None:
        """Use `create`."""
        self.path = path
        self.header = header
        self.claims = claims

    @classmethod
    def create(
        cls,
        root: Path,
        provenance: Mapping[str, Any],
        *,
        rows: RowTable,
        coordinates: Coordinates,
        block_rows: int,
    ) -> Self:
        """Make an empty store, or open the one of the same key (which keeps its own block_rows).

        `coordinates` gives (D,) arrays per stored array. Nothing appears under the final name before it is
        complete on disk. Raises CacheError when the disk refuses.
        """
        key = store_key(provenance)
        path = root / safe_name("split", str(provenance["split"])) / key[:16]
        if not (path / "zarr.json").exists():
            try:
                with building(path) as temporary:
                    write_skeleton(
                        temporary, provenance, rows=rows, coordinates=coordinates, block_rows=block_rows
                    )
                    _publish_folder(temporary, path)
            except OSError as error:
                raise CacheError(
                    f"{path}: the store could not be begun ({error}); nothing of it stays. Make room, or mend what "
                    "the message says, and run the same command again"
                ) from error
        header = read_header(path)
        if header.key != key:
            raise Stale(f"{path}: holds key {header.key}, asked for {key}; delete one of the two")
        check_static(path, header)
        return cls(path, header)

    @classmethod
    def open(cls, path: Path, *, claims: Claims = "locks") -> Self:
        """Open an existing store for writing its missing blocks."""
        return cls(path, read_header(path), claims)

    def pending(self) -> list[int]:
        """Blocks that are not committed yet."""
        blocks = range(self.header.n_blocks)
        return [block for block in blocks if read_commit(self.path, self.header, block) is None]

    def first_committed(self) -> list[int]:
        """The lowest committed block, as a list of one, or of none."""
        blocks = (b for b in range(self.header.n_blocks) if commit_path(self.path, b).exists())
        return list(itertools.islice(blocks, 1))

    def check_computed_with(
        self, computed_with: dict[str, Any], *, blocks: Iterable[int] | None = None
    ) -> None:
        """Refuse to go on with a store whose committed blocks (`blocks`, or all) were computed otherwise (Stale)."""
        for block in range(self.header.n_blocks) if blocks is None else blocks:
            commit = read_commit(self.path, self.header, block)
            if commit is not None and commit.computed_with != computed_with:
                raise Stale(
                    f"{self.path}: block {block} was computed with {computed_with_text(commit.computed_with)}, "
                    f"this run computes with {computed_with_text(computed_with)}; results may differ in the last "
                    "bits. Go on with the same --threads, --micro-batch and --device, or accept the mixture: --mixed"
                )

    @contextlib.contextmanager
    def claim(self, block: int) -> Iterator[bool]:
        """Hold one block against other writers; yields False when it is committed already.

        Raises Busy when another process holds it.
        """
        lock: AbstractContextManager[None] = contextlib.nullcontext()
        if self.claims == "locks":
            lock = exclusive(self.path / COMMIT_FOLDER / f"{block:06d}.lock", what=f"block {block}")
        with lock:
            yield read_commit(self.path, self.header, block) is None

    def commit(self, block: int, computed: Block, computed_with: dict[str, Any]) -> None:
        """Write the chunks of a claimed block, then its record; from then on the block exists.

        Raises CacheError, and commits nothing, when the values are not finite float32 of the right shape or the
        disk does not take them.
        """
        self._check_values(block, computed)
        paths = {array: chunk_path(self.path, array, block) for array in computed.arrays}
        chunk_rows = min(self.header.block_rows, self.header.n_rows)
        try:
            seals = {
                array.path: write_chunk(paths[array], values, chunk_rows)
                for array, values in computed.arrays.items()
            }
            for path in paths.values():
                sync(path)
            for path in paths.values():  # the names of the chunk and of its folder must last as well
                sync(path.parent)
                sync(path.parent.parent)
            commit = Commit(
                block=block,
                rows=self.header.block(block),
                input=computed.input,
                arrays=seals,
                computed_with=computed_with,
            )
            publish_commit(self.path, self.header.key, commit)
        except OSError as error:
            _discard(paths.values())
            raise CacheError(
                f"{self.path}: block {block} could not be written ({error}); {len(self.pending())} of "
                f"{self.header.n_blocks} blocks are still missing, the others stay. Make room, or mend what the "
                "message says, and run the same command again: it goes on from there"
            ) from error

    def record_run(self, name: str, run: Mapping[str, Any]) -> None:
        """Keep who ran what and when, outside key and digest."""
        publish_json(self.path / RUNS_FOLDER / f"{safe_name('run', name)}.json", run)

    def _check_values(self, block: int, computed: Block) -> None:
        lo, hi = self.header.block(block)
        widths = dict(self.header.provenance["arrays"])
        if {array.path for array in computed.arrays} != set(widths):
            raise CacheError(f"{self.path}: block {block}: computed arrays are not those of the store")
        for array, values in computed.arrays.items():
            if values.shape != (hi - lo, widths[array.path]) or values.dtype != np.float32:
                raise CacheError(f"{self.path}: {array.path} block {block}: {values.dtype} {values.shape}")
            if not np.isfinite(values).all():
                bad = np.flatnonzero(~np.isfinite(values).all(axis=1)) + lo
                raise CacheError(
                    f"{self.path}: {array.path} block {block}: features of {len(bad)} rows are not finite "
                    f"(first positions {bad[:5].tolist()}); the network overflowed on these spectra"
                )


def _discard(chunks: Iterable[Path]) -> None:
    """Remove what was written of a block that could not be committed."""
    for path in chunks:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()


def leftovers(store: Path) -> Iterator[Path]:
    """Yield the lock files and temporary folders in a store: killed writers left them, or living ones use them."""
    yield from sorted((store / COMMIT_FOLDER).glob("*.lock"))
    for folder in (COMMIT_FOLDER, RUNS_FOLDER):
        yield from sorted((store / folder).glob(f"{TEMPORARY_PREFIX}*"))


def _publish_folder(temporary: Path, path: Path) -> None:
    """Give a complete store its name; another writer that was faster is no fault."""
    try:
        temporary.rename(path)
    except OSError as error:
        if not (path / "zarr.json").exists():
            raise Damaged(
                f"{path}: the new store cannot get this name ({error}); if the rest of a store lies there, "
                "without its zarr.json, delete that folder and extract again"
            ) from error
    sync(path.parent)
