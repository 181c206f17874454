"""Tables as AASTeX `deluxetable`, for the input command of a paper."""

import re
import textwrap
from collections.abc import Iterator, Sequence

from .render_markdown import estimate_text, number_text
from .table import Cell, Column, Estimate, Table

EMPTY = "\\nodata"
LONG = 25
"""Tables with more rows than this may break across pages."""
FLOATS = 10
"""LaTeX holds back no more than some dozen tables; a document with more than this starts each on a page of its own."""
HEADING = 16
"""Headings break into lines of about so many letters."""
WIDE, WIDEST = 60, 150
"""Tables wider than so many letters take both columns of a page; a page on its side."""
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
    return HINT + ("\\clearpage\n" if len(texts) > FLOATS else "\n").join(texts)


def _table(table: Table, name: str) -> Iterator[str]:
    letters = "".join("r" if column.align == "right" else "l" for column in table.columns)
    lines = [
        [
            _shown(row.get(column.key), column, bold=(index, column.key) in table.emphasis)
            for column in table.columns
        ]
        for index, row in enumerate(table.rows)
    ]
    width = sum(
        2 + max(HEADING, *(len(line[index]) for line in lines)) if lines else HEADING
        for index in range(len(table.columns))
    )
    environment = "deluxetable*" if width > WIDE else "deluxetable"
    if width > WIDEST:
        yield "\\begin{longrotatetable}"
    elif len(table.rows) > LONG:
        yield "\\startlongtable"
    yield f"\\begin{{{environment}}}{{{letters}}}"
    yield f"\\tabletypesize{{\\{'tiny' if width > WIDEST else 'scriptsize'}}}"
    yield f"\\tablecaption{{{tex(table.title)}\\label{{tab:{name}}}}}"
    headings = " & ".join(f"\\colhead{{{_heading(column)}}}" for column in table.columns)
    yield f"\\tablehead{{{headings}}}"
    yield "\\startdata"
    yield " \\\\\n".join(" & ".join(line) for line in lines)
    yield "\\enddata"
    yield f"\\tablecomments{{{tex(' '.join((*table.lead, *table.notes)))}}}"
    yield f"\\end{{{environment}}}"
    if width > WIDEST:
        yield "\\end{longrotatetable}"


def _heading(column: Column) -> str:
    """A heading without percent signs: readers take what follows one for a comment."""
    text = column.title.replace(" %", " percent").replace("%", " percent")
    lines = [tex(line) for line in textwrap.wrap(text, HEADING, break_on_hyphens=False)]
    stacked = "\\\\".join(lines)
    return stacked if len(lines) == 1 else f"\\shortstack{{{stacked}}}"


def _shown(cell: Cell, column: Column, *, bold: bool) -> str:
    if cell is None or cell in ("", ()):
        return EMPTY
    cells = cell if isinstance(cell, tuple) else (cell,)
    text = "; ".join(_value(one, column) for one in cells)
    return f"\\textbf{{{text}}}" if bold else text


def _value(cell: Cell, column: Column) -> str:
    if isinstance(cell, Estimate):
        return estimate_text(cell, column.digits).replace("-", "$-$")
    return _number(cell, column.digits) if isinstance(cell, float) else tex(str(cell))


def _number(value: float, digits: int) -> str:
    return number_text(value, digits).replace("-", "$-$")


def tex(text: str) -> str:
    """Plain text as LaTeX: marks escaped, minus signs and R2 as mathematics, letters beyond ASCII as their numbers."""
    flat = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    escaped = "".join(_SPECIAL.get(letter, letter if letter.isprintable() else "?") for letter in flat)
    signed = re.sub(r"(?<![\w-])-(?=[\d.])", "$-$", escaped.replace("+-", "$\\pm$"))
    # else taken for an argument of a line break
    guarded = f"{{}}{signed}" if signed.startswith(("[", "*")) else signed
    return re.sub(r"\bR2\b", "$R^2$", guarded)
