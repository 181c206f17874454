"""Tables as the page shows them: cells with their records, rows with what is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .page_cells import CellView, cell_view
from .rows import FRESH
from .settings import RUN, RUN_DIGITS
from .table import RUNS_OF, Cell, Column, Table
from .tables import ROLE
from .vocabulary import LATENT

MOST_LINKS = 12
"""So many of the records behind a table that no row names are listed."""


@dataclass(frozen=True, kw_only=True)
class RowView:
    """One row; `run` is its record ('' when its cells have several), `stale` what is wrong with all of it.

    `kept`: it stays in sight where a long table shows its first rows only.
    """

    cells: tuple[CellView, ...]
    run: str
    stale: str
    kept: bool


@dataclass(frozen=True, kw_only=True)
class TableView:
    """One table with the anchor `name`; `kind` is what a link to it says, '' where none leads to it.

    `runs` are the first of the `n_runs` records behind it that no row or cell names.
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
    """A table with the anchor `name`, and what links to it say."""
    linked = any(row.get("run_id") for row in table.rows)
    columns = tuple(column for column in table.columns if not (linked and column.key == RUN))
    kept = _kept(table.rows)
    rows = tuple(_row(table, index, row, columns, kept=index in kept) for index, row in enumerate(table.rows))
    told = {row.run for row in rows} | {part.run for row in rows for cell in row.cells for part in cell.parts}
    behind = [str(run) for run in table.tidy["run_id"].unique()] if "run_id" in table.tidy else []
    others = [run for run in behind if run and run not in told]
    return TableView(
        name=name,
        kind=kind,
        title=table.title,
        lead=table.lead,
        columns=columns,
        rows=rows,
        notes=table.notes,
        runs=tuple(others[:MOST_LINKS]),
        n_runs=len(others),
        has_records=linked,
    )


def short_run(run_id: str) -> str:
    """The first digits of a run id, as tables and links show it."""
    return run_id[:RUN_DIGITS]


def _kept(rows: Sequence[Mapping[str, Cell]]) -> frozenset[int]:
    """Places of the first baseline and control of each kind: what a score says is read beside them."""
    first: dict[Cell, int] = {}
    for index, row in enumerate(rows):
        if row.get(ROLE.key) not in (None, "", LATENT):
            first.setdefault(row[ROLE.key], index)
    return frozenset(first.values())


def _row(
    table: Table, index: int, row: Mapping[str, Cell], columns: Sequence[Column], *, kept: bool
) -> RowView:
    state = str(row.get("state") or "")
    return RowView(
        cells=tuple(
            cell_view(
                row.get(column.key),
                column,
                runs=_runs(row, column),
                strong=(index, column.key) in table.emphasis,
            )
            for column in columns
        ),
        run=str(row.get("run_id") or ""),
        stale=state if "stale" in state and FRESH not in state else "",
        kept=kept,
    )


def _runs(row: Mapping[str, Cell], column: Column) -> tuple[str, ...]:
    """The run ids that a table names for the answers of one cell."""
    named = row.get(RUNS_OF + column.key) or ()
    return tuple(map(str, named)) if isinstance(named, tuple) else (str(named),)
