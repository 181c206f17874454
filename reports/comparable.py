"""Test sets: which rows were scored on the same stars and noise, how they are named, and which set leads."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from cache.grouping import grouped

from .columns import FINE_TUNED
from .rows import Row, rows_of
from .settings import settings_rows, varying_of
from .vocabulary import LATENT, MEAN_PREDICTOR

UNTOLD: Mapping[str, object] = {"rows_test": "", "kept_test": "", "noise_seed": None}
"""Columns of TEST_SET that not every record tells, and what stands there then.

A failed record has no number of rows, a probe names its selection of rows by its stores alone; the seed of the noise is
not told by older end-to-end records, and there is none where no noise is drawn.
"""
TEST_SET = ("label", "data_kind", "input_test", "noise_mode", "noise_level_test", "draws_test", *UNTOLD)
"""Columns of the frame that say what a row was scored on; rows that differ in one are never ranked together."""


def comparable_rows(frame: pd.DataFrame) -> list[list[Row]]:
    """Rows that can be compared: equal in every column of TEST_SET; in order of appearance.

    A column that a record does not tell parts no rows: such a row joins the largest set that agrees otherwise.

    Each row carries `name`: itself in words, with the settings that tell it from others of the same features and head.
    """
    rows = _named(rows_of(frame))
    sizes = Counter(map(_key, rows))
    return list(grouped(rows, lambda row: _joined(_key(row), sizes)).values())


def _key(row: Row) -> tuple[object, ...]:
    """What a row was scored on, None for what its record does not tell."""
    return tuple(
        None if name in UNTOLD and row[name] == UNTOLD[name] else str(row[name]) for name in TEST_SET
    )


def same_test_set(row: Row, other: Row, *, without: Sequence[str] = ()) -> bool:
    """Whether two rows were scored on the same, as far as both tell it; columns of TEST_SET in `without` may differ."""
    told = [name for name in TEST_SET if name not in without]
    untold = {name: (UNTOLD[name],) for name in told if name in UNTOLD}
    return all(
        row[name] == other[name] or not {row[name], other[name]}.isdisjoint(untold.get(name, ()))
        for name in told
    )


def _joined(key: tuple[object, ...], sizes: Mapping[tuple[object, ...], int]) -> tuple[object, ...]:
    """The key of the set that a row stands in: its own where it tells all, else that of the largest that tells more."""
    n_told = sum(value is not None for value in key)
    fuller = {
        other: size
        for other, size in sizes.items()
        if sum(value is not None for value in other) > n_told
        and all(value is None or value == theirs for value, theirs in zip(key, other, strict=True))
    }
    return _joined(max(fuller, key=lambda other: fuller[other]), sizes) if fuller else key


def ranked_sets(frame: pd.DataFrame) -> list[list[Row]]:
    """The sets of `comparable_rows`, that which pages and figures answer for first.

    Sets with scored latent rows before those without, real data before mock, then the noise level nearest 1, then what
    no newer set replaces (`replaced_by`), then the most latent rows, then the newest records.
    """
    sets = comparable_rows(frame)
    scored = [rows[0] for rows in sets if plain_latents(rows)]
    return sorted(
        sets, key=lambda rows: _rank(rows, replaced=any(replaced_by(rows[0], row) for row in scored))
    )


def replaced_by(row: Row, other: Row) -> bool:
    """Whether a row of another test set was scored on a newer file of the same name, as after a correction in place."""
    alike = row["file_test"] and (row["file_test"], row["data_kind"]) == (
        other["file_test"],
        other["data_kind"],
    )
    return bool(alike and row["input_test"] != other["input_test"] and row["age_test"] > other["age_test"])


def _rank(
    rows: Sequence[Row], *, replaced: bool
) -> tuple[bool, bool, float, bool, int, int, tuple[str, ...]]:
    n_latents = len(plain_latents(rows))
    first = rows[0]
    level = 1.0 if first["noise_level_test"] is None else float(first["noise_level_test"])
    names = tuple(str(first[name]) for name in TEST_SET)
    return (
        n_latents == 0,
        first["data_kind"] != "real",
        abs(level - 1),
        replaced,
        -n_latents,
        first["age_test"],
        names,
    )


def plain_latents(rows: Sequence[Row]) -> list[Row]:
    """Scored latent rows fed the true error and tested as trained; any scored latent row where there is none.

    A fine-tuned encoder is no frozen one, so its rows are left out wherever there are others.
    """
    scores = [row for row in rows if row["role"] == LATENT and row["test_r2"] is not None]
    return plain([row for row in scores if row["training"] != FINE_TUNED] or scores)


def plain(rows: Sequence[Row]) -> list[Row]:
    """The rows fed the true error and tested as trained; all where there is none."""
    return [row for row in rows if row["error_input"].lower() == "true" and not row["cross"]] or list(rows)


def best_on_val(rows: Sequence[Row]) -> Row | None:
    """The row with the highest val R2, of equal ones the first by run id: test chooses nothing, nor does the order.

    Only rows of one noise level of val compete (`level_rivals`): less noise gives a higher val R2 to any row.
    """
    ranked = level_rivals([row for row in rows if row["val_r2"] is not None])
    return min(ranked, key=lambda row: (-float(row["val_r2"]), str(row["run_id"])), default=None)


def level_rivals(rows: Sequence[Row]) -> list[Row]:
    """The rows whose noise level of val is nearest to that of test; of two as near the lower one.

    A level that a record does not tell is taken for that of test.
    """

    def beyond_test(row: Row) -> float:
        val, test = row["noise_level_val"], row["noise_level_test"]
        return 0.0 if val is None or test is None else float(val) - float(test)

    nearest = min(map(beyond_test, rows), key=lambda step: (abs(step), step), default=0.0)
    return [row for row in rows if beyond_test(row) == nearest]


def val_of(row: Row | None) -> float:
    """Val R2 of a row, lowest of all where there is none."""
    return -math.inf if row is None or row["val_r2"] is None else float(row["val_r2"])


def _named(rows: Sequence[Row], *, without: Sequence[str] = ()) -> list[Row]:
    """All rows, each with `name`: in words, with those settings but `without` that tell it from its like."""
    shown = settings_rows(rows)
    for row in shown:
        row["name"] = name_of(row)
    for same in grouped(shown, lambda row: row["name"]).values():
        columns = [column for column in varying_of(same) if column.key not in without]
        for row in same:
            differing = [f"{column.heading} {row[column.key]}" for column in columns if row[column.key]]
            row["name"] = ", ".join([row["name"], *differing])
    return shown


def names_without_seed(frame: pd.DataFrame) -> dict[str, str]:
    """By run id, a row in words, for what is said of several seeds together."""
    return {row["run_id"]: row["name"] for row in _named(rows_of(frame), without=("seed_text",))}


def name_of(row: Row) -> str:
    """A row in words: 'enc_last / seg_mean_K8 / forward / ridge', after its role unless it is a latent.

    The mean predictor is its role alone: it looks at no feature.
    """
    if row["role"] == MEAN_PREDICTOR:
        return MEAN_PREDICTOR
    parts = [row[key] for key in ("layer", "pooling", "direction", "head") if row[key]]
    path = " / ".join(parts)
    return path if row["role"] == LATENT else f"{row['role']} ({path})"
