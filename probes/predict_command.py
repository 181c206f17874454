"""`python -m probes predict`: apply a fitted head to stored features, labels or not."""

import sys
from pathlib import Path

from pydantic import Field

from cache import FeatureStore, FeatureView
from cache.commandline import Command, Verb
from cache.errors import ConfigError, NotExtracted
from cache.records import write_table

from .predict import predict_view
from .runner import head_folder


class PredictSettings(Command):
    """Apply the fitted head of a record to a feature store, without needing labels.

    The store must be of the family and noise level that the head was fitted to, but for what --cross names.
    """

    head: str = Field("", description="run id of the record (first digits suffice)")
    store: Path | None = Field(None, description="folder of the feature store")
    cross: tuple[str, ...] = Field(
        (), description="noise-level, error-input: apply to features with another noise level or error input"
    )
    results: Path = Field(Path("artifacts/results"), description="folder of records and fitted heads")
    out: Path = Field(Path("artifacts/results/predicted.parquet"), description="Parquet file to write")


def run(settings: PredictSettings) -> None:
    """Predict every row of the store and write one Parquet file."""
    if not settings.head or settings.store is None:
        raise ConfigError("say --head RUN_ID and --store PATH; see python -m probes predict --help")
    store = FeatureStore.open(settings.store)
    view = FeatureView(dict.fromkeys(store.arrays, store))
    columns = predict_view(_head(settings.results, settings.head), view, cross=settings.cross)
    write_table(settings.out, columns)
    sys.stdout.write(f"{len(columns['row'])} rows written to {settings.out}\n")


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
