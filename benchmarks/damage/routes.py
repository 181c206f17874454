"""Reading everything of a store along every route, and the verdict on what came back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import cache
from cache.errors import CacheError

from . import stores
from .stores import WIDTHS

HARMLESS, DETECTED, CRASHED, SILENT = "harmless", "detected", "crashed", "silent"
WORST_FIRST = (SILENT, CRASHED, DETECTED, HARMLESS)

BOTH = ("enc_pre_latent", "seg_mean_K5")
STORED = tuple((array.layer, array.pooling, array.direction) for array in sorted(WIDTHS))
READINGS = (*STORED, (*BOTH, "mean"), (*BOTH, "concat"))
"""Every array, and the two that are formed on reading."""

HELD = "held open"
ROUTES = ("FeatureStore", "verify", "open_dataset", "find", HELD)
"""HELD is a FeatureStore that was opened before the fault."""

Pieces = Iterable[tuple[str, Callable[[], Any]]]


@dataclass(frozen=True)
class Verdict:
    """What one route made of a fault, and what was wrong with it."""

    outcome: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Committed:
    """Everything that a finished store returns, by route and piece."""

    key: str
    family: str
    digest: str
    label_names: tuple[str, ...]
    pieces: Mapping[str, Mapping[str, Any]] = field(repr=False)


def same(one: Any, two: Any) -> bool:
    """Whether two values are equal, arrays bit for bit."""
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        alike = type(one) is type(two) and one.dtype == two.dtype and one.shape == two.shape
        if not alike:
            return False
        return one.tolist() == two.tolist() if one.dtype.kind in "OT" else one.tobytes() == two.tobytes()
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    return type(one) is type(two) and bool(one == two)


def commit_values(root: Path, store: str) -> Committed:
    """Read an undamaged store along every route; RuntimeError if it does not hold what was written to it."""
    opened = cache.FeatureStore.open(root / store)
    names = opened.label_names
    known = Committed(opened.key, opened.family, opened.digest(), names, {})
    pieces = {
        "FeatureStore": {name: read() for name, read in _of_store(opened, names)},
        "find": {name: read() for name, read in _of_view(_find(root, store.partition("/")[0], known), names)},
    }
    for reading in STORED:
        pieces[f"open_dataset {reading}"] = {
            name: read() for name, read in _of_dataset(_dataset(root / store, reading))
        }
    _check_written(pieces["FeatureStore"])
    return Committed(known.key, known.family, known.digest, names, pieces)


def read_everything(
    root: Path, store: str, committed: Committed, *, held: cache.FeatureStore | None = None
) -> dict[str, Verdict]:
    """The verdict of every route on the store at `root / store`; of the one held open, if there is one."""
    path, names = root / store, committed.label_names
    read = committed.pieces
    direct = judge(
        lambda: cache.FeatureStore.open(path),
        lambda opened: _of_store(opened, names),
        read["FeatureStore"],
    )
    checked = judge(lambda: cache.FeatureStore.open(path).verify(), lambda _: (), {})
    if checked.outcome == HARMLESS and direct.outcome != HARMLESS:
        checked = Verdict(SILENT, (f"verify passed, but reading was {direct.outcome}: {direct.why}",))
    sets = [
        judge(partial(_dataset, path, reading), _of_dataset, read[f"open_dataset {reading}"])
        for reading in STORED
    ]
    found = judge(
        lambda: _find(root, store.partition("/")[0], committed),
        lambda view: _of_view(view, names),
        read["find"],
    )
    verdicts = {"FeatureStore": direct, "verify": checked, "open_dataset": _worst(sets), "find": found}
    if held is not None:
        verdicts[HELD] = judge(lambda: held, lambda opened: _of_store(opened, names), read["FeatureStore"])
    return verdicts


def judge(
    opening: Callable[[], Any], pieces_of: Callable[[Any], Pieces], committed: Mapping[str, Any]
) -> Verdict:
    """Open, then read every piece in its own try: one silent piece counts, whatever the others raise."""
    try:
        pieces = list(pieces_of(opening()))
    except Exception as error:  # noqa: BLE001  any other class than CacheError is a finding
        return _raised("opening", error)
    verdicts = [Verdict(HARMLESS)]
    if {name for name, _ in pieces} != set(committed):
        verdicts.append(
            Verdict(SILENT, (f"pieces {[name for name, _ in pieces]}, committed {list(committed)}",))
        )
    for name, read in pieces:
        try:
            value = read()
        except Exception as error:  # noqa: BLE001  as above
            verdicts.append(_raised(name, error))
        else:
            if name in committed and not same(value, committed[name]):
                verdicts.append(Verdict(SILENT, (f"{name} differs",)))
    return _worst(verdicts)


def worst(outcomes: Iterable[str]) -> str:
    """Silent before crashed before detected before harmless."""
    return min(outcomes, key=WORST_FIRST.index)


def _worst(verdicts: list[Verdict]) -> Verdict:
    outcome = worst(verdict.outcome for verdict in verdicts)
    return Verdict(outcome, tuple(dict.fromkeys(w for v in verdicts if v.outcome == outcome for w in v.why)))


def _raised(where: str, error: Exception) -> Verdict:
    outcome = DETECTED if isinstance(error, CacheError) else CRASHED
    return Verdict(outcome, (f"{where}: {type(error).__name__}: {str(error)[:200]}",))


def _find(root: Path, split: str, known: Committed) -> tuple[cache.FeatureView, str]:
    """The view of every array, with the split that was asked for."""
    arrays = tuple((layer, direction, pooling) for layer, pooling, direction in READINGS)
    want = cache.Want(arrays=arrays, family=known.family, input=stores.INPUT, draw=0, noise_level=1.0)
    return cache.find(root, split, want), split


def _dataset(path: Path, reading: tuple[str, str, str]) -> Any:
    layer, pooling, direction = reading
    return cache.open_dataset(path, layer=layer, pooling=pooling, direction=direction)


def _shared(
    source: cache.FeatureStore | cache.FeatureView, labels: tuple[str, ...]
) -> Iterator[tuple[str, Any]]:
    """The pieces that a store and a view have in common."""
    for layer, pooling, direction in READINGS:
        yield f"features {layer} {direction}", partial(source.features, layer, pooling, direction)
        yield f"coordinates {layer} {direction}", partial(source.coordinates, layer, pooling, direction)
    for name in labels:
        yield f"label {name}", partial(source.labels, name)
    for name in ("label_names", "rows", "stars", "family", "split", "provenance", "layers"):
        yield name, partial(getattr, source, name)
    yield "arrays", lambda: sorted(source.arrays)


def _of_store(store: cache.FeatureStore, labels: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    yield from _shared(store, labels)
    yield "ids", lambda: store.ids
    yield "key", lambda: store.key
    yield "digest", store.digest


def _of_view(found: tuple[cache.FeatureView, str], labels: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    view, split = found
    yield from _shared(view, labels)
    yield "stores", lambda: view.stores
    yield "split is the one asked for", lambda: view.split == split


def _of_dataset(dataset: Any) -> Iterator[tuple[str, Any]]:
    for name in dataset.variables:
        yield str(name), lambda name=name: np.asarray(dataset[name].values)
        yield f"{name} dims", lambda name=name: dataset[name].dims
    yield "attributes", lambda: dict(dataset.attrs)


def _check_written(read: Mapping[str, Any]) -> None:
    """The undamaged store must return the made-up values themselves, else nothing below means anything."""
    run = stores.ORIGINAL
    table = stores.row_table(run)
    expected: dict[str, Any] = {"rows": table.row, "stars": table.star, "ids": list(table.id)}
    expected |= {f"label {name}": label for name, label in table.labels.items()}
    expected |= {f"features {a.layer} {a.direction}": stores.values(a, run) for a in WIDTHS}
    expected |= {"provenance": stores.provenance(run)}
    for name, value in expected.items():
        if not same(read[name], value):
            raise RuntimeError(f"the undamaged store does not return the {name} that were written")
    for array in WIDTHS:
        for name, values in stores.coordinates(array, run).items():
            if not np.array_equal(read[f"coordinates {array.layer} {array.direction}"][name], values):
                raise RuntimeError(f"the undamaged store does not return {name} of {array.path}")
