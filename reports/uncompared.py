"""Rows that no paired comparison on record is of: they are named, and their marks stand in place of a difference."""

from collections.abc import Iterator, Sequence

from .comparisons import Comparisons
from .contest import scored
from .rows import Row

MARK = "not compared"


def gaps(sets: Sequence[Sequence[Row]], paired: Comparisons) -> Iterator[str]:
    """A sentence per test set of `comparable_rows` in which rows with predictions are in no comparison on record."""
    for rows in sets:
        there = [row for row in scored(rows) if paired.lacks(row) or paired.holds(row)]
        lacking = [row for row in there if paired.lacks(row)]
        if not lacking or len(there) < 2:
            continue
        n = len(lacking)
        others = f" and {n - 1} more" if n > 1 else ""
        yield (
            f"Careful: the paired comparisons on record leave out {n} of the {len(there)} rows of {there[0]['label']} "
            f"of one test set ({lacking[0]['name']}{others}): they were fitted since, or are too many. "
            "Such rows are judged by whether 95 % intervals overlap, which tells fewer of them apart, and marked "
            f"'{MARK}'; make tables (python -m probes compare) compares them."
        )
