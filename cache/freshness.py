"""Whether a store named by a result is still there and still the same."""

from pathlib import Path
from typing import Literal

from .commits import read_commits
from .errors import CacheError
from .header import read_header
from .inventory import closed_splits
from .provenance import KEY_DIGITS
from .store import digest_of
from .store_folders import is_closed, is_there

State = Literal["fresh", "missing", "changed", "forbidden"]
STALE: tuple[State, ...] = ("missing", "changed", "forbidden")
"""What a result cannot be checked against, or made again from."""


def state(root: Path | str, key: str, digest: str | None = None) -> State:
    """State of the store with content key `key` under `root`, from its header and commit records alone.

    `missing`: no such store. `changed`: it is unfinished, damaged, moved, of another format, or, when `digest` is
    given, holds other values than the record saw. `forbidden`: it is there, and not ours to read. `fresh`: none of
    these.
    """
    paths = [p for p in Path(root).glob(f"*/{key[:KEY_DIGITS]}") if is_there(p / "zarr.json")]
    if not paths:
        top = Path(root)
        closed = is_closed(top) or bool(closed_splits(top))
        return "forbidden" if closed else "missing"
    try:
        header = read_header(paths[0])
        commits = read_commits(paths[0], header)
    except CacheError:
        return "changed"
    except PermissionError:
        return "forbidden"
    finished = tuple(commit for commit in commits if commit is not None)
    at_home = paths[0].parent.name == header.provenance["split"]
    if not at_home or header.key != key or len(finished) < header.n_blocks:
        return "changed"
    return "fresh" if digest in (None, digest_of(header, finished)) else "changed"
