"""From a fitted head to what its record holds: scores, intervals, flags, predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from cache.canonical import digest_json
from cache.provenance import family_fields
from cache.records import prediction_columns
from cache.stars import stars_in_both

from .left_out import HELD_OUT, told_kept
from .metrics import scores
from .odd_labels import odd_labels
from .persistence import model_digest
from .samples import Sample
from .spec import ProbeRequest, spec_of
from .splits import Views
from .statistics import INTERVAL_METHOD, NEGATIVE_FLAG, Resamples, doubts, intervals_by_label
from .views import Array, store_digests
from .wavelengths import Windows

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn
    from .pca import PrincipalAxes

CONTROL_FLAG = "control scores above zero"
LEAK_FLAG = "LEAK FORCED"
UNDEFINED_FLAG = "r2 not defined"
FAR_FLAG = "predictions far outside the labels of train"
FAR = 10
"""Ranges of the train labels beyond their mean."""

Samples = Mapping[str, Sample]


@dataclass(frozen=True, kw_only=True)
class ProbeOutcome:
    """What a record holds: `result` is deterministic, `run` is not.

    `predictions` has a row for each row of val and test, `arrays` the curves behind a choice; `head` is None when
    the fit failed, `axes` None unless the head was fitted on principal axes; `trained_on` are the fields that make the
    family of the train features, `windows` their wavelengths.
    """

    spec: dict[str, Any]
    result: dict[str, Any]
    run: dict[str, Any]
    predictions: dict[str, Array]
    arrays: dict[str, Array]
    head: "Head | None"
    axes: "PrincipalAxes | None" = None
    trained_on: Mapping[str, Any] | None = None
    windows: Windows | None = None


def scored_outcome(
    request: ProbeRequest,
    views: Views,
    samples: Samples,
    *,
    head: "Head",
    resamples: Mapping[str, Resamples],
    windows: Windows,
    axes: "PrincipalAxes | None" = None,
) -> ProbeOutcome:
    """The outcome of a head that was fitted to the train sample: every split is scored once.

    `resamples` are of the rows of val and test, `windows` of the train features.
    """
    y_hat = {split: head.predict(s.X).reshape(s.y.shape) for split, s in samples.items()}
    model = model_digest(head, request.fitted_head(), axes)
    return ProbeOutcome(
        spec=spec_of(request, views),
        result=_bare_result(request, views, samples)
        | _scored(request, head, samples, y_hat, resamples)
        | {"model": model},
        run={},
        predictions=_predictions(request.labels, samples, y_hat),
        arrays=head.arrays_,
        head=head,
        axes=axes,
        trained_on=family_fields(views["train"][0].provenance),
        windows=windows,
    )


def failed_outcome(
    request: ProbeRequest,
    views: Views,
    error: str,
    *,
    samples: Samples | None = None,
    run: dict[str, Any] | None = None,
) -> ProbeOutcome:
    """The outcome of a fit that could not be made, with the reason; without samples nothing is counted."""
    return ProbeOutcome(
        spec=spec_of(request, views),
        result=_bare_result(request, views, samples or {}) | {"status": "failed", "error": error},
        run=run or {},
        predictions={},
        arrays={},
        head=None,
    )


def _bare_result(request: ProbeRequest, views: Views, samples: Samples) -> dict[str, Any]:
    """A result without scores: what is known before the fit."""
    encoder = views["train"][0].provenance["encoder"]
    return {
        "status": "ok",
        "error": None,
        "d": samples["train"].X.shape[1] if samples else None,
        "n": {split: sample.n_stars for split, sample in samples.items()},
        "n_rows": {split: len(sample.rows) for split, sample in samples.items()},
        "scores": {},
        "intervals": {},
        "interval_method": INTERVAL_METHOD,
        "chosen": {},
        "flags": [],
        "weights": encoder.get("weights"),
        "architecture": digest_json(encoder.get("config")),
        "model": None,
        "stores": store_digests(views),
        **told_kept(request, views, samples),
    }


def _scored(
    request: ProbeRequest,
    head: "Head",
    samples: Samples,
    y_hat: Mapping[str, Array],
    resamples: Mapping[str, Resamples],
) -> dict[str, Any]:
    labels = request.labels
    scored = {
        split: {label: scores(sample.y[:, k], y_hat[split][:, k]) for k, label in enumerate(labels)}
        for split, sample in samples.items()
    }
    spans = {
        split: intervals_by_label(labels, drawn, samples[split].y, y_hat[split], split=split)
        for split, drawn in resamples.items()
    }
    return {
        "scores": scored,
        "intervals": spans,
        "chosen": {
            name: dict(zip(labels, value, strict=True)) if isinstance(value, list) else value
            for name, value in head.chosen_.items()
        },
        "flags": [
            *_leaks(samples),
            *_flags(request, head, scored, spans),
            *_far(request, samples, y_hat),
            *odd_labels(labels, {split: sample.y for split, sample in samples.items()}),
            *doubts(labels, samples["test"].y, y_hat["test"], stars=samples["test"].stars),
        ],
    }


def _leaks(samples: Samples) -> list[str]:
    """Which splits share stars, as they can when `allow_leak` forces it."""
    shared = {
        f"{one} and {other}": stars_in_both(samples[one].stars, samples[other].stars).size
        for one, other in combinations(samples, 2)
    }
    return [f"{LEAK_FLAG}: {n} stars stand in both {splits}" for splits, n in shared.items() if n]


def _flags(
    request: ProbeRequest, head: "Head", scored: Mapping[str, Any], spans: Mapping[str, Any]
) -> list[str]:
    """What a reader of the table must know, as `text` or `text (label)`."""
    flags = [text if k is None else f"{text} ({request.labels[k]})" for text, k in head.flags_]
    for label in request.labels:
        lowest = spans["test"][label]["r2"][0]
        if request.control == "shuffled_labels" and lowest is not None and lowest > 0:
            flags.append(f"{CONTROL_FLAG} ({label})")
        train_r2 = scored["train"][label]["r2"]
        if train_r2 is not None and train_r2 < 0 and request.control == "none":
            flags.append(f"{NEGATIVE_FLAG} ({label})")
        undefined = [split for split, of in scored.items() if of[label]["r2"] is None]
        flags += [f"{UNDEFINED_FLAG} ({label}): one value in all of {split}" for split in undefined]
    return flags


def _far(request: ProbeRequest, samples: Samples, y_hat: Mapping[str, Array]) -> list[str]:
    """Predictions that no sound extrapolation gives, as when a feature that hardly varies in train does elsewhere."""
    y_train = samples["train"].y
    beyond = np.abs(y_hat["test"] - y_train.mean(axis=0)) > FAR * np.ptp(y_train, axis=0)
    n_rows = np.count_nonzero(beyond, axis=0).tolist()
    return [
        f"{FAR_FLAG} ({label}): {n} rows of test"
        for label, n in zip(request.labels, n_rows, strict=True)
        if n
    ]


def _predictions(labels: tuple[str, ...], samples: Samples, y_hat: Mapping[str, Array]) -> dict[str, Array]:
    """Columns row, star, split, draw, those of `prediction_columns`, and every stored label, for val and test.

    A stored label whose name is one of ours is left out.
    """
    held_out = [samples[split] for split in HELD_OUT if split in samples]
    columns: dict[str, Array] = {
        "row": np.concatenate([s.rows for s in held_out]),
        "star": np.concatenate([s.stars for s in held_out]),
        "split": np.concatenate([np.full(len(s.rows), s.split) for s in held_out]),
        "draw": np.concatenate([s.draws for s in held_out]),
    }
    for k, (truth, prediction) in enumerate(prediction_columns(labels)):
        columns[truth] = np.concatenate([s.y[:, k] for s in held_out])
        columns[prediction] = np.concatenate([y_hat[s.split][:, k] for s in held_out])
    stored = dict.fromkeys(name for s in held_out for name in s.stored)
    for name in stored:
        if name not in columns:
            nothing = [s.stored.get(name, np.full(len(s.rows), np.nan)) for s in held_out]
            columns[name] = np.concatenate(nothing)
    return columns
