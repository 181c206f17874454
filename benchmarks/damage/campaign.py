"""A campaign of random faults: each on a fresh store, read along every route, mended, and undone."""

import json
import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from cache.header import ATTRIBUTE
from cache.repair import repair
from cache.store import FeatureStore
from cache.writer import StoreWriter

from . import stores, twins
from .files import CLASSES, Fault
from .kinds import KINDS
from .routes import (
    CRASHED,
    HARMLESS,
    ROUTES,
    SILENT,
    Committed,
    Verdict,
    commit_values,
    read_everything,
    worst,
)
from .trees import Tree, World, changed, restore, take

REPAIRED, REPAIRABLE, REBUILT, UNMENDED = "repaired", "repairable", "rebuilt", "not mended"
UNEXPLAINED = "unexplained"
INJECTED = "injected"
HELD_EVERY = 3
"""Of that many faults of a kind one hits a store that a reader holds open; reading it piece by piece takes time."""


@dataclass(frozen=True)
class Report:
    """What became of the faults."""

    kinds: Mapping[str, Counter[str]]
    """Counts by kind: injected, an outcome each, repairable, repaired, rebuilt."""
    routes: Mapping[str, Counter[str]]
    """Outcomes by route."""
    twins: Mapping[str, Mapping[str, Counter[str]]]
    """Outcomes by plain layout and kind."""
    harmless: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Counts by kind and reason."""
    findings: list[str] = field(default_factory=list)
    """Every fault that was silent, crashed a reader, or could not be mended."""

    def total(self, name: str) -> int:
        """A count over all kinds."""
        return sum(counts[name] for counts in self.kinds.values())

    @property
    def passed(self) -> bool:
        """Whether nothing was silent, nothing crashed, and everything that can be mended was."""
        return not self.findings


@dataclass(frozen=True)
class Grounds:
    """Where the faults happen: the store and its plain twins, with what each returns undamaged."""

    world: World
    committed: Committed
    twins: Mapping[str, tuple[World, Mapping[str, Any]]]
    features: Mapping[Any, np.ndarray]


def inject(n: int, folder: Path, *, seed: int, advance: Callable[[int], None]) -> Report:
    """Do `n` faults in an empty folder, each kind equally often; fault i depends on (seed, i) alone."""
    with mock.patch.object(os, "fsync"), warnings.catch_warnings():  # no plug is pulled here
        warnings.simplefilter("ignore")  # zarr warns of odd files; only what is returned counts
        grounds = prepare(folder)
        report = Report(
            {kind: Counter() for kind in KINDS},
            {route: Counter() for route in ROUTES},
            {twin: {kind: Counter() for kind in KINDS} for twin in grounds.twins},
        )
        for number in range(n):
            kind = list(KINDS)[number % len(KINDS)]
            fault = KINDS[kind](np.random.default_rng([seed, number]), grounds.world)
            held = None
            if number // len(KINDS) % HELD_EVERY == 0:
                held = FeatureStore.open(grounds.world.root / grounds.world.store)
            suffer(grounds, kind, fault, report, held=held)
            for twin, (world, values) in grounds.twins.items():
                report.twins[twin][kind][twins.suffer(world, fault, values)] += 1
            advance(1)
    return report


def prepare(folder: Path) -> Grounds:
    """Write the stores and their twins."""
    root = folder / "original"
    path = stores.write_store(root, stores.ORIGINAL)
    others = {run.name: stores.write_store(folder / run.name, run) for run in stores.OTHERS}
    world = World(root, path.relative_to(root).as_posix(), others, take(root))
    plain = {}
    for codec in (twins.PLAIN, twins.CRC32C):
        twin = twins.make_twin(world, folder / codec, codec=codec)
        plain[codec] = (twin, twins.values(twin))
    features = {array: stores.values(array, stores.ORIGINAL) for array in stores.WIDTHS}
    return Grounds(world, commit_values(root, world.store), plain, features)


def suffer(
    grounds: Grounds, kind: str, fault: Fault, report: Report, *, held: FeatureStore | None = None
) -> None:
    """One fault: done, read, mended, undone; counted in the report."""
    world = grounds.world
    fault.act(world)
    damaged = take(world.root)
    touched = changed(world.tree, damaged)
    store, counts = fault.moved_to or world.store, report.kinds[kind]
    verdicts = read_everything(world.root, store, grounds.committed, held=held)
    outcome = worst(verdict.outcome for verdict in verdicts.values())
    counts.update([INJECTED, outcome])
    for route, verdict in verdicts.items():
        report.routes[route][verdict.outcome] += 1
    if outcome in (SILENT, CRASHED):
        report.findings.append(f"{outcome}: {kind}: {fault.what}: {_told(verdicts, outcome)}")
    if outcome == HARMLESS:
        report.harmless[kind, why_harmless(world, damaged, touched, fault)] += 1
    elif not fault.moved_to and _mend(grounds, kind, fault, touched, report):
        touched |= changed(world.tree, take(world.root))
    restore(world.root, world.tree, touched)


def _mend(grounds: Grounds, kind: str, fault: Fault, touched: frozenset[str], report: Report) -> bool:
    """Damaged features: repair and refill. Anything else, once per kind: delete the store and write it again.

    Returns whether anything was tried, successfully or not.
    """
    world, counts = grounds.world, report.kinds[kind]
    path = world.root / world.store
    if only_features(world, touched):
        counts[REPAIRABLE] += 1
        means, mend = REPAIRED, _repair
    elif not counts[REBUILT]:
        means, mend = REBUILT, _rebuild
    else:
        return False
    try:
        mend(path, grounds)
        opened = FeatureStore.open(path)
        opened.verify()
        if opened.digest() != grounds.committed.digest:
            raise RuntimeError("the digest is another one")  # noqa: TRY301  one place that counts failures
        if means == REPAIRED:
            _check_bytes(world)
    except Exception as error:  # noqa: BLE001  whatever went wrong, the store was not mended
        report.findings.append(
            f"{UNMENDED}: {kind}: {fault.what}: {type(error).__name__}: {str(error)[:200]}"
        )
    else:
        counts[means] += 1
    return True


def _repair(path: Path, grounds: Grounds) -> None:
    repair(path)
    stores.fill(StoreWriter.open(path), grounds.features)


def _rebuild(path: Path, _: Grounds) -> None:
    if path.exists():
        shutil.rmtree(path)
    stores.write_store(path.parent.parent, stores.ORIGINAL)


def only_features(world: World, touched: frozenset[str]) -> bool:
    """Whether nothing but feature chunks and commit records was hurt (and notes of runs, which do not count)."""
    own = (
        CLASSES["chunk"],
        CLASSES["record"],
        r"\.commit(/.*)?",
        r"\.runs(/.*)?",
        r"(?:[^/]+/){3}features/c(/\d+)?",
    )
    inside = [name.removeprefix(world.store + "/") for name in touched]
    return all(any(re.fullmatch(pattern, name) for pattern in own) for name in inside)


def _check_bytes(world: World) -> None:
    """A mended store has the committed files, byte for byte; what it has beside them is not looked at."""
    files = take(world.root).files
    for name, content in world.tree.files.items():
        if not name.startswith(world.inside(".runs")) and files.get(name) != content:
            raise RuntimeError(f"{name} is not the committed file after the repair")


def why_harmless(world: World, damaged: Tree, touched: frozenset[str], fault: Fault) -> str:
    """Why a fault changed nothing that is returned, told from the files it touched alone."""
    inside = {name.removeprefix(world.store + "/") for name in touched}
    hurt = [name for name in inside if world.tree.holds(world.inside(name))]
    content = [(world.tree.files.get(name), damaged.files.get(name)) for name in touched]
    reasons = {
        "no byte changed (equal files)": not touched,
        "only the folder's name changed; read at its new place": fault.moved_to is not None,
        "came beside the store's own files; no reader looks at it": not hurt,
        "notes of runs: outside key and digest": all(name.split("/")[0] == ".runs" for name in hurt),
        "JSON of the same content": all(_equal_json(*pair) for pair in content),
        "root zarr.json: outside our attribute": inside == {"zarr.json"} and _ours_equal(*content[0]),
    }
    return next((reason for reason, holds in reasons.items() if holds), UNEXPLAINED)


def _ours_equal(before: bytes | None, after: bytes | None) -> bool:
    one, two = (json.loads(text or b"{}").get("attributes", {}) for text in (before, after))
    return bool(one.get(ATTRIBUTE) == two.get(ATTRIBUTE))


def _equal_json(before: bytes | None, after: bytes | None) -> bool:
    try:
        return before is not None and after is not None and json.loads(before) == json.loads(after)
    except ValueError:
        return False


def _told(verdicts: Mapping[str, Verdict], outcome: str) -> str:
    """Which routes, and what the first of them said."""
    routes = [route for route, verdict in verdicts.items() if verdict.outcome == outcome]
    why = verdicts[routes[0]].why
    more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
    return f"{', '.join(routes)}: {why[0]}{more}"
