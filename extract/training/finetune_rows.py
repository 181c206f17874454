"""Which rows of each split a training uses: the first so many, without those that lack a label where that is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbeError
from cache.provenance import selection_of

from ..choices import DROP, FAIL
from ..prepare import Prepared
from .finetune import check_enough

Rows = NDArray[np.int64]
Float64s = NDArray[np.float64]

HELD_OUT = ("val", "test")


@dataclass(frozen=True, kw_only=True)
class ChosenRows:
    """Rows (n,) of the file by split, ascending.

    `missing_labels` is `drop` where rows are left out for want of a label, and then `kept` tells of val and test how
    many have all labels, and which (`all`, or a digest), before `--num-test-samples` takes the first of them.
    """

    rows: Mapping[str, Rows]
    missing_labels: str = FAIL
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_spec(self) -> dict[str, Any]:
        """What the spec says of it: nothing where no row is left out, as it was before rows could be."""
        return {"missing_labels": DROP} if self.missing_labels == DROP else {}

    def for_result(self) -> dict[str, Any]:
        """What the result says of it."""
        return {"kept": {split: dict(told) for split, told in self.kept.items()}} if self.kept else {}


def choose_rows(
    prepared: Prepared, labels: Sequence[str], n_rows: Mapping[str, int | None], *, missing: str = FAIL
) -> ChosenRows:
    """The first n_rows (None: all) of the good rows of each split; with `missing` `drop`, of those with all labels.

    Where none of the rows that would be used lacks a label, `drop` chooses as `fail` does. Raises MissingLabel where
    too few rows of a split have the labels; `fail` looks at no label.
    """
    good = {split: known.kept for split, known in prepared.fingerprints.items() if split in prepared.spectra}
    first = {split: rows[: n_rows.get(split)] for split, rows in good.items()}
    if missing != DROP:
        return ChosenRows(rows=first)
    whole = {split: _whole(prepared, split, rows, labels) for split, rows in good.items()}
    chosen = {split: rows[: n_rows.get(split)] for split, rows in whole.items()}
    if all(np.array_equal(chosen[split], first[split]) for split in first):
        return ChosenRows(rows=first)
    kept = {
        split: {
            "n": len(whole[split]),
            "selection": selection_of(whole[split], len(good[split])),
        }
        for split in HELD_OUT
    }
    return ChosenRows(rows=chosen, missing_labels=DROP, kept=kept)


def _whole(prepared: Prepared, split: str, rows: Rows, labels: Sequence[str]) -> Rows:
    """Those of `rows` that have every label."""
    finite = np.asarray(np.isfinite(_stored(prepared, split, rows, labels)).all(axis=1))
    check_enough(labels, finite, split=split)
    return rows[finite]


def labels_of(prepared: Prepared, split: str, rows: Rows, labels: Sequence[str]) -> Float64s:
    """The labels (n, t) of rows (n,) that are trained on or scored.

    Raises ProbeError for a label that is not finite, or of one value where it is scored.
    """
    values = _stored(prepared, split, rows, labels)
    for name, column in zip(labels, values.T, strict=True):
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise ProbeError(
                f"label {name!r} is missing (NaN or inf) in {bad.size} of {column.size} rows of split {split!r} "
                f"(first rows: {rows[bad[:5]].tolist()}); train on another label, or leave those rows out of training "
                "and scores with --missing-labels drop (make: MISSING=drop)"
            )
        if np.ptp(column) == 0 and split in HELD_OUT:
            raise ProbeError(
                f"label {name!r} has one value in all of {split}: R2 is not defined there; train on another label"
            )
    return values


def _stored(prepared: Prepared, split: str, rows: Rows, labels: Sequence[str]) -> Float64s:
    return np.stack([prepared.spectra[split].labels(name)[rows] for name in labels], axis=1)
