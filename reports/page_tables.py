"""Tables as the page shows them: cells with their records, rows with what is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass

from .page_cells import CellView, cell_view
from .settings import RUN, RUN_DIGITS
from .table import RUNS_OF, Cell, Column, Table

MOST_LINKS = 12
"""A table whose rows name no record lists so many of the records behind it at most."""


@dataclass(frozen=True, kw_only=True)
class RowView:
    """One row; `run` is its record ('' when its cells have several), `stale` what is wrong with its stores."""

    cells: tuple[CellView, ...]
    run: str
    stale: str


@dataclass(frozen=True, kw_only=True)
class TableView:
    """One table with the anchor `name`, of the `kind` that its file is named by; `runs` are the records behind it.

    `runs` is empty where rows or cells name their own.
    """

    name: str
    kind: str
    title: str
    lead: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[RowView, ...]
    notes: tuple[str, ...]
    runs: tuple[str, ...]
    n_runs: int
    has_records: bool


def table_view(table: Table, *, name: str, kind: str) -> TableView:
    """A table with the anchor `name` and its kind in a word."""
    rows = tuple(_row(table, index, row) for index, row in enumerate(table.rows))
    linked = any(row.run or any(part.run for cell in row.cells for part in cell.parts) for row in rows)
    behind = [] if linked or "run_id" not in table.tidy else list(dict.fromkeys(table.tidy["run_id"]))
    return TableView(
        name=name,
        kind=kind,
        title=table.title,
        lead=table.lead,
        columns=tuple(column for column in table.columns if column.key != RUN),
        rows=rows,
        notes=table.notes,
        runs=tuple(map(str, behind[:MOST_LINKS])),
        n_runs=len(behind),
        has_records=any(row.run for row in rows),
    )


def short_run(run_id: str) -> str:
    """The first digits of a run id, as tables and links show it."""
    return run_id[:RUN_DIGITS]


def _row(table: Table, index: int, row: Mapping[str, Cell]) -> RowView:
    state = str(row.get("state") or "")
    return RowView(
        cells=tuple(
            cell_view(
                row.get(column.key),
                column,
                runs=_runs(row, column),
                strong=(index, column.key) in table.emphasis,
            )
            for column in table.columns
            if column.key != RUN
        ),
        run=str(row.get("run_id") or ""),
        stale=state if "stale" in state else "",
    )


def _runs(row: Mapping[str, Cell], column: Column) -> tuple[str, ...]:
    """The run ids that a table names for the answers of one cell."""
    named = row.get(RUNS_OF + column.key) or ()
    return tuple(map(str, named)) if isinstance(named, tuple) else (str(named),)
