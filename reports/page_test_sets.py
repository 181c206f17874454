"""What the page says of test sets other than the one it answers for."""

from collections.abc import Iterator, Sequence

from .comparable import replaced_by
from .names import NAME_DIGITS
from .planned import chosen_latent
from .render_markdown import number_text
from .rows import Row
from .verdict import DIGITS

NAMED = 2
"""So many test sets are told one by one, the others counted."""


def other_sets_told(shown: Sequence[Row], others: Sequence[Sequence[Row]]) -> Iterator[str]:
    """A sentence for each of the first test sets that are not shown, and one that counts the others."""
    for rows in others[:NAMED]:
        yield f"Another test set is on record: {', '.join(_parts(shown[0], rows))}{_origin(shown[0], rows[0])}."
    if len(others) > NAMED:
        n_more = len(others) - NAMED
        yield f"{n_more} more test set{'s are' if n_more > 1 else ' is'} in the tables."


def _parts(shown: Row, rows: Sequence[Row]) -> Iterator[str]:
    """What a test set is, what tells it from the one shown, how many rows, the score of the row that val chooses."""
    first = rows[0]
    if first["input_test"]:
        name, digest = first["file_test"], first["input_test"][:NAME_DIGITS]
        yield f"file {name} ({digest})" if name else f"file {digest}"
    for key, words in _DIFFERING:
        if first[key] != shown[key] and first[key] not in (None, ""):
            yield words.format(f"{first[key]:g}" if isinstance(first[key], float) else first[key])
    if (n_rows := max((row["n_rows_test"] or 0 for row in rows), default=0)) > 0:
        yield f"{n_rows} rows"
    best = chosen_latent(rows)
    yield (
        "no latent row with a score"
        if best is None
        else f"R2 of its best {number_text(best['test_r2'], DIGITS)}"
    )


_DIFFERING = (
    ("data_kind", "{} data"),
    ("noise_mode", "noise {}"),
    ("noise_level_test", "noise level {}"),
    ("draws_test", "noise draw {}"),
    ("noise_seed", "noise seed {}"),
)
"""Columns that may tell a test set from the one shown, with words for them."""


def _origin(shown: Row, first: Row) -> str:
    """Say so where both come from one file that was changed; '' elsewhere."""
    same = "; both files are called so, and its records are"
    if replaced_by(first, shown):
        return f"{same} older than those shown"
    return f"{same} newer than those shown" if replaced_by(shown, first) else ""
