"""Canonical JSON, the digests built on it, and objects that carry their own digest."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import Damaged

SELF = "self"


def canonical_json(value: Any) -> str:
    """Text that equals for equal values: sorted keys, no spaces, no NaN, UTF-8 kept as it is."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def sha256(data: bytes | memoryview) -> str:
    """Lower-case hex sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """Lower-case hex sha256 of the canonical JSON of `value`."""
    return sha256(canonical_json(value).encode())


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `value` with `self`, the digest of everything else in it."""
    content = {name: item for name, item in value.items() if name != SELF}
    return {**content, SELF: digest_json(content)}


def check_seal(value: Any, source: Path | str) -> dict[str, Any]:
    """Return `value` if it is an object whose `self` matches its content.

    Raises Damaged, naming `source`, otherwise.
    """
    if not isinstance(value, dict) or SELF not in value:
        raise Damaged(f"{source}: carries no digest of itself; it was cut short or not written by this tool")
    try:
        found = digest_json({name: item for name, item in value.items() if name != SELF})
    except (ValueError, RecursionError) as error:  # NaN, infinity, half a surrogate pair: never written by us
        raise Damaged(f"{source}: holds what cannot have been written ({error})") from error
    if found != value[SELF]:
        raise Damaged(f"{source}: content has digest {found[:16]}, not the one it says: it was altered")
    return value


def read_sealed(path: Path) -> dict[str, Any]:
    """Read and check one sealed JSON file; Damaged, but an absent or forbidden file is the OSError that it is."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, PermissionError):
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise Damaged(f"{path}: not readable as JSON ({error})") from error
    return check_seal(value, path)
