"""Tables as Markdown that also reads well in a terminal: every column padded to one width."""

from collections.abc import Sequence

from .table import Cell, Column, Estimate, Table, Value

EMPTY = "-"
LONGEST_TEXT = 160


def markdown(tables: Sequence[Table]) -> str:
    """One document of several tables, ending in a newline."""
    return "\n\n".join(_section(table) for table in tables) + "\n"


def _section(table: Table) -> str:
    parts = [f"### {_escaped(table.title)}"]
    parts += [_escaped(sentence) for sentence in table.lead]
    if table.rows:
        parts.append("\n".join(_grid(table)))
    if table.notes:
        parts.append("\n".join(f"- {_escaped(note)}" for note in table.notes))
    return "\n\n".join(parts)


def _grid(table: Table) -> list[str]:
    headings = [_escaped(column.title) for column in table.columns]
    body = [
        [
            _bold(text) if (index, column.key) in table.emphasis else text
            for column in table.columns
            for text in (_escaped(shown(row.get(column.key), column)),)
        ]
        for index, row in enumerate(table.rows)
    ]
    widths = [max(3, *(len(line[i]) for line in [headings, *body])) for i in range(len(headings))]
    rule = [
        "-" * (width - 1) + ":" if column.align == "right" else "-" * width
        for column, width in zip(table.columns, widths, strict=True)
    ]
    return [
        "| " + " | ".join(_padded(cells, table.columns, widths)) + " |" for cells in [headings, rule, *body]
    ]


def _padded(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if column.align == "right" else cell.ljust(width)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]


def shown(cell: Cell, column: Column) -> str:
    """A cell as text, numbers with the digits of the column, several values parted by semicolons."""
    if isinstance(cell, tuple):
        return "; ".join(shown(one, column) for one in cell) or EMPTY
    return _shortened(value_text(cell, column))


def value_text(value: Value, column: Column) -> str:
    """One value with the digits of its column."""
    if value is None or value == "":
        return EMPTY
    if isinstance(value, Estimate):
        return estimate_text(value, column.digits)
    return number_text(value, column.digits) if isinstance(value, float) else str(value)


def estimate_text(estimate: Estimate, digits: int) -> str:
    """'0.552 [0.506, 0.597]', or the value alone without an interval; a mark follows in brackets."""
    text = number_text(estimate.value, digits)
    if estimate.low is not None and estimate.high is not None:
        text += f" [{number_text(estimate.low, digits)}, {number_text(estimate.high, digits)}]"
    return f"{text} ({estimate.mark})" if estimate.mark else text


def number_text(value: float, digits: int) -> str:
    """A number with fixed digits, never '-0.000'; very large ones (a head that diverged) in scientific form."""
    if abs(value) >= 1e6:
        return f"{value:.{digits}e}"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _bold(text: str) -> str:
    return f"**{text}**"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."


def _escaped(text: str) -> str:
    """Text that cannot break a table or become HTML: labels and errors come from the user's files."""
    flat = " ".join(text.split())
    for mark, harmless in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("`", "\\`")):
        flat = flat.replace(mark, harmless)
    return flat
