"""One probe from request to record: join, check, fit, score."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache.errors import ConfigError, ProbeError
from cache.records import run_id, write_record
from cache.runlog import run_log

from .controls import shuffled_by_star, subset_of_stars
from .features import prediction_columns
from .metrics import scores
from .persistence import model_digest, save_head
from .spec import ProbeRequest, build_spec
from .splits import SPLITS, Sample, Views, load_sample
from .statistics import INTERVAL_METHOD, intervals
from .views import Array

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn

KIND = "probe"
HELD_OUT = ("val", "test")
CONTROL_FLAG = "control scores above zero"
NEGATIVE_FLAG = "train r2 negative"
UNDEFINED_FLAG = "r2 not defined"

Samples = dict[str, Sample]


@dataclass(frozen=True, kw_only=True)
class ProbeOutcome:
    """What a record holds: `result` is deterministic, `run` is not.

    `predictions` has a row for each row of val and test, `arrays` the curves behind a choice; `head` is None when
    the fit failed.
    """

    spec: dict[str, Any]
    result: dict[str, Any]
    run: dict[str, Any]
    predictions: dict[str, Array]
    arrays: dict[str, Array]
    head: "Head | None"


def run_probe(request: ProbeRequest, views: Views, *, about: Mapping[str, Any] | None = None) -> ProbeOutcome:
    """Fit on train, choose on val, score train, val and test once.

    `about` is added to `run` (display name of the encoder, folder of the features). Raises what `build_spec` and
    `load_sample` raise; what a head cannot fit becomes an outcome with status `failed`.
    """
    started = time.time()
    spec = build_spec(request, views)
    clock = _Clock()
    samples = _load(request, views)
    clock.lap("load")
    head = request.make_head()
    failure = _fit(head, samples)
    clock.lap("fit")
    result: dict[str, Any] = _bare_result(samples, views)
    predictions: dict[str, Array] = {}
    if failure is None:
        y_hat = {split: head.predict(s.X).reshape(s.y.shape) for split, s in samples.items()}
        result |= _scored(request, head, samples, y_hat)
        predictions = _predictions(request.labels, samples, y_hat)
    else:
        result |= {"status": "failed", "error": failure}
    clock.lap("score")
    _, note = run_log(started=started, about={**(about or {}), "seconds": clock.seconds})
    return ProbeOutcome(
        spec=spec,
        result=result,
        run=note,
        predictions=predictions,
        arrays={} if failure else head.arrays_,
        head=None if failure else head,
    )


def store_result(results_root: Path, outcome: ProbeOutcome) -> str:
    """Write the fitted head, then the record with its predictions and arrays; returns the run id."""
    if outcome.head is not None:
        spec = outcome.spec
        use = {
            "labels": spec["labels"],
            "parts": spec["features"]["parts"],
            "family": spec["family"],
            "noise_level": spec["noise_levels"]["train"],
            "control": spec["control"],
        }
        save_head(head_folder(results_root, run_id(KIND, spec)), outcome.head, name=spec["head"], use=use)
    return write_record(
        results_root,
        kind=KIND,
        spec=outcome.spec,
        result=outcome.result,
        run=outcome.run,
        predictions=outcome.predictions,
        arrays=outcome.arrays,
    )


def head_folder(results_root: Path, name: str) -> Path:
    """Where the fitted head of a run id is kept."""
    return results_root / "heads" / name


class _Clock:
    """Seconds by step; they go to `run` and are never compared."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = round(now - self._last, 3)
        self._last = now


def _load(request: ProbeRequest, views: Views) -> Samples:
    """The samples of all splits, with control and training size applied."""
    samples = {
        split: load_sample(views[split], request.features, labels=request.labels, split=split)
        for split in SPLITS
        if views.get(split)
    }
    if request.train_size is not None:
        train = samples["train"]
        if request.train_size > train.n_stars:
            raise ConfigError(f"train_size is {request.train_size}, train has {train.n_stars} stars")
        samples["train"] = train.where(subset_of_stars(train.stars, request.train_size, seed=request.seed))
    return _shuffled(samples, request.seed) if request.control == "shuffled_labels" else samples


def _shuffled(samples: Samples, seed: int) -> Samples:
    stars = np.concatenate([sample.stars for sample in samples.values()])
    y = shuffled_by_star(np.concatenate([s.y for s in samples.values()]), stars, seed=seed)
    ends = np.cumsum([len(sample.y) for sample in samples.values()])
    return {
        split: replace(sample, y=part)
        for (split, sample), part in zip(samples.items(), np.split(y, ends[:-1]), strict=True)
    }


def _fit(head: "Head", samples: Samples) -> str | None:
    """Fit, or say why that is not possible; anything but ProbeError is a fault of ours and passes."""
    train, val = samples["train"], samples.get("val")
    try:
        head.fit(
            train.X,
            train.y,
            X_val=None if val is None else val.X,
            y_val=None if val is None else val.y,
            groups=train.stars,
        )
    except ProbeError as error:
        return str(error)
    return None


def _bare_result(samples: Samples, views: Views) -> dict[str, Any]:
    """A result without scores: what is known before the fit."""
    encoder = views["train"][0].provenance["encoder"]
    return {
        "status": "ok",
        "error": None,
        "d": samples["train"].X.shape[1],
        "n": {split: sample.n_stars for split, sample in samples.items()},
        "n_rows": {split: len(sample.rows) for split, sample in samples.items()},
        "scores": {},
        "intervals": {},
        "interval_method": INTERVAL_METHOD,
        "chosen": {},
        "flags": [],
        "weights": encoder.get("weights"),
        "model": None,
        "stores": {
            key: digest for split in samples for view in views[split] for key, digest in view.stores.items()
        },
    }


def _scored(
    request: ProbeRequest, head: "Head", samples: Samples, y_hat: Mapping[str, Array]
) -> dict[str, Any]:
    labels = request.labels
    scored = {
        split: {label: scores(sample.y[:, k], y_hat[split][:, k]) for k, label in enumerate(labels)}
        for split, sample in samples.items()
    }
    spans = {
        split: {
            label: {name: interval.as_list() for name, interval in found.items()}
            for label, found in zip(
                labels, intervals(samples[split].y, y_hat[split], stars=samples[split].stars), strict=True
            )
        }
        for split in HELD_OUT
        if split in samples
    }
    return {
        "scores": scored,
        "intervals": spans,
        "chosen": {
            name: dict(zip(labels, value, strict=True)) if isinstance(value, list) else value
            for name, value in head.chosen_.items()
        },
        "flags": _flags(request, head, scored, spans),
        "model": model_digest(head, request.fitted_head()),
    }


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
