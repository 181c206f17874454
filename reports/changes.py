"""One change between two results folders, as a line of a file."""

from collections.abc import Mapping

from .render_markdown import number_text
from .rows import SHORT

DIGITS = 4

Change = Mapping[str, str]
"""One line: what ('only in old', 'only in new', 'score', 'result', 'pair'), record, about, old, new, words."""
COLUMNS = ("what", "record", "about", "old", "new", "words")


def change(what: str, run: str, name: str, **more: str) -> Change:
    """A change of one record, which `name` tells in words; what is not given in `more` stays empty."""
    empty = dict.fromkeys(COLUMNS, "")
    return {**empty, "what": what, "record": run[:SHORT], "about": name, **more}


def number(value: float | None) -> str:
    """A number as changes tell it."""
    return "none" if value is None else number_text(value, DIGITS)
