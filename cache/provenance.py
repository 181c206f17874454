"""What makes two stores equal: the content key, the family, and the words for a difference."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .canonical import digest_json

SCHEMA = 1
"""Version of everything on disk in a feature store; readers refuse any other."""

NUMERICS = 1
"""Raised by hand when the same request would give other numbers beyond 1e-4."""

KEY_FIELDS = (
    "schema",
    "numerics",
    "encoder",
    "error_input",
    "input",
    "data_kind",
    "split",
    "rows",
    "mask",
    "noise",
    "precision",
    "arrays",
)
KEY_DIGITS = 16
"""Folders of stores and files of Fisher matrices are named by so many first digits of their key."""
NOT_FAMILY = ("split", "input", "rows", "arrays")
NOT_FAMILY_NOISE = ("draw", "level")

Provenance = Mapping[str, Any]


def selection_of(rows: NDArray[np.int64], n: int) -> str:
    """Which of n rows are taken, as keys and records say it: `all`, or the digest of `rows` (k,)."""
    return "all" if len(rows) == n else digest_json(rows.tolist())


def store_key(provenance: Provenance) -> str:
    """The content key: sha256 of the canonical provenance; raises ValueError on an unknown or absent field."""
    if set(provenance) != set(KEY_FIELDS):
        odd = sorted(set(provenance) ^ set(KEY_FIELDS))
        raise ValueError(f"provenance must have exactly the fields {KEY_FIELDS}; at odds: {odd}")
    return digest_json(provenance)


def family_fields(provenance: Provenance) -> dict[str, Any]:
    """The provenance without split, input, rows, arrays, noise draw and noise level."""
    kept = {name: value for name, value in provenance.items() if name not in NOT_FAMILY}
    kept["noise"] = {n: v for n, v in provenance["noise"].items() if n not in NOT_FAMILY_NOISE}
    return kept


def family(provenance: Provenance) -> str:
    """sha256 of what `family_fields` keeps: train, val and test stores of one comparison have one family."""
    return digest_json(family_fields(provenance))


def group(provenance: Provenance) -> str:
    """sha256 of the provenance without its arrays: stores of one group have the same rows, row by row."""
    return digest_json(without_arrays(provenance))


def without_arrays(provenance: Provenance) -> dict[str, Any]:
    """All of the provenance but its arrays."""
    return {name: value for name, value in provenance.items() if name != "arrays"}


def differences(found: Any, wanted: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted field, found value, wanted value) for every leaf at which two provenances differ."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for name in sorted(set(found) | set(wanted)):
            yield from differences(found.get(name), wanted.get(name), f"{prefix}.{name}" if prefix else name)
    elif found != wanted:
        yield prefix, found, wanted
