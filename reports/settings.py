"""Which settings tell the rows of a table apart, and which are the same for all of them."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .columns import FRESH_NOISE, SPLITS
from .names import file_texts
from .rows import SHORT, Row, rows_of
from .table import Column

# Shown as columns where they differ, in a footnote where they do not. Keys are those of `settings_frame`.
VARYING: Mapping[str, str] = {
    "encoder_text": "encoder",
    "data_kind_text": "data",
    "training_text": "training",
    "noise_mode_text": "noise",
    "noise_level_text": "noise level",
    "inputs_text": "data files",
    "rows_test_text": "test rows",
    "kept_test_text": "test rows kept",
    "noise_seed_text": "noise seed",
    "draws_text": "draw",
    "error_input_text": "error input",
    "precision_text": "precision",
    "cross_text": "crossing",
    "train_size_text": "train size",
    "seed_text": "seed",
    "pca_text": "PCA",
    "segments_text": "segments",
    "settings_text": "settings",
    "fitted_labels_text": "fitted",
    "family_text": "family",
}
CACHED = "on stored features"
RUN = "run"
RUN_DIGITS = 8
_TOLD_WHERE_KNOWN = ("rows_test_text", "kept_test_text", "noise_seed_text")
"""What not every record tells: shown only where two records tell different things."""
_FAMILY = "family_text"
_IN_NOTES = (_FAMILY, "encoder_text", "settings_text")
"""What the notes on heads and on origins tell."""
_HEAD_SPECIFIC = ("selection", "probe_version")


def settings_frame(frame: pd.DataFrame, *, by_head: Sequence[str] = ()) -> pd.DataFrame:
    """The frame with the texts of `settings_rows`, same rows."""
    shown = settings_rows(rows_of(frame), by_head=by_head)
    texts = {key: [row[key] for row in shown] for key in (*VARYING, RUN)}
    return pd.concat(
        [
            frame.drop(columns=[key for key in texts if key in frame.columns]),
            pd.DataFrame(texts, index=frame.index, columns=list(texts), dtype="object"),
        ],
        axis=1,
    )


def settings_rows(rows: Sequence[Row], *, by_head: Sequence[str] = ()) -> list[Row]:
    """The rows with every key of VARYING as short text, plus `run`.

    `settings_text` holds what differs between the rows of one head and way of training: its parameters but the seed,
    which has a text of its own, selection rule and version, and the columns named in `by_head`.
    """
    shown = [_shown_settings(row) for row in rows]
    if any(text["training_text"] for text in shown):
        shown = [text | {"training_text": text["training_text"] or CACHED} for text in shown]
    fed = _fed_texts([row["error_input"] for row in rows])
    files = file_texts({row["inputs"]: row["data_files"] for row in rows})
    shown = [
        text | {"error_input_text": fed[row["error_input"]], "inputs_text": files[row["inputs"]]}
        for text, row in zip(shown, rows, strict=True)
    ]
    alike = [key for key in _TOLD_WHERE_KNOWN if len({text[key] for text in shown} - {""}) < 2]
    shown = [text | dict.fromkeys(alike, "") for text in shown]
    own = _settings_by_head(rows, (*_HEAD_SPECIFIC, *by_head))
    return [
        {**row, **text, "settings_text": setting} for row, text, setting in zip(rows, shown, own, strict=True)
    ]


def varying_columns(
    shown: pd.DataFrame, *, told_apart_by: Sequence[str] = (), without: Sequence[str] = ()
) -> tuple[Column, ...]:
    """Columns for the settings that differ between rows of a `settings_frame`; see `varying_of`."""
    used = [name for name in (*VARYING, RUN, *told_apart_by) if name in shown.columns]
    return varying_of(rows_of(shown[used]), told_apart_by=told_apart_by, without=without)


def varying_of(
    rows: Sequence[Row], *, told_apart_by: Sequence[str] = (), without: Sequence[str] = ()
) -> tuple[Column, ...]:
    """Columns for the settings that differ between `settings_rows`.

    With `told_apart_by`, the keys of the other columns, the run id is added if rows would still look alike.
    """
    keys = [key for key in VARYING if key not in without and len({row[key] for row in rows}) > 1]
    if _FAMILY in keys and _told_by_the_others(rows, [key for key in keys if key != _FAMILY]):
        keys.remove(_FAMILY)
    columns = [Column(key=key, heading=VARYING[key], align="left") for key in keys]
    if told_apart_by and len({tuple(row[key] for key in (*told_apart_by, *keys)) for row in rows}) < len(
        rows
    ):
        columns.append(Column(key=RUN, heading="run", align="left"))
    return tuple(columns)


def _told_by_the_others(rows: Sequence[Row], keys: Sequence[str]) -> bool:
    """Whether the other settings already tell the families apart, as another error input does."""
    return len({tuple(row[key] for key in keys) for row in rows}) == len(
        {tuple(row[key] for key in (*keys, _FAMILY)) for row in rows}
    )


def _fed_texts(values: Sequence[str]) -> dict[str, str]:
    """By error input its kind ('from-noisy'), with the first digits of what it was made from only where several are."""
    parts = {value: value.partition(":") for value in values}
    kinds = [kind for kind, _, _ in parts.values()]
    return {
        value: kind if kinds.count(kind) == 1 else f"{kind}{colon}{rest[:SHORT]}"
        for value, (kind, colon, rest) in parts.items()
    }


def constant_note(shown: pd.DataFrame, columns: Sequence[Column], *, covered: Sequence[str] = ()) -> str:
    """What holds for all rows of a table, and where a setting goes with a head rather than with a row.

    `covered` are settings that a table shows otherwise than in a column of their own.
    """
    there = {column.key for column in columns} | set(covered)
    texts = []
    for key, heading in VARYING.items():
        values = list(shown[key].unique())
        if key in there or key in _IN_NOTES or values == [""]:
            continue
        if len(values) == 1:
            texts.append(f"{heading} {values[0]}")
        else:
            pairs = shown[["head", key]].drop_duplicates().itertuples(index=False)
            texts.append(f"{heading} " + ", ".join(f"{value or 'none'} ({head})" for head, value in pairs))
    return f"All rows: {'; '.join(texts)}."


def head_note(frame: pd.DataFrame) -> str:
    """The parameters of each head as recorded, one set after the other."""
    pairs = dict.fromkeys(zip(frame["head"].tolist(), frame["params"].tolist(), strict=True))
    texts = [f"{head} ({_assignments(json.loads(params)) or 'no parameters'})" for head, params in pairs]
    return f"Heads: {'; '.join(texts)}."


def variant_of(row: Row) -> str:
    """A head with what sets it apart from other fits of the same head, e.g. 'ridge (alpha=10)'."""
    return f"{row['head']} ({row['settings_text']})" if row["settings_text"] else str(row["head"])


def _shown_settings(row: Row) -> dict[str, str]:
    size = row["train_size"]
    return {
        "data_kind_text": row["data_kind"],
        "training_text": row["training"],
        "noise_level_text": per_split(
            {s: f"{row[k]:g}" for s in SPLITS if row[k := f"noise_level_{s}"] is not None}
        ),
        "draws_text": per_split({s: draws_text(row[k]) for s in SPLITS if row[k := f"draws_{s}"]}),
        "error_input_text": row["error_input"],
        "precision_text": row["precision"],
        "noise_mode_text": row["noise_mode"],
        "rows_test_text": row["rows_test"],
        "kept_test_text": row["kept_test"][:SHORT],
        "noise_seed_text": "" if row["noise_seed"] is None else str(row["noise_seed"]),
        "cross_text": row["cross"],
        "train_size_text": "all" if size is None else str(size),
        "seed_text": "" if row["seed"] is None else str(row["seed"]),
        "pca_text": row["pca"],
        "segments_text": row["segments"],
        "fitted_labels_text": _fitted(row),
        "encoder_text": row["encoder"],
        "family_text": row["family"][:SHORT],
        RUN: row["run_id"][:RUN_DIGITS],
    }


def n_draws(row: Row) -> float:
    """Number of cached noise draws of each train star that a row was fitted to; infinite for fresh noise."""
    return math.inf if row["draws_train"] == FRESH_NOISE else float(row["draws_train"].count("+") + 1)


def draws_text(joined: str) -> str:
    """'0+1+2+3' as '0-3'; anything but successive numbers as it is."""
    numbers = joined.split("+")
    first, last = numbers[0], numbers[-1]
    if len(numbers) < 3 or not (first.isdecimal() and last.isdecimal()):
        return joined
    return f"{first}-{last}" if numbers == [str(n) for n in range(int(first), int(last) + 1)] else joined


def _fitted(row: Row) -> str:
    together: str = row["fitted_labels"]
    return "alone" if together == row["label"] else f"jointly ({together})"


def _settings_by_head(rows: Sequence[Row], extra: Sequence[str]) -> list[str]:
    full = [{**unseeded(row), **{key: row[key] for key in extra}} for row in rows]
    seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row, own in zip(rows, full, strict=True):
        variants = seen.setdefault((row["head"], row["training"]), [])
        if own not in variants:
            variants.append(own)
    return [
        _assignments(
            {
                name: value
                for name, value in own.items()
                if _differs(name, seen[(row["head"], row["training"])])
            }
        )
        for row, own in zip(rows, full, strict=True)
    ]


def _differs(name: str, variants: Sequence[Mapping[str, Any]]) -> bool:
    first = variants[0]
    return any((name in v) != (name in first) or v.get(name) != first.get(name) for v in variants)


def params_of(row: Row) -> dict[str, Any]:
    """The parameters of a row's head as recorded."""
    return dict(json.loads(row["params"] or "{}"))


def unseeded(row: Row) -> dict[str, Any]:
    """The same without the seed where it is that of the row."""
    return {name: value for name, value in params_of(row).items() if (name, value) != ("seed", row["seed"])}


def without_seed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters but for the seed, whatever it is."""
    return {name: value for name, value in params.items() if name != "seed"}


def _assignments(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in sorted(values.items())
    )


def per_split(values: Mapping[str, str]) -> str:
    """One value when the splits agree, else 'train a, val b, test c'."""
    if len(set(values.values())) <= 1:
        return next(iter(values.values()), "")
    return ", ".join(f"{split} {value}" for split, value in values.items())
