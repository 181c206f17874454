"""Result records as one tidy frame: one row per record and label, nothing averaged, nothing left out."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cache.freshness import STALE
from cache.provenance import KEY_DIGITS
from cache.records import Record

from .columns import COLUMNS, DRAWN, FINE_TUNED, FROZEN, INTERVAL_SPLITS, SPLITS, TEXT
from .names import Names
from .published_beside import published_beside
from .vocabulary import role_of, unit_of

FRESH = "fresh"
SHORT = 12
SCORED_KINDS = ("probe", "finetune")
"""Kinds of records that score a head, so that they are rows: on stored features, or end to end."""

StoreState = Callable[[str, str | None], str]
"""State ('fresh', 'missing', 'changed', 'forbidden') of the store with this key and the digest the record saw."""
Row = dict[str, Any]


def frame_of(records: Sequence[Record], state: StoreState) -> pd.DataFrame:
    """Rows of every record of SCORED_KINDS, columns COLUMNS; missing text is '', a missing number is NA.

    Other kinds have tables of their own and are not rows. A failed record has a row per label asked for, with its
    error and without scores. `training` is '' for heads fitted to stored features.
    """
    names = Names(records)
    rows = [
        row
        for record in records
        if record.kind in SCORED_KINDS
        for row in _rows_of_record(record, state, names)
    ]
    _number_by_age(rows)
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=dtype).fillna(
                "" if dtype == TEXT else pd.NA
            )
            for name, dtype in COLUMNS.items()
        }
    )


def _number_by_age(rows: Sequence[Row]) -> None:
    """Give each row `age_test`: how many data files of test, among rows of its label, have newer records than its own.

    A number in place of a time, so that reports depend on the order alone in which files came into use.
    """
    newest: dict[str, dict[str, str]] = {}
    for row in rows:
        of_label = newest.setdefault(row["label"], {})
        of_label[row["input_test"]] = max(of_label.get(row["input_test"], ""), row["time"])
    for row in rows:
        of_label = newest[row["label"]]
        row["age_test"] = sum(time > of_label[row["input_test"]] for time in of_label.values())


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as plain dicts, in order; missing numbers are None."""
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in objects_of(frame).tolist()]


def objects_of(frame: pd.DataFrame) -> np.ndarray[tuple[int, int], np.dtype[np.object_]]:
    """All values of a frame as plain objects, None where missing; ten times as fast as asking pandas for rows."""
    return frame.to_numpy(dtype=object, na_value=None)  # type: ignore[arg-type]  # the stubs forget None


def stores_of(record: Record) -> list[tuple[str, str, str | None]]:
    """(split, key, digest seen) of every store a record was made from, in order of split and key."""
    seen: Mapping[str, str] = record.result.get("stores") or {}
    return [
        (split, key, seen.get(key))
        for split, keys in sorted((record.spec.get("stores") or {}).items(), key=_split_rank)
        for key in sorted(keys)
    ]


def _split_rank(item: tuple[str, Any]) -> tuple[int, str]:
    return (SPLITS.index(item[0]) if item[0] in SPLITS else len(SPLITS), item[0])


def _rows_of_record(record: Record, state: StoreState, names: Names) -> Iterator[Row]:
    spec, result = record.spec, record.result
    inputs: Mapping[str, Sequence[str]] = spec.get("inputs") or {}
    common = _identity(record) | {
        "status": result["status"],
        "error": result.get("error"),
        "state": _states(record, state),
        "stores": " ".join(
            f"{s}:{key[:KEY_DIGITS]}={(digest or 'not recorded')[:SHORT]}"
            for s, key, digest in stores_of(record)
        ),
        "weights": _text(result.get("weights")),
        "encoder": names.encoder(_text(result.get("weights"))),
        "data_files": names.files(inputs),
        "file_test": names.file(inputs.get("test") or ()),
        "interval_method": result.get("interval_method"),
        "chosen": _text(result.get("chosen")),
        "d": result.get("d"),
        **{f"n_{split}": n for split, n in (result.get("n") or {}).items()},
        **{f"n_rows_{split}": n for split, n in (result.get("n_rows") or {}).items()},
    }
    for label in spec["labels"]:
        flags = flags_of(result.get("flags") or [], label, spec["labels"])
        row = {**common, "label": label, "unit": unit_of(label), "flags": flags, **_scores(result, label)}
        yield row | published_beside(row, spec)


