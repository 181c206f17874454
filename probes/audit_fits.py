"""The fits of an audit: error to label, flux to what the error leaves, latents to both, with every error input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from cache.errors import ProbeError
from cache.progress import Advance

from .audit_stores import TRUE, AuditViews
from .cross_fit import Samples, cross_fit, fitted, predictions
from .features import FeaturePart
from .groups import with_all_of
from .registry import make_probe
from .samples import Sample, load_samples
from .spec import ProbeRequest
from .splits import Views

Array = np.ndarray[Any, np.dtype[Any]]
Requests = Sequence[ProbeRequest]
"""One head on one label each; they differ in the label alone, and leave out the same stars or none."""

A1, A1_RIDGE, A3, A4_RESIDUAL, A4_LABEL = "A1", "A1 ridge", "A3", "A4 latent->residual", "A4 latent->label"
REFIT, APPLY = "refit", "apply"
ALPHA_ON_VAL = "val"
"""Value of ridge's alpha that asks for a choice on val."""
INPUT_PARTS = {
    layer: FeaturePart(layer=layer, pooling="none", direction="forward")
    for layer in ("input_error", "input_flux")
}


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """What the error leaves of labels, by split (n, t), and how that came.

    `samples` have labels and no features. `error_hat` are the predictions from the error alone, those of train
    cross-fitted; `residual` = error_hat - y; `flux_hat` (n, t) are predictions of the residual from the flux, on test.
    `ridge_row` names the predictions of ridge with alpha=val: A1 where it is the head, A1_RIDGE where it was fitted
    beside, then `ridge_hat` (n, t) are those on test; None without val. `flags` by label are what a reader should know
    of the fits.
    """

    samples: Samples
    error_hat: Mapping[str, Array]
    ridge_row: str | None
    ridge_hat: Array | None
    residual: Mapping[str, Array]
    flux_hat: Array
    flags: Sequence[Sequence[str]]

    def of(self, labels: Sequence[int]) -> Self:
        """Of these labels alone, by their numbers."""
        columns = list(labels)
        return replace(
            self,
            samples={
                split: replace(sample, y=sample.y[:, columns]) for split, sample in self.samples.items()
            },
            error_hat={split: values[:, columns] for split, values in self.error_hat.items()},
            ridge_hat=None if self.ridge_hat is None else self.ridge_hat[:, columns],
            residual={split: values[:, columns] for split, values in self.residual.items()},
            flux_hat=self.flux_hat[:, columns],
            flags=[self.flags[k] for k in columns],
        )


@dataclass(frozen=True, kw_only=True)
class LatentFits:
    """Predictions on test (n, t) from one feature set; `refit` and `apply` by error input, without `true`."""

    label_hat: Array
    residual_hat: Array
    refit: Mapping[str, Array]
    apply: Mapping[str, Array]
    flags: Sequence[Sequence[str]]


def n_leftover_fits(request: ProbeRequest, views: AuditViews, *, n_folds: int) -> int:
    """How often `leftover` advances."""
    return n_folds + 2 + (ridge_row(request, views) == A1_RIDGE)


def ridge_row(request: ProbeRequest, views: AuditViews) -> str | None:
    """Under what name ridge with alpha=val reads the error: A1 where it is the head, A1_RIDGE beside another.

    A head may be too weak for thousands of pixels: what it does not find in the error may still be there. None without
    val, on which alpha is chosen.
    """
    if not views.inputs["input_error"].get("val"):
        return None
    same = request.head == "ridge" and request.make_head().settings() == _ridge().settings()
    return A1 if same else A1_RIDGE


def n_latent_fits(views: AuditViews) -> int:
    """How often `latent_fits` advances."""
    return len(views.features)


