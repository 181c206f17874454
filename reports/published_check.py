"""Each published value beside ours: difference, interval, and whether they agree, differ or cannot be compared."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .columns import FINE_TUNED, FRESH_NOISE
from .footnotes import provenance_notes
from .ordering import ordered
from .progress_table import curve_of, has_history
from .published import PUBLISHED, SETTINGS, UNFINISHED, Published
from .published_agreement import AGREES, CANNOT_TELL, DIFFERS, N_TRAIN, NOT_COMPARABLE, Check
from .rows import FRESH, SHORT, Row, rows_of
from .settings import params_of, settings_frame
from .source import Source
from .table import Cell, Column, Estimate, Table
from .tables import STATE
from .vocabulary import LATENT, unit_of

WITHIN = 0.1
"""Train sets of ours whose size is within a tenth of N_TRAIN count as equal: R2 changes by less than its interval."""
WIDTHS: Mapping[str, int] = {"global_mean": 48, "mean_max": 96, "seg_mean_K8": 384}
"""Features of the published encoder (48 channels) by pooling."""
MOCK = "mock data"
LEAK = "LEAK FORCED"
"""How the flag of a record with stars in two splits begins."""
NOTE = (
    "Difference: ours minus published. Its 95 % interval joins ours with one made for the published value, which came "
    "without: by the number of stars it was scored on (1000; train: 100,000), for normal residuals and a uniform "
    "label, R2 +- 1.96 (1 - R2) sqrt(2.8 / n), RMSE +- 1.96 RMSE sqrt(0.5 / n), MAE +- 1.96 MAE sqrt(0.571 / n). Ours "
    "on train and by epoch have no stored interval and get theirs the same way. agrees: the interval holds 0; "
    "cannot tell: it does, but ours is more than twice as wide as the published value's. If both "
    "were scored on the same stars the interval is too wide, so a small difference can be missed. Values of different "
    "splits are never set side by side, and mock numbers are never compared. Not on record, so not checked: whether "
    "our spectra are the group's, of magnitude 21.5, and our encoder theirs."
)


def published_table(source: Source, label: str) -> Table | None:
    """Every published value of a label beside ours; None when no record of ours has such features and head."""
    frame = source.frame
    rows = ordered(
        frame[(frame["label"] == label) & (frame["role"] == LATENT) & (frame["control"] == "none")]
    )
    checks = [
        check
        for value in PUBLISHED
        if value.label == label
        and (value.source != UNFINISHED or (value.split, value.metric) == ("val", "r2"))
        for check in _checks(value, rows, source)
    ]
    used = [check.row["run_id"] for check in checks if check.row is not None]
    if not used:
        return None
    shown = settings_frame(rows[rows["run_id"].isin(used)])
    columns = _columns(stale=any(check.row is not None and check.row["state"] != FRESH for check in checks))
    return Table(
        title=f"{label}: published values (real BOSZ/PFS data) beside ours",
        lead=(_summary(checks),),
        columns=columns,
        rows=tuple(_cells(check) for check in checks),
        notes=(NOTE, *provenance_notes(shown)),
        tidy=pd.DataFrame([_tidy(check, label) for check in checks]),
    )


def _checks(value: Published, rows: pd.DataFrame, source: Source) -> Iterator[Check]:
    """A check for each record that can be compared with a value; else one, with the record that comes nearest."""
    same = (rows["layer"] == value.layer) & (rows["pooling"] == value.pooling) & (rows["head"] == value.head)
    candidates = [_check(value, row, source) for row in rows_of(rows[same])]
    comparable = [check for check in candidates if not check.why]
    if comparable:
        yield from comparable
    elif candidates:
        yield min(candidates, key=lambda check: check.why.count("; "))
    else:
        yield Check(
            published=value, row=None, ours=None, why="no record of ours with these features and head"
        )


def _check(value: Published, row: Row, source: Source) -> Check:
    ours = _ours(value, row, source)
    reasons = list(_reasons(value, row))
    if ours is None and row["status"] == "ok":
        reasons.append(f"ours has no {value.split} {value.metric}{_at(value)}")
    return Check(published=value, row=row, ours=ours, why="; ".join(reasons))


def _ours(value: Published, row: Row, source: Source) -> Estimate | None:
    """Our score of the same split and quantity; of an unfinished run that of the same epoch."""
    if value.source == UNFINISHED:
        return _at_epoch(value, row, source)
    name = f"{value.split}_{value.metric}"
    score = row[name]
    return None if score is None else Estimate(score, row.get(f"{name}_lo"), row.get(f"{name}_hi"))


def _at_epoch(value: Published, row: Row, source: Source) -> Estimate | None:
    there = any(r.run_id == row["run_id"] and "arrays" in r.files for r in source.records)
    arrays = source.arrays(row["run_id"]) if there else {}
    if not has_history(arrays) or "history_val_r2" not in arrays:
        return None
    found = curve_of(arrays, "history_val_r2", row)[np.asarray(arrays["history_epoch"]) == value.epoch]
    return Estimate(float(found[0])) if found.size and np.isfinite(found[0]) else None


def _reasons(value: Published, row: Row) -> Iterator[str]:
    """What makes ours another question than the published one."""
    if row["data_kind"] == "mock":
        yield MOCK
    if row["status"] != "ok":
        yield f"our fit failed: {row['error']}"
    if row["direction"] not in ("forward", "backward"):
        yield f"direction {row['direction']}, published one stream"
    if row["d"] not in (None, WIDTHS[value.pooling]):
        yield f"{row['d']} features, published {WIDTHS[value.pooling]}"
    if row["n_train"] is not None and abs(row["n_train"] / N_TRAIN - 1) > WITHIN:
        yield f"{row['n_train']} train stars, published {N_TRAIN}"
    yield from _other_fit(row)
    yield from _other_settings(value, row)


def _other_fit(row: Row) -> Iterator[str]:
    if row["draws_train"] not in (FRESH_NOISE, "") and "+" in row["draws_train"]:
        yield f"{row['draws_train'].count('+') + 1} noise draws of train, published one"
    if row["fitted_labels"] != row["label"]:
        yield f"fitted with {row['fitted_labels']}, published alone"
    if LEAK in row["flags"]:
        yield "a forced leak"


def _other_settings(value: Published, row: Row) -> Iterator[str]:
    if row["training"] == FINE_TUNED:
        yield "encoder fine-tuned, published frozen"
    if value.head.startswith("mlp") and row["draws_train"] != FRESH_NOISE:
        yield "cached noise draws, published fresh noise in every batch"
    if row["error_input"].lower() != "true":
        yield f"error input {row['error_input'] or 'not recorded'}"
    for name in ("pca", "segments"):
        if row[name]:
            yield f"{name} {row[name]}"
    if row["noise_mode"] not in ("", "draw"):
        yield f"noise {row['noise_mode']}"
    levels = sorted({row[f"noise_level_{split}"] for split in ("train", "val", "test")} - {None, 1})
    if levels:
        yield f"noise level {', '.join(f'{level:g}' for level in levels)}, published 1"
    params: Mapping[str, Any] = params_of(row)
    for name, published in SETTINGS.get(value.head, {}).items():
        if name in params and params[name] != published:
            yield f"{name} {params[name]}, published {published:g}"


def _at(value: Published) -> str:
    return f" at epoch {value.epoch}" if value.source == UNFINISHED else ""


def _summary(checks: list[Check]) -> str:
    counts = Counter(check.verdict for check in checks)
    return (
        "; ".join(f"{counts[name]} {name}" for name in (AGREES, DIFFERS, CANNOT_TELL, NOT_COMPARABLE)) + "."
    )


def _columns(*, stale: bool) -> tuple[Column, ...]:
    left = (
        Column(key="layer", heading="layer", align="left"),
        Column(key="pooling", heading="pooling", align="left"),
        Column(key="head", heading="head", align="left"),
        Column(key="quantity", heading="quantity", align="left"),
    )
    return (
        *left,
        Column(key="published", heading="published", digits=4),
        Column(key="ours", heading="ours (95 % interval)", digits=4),
        Column(key="difference", heading="ours minus published (95 % interval)", digits=4),
        Column(key="verdict", heading="verdict", align="left"),
        Column(key="why", heading="why not comparable", align="left"),
        Column(key="n", heading="n ours"),
        Column(key="run", heading="run", align="left"),
        Column(key="source", heading="published source", align="left"),
        *([STATE] if stale else []),
    )


def _cells(check: Check) -> dict[str, Cell]:
    value, row = check.published, check.row
    unit = "" if value.metric == "r2" else f" [{unit_of(value.label)}]"
    return {
        "layer": value.layer,
        "pooling": value.pooling,
        "head": value.head,
        "quantity": f"{value.split} {'R2' if value.metric == 'r2' else value.metric.upper()}{unit}{_at(value)}",
        "published": value.value,
        "ours": check.ours,
        "difference": check.difference,
        "verdict": check.verdict,
        "why": check.why,
        "n": None if row is None else row[f"n_{value.split}"],
        "run": "" if row is None else row["run_id"][:SHORT],
        "run_id": "" if row is None else row["run_id"],
        "source": value.source,
        "state": "" if row is None else row["state"],
    }


def _tidy(check: Check, label: str) -> dict[str, Any]:
    value, row, ours, difference = check.published, check.row, check.ours, check.difference
    nothing = Estimate(math.nan)
    ours, difference = ours or nothing, difference or nothing
    return {
        "run_id": "" if row is None else row["run_id"],
        "state": "" if row is None else row["state"],
        "label": label,
        "unit": unit_of(label),
        **{name: getattr(value, name) for name in ("layer", "pooling", "head", "split", "metric", "epoch")},
        "direction": "" if row is None else row["direction"],
        "data_kind": "" if row is None else row["data_kind"],
        "quantity_unit": "" if value.metric == "r2" else unit_of(label),
        "published": value.value,
        "ours": ours.value,
        "ours_lo": ours.low,
        "ours_hi": ours.high,
        "difference": difference.value,
        "difference_lo": difference.low,
        "difference_hi": difference.high,
        "verdict": check.verdict,
        "why": check.why,
        "published_source": value.source,
    }
