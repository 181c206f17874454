"""The rows of a split, features and labels joined, with or without those that lack a label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cache import label_markers
from cache.errors import MissingLabel, ProbeError, did_you_mean
from cache.stars import count_stars

from .features import FeaturePart, load_features
from .splits import SPLITS, Views, check_enough
from .views import Array, FeatureView, draw_of

FAIL, DROP = "fail", "drop"
MISSING_LABELS = (FAIL, DROP)
"""What becomes of rows without a finite label: the probe fails, or they take no part in it."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The rows of one split, ready to fit or score: X (n, d), y (n, t) float64, the rest (n,)."""

    split: str
    X: Array
    y: Array
    rows: Array
    stars: Array
    draws: Array
    stored: dict[str, Array]
    """Every stored label."""

    @property
    def n_stars(self) -> int:
        """Number of different stars."""
        return count_stars(self.stars)

    def where(self, rows: Array | slice) -> "Sample":
        """The rows named by a mask, by positions (in their order), or by a slice (without a copy)."""
        return Sample(
            split=self.split,
            X=self.X[rows],
            y=self.y[rows],
            rows=self.rows[rows],
            stars=self.stars[rows],
            draws=self.draws[rows],
            stored={name: values[rows] for name, values in self.stored.items()},
        )


def load_sample(
    views: Sequence[FeatureView],
    parts: Sequence[FeaturePart],
    *,
    labels: Sequence[str],
    split: str,
    segments: Sequence[int] | None = None,
    missing: str = FAIL,
) -> Sample:
    """Join features and labels of one split; several views (draws, file lists) are stacked in the order given.

    With `missing` `drop` rows without a finite value of each of the labels are left out. Raises ProbeError when a
    label is absent or not finite, naming label, split and first rows, and MissingLabel where too few rows are left.
    """
    names = list(dict.fromkeys(name for view in views for name in view.label_names))
    y = np.concatenate([load_labels(view, labels, missing=missing) for view in views])
    X = [load_features(view, parts, segments=segments) for view in views]
    widths = {block.shape[1] for block in X}
    if len(widths) > 1:
        raise ProbeError(f"split {split!r}: its stores have different numbers of features {sorted(widths)}")
    sample = Sample(
        split=split,
        X=X[0] if len(X) == 1 else np.concatenate(X),
        y=y,
        rows=np.concatenate([view.rows for view in views]),
        stars=np.concatenate([view.stars for view in views]),
        draws=np.repeat([draw_of(view) for view in views], [view.rows.size for view in views]),
        stored={
            name: np.concatenate(
                [
                    view.labels(name) if name in view.label_names else np.full(view.rows.size, np.nan)
                    for view in views
                ]
            )
            for name in names
        },
    )
    whole = np.isfinite(y).all(axis=1)
    if whole.all():
        return sample
    check_enough(labels, whole, split=split)
    return sample.where(whole)


def load_samples(
    views: Views,
    parts: Sequence[FeaturePart],
    *,
    labels: Sequence[str],
    segments: Sequence[int] | None = None,
    missing: str = FAIL,
) -> dict[str, Sample]:
    """The sample of every split that has views, as `load_sample` joins it."""
    return {
        split: load_sample(
            views[split], parts, labels=labels, split=split, segments=segments, missing=missing
        )
        for split in SPLITS
        if views.get(split)
    }


def check_label_names(view: FeatureView, labels: Sequence[str]) -> None:
    """Raise ProbeError for a label that a view does not have."""
    for name in labels:
        if name not in view.label_names:
            raise ProbeError(
                f"split {view.split!r} has no label {name!r}; it has: {', '.join(view.label_names) or 'none'}"
                f"{did_you_mean(name, view.label_names)}"
            )


def load_labels(view: FeatureView, labels: Sequence[str], *, missing: str = FAIL) -> Array:
    """The labels asked for, (n, t) float64; ProbeError when one is absent.

    MissingLabel where one is not finite, unless `missing` is `drop`, and where one holds a number such as -999 that
    marks what is missing (`cache.label_markers`).
    """
    check_label_names(view, labels)
    columns: list[Array] = []
    for name in labels:
        values = np.asarray(view.labels(name), dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size and missing != DROP:
            rows = view.rows[bad[:5]].tolist()
            raise MissingLabel(
                f"label {name!r} is missing (NaN or inf) in {bad.size} of {values.size} rows of split "
                f"{view.split!r} (first rows: {rows}); probe another label, or leave those rows out "
                "of fits and scores with --missing-labels drop (make: MISSING=drop)"
            )
        marked = label_markers.told(values, view.rows)
        if marked is not None:
            raise MissingLabel(f"split {view.split!r}: label {name!r} {marked}")
        columns.append(values)
    return np.stack(columns, axis=1) if columns else np.empty((view.rows.size, 0))
