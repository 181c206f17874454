"""Rows that differ in one thing that a sweep varies: training size, noise draws, principal axes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .comparable import val_of
from .drawn import names_apart
from .rows import Row
from .settings import n_draws
from .vocabulary import MEAN_PREDICTOR, SHUFFLED_LABELS

_IDENTITY = (
    "kind",
    "training",
    "role",
    "layer",
    "pooling",
    "direction",
    "head",
    "params",
    "error_input",
    "fitted_labels",
    "control",
    "family",
    "weights",
    "inputs",
    "selection",
)
"""No noise level is part of `family`, no training size part of `inputs`: both are what a sweep may vary."""
_SETTINGS = ("train_size", "draws_train", "pca", "segments", "noise_level_train", "noise_level_test", "cross")


@dataclass(frozen=True, kw_only=True)
class Series:
    """Rows that differ in one thing, with what it is in each, ascending."""

    name: str
    x: tuple[float, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a sweep varies: how a row tells it (None: it does not), its name and words for one and several."""

    value: Callable[[Row], float | None]
    name: str
    word: str
    words: str
    varied: tuple[str, ...]


SIZE = Axis(
    value=lambda row: None if row["n_train"] is None else float(row["n_train"]),
    name="training stars (number)",
    word="training star",
    words="training stars",
    varied=("train_size",),
)
DRAWS = Axis(
    value=lambda row: n if row["draws_train"] and math.isfinite(n := n_draws(row)) else None,
    name="noise draws of each training star (number)",
    word="noise draw",
    words="noise draws",
    varied=("draws_train",),
)
AXES = Axis(
    value=lambda row: float(row["pca"]) if row["pca"].isdigit() else None,
    name="principal axes of the features (number)",
    word="principal axis",
    words="principal axes",
    varied=("pca",),
)


def series_of(rows: Sequence[Row], axis: Axis) -> list[Series]:
    """Rows of one test set that differ in one thing alone, at two values or more; longest first, then by val R2.

    Of several seeds the first in table order counts.
    """
    groups: dict[tuple[str, ...], dict[float, Row]] = {}
    for row in sound(rows):
        x = axis.value(row)
        if x is not None:
            groups.setdefault(question(row, varied=axis.varied), {}).setdefault(x, row)
    several = [dict(sorted(points.items())) for points in groups.values() if len(points) > 1]
    several.sort(key=lambda points: (-len(points), -max(val_of(row) for row in points.values())))
    names = names_apart([next(iter(points.values())) for points in several])
    return [
        Series(name=name, x=tuple(points), rows=tuple(points.values()))
        for name, points in zip(names, several, strict=True)
    ]


def sound(rows: Sequence[Row]) -> list[Row]:
    """The rows but for shuffled labels and the mean predictor."""
    return [row for row in rows if row["role"] not in (SHUFFLED_LABELS, MEAN_PREDICTOR)]


def question(row: Row, *, varied: Sequence[str]) -> tuple[str, ...]:
    """What must be the same along a series."""
    return tuple(str(row[name]) for name in (*_IDENTITY, *_SETTINGS) if name not in varied)
