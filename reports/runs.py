"""Rows of tables that other records make of probe records: which features and head a run id stands for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .columns import IDENTITY
from .ordering import ordered
from .rows import SHORT, Row, rows_of
from .settings import settings_frame, varying_columns
from .source import Source
from .table import Cell, Column
from .tables import FEATURES, HEAD, ROLE


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Some runs in table order: `columns` that tell them apart, and the `cells` of those columns by run id."""

    columns: tuple[Column, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    rows: Mapping[str, Row]
    """Rows of the frame, of the runs whose records are there."""


def runs_in_order(source: Source, label: str, wanted: Iterable[str]) -> Runs:
    """The runs wanted, in table order; those whose records are gone come last and say so.

    A mean predictor that another row stands for (`without_repeats`) is left out.
    """
    names = list(dict.fromkeys(wanted))
    frame = source.frame
    shown = settings_frame(ordered(frame[(frame["label"] == label) & frame["run_id"].isin(names)]))
    base = (ROLE, *FEATURES, HEAD)
    columns = (*base, *varying_columns(shown, told_apart_by=[column.key for column in base]))
    keys = [column.key for column in columns]
    rows = {row["run_id"]: row for row in rows_of(shown)}
    cells: dict[str, dict[str, Cell]] = {
        run: {"run_id": run} | {key: row[key] for key in keys} for run, row in rows.items()
    }
    known = {record.run_id for record in source.records}
    cells |= {run: {ROLE.key: f"record {run[:SHORT]}: gone"} for run in names if run not in {*rows, *known}}
    return Runs(columns=columns, cells=cells, rows=rows)


def identity_of(runs: Runs, run: str) -> dict[str, Cell]:
    """What a run is, for a tidy frame; nothing but its name where its record is gone."""
    row = runs.rows.get(run)
    return {"run": run} if row is None else {"run": run, **{name: row[name] for name in IDENTITY}}
