"""The controls that stand beside every probe unless they are declined, and the stores they need."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache.arrays import PSEUDO_LAYERS
from cache.errors import BlindspotError, NotExtracted
from cache.extract_command import array_flags
from cache.header import read_header
from cache.provenance import family
from cache.store_folders import store_paths

from .cells import ALL, JOIN, NONE, CellChoices, columns, train_size
from .extract_command import extract_command
from .samples import DROP
from .spec import RANDOM_ORIGIN
from .stores import Arrays, StoreChoice
from .views import FeatureView

DEFAULT = "default"
"""Stands for the plain probe and all of its controls."""
FLUX = "input_flux"
INPUTS = {FLUX: "raw noisy flux and its PCA", "input_error": "error only"}
"""What the network is given, each alone with pooling none, and what a probe on it is called."""
FLUX_AXES = (16, 32, 64, 128)
"""Numbers of principal axes that the users ask for (REFERENCE 8 D); the flux is put on the most that it has."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Probes on the stores of one encoder."""

    choices: CellChoices
    stores: StoreChoice


@dataclass(frozen=True, kw_only=True)
class Accompanied:
    """What is to be fitted, probes asked for first; `missing` tells controls without stores, and what makes those."""

    batches: tuple[Batch, ...]
    missing: tuple[str, ...] = ()


def accompanied(choices: CellChoices, stores: StoreChoice) -> Accompanied:
    """The choices, and where `default` is among their controls all of these beside them.

    Labels shuffled among stars, with every feature set and head; the mean predictor, once (later
    commands for other features fit it again, and tables take equal ones for one); the noisy flux and its
    principal axes, and the error vector alone, with every head; features of an untrained encoder of the same shape on
    the same spectra, with every head. They are fitted to the largest training size with the first seed, on all
    segments. Where no network layer is asked for, or test has another error input, inputs and untrained encoder have
    nothing to be compared with and are left out; a network that is fed no error is compared with the error as well.
    Raises what `StoreChoice.views` raises for the features asked for; a control without stores is told by `missing`.
    """
    if DEFAULT not in choices.controls:
        return Accompanied(batches=(Batch(choices=choices, stores=stores),))
    asked = tuple(dict.fromkeys((NONE, *(name for name in choices.controls if name != DEFAULT))))
    once = _once(choices)
    layer, direction, pooling = next(columns(choices))
    baseline = replace(
        once,
        layers=(layer,),
        poolings=(pooling,),
        directions=(direction,),
        heads=("mean",),
        params=(),
        mix=NONE,
        controls=("mean_predictor",),
    )
    own = [
        replace(choices, controls=asked),
        replace(once, controls=("shuffled_labels",)),
        baseline,
    ]
    batches, missing = [Batch(choices=chosen, stores=stores) for chosen in own], []
    layers = tuple(layer for layer in choices.layers if not set(layer.split(JOIN)) & set(PSEUDO_LAYERS))
    if layers and stores.test_error_input is None:
        view = stores.views(next(_arrays(replace(choices, layers=layers))))["train"][0]
        for found, words in (
            _inputs(once, stores, view),
            _untrained(replace(once, layers=layers), stores, view),
        ):
            batches += found
            missing += words
    return Accompanied(batches=tuple(batches), missing=tuple(missing))


def without_default(choices: CellChoices) -> CellChoices:
    """The same choices without the controls that stand beside them: the probes asked for."""
    named = tuple(name for name in choices.controls if name != DEFAULT)
    return choices if named == choices.controls else replace(choices, controls=(NONE, *named))


Found = tuple[list[Batch], list[str]]


def _once(choices: CellChoices) -> CellChoices:
    sizes = choices.train_sizes
    largest = ALL if ALL in sizes else max(sizes, key=lambda size: train_size(size) or 0)
    return replace(
        choices,
        controls=(NONE,),
        pca=(NONE,),
        segments=(ALL,),
        train_sizes=(largest,),
        seeds=choices.seeds[:1],
    )


