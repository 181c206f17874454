"""The same arrays in plain zarr, without a checksum and with crc32c, read with zarr alone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import zarr

from cache.header import ATTRIBUTE

from .documents import NotThereError
from .files import Fault
from .routes import DETECTED, HARMLESS, SILENT, same
from .trees import World, changed, restore, take

PLAIN, CRC32C = "plain zarr", "zarr + crc32c"
NO_SUCH_FILE = "not applicable"


def make_twin(world: World, folder: Path, *, codec: str) -> World:
    """A world of the same layout whose stores are plain zarr hierarchies; `codec` is PLAIN or CRC32C."""
    _copy_arrays(world.root / world.store, folder / "root" / world.store, codec)
    others = {}
    for name, path in world.others.items():
        others[name] = folder / "others" / name / path.name
        _copy_arrays(path, others[name], codec)
    return replace(world, root=folder / "root", others=others, tree=take(folder / "root"))


def values(world: World) -> dict[str, Any]:
    """Every array of an undamaged twin, by path, and its provenance under ''."""
    root = zarr.open_group(world.root / world.store, mode="r")
    arrays = {
        path: array[...] for path, array in root.members(max_depth=None) if isinstance(array, zarr.Array)
    }
    return {**arrays, "": root.attrs[ATTRIBUTE]["provenance"]}


def suffer(world: World, fault: Fault, committed: Mapping[str, Any]) -> str:
    """Do the fault to a twin, read what it touched, undo it; the outcome."""
    if fault.moved_to or not all(world.tree.holds(target) for target in fault.targets):
        return NO_SUCH_FILE
    try:
        fault.act(world)
    except NotThereError:
        return NO_SUCH_FILE
    touched = changed(world.tree, take(world.root))
    try:
        return _read(world, touched, committed)
    finally:
        restore(world.root, world.tree, touched)


def _read(world: World, touched: frozenset[str], committed: Mapping[str, Any]) -> str:
    """Any error counts as detected: a plain reader promises nothing better.

    Arrays are named by the caller, not listed. An array none of whose files was touched reads as before, so only
    the others are read: zarr looks at no file outside an array's folder.
    """
    inside = {name.removeprefix(world.store + "/") for name in touched}
    whole = world.store in touched
    try:
        root = zarr.open_group(world.root / world.store, mode="r")
        silent = not same(root.attrs[ATTRIBUTE]["provenance"], committed[""])
        for path, expected in committed.items():
            if path and (whole or any(f"{name}/".startswith(f"{path}/") for name in inside)):
                silent |= not same(zarr.open_array(world.root / world.store / path, mode="r")[...], expected)
    except Exception:  # noqa: BLE001  whatever zarr raises, the reader was told
        return DETECTED
    return SILENT if silent else HARMLESS


def _copy_arrays(source: Path, target: Path, codec: str) -> None:
    """A store as plain zarr: the same groups, arrays and attributes; without our records and, PLAIN, without crc32c."""
    old = zarr.open_group(source, mode="r")
    new = zarr.open_group(target, mode="w", attributes=dict(old.attrs))
    for path, member in sorted(old.members(max_depth=None)):
        if isinstance(member, zarr.Group):
            new.require_group(path)
            continue
        copy = new.create_array(
            path,
            shape=member.shape,
            chunks=member.chunks,
            dtype=member.dtype,
            filters=None,
            compressors=member.compressors if codec == CRC32C else None,
            fill_value=member.fill_value,
            attributes=dict(member.attrs),
            config={"write_empty_chunks": True},
        )
        copy[...] = member[...]
