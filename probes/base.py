"""The contract of every head: what it takes, what it refuses, what it gives back."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from cache.errors import ProbeError

from .registry import HEADS
from .together import Fit, TrainingSet, fit_alone

Array = np.ndarray[Any, np.dtype[Any]]
Chosen = dict[str, int | float | list[int] | list[float]]

ROWS_AT_ONCE = 8192
"""Rows handled at a time where a float64 or boolean copy of the whole matrix would double the memory."""


@dataclass(frozen=True, kw_only=True)
class CheckedSample:
    """What a head is fitted to, checked: X (n, d), Y (n, t), the same of val or None, groups (n,) or None."""

    X: Array
    Y: Array
    X_val: Array | None = None
    Y_val: Array | None = None
    groups: Array | None = None


class Head(RegressorMixin, BaseEstimator, abc.ABC):  # type: ignore[misc]  # scikit-learn carries no types
    """A regressor from feature vectors to one or several labels.

    `fit` checks everything, then calls `_fit` with y as (n, t). A head never splits X by itself: what it chooses
    (alpha, number of trees, epoch), it chooses on X_val, and it refuses to choose without. After fitting:
    `chosen_` what was chosen (a list has one entry per label), `arrays_` the curves behind the choice,
    `flags_` what a reader should know, as (text, index of the label or None).
    """

    chosen_: Chosen
    arrays_: dict[str, Array]
    flags_: list[tuple[str, int | None]]
    n_features_in_: int
    n_labels_: int
    single_label_: bool

    def fit(
        self,
        X: Array,
        y: Array,
        *,
        X_val: Array | None = None,
        y_val: Array | None = None,
        groups: Array | None = None,
    ) -> Self:
        """Fit to X (n, d) and y (n,) or (n, t).

        X_val, y_val are used only to choose; `groups` (n,), the star of each row, is there for heads that need it.
        Raises ProbeError before fitting on wrong shapes, fewer than two rows, or anything not finite.
        """
        self._fit_sample(self.prepare(X, y, X_val=X_val, y_val=y_val, groups=groups))
        return self

    def prepare(
        self,
        X: Array,
        y: Array,
        *,
        X_val: Array | None = None,
        y_val: Array | None = None,
        groups: Array | None = None,
    ) -> CheckedSample:
        """The part of `fit` before any arithmetic: check settings and sample, forget an earlier fit."""
        self.check_settings()
        X, Y = checked_sample(X, y, "training")
        self.single_label_ = np.asarray(y).ndim == 1
        self.n_features_in_, self.n_labels_ = X.shape[1], Y.shape[1]
        if groups is not None and np.shape(groups) != (X.shape[0],):
            raise ProbeError(
                f"groups have shape {np.shape(groups)}; expected one star per row, ({X.shape[0]},)"
            )
        X_chosen, Y_chosen = self._checked_validation(X_val, y_val)
        self.chosen_, self.arrays_, self.flags_ = {}, {}, []
        return CheckedSample(X=X, Y=Y, X_val=X_chosen, Y_val=Y_chosen, groups=groups)

    def predict(self, X: Array) -> Array:
        """Predictions (n,) or (n, t), as y was, float64; ProbeError when X is not what the head was fitted to."""
        check_is_fitted(self, "n_labels_")
        X = checked_matrix(X, "features")
        if X.shape[1] != self.n_features_in_:
            raise ProbeError(
                f"features have {X.shape[1]} columns, the head was fitted to {self.n_features_in_}; "
                "use the layers, poolings and directions it was fitted to, in the same order"
            )
        y_hat = self._predict(X)
        return y_hat[:, 0] if self.single_label_ else y_hat

    def __sklearn_tags__(self) -> Any:
        """Every head takes several labels."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def settings(self) -> dict[str, Any]:
        """Every setting that shapes the answer, as JSON, with presets and `auto` resolved."""
        return {name: _plain(value) for name, value in self.get_params(deep=False).items()}

    def selection_rule(self) -> str:
        """How the head chooses: `fixed` (not at all) or `val_r2`."""
        return "fixed"

    def seed_matters(self) -> bool:
        """Whether another `seed` may give another fit; of heads without one, never."""
        return "seed" in self.get_params(deep=False)

    def keep_state_at(self, path: Path) -> None:
        """Let later fits go on, after a kill, from the state kept at `path`; heads that fit in a moment keep none."""

    def check_settings(self) -> None:
        """Raise ConfigError when a setting cannot be meant; called on making and on fitting."""

    @classmethod
    def fit_several(cls, fits: Sequence[Fit], data: TrainingSet) -> list[str | None]:
        """Fit heads of this class; for each, None or why not (see `fit_together`). Overridden where sharing pays."""
        return [fit_alone(fit, data) for fit in fits]

    def _fit_sample(self, sample: CheckedSample) -> None:
        """Fit to what `prepare` gave; a head that needs groups overrides this."""
        self._fit(sample.X, sample.Y, sample.X_val, sample.Y_val)

    @abc.abstractmethod
    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        """Fit to checked X (n, d) float32 or float64 and Y (n, t) float64."""

    @abc.abstractmethod
    def _predict(self, X: Array) -> Array:
        """Predictions (n, t) float64 for checked X (n, d)."""

    @abc.abstractmethod
    def to_files(self) -> dict[str, bytes]:
        """The fitted state by file name; equal fits give equal bytes."""

    @abc.abstractmethod
    def from_files(self, files: Mapping[str, bytes]) -> None:
        """Take over the state that `to_files` gave."""

    def _checked_validation(
        self, X_val: Array | None, y_val: Array | None
    ) -> tuple[Array | None, Array | None]:
        if (X_val is None) != (y_val is None):
            raise ProbeError("X_val and y_val belong together; only one of them was given")
        if X_val is None or y_val is None:
            if self.selection_rule() != "fixed":
                raise ProbeError(
                    f"{type(self).__name__} with these settings chooses on a val split ({self.selection_rule()}), and "
                    f"there is none: give one (val/ beside train/ and test/, or extract run --val FILE; in Python "
                    f"X_val and y_val){self._fixed_instead()}"
                )
            return None, None
        X_val, Y_val = checked_sample(X_val, y_val, "val")
        if X_val.shape[1] != self.n_features_in_ or Y_val.shape[1] != self.n_labels_:
            raise ProbeError(
                f"val has {X_val.shape[1]} features and {Y_val.shape[1]} labels, training has "
                f"{self.n_features_in_} and {self.n_labels_}"
            )
        if self.selection_rule() != "fixed" and bool(np.any(np.ptp(Y_val, axis=0) == 0)):
            raise ProbeError(
                "a label has one value in all of val: R2 is not defined there, nothing can be chosen"
            )
        return X_val, Y_val

    def _fixed_instead(self) -> str:
        """The parameters with which heads of this class choose nothing, as commands take them; empty where none do."""
        fixed = [
            f"--params {name}.{entry.fixed}"
            for name, entry in HEADS.items()
            if entry.estimator == type(self).__name__ and entry.fixed
        ]
        return f", or fix what is chosen: {' or '.join(fixed)}" if fixed else ""


