"""A table cell as the page shows it: its text, what it sorts by, and the record behind it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .render_markdown import EMPTY, estimate_text, number_text
from .table import Cell, Column, Estimate, Value

FAILED = "failed: "
SORT_DIGITS = 7
"""Significant digits that rows are sorted by."""
_LEADING_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An interval and its value on a scale from 0 (left) to 100 (right); what lies outside is cut off."""

    low: float
    width: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the answers in a cell; `run` is the run id of the record behind it, '' where the row tells it.

    `marked`: a word behind it says what is wrong with it.
    """

    text: str
    run: str = ""
    bar: Bar | None = None
    failed: bool = False
    marked: bool = False


@dataclass(frozen=True, kw_only=True)
class CellView:
    """One cell: its answers, the number it sorts by ('' where there is none), and whether it is the best."""

    parts: tuple[Part, ...]
    sort: str
    strong: bool


def cell_view(cell: Cell, column: Column, *, runs: Sequence[str] = (), strong: bool = False) -> CellView:
    """A cell of `column`; `runs` are the run ids of its answers, one for each, or none."""
    values = cell if isinstance(cell, tuple) else (cell,)
    known = tuple(runs) if len(runs) == len(values) else ("",) * len(values)
    parts = tuple(
        Part(
            text=value_text(value, column),
            run=run,
            bar=interval_bar(value) if is_r2(column) else None,
            failed=isinstance(value, str) and value.startswith(FAILED),
            marked=isinstance(value, Estimate) and bool(value.mark),
        )
        for value, run in zip(values, known, strict=True)
        if value not in (None, "") or run
    )
    return CellView(parts=parts, sort=_sort_key(values, column), strong=strong)


def value_text(value: Value, column: Column) -> str:
    """One value with the digits of its column."""
    if value is None or value == "":
        return EMPTY
    if isinstance(value, Estimate):
        return estimate_text(value, column.digits)
    if isinstance(value, float):
        return number_text(value, column.digits)
    return str(value)


def is_r2(column: Column) -> bool:
    """Whether a column holds R2 with intervals, which are drawn beside the number."""
    return "r2" in column.key.lower()


def interval_bar(value: Value) -> Bar | None:
    """The bar of an estimate on a scale from 0 to 1; None without an interval."""
    if not isinstance(value, Estimate) or value.low is None or value.high is None:
        return None
    low, middle, high = (round(100 * min(max(x, 0.0), 1.0), 1) for x in (value.low, value.value, value.high))
    return Bar(low=low, width=round(high - low, 1), value=middle)


def _sort_key(values: Sequence[Value], column: Column) -> str:
    """The first number of a right-aligned cell; '' for text and for cells without a number."""
    first = values[0] if values else None
    if first is None or column.align != "right":
        return ""
    if isinstance(first, Estimate):
        return f"{first.value:.{SORT_DIGITS}g}"
    if isinstance(first, int | float):
        return f"{first:.{SORT_DIGITS}g}"
    found = _LEADING_NUMBER.match(str(first))
    return found[0] if found else ""
