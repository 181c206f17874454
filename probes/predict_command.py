"""`python -m probes predict`: apply a fitted head to stored features, labels or not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from cache import FeatureView, Want, find
from cache.canonical import canonical_json
from cache.commandline import Command, Verb, say
from cache.errors import ConfigError, NotExtracted
from cache.given_stores import view_of
from cache.records import write_table
from cache.selection import read_selection

from .features import FeaturePart
from .kinship import check_kin
from .persistence import load_head
from .predict import parts_of, predictions_of
from .runner import head_folder

ABOUT = "blindspot_predict"
"""Key in the metadata of the Parquet file: JSON of the head, the stores, and what was said about them."""


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
    features: Path = Field(Path("artifacts/features"), description="folder of the stores, with --split")
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
    out: Path = Field(Path("artifacts/results/predicted.parquet"), description="Parquet file to write")


def run(settings: PredictSettings) -> None:
    """Predict every row of the features and write one Parquet file, with what it is made of in its metadata."""
    _check_named(settings)
    folder = _head(settings.results, settings.head)
    saved = load_head(folder)
    views = _views(settings, parts_of(saved))
    notes = {
        note: None
        for view in views
        for note in check_kin(folder, saved, view, cross=settings.cross, observed=settings.observed)
    }
    found = [predictions_of(saved, view) for view in views]
    columns = {name: np.concatenate([of_view[name] for of_view in found]) for name in found[0]}
    about = {
        "head": folder.name,
        "stores": {key: digest for view in views for key, digest in view.stores.items()},
        "observed": settings.observed,
        "cross": sorted(settings.cross),
        "notes": list(notes),
    }
    write_table(settings.out, columns, about={ABOUT: canonical_json(about)})
    for note in notes:
        say(note)
    say(f"{len(columns['row'])} rows written to {settings.out}")


def _check_named(settings: PredictSettings) -> None:
    """Refuse a request without a head, and one that names its features in no way or in two."""
    if not settings.head:
        raise ConfigError("say --head RUN_ID; see python -m probes predict --help")
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
    narrowed = {"--family": settings.family, "--noise-level": settings.noise_level}
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


def _head(results: Path, digits: str) -> Path:
    found = sorted((results / "heads").glob(f"{digits}*"))
    if not found:
        raise NotExtracted(
            f"{results / 'heads'}: no fitted head begins with {digits!r}; fit one with probes run"
        )
    if len(found) > 1:
        raise ConfigError(f"{len(found)} fitted heads begin with {digits!r}; give more digits")
    return head_folder(results, found[0].name)


VERB = Verb(PredictSettings, run)
