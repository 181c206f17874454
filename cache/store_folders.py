"""The folders in which the stores of a split lie."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import Damaged, SchemaVersion
from .header import COMMIT_FOLDER, Header, read_header
from .provenance import KEY_DIGITS


@dataclass(frozen=True)
class SplitStores:
    """The stores of one split: those that can be read, with their headers, and those that cannot.

    `outdated`: why those in other formats are not among them. `forbidden`: folders that are not ours to read, be it for
    their commit records alone, or the folder of the whole split.
    """

    readable: tuple[tuple[Path, Header], ...]
    outdated: tuple[SchemaVersion, ...]
    forbidden: tuple[Path, ...]


def store_paths(root: Path, split: str) -> Iterator[Path]:
    """Yield the folders of all stores of one split, finished or not, ours to read or not, in order of key."""
    for path in sorted((root / split).glob("*")):
        if len(path.name) == KEY_DIGITS and is_there(path / "zarr.json"):
            yield path


def is_there(path: Path) -> bool:
    """Whether something lies at `path`; where we have no right to look, it is taken to be there."""
    try:
        return path.exists()
    except PermissionError:
        return True


def is_closed(folder: Path) -> bool:
    """Whether a folder is there and we have no right to look into it."""
    return folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)


def stores_of(root: Path, split: str) -> SplitStores:
    """The stores of one split, from their headers alone.

    Raises Damaged for a header that was altered: it might be the one that is wanted.
    """
    readable: list[tuple[Path, Header]] = []
    outdated: list[SchemaVersion] = []
    if is_closed(root / split):
        return SplitStores((), (), (root / split,))
    forbidden: list[Path] = []
    for path in store_paths(root, split):
        try:
            header = read_header(path)
        except SchemaVersion as error:
            outdated.append(error)
            continue
        except PermissionError:
            forbidden.append(path)
            continue
        if (path.name, split) != (header.key[:KEY_DIGITS], header.provenance["split"]):
            raise Damaged(
                f"{path}: holds key {header.key[:KEY_DIGITS]} of split {header.provenance['split']!r}, so it was "
                "renamed or moved; give it its name back, or delete it"
            )
        if is_closed(path / COMMIT_FOLDER):
            forbidden.append(path)
            continue
        readable.append((path, header))
    return SplitStores(tuple(readable), tuple(outdated), tuple(forbidden))
