"""Which wavelength segments carry the score of a probe: permuted, alone, left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cache.records import Record

from .comparable import name_of
from .footnotes import MOCK_NOTE
from .rows import FRESH, SHORT, Row, flags_of
from .runs import identity_of, runs_in_order
from .settings import constant_note, head_note, settings_frame
from .source import Source
from .standing import failed_table, origin, origin_notes
from .table import Cell, Column, Estimate, Table
from .tables import STATE
from .vocabulary import unit_of

KIND = "importance"
Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

GROUPS_NOTE = (
    "Importance: drop in test R2 when the features of that direction and segment are permuted among the test stars, "
    "with the 95 % interval paired by star. The window holds the newest pixels of the segment: forward features know "
    "what lies to its blue side too (context up to), backward features what lies to its red side (context from)."
)
SEGMENTS_NOTE = (
    "Permuted: all features of the segment at once. Alone: R2 of a probe fitted to this segment only. Left out: R2 of "
    "the probe minus R2 of one fitted without the segment, paired by star. Empty: not on record."
)
_GROUP_COLUMNS = (
    Column(key="direction", heading="direction", align="left"),
    Column(key="segment", heading="segment"),
    Column(key="wave_lo", heading="window from", unit="Angstrom", digits=0),
    Column(key="wave_hi", heading="window to", unit="Angstrom", digits=0),
    Column(key="context", heading="what its features know", align="left"),
    Column(key="importance", heading="drop in test R2 when permuted (95 % interval)"),
    Column(key="n_test", heading="n test"),
)
_SEGMENT_COLUMNS = (
    Column(key="segment", heading="segment"),
    Column(key="whole", heading="drop in test R2 when permuted (95 % interval)"),
    Column(key="alone", heading="test R2 alone (95 % interval)"),
    Column(key="without", heading="drop in test R2 when left out (95 % interval)"),
    Column(key="n_test", heading="n test"),
)


def importance_tables(source: Source, label: str) -> list[Table]:
    """Two tables for each importance record of the label: by direction and segment, and by segment."""
    records = [record for record in source.of_kind(KIND) if label in record.spec["labels"]]
    runs = runs_in_order(source, label, [record.spec["run"] for record in records])
    order = {run: place for place, run in enumerate(runs.cells)}
    records.sort(key=lambda record: (order[record.spec["run"]], record.run_id))
    return [table for record in records for table in _tables(record, source, label)]


def _tables(record: Record, source: Source, label: str) -> Iterator[Table]:
    told = origin(record, source) | {"label": label, "unit": unit_of(label)}
    runs = runs_in_order(source, label, [record.spec["run"]])
    row = runs.rows.get(record.spec["run"])
    name = f"{label}: wavelength segments of {_probe(record, row)}"
    if record.result["status"] != "ok":
        yield failed_table(record, source, title=name, told=told)
        return
    about = told | identity_of(runs, record.spec["run"]) | {"n_test": record.result["n"]["test"]}
    arrays = source.arrays(record.run_id)
    notes = tuple(_notes(record, source, label))
    groups = [
        group | _estimates(("importance",), arrays, label, k)
        for k, group in enumerate(record.result["groups"])
    ]
    segments = [
        {"segment": int(number)} | _estimates(("whole", "alone", "without"), arrays, label, k)
        for k, number in enumerate(arrays["segments"])
    ]
    for title, columns, items, note, part in (
        (name, _GROUP_COLUMNS, groups, GROUPS_NOTE, "groups"),
        (f"{name}, permuted, alone and left out", _SEGMENT_COLUMNS, segments, SEGMENTS_NOTE, "segments"),
    ):
        stale = (STATE,) if told["state"] != FRESH else ()
        yield Table(
            title=f"{title} (test split, {record.spec['data_kind']} data)",
            columns=(*columns, *stale),
            rows=tuple({**item, "n_test": about["n_test"], "state": told["state"]} for item in items),
            notes=(note, *notes),
            tidy=pd.DataFrame([about | {"part": part} | _flat(item) for item in items]),
        )


def _probe(record: Record, row: Row | None) -> str:
    return (
        f"record {record.spec['run'][:SHORT]}, which is gone"
        if row is None
        else f"{name_of(row)}, run {row['run']}"
    )


def _estimates(names: Sequence[str], arrays: Arrays, label: str, index: int) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for name in names:
        value, low, high = (float(arrays[f"{name}{end}/{label}"][index]) for end in ("", "_lo", "_hi"))
        found[name] = Estimate(value, low, high) if np.isfinite(value) else None
    return found


def _flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item with the ends of its estimates in columns of their own."""
    found: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, Estimate):
            found |= {name: value.value, f"{name}_lo": value.low, f"{name}_hi": value.high}
        else:
            found[name] = value
    return found


def _notes(record: Record, source: Source, label: str) -> Iterator[str]:
    value, low, high = record.result["r2"][label]
    yield (
        f"n counts stars. The probe's test R2 is {value:.3f}{'' if low is None else f' [{low:.3f}, {high:.3f}]'}; "
        f"{record.spec['permutations']} permutations, seed {record.spec['seed']}. {record.spec['method']}."
    )
    frame = source.frame
    rows = frame[(frame["run_id"] == record.spec["run"]) & (frame["label"] == label)]
    if len(rows):
        yield constant_note(settings_frame(rows), ())
        yield head_note(rows)
    if flags := flags_of(record.result.get("flags") or [], label, record.spec["labels"]):
        yield f"Flags: {flags}."
    if record.spec["data_kind"] == "mock":
        yield MOCK_NOTE
    yield from origin_notes(record, source)