@dataclass(frozen=True, kw_only=True)
class CheckedMatrix:
    """What `checked_matrix` gave; it passes there again at no cost, for fits that share one X."""

    values: Array


def checked_sample(X: Array, y: Array, what: str) -> tuple[Array, Array]:
    """X (n, d) and y as (n, t) float64, finite, of equal length, at least two rows; ProbeError otherwise."""
    X = checked_matrix(X, f"{what} features")
    Y = np.asarray(y)
    if Y.ndim not in {1, 2} or Y.size == 0 or Y.dtype.kind not in "fiu":
        raise ProbeError(
            f"{what} labels have shape {Y.shape} and type {Y.dtype}; expected numbers, (n,) or (n, t)"
        )
    if Y.shape[0] != X.shape[0]:
        raise ProbeError(f"{what}: {X.shape[0]} rows of features, {Y.shape[0]} of labels")
    if X.shape[0] < 2:
        raise ProbeError(f"{what}: {X.shape[0]} row; at least 2 are needed")
    Y = np.asarray(Y, dtype=np.float64).reshape(Y.shape[0], -1)
    _refuse_non_finite(Y, f"{what} labels")
    return X, Y


def checked_matrix(X: Array | CheckedMatrix, what: str) -> Array:
    """X as a (n, d) array of float32 (kept) or float64, finite; ProbeError otherwise."""
    if isinstance(X, CheckedMatrix):
        return X.values
    if hasattr(X, "toarray"):
        raise ProbeError(f"{what} are sparse, which is not supported; give a dense array: X.toarray()")
    X = np.asarray(X)
    if X.ndim != 2 or X.size == 0 or X.dtype.kind not in "fiu":
        raise ProbeError(f"{what} have shape {X.shape} and type {X.dtype}; expected numbers, (n, d)")
    if X.dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
        X = X.astype(np.float64)
    _refuse_non_finite(X, what)
    return X


def _refuse_non_finite(values: Array, what: str) -> None:
    n_bad, first = 0, list[int]()
    for start in range(0, len(values), ROWS_AT_ONCE):
        rows = np.flatnonzero(~np.isfinite(values[start : start + ROWS_AT_ONCE]).all(axis=1))
        n_bad += rows.size
        first += (start + rows[: 5 - len(first)]).tolist()
    if n_bad:
        raise ProbeError(
            f"{what} are NaN or inf in {n_bad} of {len(values)} rows (first: {first}); "
            "drop those rows or mend their source"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
