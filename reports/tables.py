"""The comparison tables of one result folder: pure functions from the tidy frame to a Table."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from cache.records import Record

from .audits import error_command, not_run, subject
from .columns import SPLITS
from .comparable import ranked_sets
from .comparisons import NOT_COMPARED, Comparisons
from .contest import competing, contest, r2_estimate, scored
from .footnotes import FAILED, footnotes
from .ordering import ordered
from .paired_columns import paired_cells, paired_columns, paired_notes
from .render_markdown import estimate_text
from .rows import FRESH, Row, rows_of
from .settings import settings_frame, varying_columns
from .table import Cell, Column, Table, Value
from .verdict import DIGITS, best_note, verdicts
from .vocabulary import CLEAN_FLUX, ERROR_ONLY, LATENT, MEAN_PREDICTOR, RAW_FLUX, error_digits, unit_of

PUBLISHED_TEST = Column(key="published_test_r2", heading="published, real BOSZ/PFS data, test R2", digits=4)
PUBLISHED_VAL = Column(key="published_val_r2", heading="published, real BOSZ/PFS data, val R2", digits=4)
TEST_R2 = Column(key="test_r2", heading="test R2 (95 % interval)")
FLAGS = Column(key="flags", heading="flags", align="left")
STATE = Column(key="state", heading="stores", align="left")
ROLE = Column(key="role", heading="row", align="left")
HEAD = Column(key="head", heading="head", align="left")
FEATURES = (
    Column(key="layer", heading="layer", align="left"),
    Column(key="pooling", heading="pooling", align="left"),
    Column(key="direction", heading="direction", align="left"),
)

_FED, _ENCODER, _FAMILY = "error_input_text", "encoder_text", "family_text"
UNRELATED: Mapping[str, tuple[str, ...]] = {
    MEAN_PREDICTOR: (*(column.key for column in FEATURES), "d", _FED, _ENCODER, _FAMILY),
    **dict.fromkeys((RAW_FLUX, ERROR_ONLY, CLEAN_FLUX), (_FED, _ENCODER, _FAMILY)),
}
"""By role, the cells that say where a record was fitted, on which its score does not depend."""


def layers_table(frame: pd.DataFrame, label: str, paired: Comparisons = NOT_COMPARED) -> Table:
    """Layer x pooling x direction x head for one label: the encoder's own rows, without controls and inputs."""
    rows = of_label(frame, label)
    latents = rows[rows["role"] == LATENT].reset_index(drop=True)
    elsewhere = len(rows) - len(latents)
    more = (
        (f"{elsewhere} further rows (inputs and controls) stand in the controls table.",) if elsewhere else ()
    )
    sets = ranked_sets(latents)
    return _flat(
        latents,
        sets,
        title=f"{label}: layer x pooling x direction x head",
        label=label,
        base=(*FEATURES, HEAD),
        scores=_full_scores(label),
        notes=(*best_note(sets, paired), *more),
        paired=paired,
    )


def controls_table(
    frame: pd.DataFrame, label: str, paired: Comparisons = NOT_COMPARED, *, audits: Sequence[Record] = ()
) -> Table:
    """Latents beside inputs, random encoder, shuffled labels and the mean, best test R2 first, with the verdict.

    `audits` of the label stand in for the question whether the error channel is used.
    """
    rows = of_label(frame, label)
    sets = ranked_sets(rows)
    return _flat(
        _best_first(rows, sets),
        sets,
        title=f"{label}: latents beside baselines and controls",
        label=label,
        base=(ROLE, *FEATURES, HEAD),
        scores=_test_scores(label),
        lead=(*verdicts(sets, paired, audits=audits), *_not_run(label, sets, audits)),
        notes=tuple(best_note(sets, paired)),
        paired=paired,
    )


def _not_run(label: str, sets: Sequence[Sequence[Row]], audits: Sequence[Record]) -> Iterator[str]:
    """Name the controls without which a latent's score says little, on the test set that pages answer for."""
    absent, alone = not_run(sets[0] if sets else [], audits)
    where = f" on the first of {len(sets)} test sets" if len(sets) > 1 else ""
    if alone is not None:
        audit, r2 = alone.audit, alone.r2
        headline = str(audit.result["verdict"]["headline"]).rstrip(".")
        yield (
            f"The error alone is on record in the audit of {subject(audit)} ({alone.name}): "
            f"R2 {estimate_text(r2, DIGITS)}. It says: {headline}."
        )
    if absent:
        by_itself = f"; {ERROR_ONLY} by itself: {error_command(label)}" if ERROR_ONLY in absent else ""
        yield (
            f"Not run{where}: {', '.join(absent)}; without them the latents' scores cannot be judged "
            f"(probes run and sweep fit them by default, and name the extractions they lack{by_itself})."
        )


def of_label(frame: pd.DataFrame, label: str) -> pd.DataFrame:
    """The rows of one label in table order."""
    return ordered(frame[frame["label"] == label])


