"""Which records predict the same labels of the same test rows, so that they can be compared."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache.canonical import canonical_json
from cache.records import Record, prediction_columns

from .bootstrap import Array

SAME = 1e-5
"""Share of the spread of a label by which two constants may differ and be one."""
PREDICTING = ("probe", "finetune")
"""Kinds of records that predict labels of test rows."""
BIN_BY = ("snr", "mag")

ReadPredictions = Callable[[str], Mapping[str, Array]]


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """The rows on which records were scored, (n,) each, and what names them."""

    label: str
    about: Mapping[str, Any]
    rows: Array
    stars: Array
    y: Array
    stored: Mapping[str, Array]
    """What they are binned by, as far as it is stored and finite."""


@dataclass(frozen=True, kw_only=True)
class Comparable:
    """Records with their predictions (n, m) of the same rows, in order of run id."""

    rows: ScoredRows
    records: tuple[Record, ...]
    y_hat: Array


def comparable(
    records: Sequence[Record], predictions: ReadPredictions, *, least: int = 2
) -> Iterator[Comparable]:
    """Groups of `least` records or more that predict the same labels of the same rows of test.

    They share label, data, noise and draw of test, the columns by which tables tell test sets apart, and every row
    with its star and label. Records with shuffled labels predict other labels, so they are never paired; nor are those
    without a score or without predictions. `predictions` reads those of a run id.
    """
    groups: dict[str, list[tuple[Record, ScoredRows, Array]]] = {}
    for record in sorted(records, key=lambda r: r.run_id):
        if (
            record.kind not in PREDICTING
            or "predictions" not in record.files
            or record.spec["control"] == "shuffled_labels"
        ):
            continue
        columns = predictions(record.run_id)
        for label, names in zip(
            record.spec["labels"], prediction_columns(record.spec["labels"]), strict=True
        ):
            if record.result["scores"]["test"][label]["r2"] is None:
                continue
            rows, y_hat = _test_rows(record, label, columns, *names)
            groups.setdefault(canonical_json([label, rows.about]), []).append((record, rows, y_hat))
    for members in groups.values():
        if len(members) >= least:
            yield Comparable(
                rows=members[0][1],
                records=tuple(record for record, _, _ in members),
                y_hat=np.stack([y_hat for _, _, y_hat in members], axis=1),
            )


def without_repeats(found: Comparable) -> Comparable:
    """The same without mean predictors of a constant that one before them predicts.

    The spec of a mean predictor names the features beside which it was fitted, so each request for other features has
    a record of its own; compared with one another they would only lengthen the family of pairs.
    """
    kept: list[int] = []
    constants: list[float] = []
    apart = SAME * float(np.std(found.rows.y))
    for place, record in enumerate(found.records):
        if record.spec["control"] == "mean_predictor":
            constant = float(found.y_hat[0, place])
            if any(abs(constant - other) <= apart for other in constants):
                continue
            constants.append(constant)
        kept.append(place)
    if len(kept) == len(found.records):
        return found
    return replace(found, records=tuple(found.records[k] for k in kept), y_hat=found.y_hat[:, kept])


def _test_rows(
    record: Record, label: str, columns: Mapping[str, Array], truth: str, prediction: str
) -> tuple[ScoredRows, Array]:
    """The rows of test in order of row and draw, and their predictions."""
    test = np.flatnonzero(columns["split"] == "test")
    test = test[np.lexsort((columns["draw"][test], columns["row"][test]))]
    y = np.asarray(columns[truth][test], dtype=np.float64)
    stars = np.asarray(columns["star"][test]).astype(np.uint64)
    digest = hashlib.sha256()
    for values in (columns["row"][test], columns["draw"][test]):
        digest.update(np.asarray(values).astype("<i8").tobytes())
    digest.update(stars.astype("<u8").tobytes() + y.astype("<f8").tobytes())
    spec = record.spec
    about = {
        "data_kind": spec["data_kind"],
        "input": (spec.get("inputs") or {}).get("test"),
        "noise_mode": spec.get("noise_mode"),
        "noise_level": spec["noise_levels"]["test"],
        **({"noise_seed": spec["noise_seed"]} if spec.get("noise_seed") else {}),
        "draws": spec["draws"]["test"],
        "rows": digest.hexdigest(),
    }
    stored = {name: np.asarray(columns[name][test]) for name in BIN_BY if name in columns and name != label}
    rows = ScoredRows(
        label=label,
        about=about,
        rows=np.asarray(columns["row"][test]).astype(np.int64),
        stars=stars,
        y=y,
        stored={name: values for name, values in stored.items() if np.isfinite(values).all()},
    )
    return rows, np.asarray(columns[prediction][test], dtype=np.float64)
