"""Faults of JSON files: values edited, fields removed and added, white space."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from .files import JSON, Fault, Maker, edited, names, pick
from .trees import World

Path = tuple[str | int, ...]
PROVENANCE: Path = ("attributes", "blindspot_cache", "provenance")


class NotThereError(Exception):
    """A plain copy of the store has no such field."""


def altered(kind: str, part: str = "everything") -> Maker:
    """A JSON file with a value changed, a field removed or added; of the header its `provenance` or the `rest`."""

    def make(rng: np.random.Generator, world: World) -> Fault:
        name = pick(rng, names(world, kind))
        content = json.loads(world.tree.files[world.inside(name)])
        how = pick(rng, ["value", "value", "removed", "added"])
        fields = [(path, old) for path, old in _walk(content) if _admits(path, part) and _suits(old, how)]
        path, old = fields[int(rng.integers(len(fields)))]
        new = _other(rng, old) if how == "value" else f"x{rng.integers(1000)}"

        def edit(text: bytes) -> bytes:
            return _rewrite(text, path, how, new)

        where = ".".join(str(step) for step in path) or "the top"
        words = {
            "value": f"{old!r} -> {new!r} at {where}",
            "removed": f"{where} removed",
            "added": f"{new} added at {where}",
        }
        return edited(world, name, f"edit ({words[how]})", edit)

    return make


def respaced(rng: np.random.Generator, world: World) -> Fault:
    """A JSON file with other white space."""
    name = pick(rng, names(world, pick(rng, list(JSON))))
    indent = int(rng.integers(0, 9))
    end = pick(rng, ["", "\n", " \r\n\t"])

    def edit(text: bytes) -> bytes:
        return (json.dumps(json.loads(text), indent=indent) + end).encode()

    return edited(world, name, f"white space (indent {indent}, end {end!r})", edit)


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value of a JSON document with its path, containers included."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from _walk(item, (*path, name))


def _admits(path: Path, part: str) -> bool:
    inside = path[: len(PROVENANCE)] == PROVENANCE
    return {"everything": True, "provenance": inside, "rest": not inside}[part]


def _suits(value: Any, how: str) -> bool:
    """Leaves are changed; leaves and containers are removed; containers are added to."""
    leaf = not isinstance(value, dict | list)
    return {"value": leaf, "removed": True, "added": not leaf}[how]


def _other(rng: np.random.Generator, old: Any) -> Any:
    """A value that is not the old one, often of its kind; shapes stay small."""
    if isinstance(old, str):
        return pick(
            rng, [old + "0", old[::-1] + "x", old[:-1] + ("1" if old[-1:] != "1" else "2"), "\ud800", None]
        )
    numbers: list[Any] = [None, "x", float("nan"), float("inf"), True, False, 0, [], {}]
    if isinstance(old, int | float):
        numbers += [old + 1, old - 1, -old, 2 * old, old + 0.5, float(old), str(old)] * 2
    fitting = [new for new in numbers if json.dumps(new) != json.dumps(old)]
    return fitting[int(rng.integers(len(fitting)))]


def _rewrite(text: bytes, path: Path, how: str, new: Any) -> bytes:
    """The file with the one edit, in the layout it had."""
    content = json.loads(text)
    try:
        content = _edit(content, path, how, new)
    except (KeyError, IndexError, TypeError) as error:
        raise NotThereError(path) from error
    compact = b"\n  " not in text
    return json.dumps(content, **({"separators": (",", ":")} if compact else {"indent": 2})).encode()


def _edit(content: Any, path: Path, how: str, new: Any) -> Any:
    parent = content
    for step in path[:-1]:
        parent = parent[step]
    if how == "added":
        target = parent[path[-1]] if path else content
        if isinstance(target, dict):
            target[new] = 1
        else:
            target.append(new)
    elif not path:
        content = {}
    elif how == "removed":
        del parent[path[-1]]
    else:
        _ = parent[path[-1]]  # a field that is not there is not edited
        parent[path[-1]] = new
    return content
