"""`python -m probes run`: fit probes on stored features and keep their records."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from cache import FeatureView, Want, find
from cache.commandline import Command, Verb
from cache.errors import NotExtracted
from cache.records import read_record, record_path, run_id
from cache.selection import Selection, read_selection
from cache.view import stored_layers

from .cells import CellChoices, arrays_of, requests
from .runner import KIND, run_probe, store_result
from .scoring import ProbeOutcome
from .spec import ProbeRequest, build_spec
from .splits import SPLITS, Views

Arrays = tuple[tuple[str, str, str], ...]
DEVELOPMENT_SPLITS = ("train", "test")
"""Splits without which nothing can be scored; val is needed by heads that choose."""


class RunSettings(Command):
    """Fit probes on stored features: train on train, choose on val, score test once.

    Every combination of layers, directions, poolings, heads and labels is one probe, one record. Join with '+' what
    is to be taken together (--layers enc_last+enc_pre_latent, --labels log_g+T_eff). What has a record made from
    the same stores is not fitted again.
    """

    layers: tuple[str, ...] = Field(
        ("enc_pre_latent",), description="layers of the stores; commas, or '+' to join"
    )
    poolings: tuple[str, ...] = Field(("seg_mean_K8",), description="poolings of the stores")
    directions: tuple[str, ...] = Field(("forward",), description="forward, backward, mean or concat")
    heads: tuple[str, ...] = Field(("ridge",), description="ols, ridge, lightgbm, mlp_1, mlp_2, or all")
    labels: tuple[str, ...] = Field(
        ("log_g",), description="labels of the stores; commas, or '+' to fit jointly"
    )
    controls: tuple[str, ...] = Field(("none",), description="none, shuffled_labels, mean_predictor")
    params: tuple[str, ...] = Field(
        (), description="name=value or head.name=value: ridge.alpha=val, lightgbm.preset=conservative"
    )
    seed: int = Field(0, description="of heads that draw, shuffled labels and the choice of train stars")
    train_size: int | None = Field(None, description="fit on that many train stars only")
    draws: int | None = Field(
        None, description="train on this many stored noise draws (default: all selected)"
    )
    cross: tuple[str, ...] = Field((), description="noise-level, error-input: what may differ between splits")
    selection: Path | None = Field(None, description="file written by extract run --selection")
    features: Path = Field(
        Path("artifacts/features"), description="folder of the stores, without --selection"
    )
    family: str | None = Field(None, description="first digits of the family, where several are stored")
    noise_level: float | None = Field(None, description="of the stores, where several are stored")
    results: Path = Field(Path("artifacts/results"), description="folder of records, predictions and heads")
    refit: bool = Field(default=False, description="fit again even what has a fresh record")


def run(settings: RunSettings) -> None:
    """Fit what has no fresh record and print one line per probe."""
    chosen = None if settings.selection is None else read_selection(settings.selection)
    choices = CellChoices(
        layers=_layers(settings, chosen),
        poolings=settings.poolings,
        directions=settings.directions,
        heads=settings.heads,
        labels=settings.labels,
        controls=settings.controls,
        params=settings.params,
        seed=settings.seed,
        train_size=settings.train_size,
        cross=settings.cross,
    )
    views_of: dict[Arrays, Views] = {}
    wanted = list(requests(choices))
    for request in wanted:
        arrays = arrays_of(request)
        if arrays not in views_of:
            views_of[arrays] = load_views(settings, chosen, arrays)
    for number, request in enumerate(wanted, start=1):
        views = views_of[arrays_of(request)]
        name = run_id(KIND, build_spec(request, views))
        place = f"[{number}/{len(wanted)}] {_title(request)}"
        if not settings.refit and is_fresh(settings.results, name, views):
            _say(f"{place}: {_score(read_record(settings.results, name).result, request.labels)} (on record)")
            continue
        outcome = run_probe(request, views, about=_about(views, chosen))
        store_result(settings.results, outcome)
        _say(f"{place}: {_score(outcome.result, request.labels)} ({_seconds(outcome):.1f} s)")


def load_views(settings: RunSettings, chosen: Selection | None, arrays: Arrays) -> Views:
    """The stores of all splits: every wanted draw of train, draw 0 of val and test."""
    views: dict[str, list[FeatureView]] = {}
    for split in SPLITS:
        try:
            found = chosen.views(split, arrays) if chosen else _stored_draws(settings, split, arrays)
        except NotExtracted:
            if split in DEVELOPMENT_SPLITS:
                raise
            continue
        views[split] = _first_draws(found, settings.draws) if split == "train" else found[:1]
    return views


def _first_draws(found: list[FeatureView], draws: int | None) -> list[FeatureView]:
    if draws is not None and draws > len(found):
        raise NotExtracted(
            f"--draws {draws}, but {len(found)} noise draws of train are selected; extract more with --draws {draws}"
        )
    return found[:draws]


def _layers(settings: RunSettings, chosen: Selection | None) -> tuple[str, ...]:
    """The layers asked for, 'all' being every network layer that train stores hold."""
    if settings.layers != ("all",):
        return settings.layers
    arrays = tuple(("all", "forward", pooling) for pooling in settings.poolings)
    want = Want(arrays=arrays, family=settings.family, draw=None, noise_level=settings.noise_level)
    root = settings.features
    if chosen is not None:
        root = chosen.root
        want = Want(arrays=arrays, family=chosen.family, input=chosen.of("train").input, draw=None)
    layers = stored_layers(root, "train", want)
    if not layers:
        raise NotExtracted(f"{root}: no network layer is stored with poolings {', '.join(settings.poolings)}")
    return layers


def is_fresh(results: Path, name: str, views: Views) -> bool:
    """Whether a good record of that name was made from stores with the digests of today."""
    if not record_path(results, name).exists():
        return False
    result = read_record(results, name).result
    today = {
        key: digest for members in views.values() for view in members for key, digest in view.stores.items()
    }
    return bool(result["status"] == "ok" and result["stores"] == today)


def _stored_draws(settings: RunSettings, split: str, arrays: Arrays) -> list[FeatureView]:
    wants = [
        Want(arrays=arrays, family=settings.family, draw=draw, noise_level=settings.noise_level)
        for draw in range(settings.draws or 1 if split == "train" else 1)
    ]
    return [find(settings.features, split, want) for want in wants]


def _about(views: Views, chosen: Selection | None) -> dict[str, str]:
    stored = getattr(views["train"][0], "about", {})
    encoder = chosen.encoder if chosen is not None else str(stored.get("encoder", "unknown"))
    return {"encoder": encoder}


def _title(request: ProbeRequest) -> str:
    parts = "+".join(part.layer for part in request.features)
    first = request.features[0]
    control = "" if request.control == "none" else f" ({request.control})"
    settings = "".join(f" {name}={value}" for name, value in request.params.items())
    return f"{parts}/{first.direction}/{first.pooling} {request.head}{settings}{control} {'+'.join(request.labels)}"


def _score(result: Mapping[str, Any], labels: tuple[str, ...]) -> str:
    if result["status"] != "ok":
        return f"failed: {result['error']}"
    texts = []
    for label in labels:
        test = result["scores"]["test"][label]
        lo, hi = result["intervals"]["test"][label]["r2"]
        interval = "" if lo is None else f" [{lo:.3f}, {hi:.3f}]"
        name = f"{label} " if len(labels) > 1 else ""
        texts.append(
            f"{name}test R2 " + ("undefined" if test["r2"] is None else f"{test['r2']:.4f}{interval}")
        )
    return ", ".join(texts)


def _seconds(outcome: ProbeOutcome) -> float:
    return float(sum(outcome.run["seconds"].values()))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


VERB = Verb(RunSettings, run)
