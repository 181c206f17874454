"""Rows that no paired comparison sets against those that lead: they are named, and marked in place of a difference."""

from collections.abc import Iterator, Sequence

from .comparisons import Comparisons
from .contest import competing
from .planned import chosen_latent
from .rows import Row

MARK = "not compared"


def gaps(sets: Sequence[Sequence[Row]], paired: Comparisons) -> Iterator[str]:
    """Sentences per test set of `comparable_rows` on rows with predictions that the comparisons on record leave out.

    A row is left out by being in no comparison, or in none with a row that it is judged by: the best, or the latent row
    of val (see `contest.competing`). One more sentence where p-values of differences from the best are corrected over
    fewer pairs than the rows have.
    """
    for rows in sets:
        there = [row for row in competing(rows) if paired.takes(row)]
        if len(there) > 1:
            yield from _left_out(there, paired)
            yield from _over_fewer(there, paired)


def _left_out(rows: Sequence[Row], paired: Comparisons) -> Iterator[str]:
    runs = {row["run_id"] for row in rows if not paired.holds(row)}
    for lead, others in _judged(rows):
        lacking = {row["run_id"] for row in others if paired.between(lead, row) is None}
        alone = len(lacking) == len(others)
        runs |= {lead["run_id"]} if alone else lacking
    lacking_rows = [row for row in rows if row["run_id"] in runs]
    if not lacking_rows:
        return
    n = len(lacking_rows)
    more = f" and {n - 1} more" if n > 1 else ""
    yield (
        f"Careful: the paired comparisons on record leave out {n} of the {len(rows)} rows of {rows[0]['label']} "
        f"of one test set ({lacking_rows[0]['name']}{more}), or do not set them against the row that they are judged "
        "by: they were fitted since, are too many, or were not among --runs. "
        "Such rows are judged by whether 95 % intervals overlap, which tells fewer of them apart, and marked "
        f"'{MARK}'; make tables (python -m probes compare) compares them."
    )


def _judged(rows: Sequence[Row]) -> Iterator[tuple[Row, list[Row]]]:
    """The rows that others are judged by, each with those others: the best row, and the latent row of val."""
    latent = chosen_latent(rows)
    for lead in (rows[0], *(() if latent is None or latent is rows[0] else (latent,))):
        yield lead, [row for row in rows if row is not lead]


def _over_fewer(rows: Sequence[Row], paired: Comparisons) -> Iterator[str]:
    """Say so where differences from the best row are corrected for a part of all pairs."""
    best, *others = rows
    counts = {pair.n_pairs for row in others if (pair := paired.between(best, row)) is not None}
    n_all = len(rows) * (len(rows) - 1) // 2
    if counts and min(counts) < n_all:
        few = f"{min(counts)} {'pair' if min(counts) == 1 else 'pairs'}"
        yield (
            f"Careful: p-values of differences from {best['name']}, the best row of {best['label']} of one test set, "
            f"are corrected over {few}, not over all {n_all} pairs of {len(rows)} rows, so they say too much of "
            "which row is best of all; make tables (python -m probes compare) compares all."
        )
