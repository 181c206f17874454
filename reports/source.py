"""What reports are made of, read once: records, the tidy frame of scores, pairs; arrays, predictions on demand."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cache import state
from cache.canonical import digest_json
from cache.errors import CacheError
from cache.records import Record, read_arrays, read_predictions, read_records

from .comparisons import Comparisons, comparisons_of
from .names import Names
from .repeats import without_repeats
from .rows import SCORED_KINDS, StoreState, frame_of

Columns = Mapping[str, npt.NDArray[np.generic]]


def _missing(_key: str, _digest: str | None) -> str:
    """How a store stands where no features folder is known."""
    return "missing"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A results folder as reports see it.

    `frame` has one row per probe record and label (see `rows.frame_of`), equal mean predictors being one; `paired` is
    what comparison records say of those rows. `arrays` reads the sidecar of a run id, `predictions` its columns (row,
    star, split, draw, y, y_hat, stored labels); both raise CacheError when the record has none. `state` tells how a
    store stands, by key and digest.
    """

    records: tuple[Record, ...]
    frame: pd.DataFrame
    paired: Comparisons
    arrays: Callable[[str], Mapping[str, npt.NDArray[Any]]]
    predictions: Callable[[str], Columns]
    state: StoreState = _missing

    @functools.cached_property
    def names(self) -> Names:
        """What encoders and data files are called."""
        return Names(self.records)

    def of_kind(self, kind: str) -> tuple[Record, ...]:
        """The records of one kind, in order of run id; of those that differ in method alone the last one made."""
        latest: dict[str, Record] = {}
        for record in sorted(self.records, key=lambda r: (r.run.get("time", ""), r.run_id)):
            if record.kind == kind:
                latest[digest_json({**record.spec, "method": None})] = record
        return tuple(sorted(latest.values(), key=lambda r: r.run_id))


def read_source(results_root: Path, features_root: Path | None) -> Source:
    """Read a results folder; CacheError when it holds no probe record. Without a features folder stores are missing."""
    records = load_records(results_root)
    stands = store_state(features_root)
    paired = comparisons_of(records)
    return Source(
        records=tuple(records),
        frame=without_repeats(frame_of(records, stands), paired),
        paired=paired,
        arrays=lambda run_id: read_arrays(results_root, run_id),
        predictions=lambda run_id: read_predictions(results_root, run_id),
        state=stands,
    )


def load_records(results_root: Path) -> list[Record]:
    """Every record of a results folder; CacheError when there is none that scores a head."""
    if not results_root.is_dir():
        raise CacheError(
            f"{results_root}: no such folder of results; `python -m probes run --results` makes one"
        )
    records = read_records(results_root)
    if not any(record.kind in SCORED_KINDS for record in records):
        raise CacheError(
            f"{results_root / 'records'}: {len(records)} records and none of a probe; run `python -m probes run` first"
        )
    return records


def store_state(features_root: Path | None) -> StoreState:
    """How stores stand under a features folder, each looked at once; 'missing' without such a folder."""
    if features_root is None or not features_root.is_dir():
        return _missing
    return functools.cache(functools.partial(state, features_root))
