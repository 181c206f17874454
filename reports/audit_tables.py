"""The error-shortcut audit: what the error channel gives by itself, and what the score is without it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cache.records import Record

from .audits import KIND, subject
from .footnotes import MOCK_NOTE
from .paired import p_text
from .rows import FRESH
from .source import Source
from .standing import failed_table, origin, origin_notes
from .table import Cell, Column, Table, estimate_of
from .tables import STATE
from .vocabulary import error_digits, unit_of

ROWS_NOTE = (
    "R2 of a residual is relative to the variance of the residual, not of the label. A1: error alone (A1 ridge: by "
    "ridge with alpha=val, beside another head); A2: the same on train, out of fold, the only row that is not of test; "
    "residual: what it leaves; A3: flux on the residual; A4: latent on the residual, and on the label. "
    "refit: the probe fitted again on features of a network fed so; apply: the probe of the true error "
    "applied to them as it is."
)
A2_NAME = "A2 (train, out of fold)"
SURVIVAL_NOTE = (
    "Difference: R2 with this error input minus R2 with the true error, on the same stars; p: sign flips, and after "
    "Holm's correction over the audit. Share: R2 divided by that with the true error; empty where the latter is not "
    "clearly above 0."
)


def audit_tables(source: Source, label: str) -> list[Table]:
    """Two tables for each audit of the label: its rows, led by its verdict, and what survives of the score."""
    records = [record for record in source.of_kind(KIND) if record.spec["label"] == label]
    return [table for record in records for table in _tables(record, source)]


def _tables(record: Record, source: Source) -> tuple[Table, ...]:
    result = record.result
    some = " (stars that have it)" if "missing_labels" in record.spec else ""
    name = f"{record.spec['label']}{some}: audit of the error channel, {subject(record)}"
    if result["status"] != "ok":
        told = origin(record, source) | {"label": record.spec["label"], "unit": unit_of(record.spec["label"])}
        return (failed_table(record, source, title=name, told=told | {"part": "failed"}),)
    verdict = result["verdict"]
    rows = _table(
        record,
        source,
        title=f"{name} (test split, but A2; {record.spec['data_kind']} data)",
        columns=_row_columns(unit_of(record.spec["label"])),
        items=result["rows"],
        cells=_row_cells,
        part="rows",
        note=ROWS_NOTE,
        lead=(verdict["headline"], *verdict["words"]),
    )
    if not result["survival"]:
        return (rows,)
    survival = _table(
        record,
        source,
        title=f"{name}: what survives without the true error",
        columns=_SURVIVAL,
        items=result["survival"],
        cells=_survival_cells,
        part="survival",
        note=SURVIVAL_NOTE,
    )
    return rows, survival


def _row_columns(unit: str) -> tuple[Column, ...]:
    return (
        Column(key="name", heading="row", align="left"),
        Column(key="question", heading="question", align="left"),
        Column(key="source", heading="features", align="left"),
        Column(key="error_input", heading="error input", align="left"),
        Column(key="trained_on", heading="trained with", align="left"),
        Column(key="target", heading="target", align="left"),
        Column(key="r2", heading="R2 (95 % interval)"),
        Column(key="rmse", heading="RMSE", unit=unit, digits=error_digits(unit)),
        Column(key="n", heading="n"),
    )


_SURVIVAL = (
    Column(key="error_input", heading="error input", align="left"),
    Column(key="how", heading="how", align="left"),
    Column(key="r2", heading="test R2 (95 % interval)"),
    Column(key="difference", heading="minus R2 with the true error, paired (95 % interval)"),
    Column(key="p", heading="after Holm", align="left"),
    Column(key="share", heading="share of the R2 with the true error (95 % interval)"),
)


def _row_cells(item: Mapping[str, Any]) -> dict[str, Cell]:
    same = {name: item[name] for name in ("question", "source", "error_input", "target", "rmse", "n")}
    same["name"] = A2_NAME if item["name"] == "A2" else item["name"]
    return same | {
        "trained_on": item["trained_on_error_input"],
        "r2": estimate_of(item["r2"], item["interval"]),
    }


def _survival_cells(item: Mapping[str, Any]) -> dict[str, Cell]:
    return {
        "error_input": item["error_input"],
        "how": item["how"],
        "r2": estimate_of(item["r2"], item["interval"]),
        "difference": estimate_of(item["difference"], item["difference_interval"]),
        "p": None if item["p_holm"] is None else p_text(item["p_holm"]),
        "share": estimate_of(item["share"], item["share_interval"]),
    }


def _table(
    record: Record,
    source: Source,
    *,
    title: str,
    columns: Sequence[Column],
    items: Sequence[Mapping[str, Any]],
    cells: Any,
    part: str,
    note: str,
    lead: tuple[str, ...] = (),
) -> Table:
    told = origin(record, source)
    stale = () if told["state"] == FRESH else (STATE,)
    return Table(
        title=title,
        lead=lead,
        columns=(*columns, *stale),
        rows=tuple({**cells(item), "state": told["state"]} for item in items),
        notes=(
            (f"n counts stars, of test but for A2. Brackets: 95 % interval ({record.spec['method']})."),
            note,
            *([f"Flags: {'; '.join(record.result['flags'])}."] if record.result.get("flags") else []),
            *([MOCK_NOTE] if record.spec["data_kind"] == "mock" else []),
            *origin_notes(record, source),
        ),
        tidy=_tidy(record, told, items, part),
    )


def _tidy(
    record: Record, told: Mapping[str, Any], items: Sequence[Mapping[str, Any]], part: str
) -> pd.DataFrame:
    """One row per item: what the audit is of, then the item, intervals as two columns."""
    spec, features = record.spec, record.spec["features"]
    known = {
        **told,
        "label": spec["label"],
        "unit": unit_of(spec["label"]),
        "data_kind": spec["data_kind"],
        **{name: features[name] for name in ("layer", "direction", "pooling")},
        "head": spec["head"],
        "shortcut": record.result["verdict"]["shortcut"],
        "part": part,
    }
    return pd.DataFrame([known | flat(item) for item in items])


def flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of a record with `x_interval` as `x_lo` and `x_hi` (`interval` belongs to `r2`), without its unit."""
    found: dict[str, Any] = {}
    for name, value in item.items():
        if name == "unit":
            continue
        if name.endswith("interval"):
            stem = name.removesuffix("interval").rstrip("_") or "r2"
            found[f"{stem}_lo"], found[f"{stem}_hi"] = value or (None, None)
        else:
            found[name] = value
    return found
