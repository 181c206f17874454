"""Writing feature stores: created whole, filled block by block, never edited afterwards."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from .arrays import ArrayName, safe_name
from .atomic import TEMPORARY_PREFIX, building, publish_json, sync, writing
from .chunks import write_chunk
from .commits import Commit, commit_path, computed_with_text, publish_commit, read_commit, read_commits
from .errors import CacheError, Damaged, Stale
from .header import COMMIT_FOLDER, RUNS_FOLDER, Header, check_static, chunk_path, read_header
from .locks import exclusive, in_turn
from .npz import Array
from .provenance import KEY_DIGITS, store_key
from .skeleton import Coordinates, RowTable, write_skeleton

Claims = Literal["locks", "parts"]
"""How writers keep apart: by a lock per block alone, or because each was given blocks of its own (`--part`)."""
Mixing = Literal["refused", "accepted"]
"""Whether blocks of one store may be computed with other threads, devices, versions."""
SETTABLE = ("engine", "device", "threads", "micro_batch")
"""What of `computed_with` is a flag of the same name."""


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
        path = root / safe_name("split", str(provenance["split"])) / key[:KEY_DIGITS]
        if not (path / "zarr.json").exists():
            with writing(f"{path}: the empty store"), building(path) as temporary:
                write_skeleton(
                    temporary, provenance, rows=rows, coordinates=coordinates, block_rows=block_rows
                )
                _publish_folder(temporary, path)
        header = read_header(path)
        if header.key != key:
            raise Stale(f"{path}: holds key {header.key}, asked for {key}; delete one of the two")
        check_static(path, header)
        for folder in (COMMIT_FOLDER, RUNS_FOLDER):  # a copy may have been made without hidden folders
            (path / folder).mkdir(exist_ok=True)
        return cls(path, header)

    @classmethod
    def open(cls, path: Path, *, claims: Claims = "locks") -> Self:
        """Open an existing store for writing its missing blocks."""
        return cls(path, read_header(path), claims)

    def pending(self) -> list[int]:
        """Blocks that are not committed yet."""
        return [b for b, commit in enumerate(read_commits(self.path, self.header)) if commit is None]

    def check_computed_with(self, computed_with: dict[str, Any]) -> None:
        """Refuse to go on with a store of which a block was computed otherwise (Stale)."""
        for commit in read_commits(self.path, self.header):
            self._check_same(commit, computed_with)

    def _check_same(self, commit: Commit | None, computed_with: dict[str, Any]) -> None:
        if commit is None or commit.computed_with == computed_with:
            return
        before, now = commit.computed_with, computed_with
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        flags = [f"--{name.replace('_', '-')} {before[name]}" for name in names if name in SETTABLE]
        others = ["a machine and libraries like those"] if set(names) - set(SETTABLE) else []
        raise Stale(
            f"{self.path}: block {commit.block} was computed with "
            f"{computed_with_text({name: before.get(name) for name in names})}, this run computes with "
            f"{computed_with_text({name: now.get(name) for name in names})}; results may differ in the last bits. "
            f"Go on with {' and '.join([*flags, *others])}, or accept the mixture: --mixed"
        )

    @contextlib.contextmanager
    def claim(self, block: int) -> Iterator[bool]:
        """Hold one block against other writers; yields False when it is committed already.

        Raises Busy when another process holds it.
        """
        lock = exclusive(
            self.path / COMMIT_FOLDER / f"{block:06d}.lock",
            what=f"block {block}",
            without_locks="refuse" if self.claims == "locks" else "go on",
        )
        with contextlib.ExitStack() as stack:
            with writing(f"{self.path}: the lock of block {block}"):
                stack.enter_context(lock)
            yield read_commit(self.path, self.header, block) is None

    def commit(
        self, block: int, computed: Block, computed_with: dict[str, Any], *, mixing: Mixing = "refused"
    ) -> None:
        """Write the chunks of a claimed block, then its record; from then on the block exists.

        Raises CacheError, and commits nothing, when the values are not finite float32 of the right shape or the
        disk does not take them; Stale when the first block of the store was computed otherwise, unless `mixing`
        is accepted.
        """
        self._check_values(block, computed)
        if read_header(self.path) != self.header:
            raise Stale(f"{self.path}: was removed and begun anew meanwhile; run the same command again")
        if read_commit(self.path, self.header, block) is not None:
            return  # where there are no locks, another writer may have been faster
        try:
            with writing(f"{self.path}: block {block}"):
                commit = self._write_chunks(block, computed, computed_with)
                with in_turn(self.path / COMMIT_FOLDER):  # two first blocks must not be committed at once
                    if mixing == "refused":
                        self._check_same(self._a_committed_block(), computed_with)
                    publish_commit(self.path, self.header.key, commit)
        except BaseException:
            self._withdraw(block)
            raise

    def _a_committed_block(self) -> Commit | None:
        """The record of the lowest committed block."""
        blocks = range(self.header.n_blocks)
        lowest = next((b for b in blocks if commit_path(self.path, b).exists()), None)
        return None if lowest is None else read_commit(self.path, self.header, lowest)

    def _write_chunks(self, block: int, computed: Block, computed_with: dict[str, Any]) -> Commit:
        """Write and flush the chunks of a block; its record."""
        paths = {array: chunk_path(self.path, array, block) for array in computed.arrays}
        chunk_rows = min(self.header.block_rows, self.header.n_rows)
        seals = {
            array.path: write_chunk(paths[array], values, chunk_rows)
            for array, values in computed.arrays.items()
        }
        for path in paths.values():
            sync(path)
        for path in paths.values():  # the names of the chunk and of its folder must last as well
            sync(path.parent)
            sync(path.parent.parent)
        return Commit(
            block=block,
            rows=self.header.block(block),
            input=computed.input,
            arrays=seals,
            computed_with=computed_with,
        )

    def _withdraw(self, block: int) -> None:
        """Take back what was written of a claimed block: its record first, which makes it exist."""
        with contextlib.suppress(OSError):
            commit_path(self.path, block).unlink(missing_ok=True)
            sync(self.path / COMMIT_FOLDER)
        if commit_path(self.path, block).exists():
            return  # a record that cannot be removed keeps its chunks
        for array in self.header.arrays:
            with contextlib.suppress(OSError):
                chunk_path(self.path, array, block).unlink(missing_ok=True)
                chunk_path(self.path, array, block).parent.rmdir()

    def record_run(self, name: str, run: Mapping[str, Any]) -> None:
        """Keep who ran what and when, outside key and digest."""
        with writing(f"{self.path}: the note of the run"):
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
                "without its zarr.json, delete that folder (python -m cache prune --what damaged) and extract again"
            ) from error
    sync(path.parent)
