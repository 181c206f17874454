"""A table cell as the page shows it: its text, what it sorts by, and the record behind it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .footnotes import FAILED
from .render_markdown import value_text
from .table import Cell, Column, Estimate, Value

SORT_DIGITS = 7
"""Significant digits that rows are sorted by."""
_LEADING_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?")


SCALE = (-0.25, 1.0)
"""Ends of every bar: a score below 0 is worse than the mean predictor and must not look like 0."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An interval and its value on SCALE, from 0 (left) to 100 (right), with R2 0 at ZERO.

    `value` is None where it lies outside the scale; `under` and `over` say that something lies beyond an end.
    """

    low: float
    width: float
    value: float | None
    under: bool
    over: bool


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
            failed=value == FAILED,
            marked=isinstance(value, Estimate) and bool(value.mark),
        )
        for value, run in zip(values, known, strict=True)
        if value not in (None, "") or run
    )
    return CellView(parts=parts, sort=_sort_key(values, column), strong=strong)


def is_r2(column: Column) -> bool:
    """Whether a column holds R2 with intervals, which are drawn beside the number."""
    return "r2" in column.key.lower()


def interval_bar(value: Value) -> Bar | None:
    """The bar of an estimate on SCALE; None without an interval."""
    if not isinstance(value, Estimate) or value.low is None or value.high is None:
        return None
    left, right = SCALE
    low, high = (_place(min(max(end, left), right)) for end in (value.low, value.high))
    return Bar(
        low=low,
        width=round(high - low, 1),
        value=_place(value.value) if left <= value.value <= right else None,
        under=min(value.low, value.value) < left,
        over=max(value.high, value.value) > right,
    )


def _place(value: float) -> float:
    left, right = SCALE
    return round(100 * (value - left) / (right - left), 1)


ZERO = _place(0.0)
"""Where R2 0 lies on a bar."""


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
