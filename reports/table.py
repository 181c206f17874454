"""A table as data: columns with units, rows of plain values, notes; renderers decide how it looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Estimate:
    """A score and the ends of its 95 % interval, None where no interval was made; `mark` is a word behind it."""

    value: float
    low: float | None = None
    high: float | None = None
    mark: str = ""


Value = str | int | float | Estimate | None
Cell = Value | tuple[Value, ...]
"""A tuple holds several records that answer the same question; None is an empty cell."""
RUNS_OF = "runs of "
"""Rows may name the records behind them: `run_id` one for all cells, RUNS_OF + a column's key those of its cell."""


def estimate_of(value: float | None, interval: Sequence[float | None] | None) -> Estimate | None:
    """A value of a record with its interval [lo, hi]; None where there is no value."""
    low, high = interval or (None, None)
    return None if value is None else Estimate(value, low, high)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table: `key` in the rows, heading, unit ('' = none), digits after the point."""

    key: str
    heading: str
    unit: str = ""
    digits: int = 3
    align: str = "right"

    @property
    def title(self) -> str:
        """Heading with its unit in brackets."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: what is shown (`lead`, `columns`, `rows`, `notes`) and the full frame behind it (`tidy`).

    `lead` is what the numbers say, in plain sentences, above the rows; `notes` are the footnotes.
    `emphasis` holds (row index, column key) of the cells that are better than all they compete with.
    """

    title: str
    lead: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...]
    tidy: pd.DataFrame
    emphasis: frozenset[tuple[int, str]] = field(default=frozenset())
