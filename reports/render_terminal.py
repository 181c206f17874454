"""Tables as much of them as a terminal shows at a glance; the files that `reports tables` writes hold all of them."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from .render_markdown import EMPTY, shown
from .table import Cell, Column, Estimate, Table

GAP = "  "
NARROWEST = 60
"""Characters below which nothing is laid out narrower; a narrower terminal breaks the lines itself."""
Grid = Sequence[Sequence[str]]
"""Cells as text, by row and column of the table."""


def terminal(table: Table, *, width: int, most_rows: int) -> str:
    """Title, lead, at most `most_rows` rows and the columns that `width` characters have room for, without notes.

    Of a longer table the rows with the largest first score are shown, the first ones where there is none. Columns that
    say the same in all these rows are told in one line. Where there is no room, columns that are not needed to tell
    these rows apart give way, then scores from the right. What is left out is counted in the last line. `*` marks what
    is bold in other formats. Ends in a newline.
    """
    width = max(width, NARROWEST)
    cut = _first_rows(table, most_rows)
    grid = [[_marked(cut, index, column) for column in cut.columns] for index in range(len(cut.rows))]
    alike = _alike(cut, grid)
    told = [i for i in alike if grid[0][i] != EMPTY]
    kept = _fitting(cut, grid, [i for i in range(len(cut.columns)) if i not in alike], width)
    lines = [line for sentence in (table.title, *table.lead) for line in _wrapped(sentence, width)]
    lines += ["", *_lines(cut.columns, grid, kept, width), ""]
    if told:
        same = "; ".join(f"{cut.columns[i].title} {grid[0][i]}" for i in told)
        lines += _wrapped(f"In all these rows: {same}.", width)
    best = ", best first" if len(cut.rows) < len(table.rows) and _score_columns(table) else ""
    without = len(cut.columns) - len(kept) - len(told)
    lines.append(
        f"({len(cut.rows)} of {len(table.rows)} rows{best}; without {without} of {len(cut.columns)} columns "
        f"and {len(table.notes)} notes)"
    )
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _first_rows(table: Table, most: int) -> Table:
    """The table itself, or of a longer one the rows with the largest first score, those without a score last."""
    if len(table.rows) <= most:
        return table
    rows = list(range(len(table.rows)))
    for key in _score_columns(table)[:1]:
        rows.sort(key=lambda row: -_value(table, row, key))
    rows = rows[:most]
    place = {row: index for index, row in enumerate(rows)}
    marked = frozenset((place[row], key) for row, key in table.emphasis if row in place)
    return replace(table, rows=tuple(table.rows[row] for row in rows), emphasis=marked)


def _score_columns(table: Table) -> list[str]:
    return [column.key for index, column in enumerate(table.columns) if _scores(table, index)]


def _value(table: Table, row: int, key: str) -> float:
    estimates = _estimates(table.rows[row].get(key))
    return estimates[0].value if estimates else float("-inf")


def _estimates(cell: Cell) -> list[Estimate]:
    return [one for one in (cell if isinstance(cell, tuple) else (cell,)) if isinstance(one, Estimate)]


def _scores(table: Table, index: int) -> bool:
    """Whether a column holds scores with intervals."""
    return any(_estimates(row.get(table.columns[index].key)) for row in table.rows)


def _marked(table: Table, index: int, column: Column) -> str:
    text = _printable(shown(table.rows[index].get(column.key), column))
    return f"{text} *" if (index, column.key) in table.emphasis else text


def _printable(text: str) -> str:
    """Text of the user's files without what would steer a terminal."""
    return "".join(mark if mark.isprintable() else "?" for mark in " ".join(text.split()))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(_printable(text), width, break_long_words=False, break_on_hyphens=False) or [""]


def _alike(table: Table, grid: Grid) -> list[int]:
    """The columns without scores that have one text in all of several rows, and those that are empty; never all."""
    columns = range(len(table.columns)) if grid else ()
    same = [i for i in columns if len({line[i] for line in grid}) == 1]
    told = [i for i in same if grid[0][i] == EMPTY or (len(grid) > 1 and not _scores(table, i))]
    return told if len(told) < len(table.columns) else told[1:]


def _fitting(table: Table, grid: Grid, columns: Sequence[int], width: int) -> list[int]:
    """The columns that stay: what tells rows apart, at least one score, and of the rest what there is room for."""
    scores = [i for i in columns if _scores(table, i)]
    named = [
        i for i in columns if table.columns[i].align == "left" and i < min([*scores, len(table.columns)])
    ]
    names = _needed(table, grid, named, room=width - _total(_widths(table.columns, grid, scores)) - len(GAP))
    kept = sorted([*names, *scores[:1]])
    for i in [*scores[1:], *(i for i in columns if i not in {*named, *scores})]:
        wider = sorted({*kept, i})
        if _total(_widths(table.columns, grid, wider, wrapped=names)) > width:
            break
        kept = wider
    return kept


def _needed(table: Table, grid: Grid, names: Sequence[int], *, room: int) -> list[int]:
    """The first column and those that tell rows apart: until they have room, the widest goes that is not needed."""
    kept = list(names)
    sizes = dict(zip(names, _widths(table.columns, grid, names), strict=True))
    for i in sorted(names[1:], key=lambda i: -sizes[i]):
        if _total([sizes[k] for k in kept]) <= room:
            break
        fewer = [k for k in kept if k != i]
        if len({tuple(line[k] for k in fewer) for line in grid}) == len(grid):
            kept = fewer
    return kept


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widths(
    columns: Sequence[Column], grid: Grid, kept: Sequence[int], *, wrapped: Sequence[int] = ()
) -> list[int]:
    """Characters per column: its longest cell (word, where it is wrapped) and the longest word of its heading."""
    widths = []
    for i in kept:
        cells = [part for line in grid for part in (line[i].split() if i in wrapped else [line[i]])]
        widths.append(max(len(text) for text in [*columns[i].title.split(), *cells, EMPTY]))
    return widths


def _lines(columns: Sequence[Column], grid: Grid, kept: Sequence[int], width: int) -> list[str]:
    """Headings over a rule over the rows; where a line would be too long, names are broken, then joined in one."""
    ends = [columns[i].align for i in kept]
    texts = [[columns[i].title for i in kept], *([line[i] for i in kept] for line in grid)]
    widths = _widths(columns, grid, kept)
    if _total(widths) > width:
        widths = _widths(columns, grid, kept, wrapped=[i for i in kept if columns[i].align == "left"])
    first = ends.index("right") if "right" in ends else 0
    if _total(widths) > width and first > 0:
        texts = [[" / ".join(line[:first]), *line[first:]] for line in texts]
        room = width - _total(widths[first:]) - len(GAP)
        longest = max(len(word) for line in texts for word in line[0].split())
        widths, ends = [max(room, longest), *widths[first:]], ends[first - 1 :]
    headings, *rows = [_cells(line, widths, ends) for line in texts]
    return [*headings, GAP.join("-" * size for size in widths), *(part for row in rows for part in row)]


def _cells(texts: Sequence[str], widths: Sequence[int], ends: Sequence[str]) -> list[str]:
    """One row, over as many lines as its longest cell needs."""
    broken = [_wrapped(text, size) for text, size in zip(texts, widths, strict=True)]
    return [
        GAP.join(
            part.rjust(size) if end == "right" else part.ljust(size)
            for parts, size, end in zip(broken, widths, ends, strict=True)
            for part in (parts[row] if row < len(parts) else "",)
        )
        for row in range(max(len(parts) for parts in broken))
    ]