def _identity(record: Record) -> Row:
    spec = record.spec
    features = spec.get("features") or {}
    parts: Sequence[Mapping[str, str]] = features.get("parts") or []
    return {
        "run_id": record.run_id,
        "time": _text(record.run.get("time")),
        "kind": record.kind,
        "role": role_of(spec["control"], [part["layer"] for part in parts]),
        **{name: _joined([part[name] for part in parts]) for name in ("layer", "direction", "pooling")},
        "pca": _text(features.get("pca")),
        "segments": _text(features.get("segments")),
        "params": _text(spec.get("params") or {}),
        "fitted_labels": " ".join(spec["labels"]),
        "training": _training(record),
        "error_input": _fed(spec),
        "precision": spec.get("precision", "fp32"),
        "noise_mode": _text(spec.get("noise_mode")),
        "inputs": _inputs(spec),
        "input_test": "+".join((spec.get("inputs") or {}).get("test") or []),
        "rows_test": _rows_test(record),
        "kept_test": _kept(record).get("selection", ""),
        **{f"draws_{split}": "+".join(map(str, draws)) for split, draws in (spec.get("draws") or {}).items()},
        "cross": ", ".join(spec.get("cross") or []),
        "group": _text(spec.get("group")),
        **{f"noise_level_{split}": level for split, level in (spec.get("noise_levels") or {}).items()},
        **{
            name: spec.get(name)
            for name in (
                "head",
                "control",
                "data_kind",
                "selection",
                "family",
                "train_size",
                "seed",
                "probe_version",
            )
        },
        "noise_seed": _noise_seed(record),
    }


def _fed(spec: Mapping[str, Any]) -> str:
    """What the error channel was fed, in train and, where that was crossed, in test."""
    fed, test = _text(spec["error_input"]), spec.get("test_error_input")
    return fed if test is None else f"{fed.partition(':')[0]}, tested on {test}"


def _noise_seed(record: Record) -> int | None:
    """Seed of the noise drawn, which the spec of a probe leaves out where it is 0; None where none is known."""
    untold = 0 if record.kind == "probe" and record.spec.get("noise_mode") == DRAWN else None
    seed: int | None = record.spec.get("noise_seed", untold)
    return seed


def _rows_test(record: Record) -> str:
    """Which rows of test were scored: '500' (all kept), 'first 50'; '' where a failed record tells neither."""
    first, kept = record.spec.get("test_size"), _kept(record).get("n")
    if first is not None and (kept is None or first < kept):
        return f"first {first}"
    return _text((record.result.get("n_rows") or {}).get("test"))


def _kept(record: Record) -> Mapping[str, Any]:
    """What an end-to-end record says of the kept rows of test: `n`, and `selection`, 'all' or a digest.

    So does the result of a probe or a training that leaves out rows without a label.
    """
    return (record.result.get("kept") or record.spec.get("rows") or {}).get("test") or {}


def _training(record: Record) -> str:
    """How the encoder took part: '' for stored features, else frozen or trained along."""
    if record.kind == "probe":
        return ""
    return FROZEN if record.spec["params"]["freeze_encoder"] else FINE_TUNED


def _scores(result: Mapping[str, Any], label: str) -> Row:
    scores: Row = {}
    for split in SPLITS:
        for metric, value in ((result.get("scores") or {}).get(split, {}).get(label) or {}).items():
            scores[f"{split}_{metric}"] = value
    for split in INTERVAL_SPLITS:
        ends = (result.get("intervals") or {}).get(split, {}).get(label) or {}
        for metric, pair in ends.items():
            if pair is not None:
                scores[f"{split}_{metric}_lo"], scores[f"{split}_{metric}_hi"] = pair
    return scores


def flags_of(flags: Sequence[str], label: str, labels: Sequence[str]) -> str:
    """The flags of a record that concern one of its labels: those that end in another label's name do not."""
    others = tuple(f" ({other})" for other in labels if other != label)
    return ", ".join(sorted(flag for flag in flags if not flag.endswith(others)))


def _inputs(spec: Mapping[str, Any]) -> str:
    """The data files of each split, by the first digits of their digest."""
    return ", ".join(
        f"{split} {'+'.join(digest[:SHORT] for digest in digests)}"
        for split, digests in sorted((spec.get("inputs") or {}).items(), key=_split_rank)
    )


def _states(record: Record, state: StoreState) -> str:
    """'fresh', or what is wrong with how many of the stores: 'stale: 1 of 3 missing'."""
    states = [state(key, digest) for _, key, digest in stores_of(record)]
    if not states:
        return "no store named"
    wrong = not_fresh(states)
    return f"stale: {', '.join(wrong)}" if wrong else FRESH


def not_fresh(states: Sequence[str]) -> list[str]:
    """How many stores stand so, for each way in which they are not fresh: '1 of 3 missing'."""
    return [f"{states.count(name)} of {len(states)} {name}" for name in STALE if name in states]


def _text(value: Any) -> str:
    """A string as it is, None as '', anything else as sorted JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, sort_keys=True)


def _joined(names: Sequence[str]) -> str:
    """One name when all parts share it, else all of them in the order of the parts."""
    return names[0] if len(set(names)) == 1 else " + ".join(names)
