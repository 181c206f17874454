"""The header of a feature store: who it is, how it is cut, and a digest of all its metadata."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arrays import CHUNKS, FEATURES, ArrayName
from .canonical import check_seal, read_sealed
from .errors import Damaged, NotExtracted, SchemaVersion
from .extract_command import EXTRACTS, extracts, flag_value, with_flags
from .near_stores import LISTED, meant
from .provenance import SCHEMA, family, store_key
from .static import StaticFiles

ATTRIBUTE = "blindspot_cache"
COMMIT_FOLDER = ".commit"
RUNS_FOLDER = ".runs"


@dataclass(frozen=True)
class Header:
    """What `zarr.json` of a store says about it, already checked."""

    key: str
    family: str
    provenance: dict[str, Any]
    n_rows: int
    block_rows: int
    digest: str
    """sha256 over every other metadata file and every row, label and coordinate chunk."""

    @property
    def arrays(self) -> tuple[ArrayName, ...]:
        """The stored arrays, in order of path."""
        return tuple(sorted(ArrayName.parse(path) for path, _ in self.provenance["arrays"]))

    @property
    def n_blocks(self) -> int:
        """Number of row blocks."""
        return -(-self.n_rows // self.block_rows)

    def block(self, index: int) -> tuple[int, int]:
        """First and one-past-last position of the rows of one block."""
        return index * self.block_rows, min(self.n_rows, (index + 1) * self.block_rows)


def chunk_path(store: Path, array: ArrayName, block: int) -> Path:
    """The file that holds one row block of one array."""
    return store / array.path / FEATURES / CHUNKS / str(block) / "0"


def read_header(store: Path) -> Header:
    """Read the header without looking at any other file.

    Raises NotExtracted when there is no store, SchemaVersion for another format, Damaged for anything altered.
    """
    path = store / "zarr.json"
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotExtracted(
            f"{store}: no feature store there{meant(store)}; `python -m cache ls --root FOLDER` lists what exists"
        ) from None
    except PermissionError:
        raise
    except OSError as error:
        raise Damaged(f"{path}: header unreadable ({error}); {_anew(store)}") from error
    try:
        content = json.loads(text)["attributes"][ATTRIBUTE]
        schema = content["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{path}: header unreadable ({error!r}); {_anew(store)}") from error
    if schema != SCHEMA:
        raise SchemaVersion(
            f"{store}: written in format {schema}, this program reads format {SCHEMA}; extract again "
            "or use the version of blindspot-probes that wrote it"
        )
    try:
        return _checked(check_seal(content, path))
    except (Damaged, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{path}: header not usable ({error}); {_anew(store)}") from error


def _checked(content: dict[str, Any]) -> Header:
    """The header in sealed `content`, if key and family follow from its provenance."""
    header = Header(
        key=content["key"],
        family=content["family"],
        provenance=content["provenance"],
        n_rows=content["rows"],
        block_rows=content["block_rows"],
        digest=content["header"],
    )
    if store_key(header.provenance) != header.key or family(header.provenance) != header.family:
        raise Damaged("key or family does not follow from the provenance")
    return header


def check_static(store: Path, header: Header) -> StaticFiles:
    """Compare every metadata, row, label and coordinate file with the header; Damaged if one differs."""
    try:
        found = StaticFiles.of(store)
    except PermissionError:
        raise
    except OSError as error:
        raise Damaged(f"{store}: unreadable ({error}); {_anew(store)}") from error
    if found.digest != header.digest:
        strange = found.strange()
        if strange and found.without(strange).digest == header.digest:
            raise Damaged(
                f"{store}: holds {', '.join(strange)}, which no store has; remove it, the rest is whole"
            )
        raise Damaged(
            f"{store}: its metadata, rows, labels or coordinates are not those that were written; {_anew(store)}"
        )
    return found


def _anew(store: Path) -> str:
    return f"delete the folder and extract again ({rebuild_command(store)})"


def last_run(store: Path) -> dict[str, Any]:
    """What the last run that wrote this store noted about itself; empty when nothing readable is there."""
    try:
        notes = sorted((store / RUNS_FOLDER).glob("*.json"), reverse=True)
    except PermissionError:
        return {}
    for path in notes:
        try:
            return read_sealed(path)
        except (Damaged, OSError):
            continue
    return {}


def rebuild_command(store: Path) -> str:
    """The command of the last run that wrote this store, or a pointer to the help.

    It names the folder that the store is in now, which may be a copy or have been moved, and no selection file: the
    user's own has been written by now.
    """
    command, root = str(last_run(store).get("command", f"{shlex.join(EXTRACTS)} --help")), store.parent.parent
    words = shlex.split(command)
    if not extracts(words):
        return command
    written_to = Path(flag_value(words, "--out") or LISTED)
    return with_flags(command, {} if written_to.absolute() == root.absolute() else {"--out": str(root)})
