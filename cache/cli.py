"""The verbs of `python -m cache`."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from .commandline import Command, Verb
from .errors import CacheError, ConfigError
from .freshness import state
from .header import Header, last_run, read_header, rebuild_command
from .provenance import differences
from .repair import repair
from .store import FeatureStore
from .view import KEY_DIGITS


class LsSettings(Command):
    """List the feature stores: split, rows, arrays, state, encoder, family."""

    root: Path = Field(Path("artifacts/features"), description="folder of the stores")
    as_json: bool = Field(default=False, description="one JSON object per line")


def run_ls(settings: LsSettings) -> None:
    """Print one line per store."""
    for path in sorted(settings.root.glob("*/*/zarr.json")):
        if len(path.parent.name) != KEY_DIGITS:
            continue
        try:
            row = _row(settings.root, path.parent, read_header(path.parent))
        except CacheError as error:  # one unreadable store must not hide the others
            sys.stderr.write(f"unreadable: {error}\n")
            continue
        if settings.as_json:
            sys.stdout.write(json.dumps(row) + "\n")
        else:
            arrays = ", ".join(row["arrays"][:3]) + (", ..." if len(row["arrays"]) > 3 else "")
            sys.stdout.write(
                f"{row['path']}  {row['rows']} rows  {row['bytes'] / 1e6:.1f} MB  {row['state']}  "
                f"encoder {row['encoder']}  family {row['family'][:12]}  {arrays}\n"
            )


class StoreSettings(Command):
    """One store."""

    store: Path | None = Field(None, description="folder of the store")


class ShowSettings(StoreSettings):
    """Show what one store was made from, as JSON."""


class VerifySettings(StoreSettings):
    """Recompute the sha256 of everything in one store."""


class DigestSettings(StoreSettings):
    """Print the digest of one store, as records name it."""


def run_show(settings: ShowSettings) -> None:
    """Print provenance, layout and the last run."""
    path = _path(settings)
    header = read_header(path)
    content = {
        "key": header.key,
        "family": header.family,
        "rows": header.n_rows,
        "block_rows": header.block_rows,
        "provenance": header.provenance,
        "last_run": last_run(path),
    }
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def run_verify(settings: VerifySettings) -> None:
    """Raise Damaged, Incomplete, ... or say that all is well."""
    store = FeatureStore.open(_path(settings))
    store.verify()
    sys.stdout.write(f"{store.path}: {len(store.arrays)} arrays as they were committed\n")


def run_digest(settings: DigestSettings) -> None:
    """Print 64 hex digits."""
    sys.stdout.write(FeatureStore.open(_path(settings)).digest() + "\n")


class RepairSettings(StoreSettings):
    """Take the damaged blocks out of one store; the next extraction computes only those again."""


def run_repair(settings: RepairSettings) -> None:
    """Print the blocks taken out, why, and the command that computes them."""
    path = _path(settings)
    found = repair(path)
    for block, reason in zip(found.blocks, found.reasons, strict=True):
        sys.stdout.write(f"block {block} taken out: {reason}\n")
    sys.stdout.write(
        f"now run: {rebuild_command(path)}\n" if found.blocks else f"{path}: nothing to repair\n"
    )


class WhySettings(Command):
    """Tell why two stores are not the same store: each field that differs, with both values."""

    one: Path | None = Field(None, description="folder of a store")
    two: Path | None = Field(None, description="folder of another")


def run_why(settings: WhySettings) -> None:
    """Print one line per field."""
    if settings.one is None or settings.two is None:
        raise ConfigError("say --one PATH --two PATH; python -m cache ls lists the stores")
    one, two = read_header(settings.one), read_header(settings.two)
    for field, found, other in differences(one.provenance, two.provenance):
        sys.stdout.write(f"{field}: {found!r} / {other!r}\n")
    if one.key == two.key:
        sys.stdout.write("the two have the same key: the same request on the same data\n")
    else:
        sys.stdout.write(f"{'the same family' if one.family == two.family else 'different families'}\n")


def _path(settings: StoreSettings) -> Path:
    if settings.store is None:
        raise ConfigError("say --store PATH; python -m cache ls lists the stores")
    return settings.store


def _row(root: Path, path: Path, header: Header) -> dict[str, Any]:
    return {
        "path": str(path),
        "split": header.provenance["split"],
        "rows": header.n_rows,
        "bytes": 4 * header.n_rows * sum(width for _, width in header.provenance["arrays"]),
        "state": "finished" if state(root, header.key) == "fresh" else "unfinished or damaged",
        "encoder": last_run(path).get("encoder", "?"),
        "family": header.family,
        "key": header.key,
        "arrays": [array.path for array in header.arrays],
    }


VERBS: Mapping[str, Callable[[], Verb]] = {
    "ls": lambda: Verb(LsSettings, run_ls),
    "show": lambda: Verb(ShowSettings, run_show),
    "verify": lambda: Verb(VerifySettings, run_verify),
    "repair": lambda: Verb(RepairSettings, run_repair),
    "why": lambda: Verb(WhySettings, run_why),
    "digest": lambda: Verb(DigestSettings, run_digest),
}
