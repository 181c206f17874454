"""Tables as AASTeX `deluxetable`, for the input command of a paper."""

import re
from collections.abc import Iterator, Sequence

from .render_markdown import number_text
from .table import Cell, Column, Estimate, Table

EMPTY = "\\nodata"
LONG = 25
"""Tables with more rows than this may break across pages."""
WIDE = 6
"""Tables with more columns than this use the width of both columns of a page."""
HINT = (
    "% AASTeX 6.3.1 or 7. To hide a column write h for its letter in the first argument of deluxetable; bold and\n"
    "% brackets are explained in the comments of each table.\n"
)
_SPECIAL = {
    "\\": "\\textbackslash{}",
    "{": "\\{",
    "}": "\\}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    **{mark: f"\\{mark}" for mark in "&%$#_"},
}


def latex(tables: Sequence[Table], *, name: str) -> str:
    """Every table of a document as a `deluxetable`; labels are tab:NAME, tab:NAME-2, ..."""
    texts = [
        "\n".join(_table(table, name if index == 0 else f"{name}-{index + 1}")) + "\n"
        for index, table in enumerate(tables)
    ]
    return HINT + "\n".join(texts)


def _table(table: Table, name: str) -> Iterator[str]:
    environment = "deluxetable*" if len(table.columns) > WIDE else "deluxetable"
    letters = "".join("r" if column.align == "right" else "l" for column in table.columns)
    if len(table.rows) > LONG:
        yield "\\startlongtable"
    yield f"\\begin{{{environment}}}{{{letters}}}"
    yield "\\tabletypesize{\\scriptsize}"
    yield f"\\tablecaption{{{tex(table.title)}\\label{{tab:{name}}}}}"
    headings = " & ".join(f"\\colhead{{{_heading(column)}}}" for column in table.columns)
    yield f"\\tablehead{{{headings}}}"
    yield "\\startdata"
    lines = [
        " & ".join(
            _shown(row.get(column.key), column, bold=(index, column.key) in table.emphasis)
            for column in table.columns
        )
        for index, row in enumerate(table.rows)
    ]
    yield " \\\\\n".join(lines)
    yield "\\enddata"
    yield f"\\tablecomments{{{tex(' '.join((*table.lead, *table.notes)))}}}"
    yield f"\\end{{{environment}}}"


def _heading(column: Column) -> str:
    """A heading without percent signs: readers take what follows one for a comment."""
    return tex(column.title.replace(" %", " percent").replace("%", " percent"))


def _shown(cell: Cell, column: Column, *, bold: bool) -> str:
    if cell is None or cell in ("", ()):
        return EMPTY
    cells = cell if isinstance(cell, tuple) else (cell,)
    text = "; ".join(_value(one, column) for one in cells)
    return f"\\textbf{{{text}}}" if bold else text


def _value(cell: Cell, column: Column) -> str:
    if isinstance(cell, Estimate):
        value = _number(cell.value, column.digits)
        if cell.low is None or cell.high is None:
            return value
        return f"{value} [{_number(cell.low, column.digits)}, {_number(cell.high, column.digits)}]"
    return _number(cell, column.digits) if isinstance(cell, float) else tex(str(cell))


def _number(value: float, digits: int) -> str:
    return number_text(value, digits).replace("-", "$-$")


def tex(text: str) -> str:
    """Plain text as LaTeX: marks escaped, minus signs and R2 as mathematics, letters beyond ASCII as their numbers."""
    flat = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    escaped = "".join(_SPECIAL.get(letter, letter if letter.isprintable() else "?") for letter in flat)
    signed = re.sub(r"(?<![\w-])-(?=[\d.])", "$-$", escaped.replace("+-", "$\\pm$"))
    return re.sub(r"\bR2\b", "$R^2$", signed)
