"""Commit records: a row block exists only if its record does, and the record pins every byte of it."""

import contextlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arrays import ArrayName
from .atomic import publish_json
from .canonical import read_sealed
from .chunks import ChunkSeal, check_tail, read_chunk
from .errors import Damaged
from .header import COMMIT_FOLDER, Header, chunk_path, rebuild_command
from .npz import Array


@dataclass(frozen=True)
class Commit:
    """One committed row block."""

    block: int
    rows: tuple[int, int]
    input: str
    """sha256 of the row digests of the input rows this block was computed from."""
    arrays: dict[str, ChunkSeal]
    computed_with: dict[str, Any]


def commit_path(store: Path, block: int) -> Path:
    """The file of one commit record."""
    return store / COMMIT_FOLDER / f"{block:06d}.json"


def publish_commit(store: Path, key: str, commit: Commit) -> None:
    """Write the record; from this moment the block exists."""
    publish_json(
        commit_path(store, commit.block),
        {
            "key": key,
            "block": commit.block,
            "rows": list(commit.rows),
            "input": commit.input,
            "arrays": {name: [seal.size, seal.tail, seal.sha256] for name, seal in commit.arrays.items()},
            "computed_with": commit.computed_with,
        },
    )


def read_commit(store: Path, header: Header, block: int) -> Commit | None:
    """The record of one block, or None if the block was never committed; Damaged if it is not what it says."""
    path = commit_path(store, block)
    with _mendable(store):
        try:
            content = read_sealed(path)
        except FileNotFoundError:
            return None
        return _checked(content, path, header, block)


def read_commits(store: Path, header: Header) -> tuple[Commit | None, ...]:
    """The record of every block, None where there is none; Damaged when one is not what it says."""
    return tuple(read_commit(store, header, block) for block in range(header.n_blocks))


def is_finished(store: Path, header: Header) -> bool:
    """Whether every block of a store is committed."""
    return None not in read_commits(store, header)


def _checked(content: dict[str, Any], path: Path, header: Header, block: int) -> Commit:
    """The record in `content` if it is that of this block of this store."""
    wanted = (header.key, block, list(header.block(block)), {array.path for array in header.arrays})
    try:
        found = (content["key"], content["block"], content["rows"], set(content["arrays"]))
        commit = Commit(
            block=block,
            rows=header.block(block),
            input=content["input"],
            arrays={name: ChunkSeal(*seal) for name, seal in content["arrays"].items()},
            computed_with=content["computed_with"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path}: not a commit record ({error!r})") from error
    if found != wanted:
        raise Damaged(f"{path}: the commit record of another store or block")
    return commit


def check_chunk(store: Path, array: ArrayName, commit: Commit) -> None:
    """Compare size and crc tail of one chunk with its record; Damaged, with the command to mend it, otherwise."""
    with _mendable(store):
        check_tail(chunk_path(store, array, commit.block), commit.arrays[array.path])


def read_block(store: Path, array: ArrayName, commit: Commit, width: int) -> Array:
    """The committed values of one block, (rows, `width`) float32, checked byte by byte.

    Raises Damaged, with the command to mend the store.
    """
    n_rows = commit.rows[1] - commit.rows[0]
    with _mendable(store):
        return read_chunk(chunk_path(store, array, commit.block), (n_rows, width), commit.arrays[array.path])


@contextlib.contextmanager
def _mendable(store: Path) -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        raise Damaged(f"{error}; {mending(store)}") from error


def mending(store: Path) -> str:
    """What to do about a damaged block."""
    return f"mend it with: python -m cache repair {shlex.quote(str(store))}, then: {rebuild_command(store)}"


def computed_with_text(computed_with: dict[str, Any]) -> str:
    """How a block was computed, for messages."""
    return json.dumps(computed_with, sort_keys=True)
