"""Commit records: a row block exists only if its record does, and the record pins every byte of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arrays import ArrayName
from .atomic import publish_json
from .canonical import read_sealed
from .errors import Damaged
from .header import COMMIT_FOLDER, Header, chunk_path, rebuild_command


@dataclass(frozen=True)
class ChunkSeal:
    """What one chunk file must be: its size, its last four bytes (the crc32c), the sha256 of its values."""

    size: int
    tail: str
    sha256: str


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
    try:
        content = read_sealed(path)
    except FileNotFoundError:
        return None
    if (
        content["key"] != header.key
        or content["block"] != block
        or tuple(content["rows"]) != header.block(block)
    ):
        raise Damaged(
            f"{path}: a commit record of another store or block; remove it and run the extraction again"
        )
    if set(content["arrays"]) != {array.path for array in header.arrays}:
        raise Damaged(
            f"{path}: lists other arrays than the store has; remove it and run the extraction again"
        )
    return Commit(
        block=block,
        rows=(content["rows"][0], content["rows"][1]),
        input=content["input"],
        arrays={name: ChunkSeal(*seal) for name, seal in content["arrays"].items()},
        computed_with=content["computed_with"],
    )


def chunk_tail(path: Path) -> tuple[int, str]:
    """Size and last four bytes (hex) of a chunk file; Damaged if it is missing."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - 4))
            return size, stream.read(4).hex()
    except FileNotFoundError:
        raise Damaged(
            f"{path}: the chunk is gone although its block was committed; mend the store with python -m cache repair"
        ) from None


def check_chunk(store: Path, array: ArrayName, commit: Commit) -> None:
    """Compare size and tail of one chunk with its record; Damaged, with the command to mend it, otherwise."""
    path = chunk_path(store, array, commit.block)
    seal = commit.arrays[array.path]
    found = chunk_tail(path)
    if found != (seal.size, seal.tail):
        raise Damaged(
            f"{path}: is not the committed file (size {found[0]}, crc {found[1]}; committed size {seal.size}, "
            f"crc {seal.tail}); {mending(store)}"
        )


def mending(store: Path) -> str:
    """What to do about a damaged block."""
    return f"mend it with: python -m cache repair --store {store}, then: {rebuild_command(store)}"


def computed_with_text(computed_with: dict[str, Any]) -> str:
    """How a block was computed, for messages."""
    return json.dumps(computed_with, sort_keys=True)
