"""Faults of single files: flipped bits, wrong lengths, lost, swapped, stale and zeroed files."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .trees import World

JSON = ("record", "record", "header", "metadata", "metadata", "note")
"""The same for JSON files."""

PAGE = 4096
"""Bytes that a disk or a memory page loses at once."""

TAIL = 4
"""Bytes of the crc32c at the end of a chunk."""

CLASSES = {
    "chunk": r"(?:[^/]+/){3}features/c/\d+/0",
    "record": r"\.commit/\d{6}\.json",
    "header": r"zarr\.json",
    "metadata": r".+/zarr\.json",
    "column": r"(?!.*/features/)(?:.+)/c(?:/\d+)*",
    "json": r".*\.json",
    "note": r"\.runs/.*",
}
"""Patterns of the names of files in a store; a column is the one chunk of rows, a label or a coordinate."""

ANY = ("chunk", "chunk", "record", "record", "header", "metadata", "metadata", "column", "column", "note")
"""How often each class is hurt when any file may be: by class, for most files of a store are small metadata."""


@dataclass(frozen=True)
class Fault:
    """One fault, chosen on the original store, to be done to that store or to a plain copy of it."""

    what: str
    """For people: what is done to which file."""
    targets: tuple[str, ...]
    """Names under the root that must be there."""
    act: Callable[[World], None]
    moved_to: str | None = None
    """Where the store lies afterwards, if not where it was."""


Maker = Callable[[np.random.Generator, World], Fault]


def pick(rng: np.random.Generator, choices: list[str]) -> str:
    """One of the choices."""
    return choices[int(rng.integers(len(choices)))]


def names(world: World, kind: str) -> list[str]:
    """Sorted names, relative to the store, of the files of one class."""
    inside = [name.removeprefix(world.store + "/") for name in world.tree.files]
    return sorted(name for name in inside if re.fullmatch(CLASSES[kind], name))


def any_file(rng: np.random.Generator, world: World) -> str:
    """Any file of the store, each class with its own weight."""
    return pick(rng, names(world, pick(rng, list(ANY))))


def edited(world: World, name: str, what: str, edit: Callable[[bytes], bytes]) -> Fault:
    """The fault that rewrites one file of the store."""
    target = world.inside(name)

    def act(there: World) -> None:
        path = there.root / target
        path.write_bytes(edit(path.read_bytes()))

    return Fault(f"{what} of {name}", (target,), act)


def flipped(kind: str, where: str) -> Maker:
    """A flipped bit in the `body` or the `tail` of a chunk, or anywhere in a file (`all`)."""

    def make(rng: np.random.Generator, world: World) -> Fault:
        name = pick(rng, names(world, kind))
        size, bit = len(world.tree.files[world.inside(name)]), int(rng.integers(8))
        low, high = {"body": (0, size - TAIL), "tail": (-TAIL, 0), "all": (0, size)}[where]
        at = int(rng.integers(low, high))

        def flip(content: bytes) -> bytes:
            changed = bytearray(content)
            changed[at if at < 0 else at % len(changed)] ^= 1 << bit
            return bytes(changed)

        return edited(world, name, f"flip bit {bit} of byte {at}", flip)

    return make


def cut(how: str) -> Maker:
    """Any file cut to `nothing`, to `half`, or by its last byte (`minus one`)."""

    def shorten(content: bytes) -> bytes:
        return content[
            : {"nothing": 0, "half": len(content) // 2, "minus one": max(0, len(content) - 1)}[how]
        ]

    def make(rng: np.random.Generator, world: World) -> Fault:
        return edited(world, any_file(rng, world), f"truncation to {how}", shorten)

    return make


def appended(rng: np.random.Generator, world: World) -> Fault:
    """Some bytes at the end of any file: random ones, zeros, or the file once more."""
    name = any_file(rng, world)
    how = pick(rng, ["random bytes", "zeros", "the file itself"])
    count = int(rng.integers(1, 65))
    more = {"random bytes": rng.bytes(count), "zeros": bytes(count)}.get(how)
    return edited(
        world, name, f"{how} appended at the end", lambda old: old + (old if more is None else more)
    )


def zeroed(rng: np.random.Generator, world: World) -> Fault:
    """One page of any file, or the whole of a smaller file, set to zero."""
    name = any_file(rng, world)
    pages = -(-len(world.tree.files[world.inside(name)]) // PAGE)
    low = PAGE * int(rng.integers(max(1, pages)))

    def zero(old: bytes) -> bytes:
        page = old[low : low + PAGE]
        return old[:low] + bytes(len(page)) + old[low + len(page) :]

    return edited(world, name, f"zeroed page from byte {low}", zero)


def deleted(rng: np.random.Generator, world: World) -> Fault:
    """Any file gone."""
    name = any_file(rng, world)
    target = world.inside(name)
    return Fault(f"deletion of {name}", (target,), lambda there: (there.root / target).unlink())


def became_folder(rng: np.random.Generator, world: World) -> Fault:
    """An empty folder where any file was."""
    name = any_file(rng, world)
    target = world.inside(name)

    def act(there: World) -> None:
        (there.root / target).unlink()
        (there.root / target).mkdir()

    return Fault(f"{name} became an empty folder", (target,), act)


def swapped(world: World, one: str, two: str) -> Fault:
    """Two files exchanged."""
    targets = (world.inside(one), world.inside(two))

    def act(there: World) -> None:
        first, second = (there.root / target for target in targets)
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)

    return Fault(f"{one} and {two} swapped", targets, act)


def swapped_chunks(how: str) -> Maker:
    """Two chunks of the `same array`, of `other array`s, of the `other direction`, or two columns or JSON files."""

    def make(rng: np.random.Generator, world: World) -> Fault:
        one = pick(
            rng, names(world, {"columns": "column", "JSON files": pick(rng, list(JSON))}.get(how, "chunk"))
        )
        if how == "other direction":
            one = pick(rng, [name for name in names(world, "chunk") if name.split("/")[1] == "backward"])
        return swapped(world, one, pick(rng, _partners(rng, world, one, how)))

    return make


def _partners(rng: np.random.Generator, world: World, one: str, how: str) -> list[str]:
    """The files that a file may be swapped with."""
    if how in ("columns", "JSON files"):
        kind = "column" if how == "columns" else pick(rng, list(JSON))
        return [name for name in names(world, kind) if name != one] or _partners(rng, world, one, how)
    layer, direction, pooling = one.split("/")[:3]
    found = []
    for name in names(world, "chunk"):
        same = (name.split("/")[0] == layer, name.split("/")[1] == direction, name.split("/")[2] == pooling)
        wanted = {
            "same array": all(same) and name != one,
            "other array": not same[0],
            "other direction": same[0] and not same[1] and same[2],
        }
        if wanted[how]:
            found.append(name)
    return found


def stale(kind: str) -> Maker:
    """A file of one class replaced by that of another run, where the two differ."""

    def make(rng: np.random.Generator, world: World) -> Fault:
        name, run = pick(rng, names(world, kind)), pick(rng, sorted(world.others))
        while (world.others[run] / name).read_bytes() == world.tree.files[world.inside(name)]:
            name, run = pick(rng, names(world, kind)), pick(rng, sorted(world.others))
        target = world.inside(name)

        def act(there: World) -> None:
            (there.root / target).write_bytes((there.others[run] / name).read_bytes())

        return Fault(f"{name} from the run with {run}", (target,), act)

    return make
