"""Why a store is no hit: how two provenances differ, what that means, and which store comes nearest."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .provenance import Provenance, differences, family, group, store_key, without_arrays

ARRAYS = "arrays"
SHOWN_DIGITS = 12
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Difference:
    """One field at which two provenances differ, with both values.

    For `arrays` the values are those that only one of the two has, as tuples of `path (D)`.
    """

    field: str
    one: Any
    two: Any

    def text(self, one: str, two: str) -> str:
        """The difference in words; `one` and `two` name the two sides."""
        if self.field != ARRAYS:
            return f"{self.field}: {_shown(self.one)} in {one}, {_shown(self.two)} in {two}"
        sides = [
            f"only {name} has {', '.join(arrays)}"
            for name, arrays in ((one, self.one), (two, self.two))
            if arrays
        ]
        return f"{ARRAYS}: {'; '.join(sides)}"


@dataclass(frozen=True)
class Relation:
    """What two stores may be used for together."""

    same_key: bool
    same_family: bool
    meaning: str


@dataclass(frozen=True)
class Near:
    """The store that comes nearest to a request: its name, and the fields (request, store) that differ."""

    name: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Held:
    """Which stores hold arrays of a request, row by row the same; `missing` are the arrays that none holds."""

    names: tuple[str, ...]
    missing: tuple[str, ...]


def field_differences(one: Provenance, two: Provenance) -> tuple[Difference, ...]:
    """Every leaf field at which two provenances differ, by name; the arrays count as one field."""
    found = [Difference(*leaf) for leaf in differences(without_arrays(one), without_arrays(two))]
    first, second = _widths(one), _widths(two)
    if first != second:
        found.append(Difference(ARRAYS, _besides(first, second), _besides(second, first)))
    return tuple(sorted(found, key=lambda difference: difference.field))


def relation(one: Provenance, two: Provenance) -> Relation:
    """Whether key and family are equal, and one plain sentence about use together."""
    if store_key(one) == store_key(two):
        meaning = "the same request on the same data: either may stand for the other"
        return Relation(same_key=True, same_family=True, meaning=meaning)
    same_family = family(one) == family(two)
    if group(one) == group(two):
        meaning = "the same rows, draw and noise, other arrays: they are read together as one view"
    elif same_family:
        meaning = "they may be used as train, val and test of one comparison"
    else:
        meaning = (
            "compare them only row by row (joined by row and star); never train on one and test on the other"
        )
    return Relation(same_key=False, same_family=same_family, meaning=meaning)


def nearest(wanted: Provenance, candidates: Iterable[tuple[str, Provenance]]) -> Near | None:
    """The candidate (name, provenance) of the same split with the fewest differing fields; ties go by name.

    What a candidate holds beyond the arrays wanted is no difference: a request is met array by array. None when no
    candidate is of that split.
    """
    near = [
        Near(name, tuple(d for d in field_differences(wanted, found) if d.field != ARRAYS or d.one))
        for name, found in candidates
        if found["split"] == wanted["split"]
    ]
    return min(near, key=lambda n: (len(n.differences), n.name), default=None)


def held_by(wanted: Provenance, finished: Iterable[tuple[str, Provenance]]) -> Held:
    """Which finished stores (name, provenance) meet a request array by array; a hit when nothing is missing."""
    missing = set(_widths(wanted))
    names = []
    for name, found in sorted(finished, key=lambda store: store[0]):
        held = missing & set(_widths(found))
        if held and group(found) == group(wanted):
            names.append(name)
            missing -= held
    return Held(tuple(names), tuple(sorted(missing)))


def difference_json(found: Sequence[Difference], one: str, two: str) -> list[dict[str, Any]]:
    """The differences for JSON; `one` and `two` are the names of the sides."""
    return [{"field": d.field, one: d.one, two: d.two} for d in found]


def _widths(provenance: Provenance) -> dict[str, int]:
    return {str(path): int(width) for path, width in provenance[ARRAYS]}


def _besides(one: Mapping[str, int], two: Mapping[str, int]) -> tuple[str, ...]:
    """What `one` has and `two` has not, or has with another width."""
    return tuple(f"{path} ({width})" for path, width in sorted(one.items()) if two.get(path) != width)


def _shown(value: Any) -> str:
    """A value in a message; of a digest only as many digits as tell it from others."""
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return f"{value[:SHOWN_DIGITS]}..."
    return repr(value)
