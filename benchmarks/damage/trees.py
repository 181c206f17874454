"""A folder of files as a value: taken, compared, and put back after damage."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tree:
    """Every file (its bytes) and every folder under a root, by relative name."""

    files: dict[str, bytes]
    folders: frozenset[str]

    def holds(self, name: str) -> bool:
        """Whether there is a file or a folder of this name."""
        return name in self.files or name in self.folders


@dataclass(frozen=True)
class World:
    """One root with a finished store, the folders of the stores of other runs, and the state before any damage."""

    root: Path
    store: str
    """Folder of the store, relative to `root`: split/key16."""
    others: dict[str, Path]
    tree: Tree

    def inside(self, name: str) -> str:
        """A name inside the store as a name under the root."""
        return f"{self.store}/{name}" if name else self.store


def take(root: Path) -> Tree:
    """Read everything under `root`."""
    files, folders = {}, set()
    for folder, names, leaves in os.walk(root):
        prefix = "" if folder == str(root) else folder[len(str(root)) + 1 :] + "/"
        folders.update(prefix + name for name in names)
        for leaf in leaves:
            with open(f"{folder}/{leaf}", "rb") as stream:  # noqa: PTH123  half of the time of a campaign is spent here
                files[prefix + leaf] = stream.read()
    return Tree(files, frozenset(folders))


def changed(before: Tree, after: Tree) -> frozenset[str]:
    """Names of the files and folders that differ, that came or that went."""
    names = before.files.keys() | after.files.keys()
    files = {name for name in names if before.files.get(name) != after.files.get(name)}
    return frozenset(files | (before.folders ^ after.folders))


def restore(root: Path, tree: Tree, touched: frozenset[str]) -> None:
    """Put back the touched names; RuntimeError if the root is then not the tree, bit for bit."""
    for name in sorted(touched):
        path = root / name
        if path.is_dir() and name not in tree.folders:
            shutil.rmtree(path)
        elif path.is_file() and name not in tree.files:
            path.unlink()
    for name in sorted(touched & tree.folders):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in sorted(touched & tree.files.keys()):
        (root / name).write_bytes(tree.files[name])
    left = changed(tree, take(root))
    if left:
        raise RuntimeError(f"{root}: not restored: {sorted(left)}")
