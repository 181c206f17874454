"""How records that rest on stores and on other records stand: fresh, or what of it is gone or was made anew."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from cache.provenance import KEY_DIGITS
from cache.records import Record

from .rows import FRESH, SCORED_KINDS, SHORT, not_fresh
from .source import Source
from .table import Column, Table

NO_STORE = "no store named"


def standing(record: Record, source: Source) -> str:
    """'fresh', 'no store named', or 'stale: ...' with how many stores and predictions are no longer those it is of."""
    wrong = [
        *not_fresh([source.state(*store) for store in sorted((record.result.get("stores") or {}).items())]),
        *_predictions(record.result.get("predictions") or {}, source),
    ]
    if wrong:
        return f"stale: {', '.join(wrong)}"
    return FRESH if record.result.get("stores") else NO_STORE


def origin(record: Record, source: Source) -> dict[str, Any]:
    """Columns that every tidy frame of a record has: run id, kind, state, stores by key and digest."""
    stores: Mapping[str, str] = record.result.get("stores") or {}
    return {
        "run_id": record.run_id,
        "kind": record.kind,
        "state": standing(record, source),
        "stores": " ".join(f"{key[:KEY_DIGITS]}={digest[:SHORT]}" for key, digest in sorted(stores.items())),
    }


def origin_notes(record: Record, source: Source) -> Iterator[str]:
    """Footnotes of a table made from one record: what it came from and how that stands now."""
    state = standing(record, source)
    stores: Mapping[str, str] = record.result.get("stores") or {}
    if state == FRESH:
        yield "Stores: by header and records, those of this record are there and unchanged."
    elif state != NO_STORE:
        yield f"Stale ({state.removeprefix('stale: ')}): these numbers cannot be checked or made again as they stand."
    named = ", ".join(f"{key[:KEY_DIGITS]}={digest[:SHORT]}" for key, digest in sorted(stores.items()))
    name = source.names.encoder(str(record.result.get("weights") or ""))
    encoder = f"encoder {name}; " if name else ""
    yield f"Record {record.run_id[:SHORT]}; {encoder}stores (key=digest) {named or 'none'}."


def failed_table(record: Record, source: Source, *, title: str, told: Mapping[str, Any]) -> Table:
    """The table of a record that failed: its error; `told` is its tidy row."""
    return Table(
        title=title,
        columns=(Column(key="error", heading="failed", align="left"),),
        rows=({"error": str(record.result["error"])},),
        notes=tuple(origin_notes(record, source)),
        tidy=pd.DataFrame([told]),
    )


def _predictions(seen: Mapping[str, str], source: Source) -> Iterator[str]:
    now = {r.run_id: r.files.get("predictions") for r in source.records if r.kind in SCORED_KINDS}
    gone = sum(now.get(run) != digest for run, digest in seen.items())
    if gone:
        yield f"{gone} of {len(seen)} records it compares are gone or were fitted anew"
