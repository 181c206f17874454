"""Faults of folders: lost, renamed, swapped, and files and folders that do not belong."""

import re
import shutil
from pathlib import Path

import numpy as np

from .files import Fault, any_file, pick
from .trees import World

LEVELS = {
    r"\.commit|\.runs|rows|labels": ["old", ".old"],
    r"(?:rows|labels)/[^/]+": ["M_H", "star_2"],
    r"(?:enc|pool)_[^/]+": ["enc_3", "enc_0", "pool_1"],
    r"(?:enc|pool)_[^/]+/[^/]+": ["backward", "forward"],
    r"(?:enc|pool)_[^/]+/[^/]+/[^/]+": ["seg_mean_K8", "mean_max", "global_mean"],
    r"(?:enc|pool)_[^/]+/[^/]+/[^/]+/[^/]+": ["features", "wave_mid"],
    r".+/c": ["d"],
    r".+/c/\d+": ["1", "7"],
}
"""The levels of folders in a store, with names that a folder of that level could plausibly be given."""

EXTRA_FILES = (
    ".DS_Store",
    ".zarray",
    ".zattrs",
    ".zgroup",
    ".zmetadata",
    "zarr.json",
    "zarr.json~",
    ".tmp-zarr.json",
    "0",
    "7",
    "000099.json",
    "000001.lock",
    "features.partial",
)
EXTRA_FOLDERS = ("ghost", "c", "9", "__pycache__", "backward", "enc_0", "features", ".tmp-old")


def lost(rng: np.random.Generator, world: World) -> Fault:
    """Any folder gone, from one chunk's to the whole store."""
    level = pick(rng, ["", *LEVELS])
    name = pick(rng, _folders(world, level)) if level else ""
    target = world.inside(name)
    return Fault(
        f"deletion of folder {name or 'store'}", (target,), lambda there: shutil.rmtree(there.root / target)
    )


def renamed(rng: np.random.Generator, world: World) -> Fault:
    """A folder inside the store under another name."""
    level = pick(rng, list(LEVELS))
    name = pick(rng, _folders(world, level))
    parent, _, leaf = name.rpartition("/")
    free = [
        new
        for new in (*LEVELS[level], leaf + "_old", leaf.swapcase())
        if new != leaf and not world.tree.holds(world.inside(f"{parent}/{new}" if parent else new))
    ]
    new = f"{parent}/{pick(rng, free)}".removeprefix("/")
    return _moved(f"{name} renamed to {new}", world.inside(name), world.inside(new))


def renamed_store(rng: np.random.Generator, world: World) -> Fault:
    """The folder of the store, or of its split, under another name; read at its new place."""
    split, _, key = world.store.partition("/")
    if rng.integers(2):
        new = pick(rng, ["val", "test", "old"])
        return _moved(f"split renamed to {new}", split, new, moved_to=f"{new}/{key}")
    new = pick(rng, [rng.bytes(8).hex(), key[:15] + ("0" if key[15] != "0" else "1"), key + ".bak"])
    return _moved(f"store renamed to {new}", world.store, f"{split}/{new}", moved_to=f"{split}/{new}")


def swapped(rng: np.random.Generator, world: World) -> Fault:
    """Two folders of one level exchanged."""
    found = _folders(world, pick(rng, list(LEVELS)))
    one = pick(rng, found)
    two = pick(rng, [name for name in found if name != one])
    targets = (world.inside(one), world.inside(two))

    def act(there: World) -> None:
        first, second, aside = there.root / targets[0], there.root / targets[1], there.root / "aside"
        first.rename(aside)
        second.rename(first)
        aside.rename(second)

    return Fault(f"folders {one} and {two} swapped", targets, act)


def extra_file(rng: np.random.Generator, world: World) -> Fault:
    """A file that does not belong, empty, random or a copy of another, in any folder of the store."""
    folder, copied = _any_folder(rng, world), any_file(rng, world)
    how = pick(rng, ["empty", "random", "copy"])
    content = {"empty": b"", "random": rng.bytes(50)}.get(how, world.tree.files[world.inside(copied)])
    free = [new for new in EXTRA_FILES if not world.tree.holds(f"{folder}/{new}")]
    name = f"{folder}/{pick(rng, free)}"

    def act(there: World) -> None:
        (there.root / name).write_bytes(content)

    return Fault(
        f"extra file {_short(world, name)} ({how if how != 'copy' else 'copy of ' + copied})", (folder,), act
    )


def extra_folder(rng: np.random.Generator, world: World) -> Fault:
    """An empty folder in any folder of the store, or a folder beside the store: empty, or another run's store."""
    if rng.integers(3):
        folder = _any_folder(rng, world)
        name = f"{folder}/{pick(rng, [n for n in EXTRA_FOLDERS if not world.tree.holds(f'{folder}/{n}')])}"
        return Fault(
            f"extra empty folder {_short(world, name)}", (folder,), lambda there: (there.root / name).mkdir()
        )
    run = pick(rng, ["", *sorted(world.others)])
    name = f"{Path(world.store).parent}/{pick(rng, ['0' * 16, 'f' * 16, 'ghost'])}"

    def act(there: World) -> None:
        if run:
            shutil.copytree(there.others[run], there.root / name)
        else:
            (there.root / name).mkdir()

    return Fault(
        f"extra folder beside the store, {name}: {'store of ' + run if run else 'empty'}", (world.store,), act
    )


def _folders(world: World, level: str) -> list[str]:
    """Sorted names, relative to the store, of the folders of one level."""
    inside = [
        name.removeprefix(world.store + "/")
        for name in world.tree.folders
        if name.startswith(world.store + "/")
    ]
    return sorted(name for name in inside if re.fullmatch(level, name))


def _any_folder(rng: np.random.Generator, world: World) -> str:
    """The store or a folder in it, as a name under the root; often one whose members a reader might list."""
    if rng.integers(2):
        return world.inside(pick(rng, ["", "labels", "rows", ".commit", ".runs"]))
    return world.inside(pick(rng, _folders(world, pick(rng, list(LEVELS)))))


def _moved(what: str, old: str, new: str, *, moved_to: str | None = None) -> Fault:
    return Fault(what, (old,), lambda there: (there.root / old).rename(there.root / new), moved_to)


def _short(world: World, name: str) -> str:
    return name.removeprefix(world.store + "/")
