"""`python -m probes predict`: apply a fitted head to stored features, labels or not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from cache import FeatureView, Want, find
from cache.commandline import Command, Verb, say
from cache.errors import ConfigError
from cache.given_stores import view_of
from cache.selection import read_selection

from .features import FeaturePart
from .head_of_record import load_head_of, run_id_of
from .kinship import check_kin
from .predict import parts_of, predictions_of
from .predicted_files import check_out, write_predictions
from .runner import head_folder
from .stores import FEATURES

NO_CONTROL = "none"


class PredictSettings(Command):
    """Apply the fitted head of a record to stored features, without needing labels.

    The features must be of the family, noise level and wavelengths that the head was fitted to, but for the seed of the
    noise and what --cross and --observed allow. They are named by --selection FILE, which extract run writes, by
    --split in the folder --features, or by --store. What the head was fitted to may lie in several stores.
    """

    head: str = Field("", description="run id of the record (first digits suffice)")
    selection: Path | None = Field(None, description="file written by extract run --selection")
    split: str | None = Field(
        None,
        description="split of the features, looked up in --features, or in --selection where it has several",
    )
    features: Path = Field(FEATURES, description="folder of the stores, with --split")
    family: str | None = Field(
        None, description="first digits of the family, where --split has several stored"
    )
    noise_level: float | None = Field(None, description="of the stores, where --split has several stored")
    store: tuple[Path, ...] = Field((), description="folders of feature stores with the same rows; commas")
    cross: tuple[str, ...] = Field(
        (), description="noise-level, error-input: apply to features with another noise level or error input"
    )
    observed: bool = Field(
        default=False,
        description="the spectra carry their own noise, as a telescope gives them: features extracted with --noise "
        "none (or stored) are taken though the head was trained on drawn noise; told in the file",
    )
    results: Path = Field(Path("artifacts/results"), description="folder of records and fitted heads")
    out: Path = Field(
        Path("artifacts/results/predicted.parquet"),
        description="file to write, Parquet or CSV by its name (.parquet, .csv); what a CSV is made of is kept in "
        "NAME.csv.json",
    )


def run(settings: PredictSettings) -> None:
    """Predict every row of the features and write one file, with what it is made of in or beside it."""
    _check_named(settings)
    run_id = run_id_of(settings.results, settings.head)
    saved, record = load_head_of(settings.results, run_id)
    views = _views(settings, parts_of(saved))
    folder, control = head_folder(settings.results, run_id), str(record.spec["control"])
    notes = list(_of_control(control))
    for view in views:
        told = check_kin(folder, saved, view, cross=settings.cross, observed=settings.observed)
        notes += [note for note in told if note not in notes]
    found = [predictions_of(saved, view) for view in views]
    columns = {name: np.concatenate([of_view[name] for of_view in found]) for name in found[0]}
    about = {
        "head": run_id,
        "model": saved.digest,
        "labels": record.spec["labels"],
        "control": control,
        "stores": {key: digest for view in views for key, digest in view.stores.items()},
        "observed": settings.observed,
        "cross": sorted(settings.cross),
        "notes": notes,
    }
    write_predictions(settings.out, columns, about=about)
    for note in notes:
        say(note)
    say(f"{'+'.join(record.spec['labels'])} of {len(columns['row'])} rows written to {settings.out}")


def _of_control(control: str) -> Iterator[str]:
    """What a reader of predictions by the head of a control must know."""
    if control != NO_CONTROL:
        yield (
            f"note: this is the head of a control ({control.replace('_', ' ')}): what probes are compared with, no "
            "estimate of the label"
        )


def _check_named(settings: PredictSettings) -> None:
    """Refuse a request without a head, for a file of no known kind, and without or with two names of its features."""
    if not settings.head:
        raise ConfigError("say --head RUN_ID; see python -m probes predict --help")
    check_out(settings.out)
    ways = [
        flag
        for flag, given in (
            ("--selection", settings.selection is not None),
            ("--store", bool(settings.store)),
            ("--split", settings.split is not None and settings.selection is None),
        )
        if given
    ]
    if len(ways) != 1:
        raise ConfigError(
            f"{' and '.join(ways) or 'nothing'} names the features; name them in one way: --selection FILE (written by "
            "extract run --selection FILE), --split NAME in the folder --features, or --store FOLDER"
        )
    elsewhere = None if settings.features == FEATURES else settings.features
    narrowed = {"--family": settings.family, "--noise-level": settings.noise_level, "--features": elsewhere}
    if ways != ["--split"] and (unused := [flag for flag, value in narrowed.items() if value is not None]):
        raise ConfigError(
            f"{' and '.join(unused)} beside {ways[0]}: that names the stores already; leave it away, or look for them "
            "with --split NAME in the folder --features"
        )


def _views(settings: PredictSettings, parts: Sequence[FeaturePart]) -> list[FeatureView]:
    """The features of the head, one view per noise draw."""
    arrays = tuple((part.layer, part.direction, part.pooling) for part in parts)
    if settings.store:
        return [view_of(settings.store, Want(arrays=arrays).stored_arrays())]
    if settings.selection is None:
        want = Want(arrays=arrays, family=settings.family, noise_level=settings.noise_level)
        return [find(settings.features, str(settings.split), want)]
    selection = read_selection(settings.selection)
    split = settings.split or next(iter(selection.splits))
    if settings.split is None and len(selection.splits) > 1:
        raise ConfigError(
            f"{settings.selection}: holds {', '.join(selection.splits)}; say which with --split"
        )
    return selection.views(split, arrays)


VERB = Verb(PredictSettings, run)
