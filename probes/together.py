"""Several heads fitted to one matrix of features, sharing what they have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cache.errors import ConfigError, ProbeError
from cache.progress import Told, untold

if TYPE_CHECKING:
    from .base import Head  # which imports this module

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One of several fits: `head` learns these `columns` of Y from the first `n_rows` rows of X."""

    head: "Head"
    columns: tuple[int, ...]
    n_rows: int


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What the fits have in common: X (n, d), Y (n, t), the same of val, and the star of each row, groups (n,).

    A label that a fit does not use may hold NaN. `told` is called as a long fit proceeds; it changes nothing.
    """

    X: Array
    Y: Array
    X_val: Array | None = None
    Y_val: Array | None = None
    groups: Array | None = None
    told: Told = untold


def fit_together(fits: Sequence[Fit], data: TrainingSet) -> list[str | None]:
    """Fit every head in place; for each, None or why it could not be fitted (the words of its ProbeError).

    On the CPU every head ends with the very bits of `fit_alone`; what is shared (a Gram matrix, bins, a pass over the
    rows) costs once. Raises ConfigError, before any fit, for columns or rows that are not there.
    """
    for fit in fits:
        if not fit.columns or not 0 <= min(fit.columns) <= max(fit.columns) < data.Y.shape[1]:
            raise ConfigError(f"label columns {fit.columns} of Y with {data.Y.shape[1]} columns")
        if not 0 < fit.n_rows <= len(data.X):
            raise ConfigError(f"{fit.n_rows} train rows were asked for, there are {len(data.X)}")
    failures: list[str | None] = [None] * len(fits)
    for kind in dict.fromkeys(type(fit.head) for fit in fits):
        mine = [k for k, fit in enumerate(fits) if type(fit.head) is kind]
        for k, failure in zip(mine, kind.fit_several([fits[k] for k in mine], data), strict=True):
            failures[k] = failure
    return failures


def fit_alone(fit: Fit, data: TrainingSet) -> str | None:
    """Fit one head by its own `fit`; None, or the words of the ProbeError that it raised."""
    try:
        fit.head.fit(**arguments_of(fit, data))
    except ProbeError as error:
        return str(error)
    return None


def arguments_of(fit: Fit, data: TrainingSet) -> dict[str, Any]:
    """What `fit.head.fit` is called with; X and groups are views."""
    rows = slice(0, fit.n_rows)
    columns = fit.columns[0] if len(fit.columns) == 1 else list(fit.columns)
    return {
        "X": data.X[rows],
        "y": data.Y[rows, columns],
        "X_val": data.X_val,
        "y_val": None if data.Y_val is None else data.Y_val[:, columns],
        "groups": None if data.groups is None else data.groups[rows],
    }
