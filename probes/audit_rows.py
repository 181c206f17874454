"""The rows of an audit: which question, of what, answered by which score on test."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .audit_fits import A1, A1_RIDGE, A3, A4_LABEL, A4_RESIDUAL, APPLY, REFIT, LatentFits, Leftover
from .audit_stores import TRUE
from .metrics import r2, rmse
from .rounding import all_significant, significant
from .statistics import Resamples, intervals_on

Array = np.ndarray[Any, np.dtype[Any]]

UNITS = {"T_eff": "K", "log_g": "dex", "M_H": "dex", "a_M": "dex", "C_M": "dex"}
UNKNOWN_UNIT = "unit of the label"
A2, MEAN = "A2", "mean"
RESIDUAL = "residual"
_ERROR = "input_error/forward/none"
_SOURCES = {A1: _ERROR, A1_RIDGE: _ERROR, A3: "input_flux/forward/none", MEAN: "-"}
"""What X is in rows that are not of the audited features."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Everything of one label on test, (n,) each; `train_` is cross-fitted on train."""

    label: str
    source: str
    stars: Array
    y: Array
    residual: Array
    train_stars: Array
    train_y: Array
    train_hat: Array
    ridge_row: str | None
    """Name of the row in which ridge with alpha=val reads the error; None without val."""
    hats: Mapping[str, Array]
    """Predictions of the label by the name of their row, but `A3` and `A4 latent->residual`: of the residual."""

    @classmethod
    def of(cls, label: str, k: int, source: str, left: Leftover, latents: LatentFits) -> Self:
        """Label number k of the fits."""
        train, test = left.samples["train"], left.samples["test"]
        return cls(
            label=label,
            source=source,
            stars=test.stars,
            y=test.y[:, k],
            residual=left.residual["test"][:, k],
            train_stars=train.stars,
            train_y=train.y[:, k],
            train_hat=left.error_hat["train"][:, k],
            ridge_row=left.ridge_row,
            hats={
                A1: left.error_hat["test"][:, k],
                **({} if left.ridge_hat is None else {A1_RIDGE: left.ridge_hat[:, k]}),
                A3: left.flux_hat[:, k],
                A4_RESIDUAL: latents.residual_hat[:, k],
                A4_LABEL: latents.label_hat[:, k],
                **{f"{REFIT} {name}": hat[:, k] for name, hat in latents.refit.items()},
                **{f"{APPLY} {name}": hat[:, k] for name, hat in latents.apply.items()},
                MEAN: np.full(len(test.y), train.y[:, k].mean()),
            },
        )


def row_of(found: Scored, resamples: Resamples, name: str) -> dict[str, Any]:
    """The row of one of `hats`; `resamples` are of the rows of test."""
    kind, _, fed = name.partition(" ") if name.startswith((REFIT, APPLY)) else (name, "", TRUE)
    of_residual = name in {A3, A4_RESIDUAL}
    y, y_hat = found.residual if of_residual else found.y, found.hats[name]
    row = {
        "name": kind,
        "question": _question(kind, fed, found.label),
        "source": _SOURCES.get(kind, found.source),
        "error_input": fed,
        "trained_on_error_input": TRUE if kind == APPLY else fed,
        "target": RESIDUAL if of_residual else found.label,
        **_scores(y, y_hat, resamples),
        "unit": UNITS.get(found.label, UNKNOWN_UNIT),
    }
    return row | ({"variance_share": _share_left(found)} if of_residual else {})


def leaves(found: Scored) -> dict[str, Any]:
    """The row of the cross-fitted error probe on train: as good there as A1 on test, if the residual is honest."""
    return {
        "name": A2,
        "question": _question(A2, TRUE, found.label),
        "source": _ERROR,
        "error_input": TRUE,
        "trained_on_error_input": TRUE,
        "target": found.label,
        **_scores(found.train_y, found.train_hat, Resamples(found.train_stars)),
        "unit": UNITS.get(found.label, UNKNOWN_UNIT),
        "variance_share": _share_left(found),
    }


def _question(kind: str, fed: str, label: str) -> str:
    return {
        A1: f"What does the error alone tell of {label}?",
        A1_RIDGE: f"What does ridge, alpha chosen on val, find of {label} in the error alone?",
        A2: f"As A1 on stars of train that the fit left out: the residual is what this leaves of {label}",
        A3: "What does the noisy flux tell of that residual?",
        A4_RESIDUAL: "What do the latents tell of that residual?",
        A4_LABEL: f"What do the latents tell of {label}?",
        REFIT: f"What do latents tell that were fed {fed} in place of the error, the probe fitted anew?",
        APPLY: f"What does the probe of the true error tell from latents fed {fed}?",
        MEAN: "What does the mean of train tell?",
    }[kind]


def _scores(y: Array, y_hat: Array, resamples: Resamples) -> dict[str, Any]:
    (spans,) = intervals_on(resamples, y, y_hat, scores=("r2",))
    return {
        "r2": significant(r2(y, y_hat)),
        "interval": all_significant(spans["r2"].as_list()),
        "rmse": significant(rmse(y, y_hat)),
        "n": resamples.n_stars,
    }


def _share_left(found: Scored) -> float | None:
    """Variance of the residual over that of the label, on test."""
    return significant(float(found.residual.var() / found.y.var()))


def full_name(row: Mapping[str, Any]) -> str:
    """Under what name `hats` has the row."""
    return f"{row['name']} {row['error_input']}" if row["name"] in {REFIT, APPLY} else str(row["name"])
