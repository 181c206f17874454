"""The folders in which the stores of a split lie."""

from collections.abc import Iterator
from pathlib import Path

from .errors import Damaged, SchemaVersion
from .header import Header, read_header
from .provenance import KEY_DIGITS


def store_paths(root: Path, split: str) -> Iterator[Path]:
    """Yield the folders of all stores of one split, finished or not, in order of key."""
    for path in sorted((root / split).glob("*")):
        if len(path.name) == KEY_DIGITS and (path / "zarr.json").exists():
            yield path


def readable_stores(root: Path, split: str) -> tuple[list[tuple[Path, Header]], list[SchemaVersion]]:
    """Stores of one split with their headers, and why those in other formats are not among them.

    Raises Damaged for a header that was altered: it might be the one that is wanted.
    """
    found: list[tuple[Path, Header]] = []
    outdated: list[SchemaVersion] = []
    for path in store_paths(root, split):
        try:
            header = read_header(path)
        except SchemaVersion as error:
            outdated.append(error)
            continue
        if (path.name, split) != (header.key[:KEY_DIGITS], header.provenance["split"]):
            raise Damaged(
                f"{path}: holds key {header.key[:KEY_DIGITS]} of split {header.provenance['split']!r}, so it was "
                "renamed or moved; give it its name back, or delete it"
            )
        found.append((path, header))
    return found, outdated