def _inputs(once: CellChoices, stores: StoreChoice, view: FeatureView) -> Found:
    """Noisy flux, its principal axes and the error, of the family of the view: others may hold them as well."""
    stores = replace(stores, family=view.family)
    batches, absent = [], []
    for layer in INPUTS:
        try:
            train = stores.views(((layer, "forward", "none"),))["train"]
        except NotExtracted:
            absent.append(layer)
            continue
        by_axes: dict[tuple[int, ...], list[str]] = {}
        for labels in once.labels:
            axes = _flux_axes(once, train, labels) if layer == FLUX else ()
            by_axes.setdefault(axes, []).append(labels)
        for axes, alike in by_axes.items():
            chosen = replace(
                once,
                layers=(layer,),
                poolings=("none",),
                directions=("forward",),
                labels=tuple(alike),
                mix=NONE,
                pca=(NONE, *axes),
            )
            batches.append(Batch(choices=chosen, stores=stores))
    if not absent:
        return batches, []
    flags = array_flags((layer, "forward", "none") for layer in absent)
    named = ", ".join(INPUTS[layer] for layer in absent)
    return batches, [f"{named}: not stored; {extract_command(view, flags)}"]


def _flux_axes(once: CellChoices, train: Sequence[FeatureView], labels: str) -> tuple[int, ...]:
    """The largest of FLUX_AXES that flux and the train rows of these labels have; none where they have too few.

    n rows vary in n - 1 directions at most.
    """
    (size,) = once.train_sizes
    n_rows = sum(_n_whole(member, labels.split(JOIN), once.missing_labels) for member in train)
    n_rows = n_rows if size == ALL else min(n_rows, int(size))
    n_pixels = train[0].coordinates(FLUX, "none", "forward")["channel"].size
    return tuple(number for number in FLUX_AXES if number <= min(n_rows - 1, n_pixels))[-1:]


def _n_whole(member: FeatureView, labels: Sequence[str], missing: str) -> int:
    """How many rows take part in a fit of these labels; one that is not stored is left to the fit to refuse."""
    there = [label for label in labels if label in member.label_names]
    if missing != DROP or not there:
        return member.rows.size
    return int(np.isfinite([member.labels(label) for label in there]).all(axis=0).sum())


def _untrained(once: CellChoices, stores: StoreChoice, view: FeatureView) -> Found:
    """The same layers of an untrained encoder, those that are stored with all poolings and directions."""
    if _is_untrained(view.provenance):
        return [], []
    twin = _untrained_twin(stores, view)
    there = tuple(
        layer
        for layer in once.layers
        if twin is not None and all(_is_stored(twin, a) for a in _arrays(replace(once, layers=(layer,))))
    )
    absent = [layer for layer in once.layers if layer not in there]
    missing = []
    if absent:
        lacking = [array for arrays in _arrays(replace(once, layers=tuple(absent))) for array in arrays]
        flags = {"--checkpoint": f"{RANDOM_ORIGIN}0", **array_flags(lacking)}
        missing = [f"random encoder on {', '.join(absent)}: not stored; {extract_command(view, flags)}"]
    if twin is None or not there:
        return [], missing
    return [Batch(choices=replace(once, layers=there), stores=twin)], missing


def _arrays(choices: CellChoices) -> Iterator[Arrays]:
    """What the probes of some choices read, feature set by feature set."""
    for layer, direction, pooling in columns(choices):
        yield tuple((part, direction, pooling) for part in layer.split(JOIN))


def _is_stored(stores: StoreChoice, arrays: Arrays) -> bool:
    try:
        stores.views(arrays)
    except NotExtracted:
        return False
    return True


def _untrained_twin(stores: StoreChoice, view: FeatureView) -> StoreChoice | None:
    """Stores of an untrained encoder that otherwise were made as the view was; of several the first by origin."""
    families: dict[str, str] = {}
    for path in store_paths(stores.root, "train"):
        try:
            header = read_header(path)
        except (BlindspotError, PermissionError):  # it is no control; `python -m cache ls` shows it
            continue
        if _is_untrained(header.provenance) and _are_twins(header.provenance, view.provenance):
            families.setdefault(header.provenance["encoder"]["origin"], header.family)
    if not families:
        return None
    origin = min(families, key=lambda name: (len(name), name))
    selection = stores.selection
    if selection is not None:
        selection = replace(selection, family=families[origin], encoder=origin)
    return replace(stores, family=families[origin], selection=selection)


def _is_untrained(provenance: Mapping[str, Any]) -> bool:
    return str(provenance["encoder"].get("origin", "")).startswith(RANDOM_ORIGIN)


def _are_twins(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two stores hold the same spectra with the same noise, seen by networks of the same shape."""
    same = all(one[field] == other[field] for field in ("input", "rows"))
    level = one["noise"]["level"] == other["noise"]["level"]
    shape = one["encoder"]["config"] == other["encoder"]["config"]
    return same and level and shape and family({**one, "encoder": other["encoder"]}) == family(other)