def leftover(requests: Requests, views: AuditViews, *, n_folds: int, seed: int, advance: Advance) -> Leftover:
    """Fit error to labels, cross-fitted over the stars of train, then the flux to what that leaves.

    Val and test have the residuals of the head that was fitted to all of train, so that no residual is one of a star
    that the fit has seen. Rows without one of the labels take no part where the requests say `drop`. Raises ProbeError
    for a label that is not there or not finite, for flux of other rows or stars, and for what a head refuses.
    """
    labels = [request.labels[0] for request in requests]
    samples = load_samples(
        views.inputs["input_error"],
        [INPUT_PARTS["input_error"]],
        labels=labels,
        missing=requests[0].missing_labels,
    )
    _refuse_constant(labels, samples["test"].y)
    crossed = cross_fit(_heads(requests), samples, n_folds=n_folds, seed=seed, advance=advance)
    residual = crossed.residuals(samples)
    row = ridge_row(requests[0], views)
    ridges: list[Any] = []
    ridge_hat = None
    if row == A1_RIDGE:
        ridges = _fit(
            [_ridge() for _ in labels], samples, {split: sample.y for split, sample in samples.items()}
        )
        ridge_hat = predictions(ridges, samples["test"].X)
        advance(1)
    bare = {split: replace(sample, X=np.empty((len(sample.rows), 0))) for split, sample in samples.items()}
    del samples  # the errors of train may take gigabytes
    flux = _aligned(views.inputs["input_flux"], INPUT_PARTS["input_flux"], requests, bare)
    heads = _fit(_heads(requests), flux, residual)
    advance(1)
    return Leftover(
        samples=bare,
        error_hat=crossed.y_hat,
        ridge_row=row,
        ridge_hat=ridge_hat,
        residual=residual,
        flux_hat=predictions(heads, flux["test"].X),
        flags=[
            [
                *_told(A1, crossed.heads[k]),
                *(_told(A1_RIDGE, ridges[k]) if ridges else ()),
                *_told(A3, heads[k]),
            ]
            for k in range(len(labels))
        ],
    )


def latent_fits(requests: Requests, views: AuditViews, left: Leftover, *, advance: Advance) -> LatentFits:
    """Fit latents of the true error to labels and residuals, then those of each other error input to labels.

    The probe that was fitted to labels with the true error is applied to the others as well. Raises as `leftover`, and
    ProbeError for features of other rows or stars than those of `left`.
    """
    part, t = requests[0].features[0], len(requests)
    y = {split: sample.y for split, sample in left.samples.items()}
    true = _aligned(views.true, part, requests, left.samples)
    both = {split: np.concatenate([y[split], left.residual[split]], axis=1) for split in y}
    heads = _fit(_heads([*requests, *requests]), true, both)
    hats = predictions(heads, true["test"].X)
    flags = [[*_told(A4_LABEL, heads[k]), *_told(A4_RESIDUAL, heads[t + k])] for k in range(t)]
    advance(1)
    refit, apply = {}, {}
    for name, of_error in views.features.items():
        if name == TRUE:
            continue
        fed = _aligned(of_error, part, requests, left.samples)
        again = _fit(_heads(requests), fed, y)
        refit[name] = predictions(again, fed["test"].X)
        apply[name] = predictions(heads[:t], fed["test"].X)
        for k, head in enumerate(again):
            flags[k] += _told(f"{REFIT} {name}", head)
        advance(1)
    return LatentFits(label_hat=hats[:, :t], residual_hat=hats[:, t:], refit=refit, apply=apply, flags=flags)


def _aligned(views: Views, part: FeaturePart, requests: Requests, of_error: Samples) -> dict[str, Sample]:
    """Features row by row of the same stars as the labels and errors that were read."""
    first = requests[0]
    samples = load_samples(views, [part], labels=with_all_of(first), missing=first.missing_labels)
    for split, known in of_error.items():
        found = samples.get(split)
        if found is None or not (
            np.array_equal(found.rows, known.rows) and np.array_equal(found.stars, known.stars)
        ):
            n_rows = 0 if found is None else len(found.rows)
            raise ProbeError(
                f"{split}: the features of {part.path} ({n_rows} rows) are not of the rows and stars whose labels and "
                f"errors were read ({len(known.rows)} rows); name the family or selection of one survey"
            )
    return samples


def _refuse_constant(labels: Sequence[str], y: Array) -> None:
    for label, values in zip(labels, y.T, strict=True):
        if np.ptp(values) == 0:
            raise ProbeError(
                f"label {label!r} has one value in all of test: R2 is not defined there; audit another"
            )


def _heads(requests: Requests) -> list[Any]:
    return [request.make_head() for request in requests]


def _ridge() -> Any:
    return make_probe("ridge", alpha=ALPHA_ON_VAL)


def _fit(heads: list[Any], samples: Samples, y: Mapping[str, Array]) -> list[Any]:
    """The heads, fitted to the columns of y (n, t) by split, one for each."""
    fitted(heads, {split: sample.X for split, sample in samples.items()}, y, samples["train"].stars)
    return heads


def _told(where: str, head: Any) -> list[str]:
    return [f"{where}: {text}" for text, _ in head.flags_]