def row_cells(row: Row) -> dict[str, Cell]:
    """A frame row with its test R2 as an estimate, or FAILED; and its star counts as one text."""
    return {**row, "test_r2": r2_cell(row), "n": _counts(row)}


def r2_cell(row: Row) -> Value:
    """Test R2 with its interval; FAILED for a failed record, whose error is a footnote; None if it was not scored."""
    if row["status"] != "ok":
        return FAILED
    return None if row["test_r2"] is None else r2_estimate(row)


def state_column(shown: pd.DataFrame) -> tuple[Column, ...]:
    """The state of each row's stores, unless every row is fresh: then a footnote says it once."""
    return (STATE,) if (shown["state"] != FRESH).any() else ()


def present(columns: Sequence[Column], rows: Sequence[Mapping[str, Cell]]) -> tuple[Column, ...]:
    """The columns that hold anything in these rows."""
    return tuple(column for column in columns if any(row.get(column.key) not in (None, "") for row in rows))


def _flat(
    frame: pd.DataFrame,
    sets: Sequence[Sequence[Row]],
    *,
    title: str,
    label: str,
    base: Sequence[Column],
    scores: Sequence[Column],
    notes: Sequence[str],
    lead: tuple[str, ...] = (),
    paired: Comparisons = NOT_COMPARED,
) -> Table:
    shown = settings_frame(frame)
    varying = varying_columns(shown, told_apart_by=[column.key for column in base])
    beside, in_pairs = paired_cells(sets, paired), paired_columns(sets)
    cells = tuple(
        row_cells(row) | dict.fromkeys(column.key for column in in_pairs) | beside.get(row["run_id"], {})
        for row in rows_of(shown)
    )
    rows = _without_unrelated(cells, (*base, *varying))
    optional = present((*in_pairs, PUBLISHED_TEST, PUBLISHED_VAL, FLAGS), rows)
    notes = (*notes, *paired_notes(frame, sets, columns=optional, paired=paired))
    columns = (*base, *varying, *scores, *optional, *state_column(shown))
    return Table(
        title=f"{title} (test split, {_data_kinds(frame)} data)",
        lead=lead,
        columns=columns,
        rows=rows,
        notes=(*notes, *footnotes(shown, columns)) if rows else (f"No rows for {label} here.", *notes),
        tidy=frame,
        emphasis=_emphasis(frame, sets, paired),
    )


def _without_unrelated(
    rows: Sequence[dict[str, Cell]], told_by: Sequence[Column]
) -> tuple[dict[str, Cell], ...]:
    """The rows without what their scores do not depend on, as far as they do not look alike then."""
    bare = [row | dict.fromkeys(UNRELATED.get(str(row["role"]), ())) for row in rows]
    looks = [tuple(row.get(column.key) for column in told_by) for row in bare]
    alike = Counter(looks)
    return tuple(
        short if alike[look] == 1 else row for row, short, look in zip(rows, bare, looks, strict=True)
    )


def _full_scores(label: str) -> tuple[Column, ...]:
    return (
        *_test_scores(label)[:-1],
        Column(key="val_r2", heading="val R2"),
        Column(key="train_r2", heading="train R2"),
        _test_scores(label)[-1],
    )


def _test_scores(label: str) -> tuple[Column, ...]:
    unit = unit_of(label)
    digits = error_digits(unit)
    return (
        Column(key="d", heading="d"),
        TEST_R2,
        Column(key="test_mae", heading="test MAE", unit=unit, digits=digits),
        Column(key="test_rmse", heading="test RMSE", unit=unit, digits=digits),
        Column(key="n", heading="n train/val/test"),
    )


def _best_first(frame: pd.DataFrame, sets: Sequence[Sequence[Row]]) -> pd.DataFrame:
    """Rows by falling test R2, one test set after the other; rows without a score last, in table order."""
    by_run = {run: index for index, run in enumerate(frame["run_id"])}
    ranked = [by_run[row["run_id"]] for rows in sets for row in scored(rows)]
    rest = [index for index in range(len(frame)) if index not in set(ranked)]
    return frame.iloc[[*ranked, *rest]].reset_index(drop=True)


def _emphasis(
    frame: pd.DataFrame, sets: Sequence[Sequence[Row]], paired: Comparisons
) -> frozenset[tuple[int, str]]:
    winners = {
        result.best["run_id"]
        for rows in sets
        if (result := contest(competing(rows), paired)) is not None and result.clear
    }
    return frozenset((index, TEST_R2.key) for index, run in enumerate(frame["run_id"]) if run in winners)


def _counts(row: Row) -> str:
    stars = [row[f"n_{split}"] for split in SPLITS]
    if all(n is None for n in stars):
        return ""
    text = "/".join("-" if n is None else str(n) for n in stars)
    noisy = [row[f"n_rows_{split}"] for split in SPLITS]
    if any(rows not in (None, n) for rows, n in zip(noisy, stars, strict=True)):
        text += f" (rows {'/'.join('-' if n is None else str(n) for n in noisy)})"
    return text


def _data_kinds(frame: pd.DataFrame) -> str:
    return " and ".join(sorted(set(frame["data_kind"]))) or "no"
