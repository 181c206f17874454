"""The folders in which the stores of a split lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import Damaged, SchemaVersion
from .header import Header, read_header
from .provenance import KEY_DIGITS


@dataclass(frozen=True)
class SplitStores:
    """The stores of one split: those that can be read, with their headers, and those that cannot.

    `outdated`: why those in other formats are not among them. `forbidden`: folders that are not ours to read.
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


def stores_of(root: Path, split: str) -> SplitStores:
    """The stores of one split, from their headers alone.

    Raises Damaged for a header that was altered: it might be the one that is wanted.
    """
    readable: list[tuple[Path, Header]] = []
    outdated: list[SchemaVersion] = []
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
        readable.append((path, header))
    return SplitStores(tuple(readable), tuple(outdated), tuple(forbidden))
