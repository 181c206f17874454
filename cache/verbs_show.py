"""`python -m cache show`: what one store was made from, what it holds, and who wrote it."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import CliPositionalArg

from .commandline import Command
from .errors import CacheError
from .header import last_run, read_header
from .inventory import look
from .provenance import without_arrays
from .store import FeatureStore
from .texts import age_text, size_text
from .verbs_check import ONE_STORE

RUN_FIELDS = ("time", "command", "encoder", "files", "host", "commit", "seconds")
"""What of the last run is shown to people; --as-json tells all of it."""


class ShowSettings(Command):
    """Show what one store was made from, what it holds, and the run that wrote it.

    Wavelengths are the windows of the newest pixels: context up to (forward) or from (backward) them.
    Example: python -m cache show artifacts/features/test/0123456789abcdef
    """

    path: CliPositionalArg[Path] = Field(None, validate_default=True, description=ONE_STORE)
    as_json: bool = Field(default=False, description="the full provenance and run note as JSON")


def run_show(settings: ShowSettings) -> None:
    """Print a summary, or everything as JSON; raises what reading the header raises."""
    shown = describe(settings.path)
    sys.stdout.write(json.dumps(shown, indent=2) + "\n" if settings.as_json else "".join(_lines(shown)))


def describe(path: Path) -> dict[str, Any]:
    """Header, state, arrays with wave range (None unless the store is finished and whole), last run."""
    header = read_header(path)
    info = look(path)
    state, reason, store = info.state_text, info.reason, None
    try:
        store = FeatureStore.open(path)
    except CacheError as error:
        if info.state == "finished":  # a chunk is not what its record says
            state, reason = "damaged", str(error)
    return {
        "path": str(path),
        "state": state,
        "reason": reason or None,
        "key": header.key,
        "family": header.family,
        "rows": header.n_rows,
        "block_rows": header.block_rows,
        "blocks": header.n_blocks,
        "blocks_committed": info.committed,
        "bytes": info.n_bytes,
        "age_seconds": round(info.age),
        "labels": None if store is None else list(store.label_names),
        "arrays": {
            name: {"width": width, "wave": None if store is None else _wave_range(store, name)}
            for name, width in header.provenance["arrays"]
        },
        "provenance": header.provenance,
        "last_run": last_run(path),
    }


def _wave_range(store: FeatureStore, name: str) -> list[float]:
    """Smallest `wave_lo` and largest `wave_hi` (Angstrom) of one array."""
    layer, direction, pooling = name.split("/")
    coordinates = store.coordinates(layer, pooling, direction)
    return [float(coordinates["wave_lo"].min()), float(coordinates["wave_hi"].max())]


def _lines(shown: Mapping[str, Any]) -> Iterator[str]:
    yield f"{shown['path']}\n"
    yield from _fields(
        {
            "state": shown["state"] + (f": {shown['reason']}" if shown["reason"] else ""),
            "key": shown["key"],
            "family": shown["family"],
            "rows": f"{shown['rows']} in {shown['blocks']} blocks of {shown['block_rows']}",
            "committed": f"{shown['blocks_committed']} blocks, {size_text(shown['bytes'])} of features",
            "age": age_text(shown["age_seconds"]),
            "labels": "not read" if shown["labels"] is None else _plain(shown["labels"] or None),
        }
    )
    yield "made from\n"
    yield from _fields(dict(_leaves(without_arrays(shown["provenance"]))))
    yield "arrays\n"
    yield from _fields(
        {
            name: f"{array['width']} numbers"
            + (f", {array['wave'][0]:.1f} to {array['wave'][1]:.1f} Angstrom" if array["wave"] else "")
            for name, array in shown["arrays"].items()
        }
    )
    yield "last run\n"
    run = shown["last_run"]
    yield from _fields({name: _plain(run[name]) for name in RUN_FIELDS if name in run} or {"none": ""})


def _fields(values: Mapping[str, str]) -> Iterator[str]:
    width = max(len(name) for name in values)
    for name, value in values.items():
        yield f"  {name:{width}}  {value}".rstrip() + "\n"


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value) of nested mappings."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
