"""`python -m cache ls`: every store under a folder in one table."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from .beside import beside
from .commandline import Command
from .header import last_run
from .inventory import StoreInfo, closed_splits, look, store_folders
from .texts import age_text, size_text, table

HEAD = (
    "path", "split", "rows", "MB", "state", "encoder", "noise", "draw", "family", "age", "arrays",
)  # fmt: skip
RIGHT = ("rows", "MB", "noise", "draw", "age")
ARRAYS_SHOWN = 2
ABSENT = "-"


class LsSettings(Command):
    """List the feature stores: rows, size, state, encoder, noise, family, age and arrays of each.

    The state is told from header and commit records: finished, unfinished (how many blocks), damaged, outdated
    (written in another format), misplaced (renamed) or forbidden (no right to
    read it). `verify` looks at every byte. Below stands how much lies beside
    the stores: Fisher matrices, calibrated random encoders, errors of train.
    Example: python -m cache ls --root artifacts/features
    """

    root: Path = Field(Path("artifacts/features"), description="folder of the stores")
    fisher: Path | None = Field(None, description="folder of Fisher matrices (default: fisher beside --root)")
    encoders: Path | None = Field(
        None, description="folder of random encoders and train errors (default: encoders beside --root)"
    )
    as_json: bool = Field(default=False, description="one JSON object per line, of stores only")


def run_ls(settings: LsSettings) -> None:
    """Print one line per store, and one for each kind of thing beside them; what is wrong goes to standard error."""
    stores = [look(path) for path in store_folders(settings.root)]
    rows = [_row(info) for info in stores]
    if settings.as_json:
        sys.stdout.writelines(json.dumps(row) + "\n" for row in rows)
    elif rows:
        cells = [_cells(row, info) for row, info in zip(rows, stores, strict=True)]
        sys.stdout.write(table(HEAD, cells, right=RIGHT))
    else:
        there = "" if settings.root.is_dir() else " (there is no such folder)"
        sys.stderr.write(f"no feature stores under {settings.root}{there}\n")
    if not settings.as_json:
        sys.stdout.writelines(f"{line}\n" for line in _beside(settings))
    for info in stores:
        if info.reason:
            sys.stderr.write(f"{info.state}: {info.reason}\n")
    for split in closed_splits(settings.root):
        sys.stderr.write(
            f"forbidden: {split}: you have no right to look into it, so its stores are not listed; ask its owner for "
            "the right: chmod -R g+rX\n"
        )


def _beside(settings: LsSettings) -> Iterator[str]:
    """A line for each kind of thing beside the stores."""
    near = settings.root.parent
    for kind in beside(
        fisher=settings.fisher or near / "fisher", encoders=settings.encoders or near / "encoders"
    ):
        yield f"beside them, {kind.what}: {kind.n}, {size_text(kind.n_bytes)}, under {kind.folder}"


def _row(info: StoreInfo) -> dict[str, Any]:
    """Everything `ls` knows about one store; None where an unreadable header tells nothing."""
    row: dict[str, Any] = {
        "path": str(info.path),
        "state": info.state,
        "reason": info.reason or None,
        "split": info.path.parent.name,
        "rows": None,
        "blocks": None,
        "blocks_committed": info.committed,
        "bytes": info.n_bytes,
        "age_seconds": round(info.age),
        "encoder": last_run(info.path).get("encoder"),
        "noise": None,
        "family": None,
        "key": None,
        "arrays": [],
    }
    if info.header is not None:
        row |= {
            "split": info.header.provenance["split"],
            "rows": info.header.n_rows,
            "blocks": info.header.n_blocks,
            "noise": info.header.provenance["noise"],
            "family": info.header.family,
            "key": info.header.key,
            "arrays": [array.path for array in info.header.arrays],
        }
    return row


def _cells(row: dict[str, Any], info: StoreInfo) -> list[str]:
    noise, arrays = row["noise"] or {}, row["arrays"]
    names = ", ".join(arrays[:ARRAYS_SHOWN]) + (", ..." if len(arrays) > ARRAYS_SHOWN else "")
    return [
        row["path"],
        row["split"],
        _cell(row["rows"]),
        f"{row['bytes'] / 1e6:.{1 if row['bytes'] >= 1e6 else 3}f}",
        info.state_text,
        _cell(row["encoder"]),
        _cell(noise.get("level")),
        _cell(noise.get("draw")),
        _cell(row["family"])[:12],
        age_text(info.age),
        f"{len(arrays)}: {names}" if arrays else ABSENT,
    ]


def _cell(value: Any) -> str:
    return ABSENT if value is None else str(value)
