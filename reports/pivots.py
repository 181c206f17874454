"""Tables that set answers side by side: heads as columns, or labels as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from cache.grouping import grouped

from .comparisons import NOT_COMPARED, Comparisons
from .contest import contest
from .footnotes import footnotes
from .ordering import ordered, question_rank
from .paired import LEAST_EFFECTIVE
from .rows import Row, rows_of
from .settings import settings_frame, variant_of, varying_columns
from .table import RUNS_OF, Cell, Column, Estimate, Table, Value
from .tables import FEATURES, HEAD, ROLE, STATE, of_label, r2_cell, state_column
from .vocabulary import CONTROLS, MEAN_PREDICTOR, head_rank, label_rank

HEADS_NOTE = (
    "Bold: the best head of its row, only where its 95 % interval lies above that of every other head; elsewhere "
    "the best is within noise."
)
PAIRED_HEADS_NOTE = (
    "Bold: the best head of its row, only where its paired difference from every other head holds (p <= 0.05 after "
    f"Holm, 0 outside the interval, and {LEAST_EFFECTIVE} stars or more carry it; of rows not compared in pairs, where "
    "its 95 % interval lies above); elsewhere the best is within noise."
)
LABELS_NOTE = "Nothing is bold: labels do not compete. Errors in dex and K are in the tables of each label."
Group = list[Row]


def heads_table(frame: pd.DataFrame, label: str, paired: Comparisons = NOT_COMPARED) -> Table:
    """Test R2 of one label: a row per features and setting, a column per head and setting of a head.

    The mean predictor, which has no features, is left to the controls table.
    """
    rows = of_label(frame, label)
    rows = rows[rows["role"] != MEAN_PREDICTOR].reset_index(drop=True)
    shown = settings_frame(rows, by_head=("seed",))
    shown["variant"] = [variant_of(row) for row in rows_of(shown)]
    keys = (ROLE, *FEATURES, *varying_columns(shown, without=("settings_text", "seed_text")))
    groups = lines_of(shown, keys)
    return side_by_side(
        shown,
        title=f"{label}: heads side by side, test R2 (95 % interval)",
        keys=keys,
        across="variant",
        names=sorted(shown["variant"].unique(), key=lambda name: (head_rank(name.split(" (")[0]), name)),
        note=PAIRED_HEADS_NOTE if paired.pairs else HEADS_NOTE,
        tidy=rows,
        emphasis=frozenset(
            (index, score_key(winner))
            for index, group in enumerate(groups)
            if group[0]["role"] not in CONTROLS and (winner := _clear_winner(group, paired))
        ),
    )


def labels_table(frame: pd.DataFrame) -> Table:
    """Test R2 of every label: a row per features, head and setting, a column per label."""
    rows = ordered(frame)
    shown = settings_frame(rows)
    return side_by_side(
        shown,
        title="Labels side by side, test R2 (95 % interval)",
        keys=(ROLE, *FEATURES, HEAD, *varying_columns(shown)),
        across="label",
        names=sorted(shown["label"].unique(), key=label_rank),
        note=LABELS_NOTE,
        tidy=rows,
    )


def side_by_side(
    shown: pd.DataFrame,
    *,
    title: str,
    keys: Sequence[Column],
    across: str,
    names: Sequence[str],
    note: str,
    tidy: pd.DataFrame,
    emphasis: frozenset[tuple[int, str]] = frozenset(),
    more: Mapping[int, Mapping[str, Cell]] | None = None,
    after: Sequence[Column] = (),
    covered: Sequence[str] = (),
) -> Table:
    """A table with a line per group of equal `keys` and a column of test R2 per name of the column `across`.

    `after` are further columns behind the scores, whose cells stand in `more` by number of the line; `covered` are
    settings that differ along the names.
    """
    rows = tuple(
        {**_cells(group, keys, across), **(more or {}).get(index, {})}
        for index, group in enumerate(lines_of(shown, keys))
    )
    published = (
        Column(key=_published(name), heading=f"{name}: published, real BOSZ/PFS data, test R2", digits=4)
        for name in names
        if any(_published(name) in row for row in rows)
    )
    columns = (
        *keys,
        Column(key="d", heading="d"),
        *(Column(key=score_key(name), heading=name) for name in names),
        *after,
        *published,
        Column(key="n_test", heading="n test"),
        *state_column(shown),
    )
    notes = (
        (*filter(None, [note]), *footnotes(shown, columns, covered=covered)) if rows else ("No rows here.",)
    )
    return Table(title=title, columns=columns, rows=rows, notes=notes, tidy=tidy, emphasis=emphasis)


def lines_of(shown: pd.DataFrame, keys: Sequence[Column]) -> list[Group]:
    """Rows that share a line of the table, lines in table order."""
    rows = sorted(rows_of(shown), key=question_rank)
    return list(grouped(rows, lambda row: tuple(row[column.key] for column in keys)).values())


def _cells(group: Group, keys: Sequence[Column], across: str) -> dict[str, Cell]:
    """One line: its keys, every record's test R2 under its column, and what its records agree on."""
    line: dict[str, Cell] = {column.key: group[0][column.key] for column in keys}
    for name in dict.fromkeys(row[across] for row in group):
        line[score_key(name)] = tuple(marked_cell(row, group) for row in group if row[across] == name)
        line[RUNS_OF + score_key(name)] = tuple(row["run_id"] for row in group if row[across] == name)
    for row in group:
        if row["published_test_r2"] is not None:
            line[_published(row[across])] = row["published_test_r2"]
    for key in ("d", "n_test", STATE.key):
        line[key] = ", ".join(dict.fromkeys(str(row[key]) for row in group if row[key] is not None))
    return line


def marked_cell(row: Row, line: Group) -> Value:
    """Test R2 of a row; marked as stale where not all of its line are, so that the column of stores cannot say it."""
    cell = r2_cell(row)
    if (
        isinstance(cell, Estimate)
        and row["state"].startswith("stale")
        and len({r["state"] for r in line}) > 1
    ):
        return replace(cell, mark="stale")
    return cell


def _clear_winner(group: Group, paired: Comparisons) -> str | None:
    """The head that beats all others of its line clearly; None with a doubt or with several records of it."""
    result = contest(group, paired)
    if result is None or not result.clear:
        return None
    name = str(result.best["variant"])
    return name if sum(row["variant"] == name for row in group) == 1 else None


def score_key(name: str) -> str:
    """Key of the column that holds the scores of one name."""
    return f"test R2 {name}"


def _published(name: str) -> str:
    return f"published {name}"
