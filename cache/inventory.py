"""What lies under a folder of feature stores: every store, readable or not, with its state, size and age."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .arrays import SAFE_NAME
from .canonical import check_seal
from .commits import read_commits
from .errors import BlindspotError, SchemaVersion
from .header import ATTRIBUTE, COMMIT_FOLDER, RUNS_FOLDER, Header, read_header
from .near_stores import STORE_NAME
from .provenance import KEY_DIGITS
from .store_folders import is_closed, is_there

StoreState = Literal["finished", "unfinished", "damaged", "outdated", "misplaced", "forbidden"]
"""`misplaced`: whole, but not under the name that its key and split give it; `forbidden`: not ours to read."""


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """One store as its header and commit records tell it; chunks are not looked at."""

    path: Path
    state: StoreState
    reason: str = ""
    """Why it is damaged, outdated or misplaced."""
    header: Header | None = None
    committed: int = 0
    """Number of committed blocks."""
    n_bytes: int = 0
    """Bytes of the committed feature chunks."""
    age: float = 0.0
    """Seconds since a block or a run was last noted in it."""

    @property
    def state_text(self) -> str:
        """The state for people: an unfinished store tells its blocks."""
        if self.state == "unfinished" and self.header is not None:
            return f"unfinished, {self.committed} of {self.header.n_blocks} blocks"
        return self.state


def split_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of splits under `root`, by name, also those that are links to a folder elsewhere."""
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if SAFE_NAME.fullmatch(path.name) and not path.name.startswith(".") and path.is_dir():
            yield path


def closed_splits(root: Path) -> list[Path]:
    """The folders of splits that we have no right to look into: what lies there is not known."""
    return [split for split in split_folders(root) if is_closed(split)]


def store_folders(root: Path) -> Iterator[Path]:
    """Yield every `<root>/<split>/<16 hex digits>` that is or was a store; only links of splits are followed.

    Those in `closed_splits` are not known, and not among them.
    """
    splits = (split for split in split_folders(root) if not is_closed(split))
    for path in (path for split in splits for path in sorted(split.iterdir())):
        is_ours = STORE_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
        if is_ours and (is_there(path / "zarr.json") or (path / COMMIT_FOLDER).is_dir()):
            yield path


def look(path: Path) -> StoreInfo:
    """The state of one store from its header and commit records; never raises for what is wrong with it."""
    age, header = _age(path), None
    try:
        header = read_header(path)
        found = read_commits(path, header)
    except SchemaVersion as error:
        # a flipped bit in the number of the format must not pass for an old format, which is pruned more freely
        state: StoreState = "outdated" if _is_sealed(path) else "damaged"
        return StoreInfo(path=path, state=state, reason=str(error), age=age)
    except PermissionError as error:
        return StoreInfo(path=path, state="forbidden", reason=str(error), header=header, age=age)
    except (BlindspotError, OSError) as error:
        return StoreInfo(path=path, state="damaged", reason=str(error), header=header, age=age)
    commits = [commit for commit in found if commit is not None]
    state, reason = "finished" if len(commits) == header.n_blocks else "unfinished", ""
    home = (str(header.provenance["split"]), header.key[:KEY_DIGITS])
    if (path.absolute().parent.name, path.name) != home:
        state, reason = "misplaced", f"{path}: is the store {'/'.join(home)}; give it that name again"
    return StoreInfo(
        path=path,
        state=state,
        reason=reason,
        header=header,
        committed=len(commits),
        n_bytes=sum(seal.size for commit in commits for seal in commit.arrays.values()),
        age=age,
    )


def _age(path: Path) -> float:
    """Seconds since the header, a commit record or a run note was written."""
    seen = []
    for name in ("zarr.json", COMMIT_FOLDER, RUNS_FOLDER):
        try:
            seen.append((path / name).lstat().st_mtime)
        except OSError:
            continue
    return max(0.0, time.time() - max(seen)) if seen else 0.0


def _is_sealed(path: Path) -> bool:
    try:
        check_seal(json.loads((path / "zarr.json").read_bytes())["attributes"][ATTRIBUTE], path)
    except (BlindspotError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return True
