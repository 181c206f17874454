"""Tables in the machine-readable format of the AAS journals (MRT): fixed columns, each described byte by byte."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .rows import SHORT
from .table import Table
from .tidy_columns import TidyColumn, as_array, flat_text, is_empty, is_number

WIDTH = 80
UNITS = {"dex": "[-]", "km/s": "km.s-1", "": "---"}
"""Units as the CDS standard for catalogues writes them: brackets are logarithms, there is no dex. A squared dex has no
name there, so such a column has no unit and says so."""
DIGITS = 6
LEFT_OUT = ("stores", "params", "chosen", "probe_version")
"""Columns too long for a line of a journal, or of no use in one; the other formats have them."""


@dataclass(frozen=True, kw_only=True)
class _Field:
    """One column as it stands: texts of one width, their format (A5, I3, F9.6, E13.5), unit, label, explanation."""

    texts: tuple[str, ...]
    form: str
    unit: str
    label: str
    explanation: str

    @property
    def width(self) -> int:
        return int(self.form[1:].split(".")[0])


def mrt_text(tables: Sequence[Table], columns: Sequence[TidyColumn]) -> str:
    """One MRT file of a document, ASCII; `columns` are those of its tidy frame. Read by `astropy.io.ascii` as `mrt`.

    Columns without any value are left out. Text that is equal in all of several rows is told in the notes instead.
    Numbers have six significant digits or more.
    """
    kept = [c for c in columns if not is_empty(c) and c.name not in LEFT_OUT]
    told = [c for c in kept if len(c.texts) > 1 and not is_number(c) and len(set(c.texts)) == 1]
    fields = [_field(column) for column in kept if column not in told]
    notes = [f"{c.name} is {_ascii(c.texts[0])} in all rows." for c in told]
    notes += [_ascii(note) for note in dict.fromkeys(note for table in tables for note in table.notes)]
    lines = [
        *_wrapped("Title: ", _ascii("; ".join(table.title for table in tables))),
        "Authors:",
        "Table:",
        "=" * WIDTH,
        "Byte-by-byte Description of file: table.dat",
        "-" * WIDTH,
        " Bytes Format Units  Label     Explanations",
        "-" * WIDTH,
        *_described(fields),
        "-" * WIDTH,
        *(line for number, note in enumerate(notes, 1) for line in _wrapped(f"Note ({number}): ", note)),
        "-" * WIDTH,
        *(" ".join(row) for row in zip(*(field.texts for field in fields), strict=True)),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _described(fields: Sequence[_Field]) -> Iterator[str]:
    start = 1
    for field in fields:
        end = start + field.width - 1
        span = f"{end:>7}" if field.width == 1 else f"{start:>3}-{end:>3}"
        blank = "? " if any(not text.strip() for text in field.texts) else ""
        head = f"{span} {field.form:<6} {field.unit:<8} {field.label} "
        yield from textwrap.wrap(
            f"{blank}{field.explanation}",
            width=max(WIDTH, len(head) + 30),
            initial_indent=head,
            subsequent_indent=" " * 27,
            break_long_words=False,
        )
        start = end + 2


def _field(column: TidyColumn) -> _Field:
    if column.kind == "float64":
        texts, form = _floats(column)
    elif column.kind == "int64":
        texts = ["" if value is None else value for value in column.texts]
        form = f"I{max(map(len, texts))}"
    else:
        texts = [_ascii(_shortened(column.name, value)) for value in column.texts]
        form = f"A{max(1, *map(len, texts))}" if len(texts) > 1 else f"A{max(1, len(texts[0]))}"
    width = int(form[1:].split(".")[0])
    aligned = [text.rjust(width) if is_number(column) else text.ljust(width) for text in texts]
    squared = column.unit == "dex2"
    return _Field(
        texts=tuple(aligned),
        form=form,
        unit="---" if squared else UNITS.get(column.unit, column.unit),
        label=column.name,
        explanation=f"{column.meaning}, in dex squared" if squared else column.meaning,
    )


def _floats(column: TidyColumn) -> tuple[list[str], str]:
    """Texts with as many digits for all, in fixed form unless values are very large or very small."""
    values = as_array(column)
    there = np.abs(values[np.isfinite(values) & (values != 0)])
    fixed = there.size == 0 or (there.min() >= 10.0**-DIGITS and there.max() < 10.0**DIGITS)
    style = f".{DIGITS}f" if fixed else f".{DIGITS - 1}e"
    texts = ["" if np.isnan(value) else f"{value:{style}}" for value in values]
    width = max(map(len, texts))
    return texts, f"F{width}.{DIGITS}" if fixed else f"E{width}.{DIGITS - 1}"


def _shortened(name: str, value: str | None) -> str:
    text = value or ""
    return text[:SHORT] if name in ("run_id", "run", "weights", "family") else text


def _ascii(text: str | None) -> str:
    """One line of ASCII; other letters as their numbers."""
    return flat_text(text or "").encode("ascii", "backslashreplace").decode()


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, width=WIDTH, initial_indent=start, subsequent_indent=" " * 4) or [start]
