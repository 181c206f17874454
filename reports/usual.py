"""What most rows of a figure have in common: told once in its note, and on a line only where it is otherwise."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from .rows import Row
from .settings import varying_columns
from .table import Column


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The settings that differ among some rows, and by key the value that more than half of the rows have."""

    columns: tuple[Column, ...]
    values: Mapping[str, str]

    def told(self, row: Row) -> list[str]:
        """What a line has to say of its row: every setting that is not the usual one, 'draw 0-3'.

        'none' stands for nothing where most rows have something, so that lines stay told apart.
        """
        texts = []
        for column in self.columns:
            value, usual = row[column.key], self.values.get(column.key)
            if value != usual and (value or usual):
                texts.append(f"{column.heading} {value or 'none'}")
        return texts

    @property
    def note(self) -> str:
        """'Unless stated: training on stored features, draw 0.'; '' where nothing goes without saying."""
        known = [f"{c.heading} {self.values[c.key]}" for c in self.columns if self.values.get(c.key)]
        return f"Unless stated: {', '.join(known)}." if known else ""


def usual_of(rows: Sequence[Row], *, without: Sequence[str] = ()) -> Usual:
    """The usual settings of some `settings_rows`; keys in `without` are told otherwise."""
    columns = varying_columns(pd.DataFrame(rows), without=without)
    values = {}
    for column in columns:
        ((value, count),) = Counter(row[column.key] for row in rows).most_common(1)
        if 2 * count > len(rows):
            values[column.key] = value
    return Usual(columns=columns, values=values)
