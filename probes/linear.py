"""Heads whose prediction is one matrix product; ordinary least squares is the plainest of them."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cache.errors import Damaged, ProbeError
from cache.npz import npz_arrays, npz_bytes

from .base import CheckedMatrix, Head, checked_matrix
from .least_squares import triangles
from .scaling import Array, Scaling, slabs
from .together import Fit, TrainingSet, arguments_of


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """A head to be fitted to its checked labels Y (n, t): `columns` of all labels, on the first n rows."""

    head: "LinearHead"
    columns: tuple[int, ...]
    Y: Array
    Y_val: Array | None


class LinearHead(Head):
    """y_hat = X coef' + intercept, with coef_ (t, d) and intercept_ (t,) float64 in the units of X."""

    coef_: Array
    intercept_: Array

    @classmethod
    def fit_several(cls, fits: Sequence[Fit], data: TrainingSet) -> list[str | None]:
        """Features are checked once, and labels, settings and sizes share whatever does not depend on them."""
        try:
            return cls._fit_checked(fits, data)
        except ProbeError:  # of rows that only some of the fits see; each will say its own
            return super().fit_several(fits, data)

    @classmethod
    def _fit_checked(cls, fits: Sequence[Fit], data: TrainingSet) -> list[str | None]:
        X = checked_matrix(data.X[: max(fit.n_rows for fit in fits)], "training features")
        X_val = None if data.X_val is None else checked_matrix(data.X_val, "val features")
        checked_val: object = X_val if X_val is None else CheckedMatrix(values=X_val)
        ready, failures = list[LinearFit](), list[str | None]()
        for fit in fits:
            arguments = arguments_of(fit, data)
            arguments |= {"X": CheckedMatrix(values=X[: fit.n_rows]), "X_val": checked_val}
            try:
                sample = fit.head.prepare(**arguments)
            except ProbeError as error:
                failures.append(str(error))
                continue
            failures.append(None)
            assert isinstance(fit.head, LinearHead)
            ready.append(LinearFit(head=fit.head, columns=fit.columns, Y=sample.Y, Y_val=sample.Y_val))
        if ready:
            cls._fit_all(ready, X, X_val)
        return failures

    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        self._fit_all([LinearFit(head=self, columns=tuple(range(Y.shape[1])), Y=Y, Y_val=Y_val)], X, X_val)

    @classmethod
    @abc.abstractmethod
    def _fit_all(cls, fits: Sequence[LinearFit], X: Array, X_val: Array | None) -> None:
        """Fit every head; its bits must not depend on the other fits."""

    def _predict(self, X: Array) -> Array:
        return np.concatenate([X[rows] @ self.coef_.T for rows in slabs(X)]) + self.intercept_

    def to_files(self) -> dict[str, bytes]:
        """One npz with `coef` and `intercept`."""
        return {"weights.npz": npz_bytes({"coef": self.coef_, "intercept": self.intercept_})}

    def from_files(self, files: Mapping[str, bytes]) -> None:
        """Read what `to_files` gave; Damaged when the shapes are not those of the head."""
        stored = npz_arrays(files["weights.npz"])
        self.coef_, self.intercept_ = stored["coef"], stored["intercept"]
        if self.coef_.shape != (self.n_labels_, self.n_features_in_):
            raise Damaged(
                f"weights.npz: coef has shape {self.coef_.shape}, expected "
                f"{(self.n_labels_, self.n_features_in_)}; fit the head again"
            )


class OLS(LinearHead):
    """Ordinary least squares, rank-aware: of all best solutions the shortest in standardised features.

    Dependent columns share their weight, constant ones get none. It is Ridge with alpha 0.
    """

    @classmethod
    def _fit_all(cls, fits: Sequence[LinearFit], X: Array, X_val: Array | None) -> None:
        del X_val  # nothing is chosen
        labels = AllLabels.of(fits)
        for triangle in triangles(X[: len(labels.Y)], labels.Y, [len(fit.Y) for fit in fits]):
            weights = triangle.shortest()
            for fit in fits:
                if len(fit.Y) == triangle.n:
                    slots = [labels.slots[column] for column in fit.columns]
                    solved = [
                        in_units_of_x(weights[k], triangle.label_mean[k], triangle.scaling) for k in slots
                    ]
                    fit.head.coef_ = np.stack([coef for coef, _ in solved])
                    fit.head.intercept_ = np.array([intercept for _, intercept in solved])


class Mean(LinearHead):
    """The mean of the training labels, whatever the features say: the floor that every probe must clear."""

    @classmethod
    def _fit_all(cls, fits: Sequence[LinearFit], X: Array, X_val: Array | None) -> None:
        del X_val  # nothing is chosen
        for fit in fits:
            fit.head.coef_ = np.zeros((fit.Y.shape[1], X.shape[1]))
            fit.head.intercept_ = fit.Y.mean(axis=0)


@dataclass(frozen=True, kw_only=True)
class AllLabels:
    """The labels of several fits side by side, Y (n, t); column c of all labels is column slots[c] of Y.

    Rows that no fit has of a label are 0.
    """

    Y: Array
    slots: Mapping[int, int]

    @classmethod
    def of(cls, fits: Sequence[LinearFit]) -> Self:
        """Take each label from the longest of the fits that have it."""
        columns = dict.fromkeys(column for fit in fits for column in fit.columns)
        slots = {column: slot for slot, column in enumerate(columns)}
        Y = np.zeros((max(len(fit.Y) for fit in fits), len(slots)))
        for fit in fits:
            for k, column in enumerate(fit.columns):
                Y[: len(fit.Y), slots[column]] = fit.Y[:, k]
        return cls(Y=Y, slots=slots)


def in_units_of_x(weights: Array, y_mean: Array, scaling: Scaling) -> tuple[Array, Array]:
    """Coefficients (..., d) and intercepts (...) for raw X from the weights of one label on scaled features."""
    coef = np.where(scaling.constant, 0.0, weights / scaling.scale)
    return coef, y_mean - coef @ scaling.mean
