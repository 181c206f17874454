"""What may be taken away under a folder of feature stores: leftovers, and stores that are of no use."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .arrays import ArrayName
from .atomic import TEMPORARY_PREFIX
from .canonical import canonical_json
from .errors import CacheError, ConfigError, Damaged, Incomplete, UnknownName
from .inventory import StoreInfo, closed_splits, look, split_folders, store_folders
from .locks import abandoned
from .provenance import group
from .records import Record, read_records
from .removal import PRUNING, is_held, measure
from .store import FeatureStore
from .texts import age_text
from .writer import leftovers

KINDS = ("leftovers", "outdated", "damaged", "unfinished", "unused", "covered")
"""In this order: a store that goes for an earlier reason covers no other one."""
SHY_SECONDS = 3600.0
"""An unfinished store is left alone for this long, unless an age is given: parts of a run hold no locks."""

LINKED = "is a link; prune the folder that it leads to: --root of that folder"
FORBIDDEN = "you have no right to look into it"
_TEMPORARY = (TEMPORARY_PREFIX, PRUNING)
"""Starts of the names of folders in which something is being made or removed."""
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something that may go: a whole folder, or, when `inside` names some, only leftovers in it."""

    kind: str
    path: Path
    """The store or folder, also where only leftovers in it go."""
    reason: str
    n_bytes: int
    age: float
    """Seconds since anything in it was written."""
    inside: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Found:
    """What may go, and what is left alone with the reason."""

    candidates: tuple[Candidate, ...]
    spared: tuple[tuple[Path, str], ...]


Reasons = Iterator[tuple[StoreInfo, str]]


def find_candidates(
    root: Path, what: Collection[str], *, results: Path, older_than: float | None = None
) -> Found:
    """What of the kinds `what` lies under `root` and is at least `older_than` seconds old.

    Without an age, unfinished stores must be an hour old, the rest may be of any age. Raises UnknownName for a
    kind, ConfigError for `unused` and `covered` when there are no records under `results`.
    """
    for kind in what:
        if kind not in KINDS:
            raise UnknownName("kind of thing to prune", kind, KINDS)
    chosen: dict[Path, Candidate] = {}
    spared: dict[Path, str] = {}
    linked = {path: LINKED for path in split_folders(root) if path.is_symlink()}
    closed = dict.fromkeys(closed_splits(root), FORBIDDEN)
    spared |= closed | linked
    there = [look(path) for path in store_folders(root) if path.parent not in linked]
    spared |= {info.path: FORBIDDEN for info in there if info.state == "forbidden"}
    there = [info for info in there if info.state != "forbidden"]
    for kind in (kind for kind in KINDS if kind in what and kind in SELECT):
        for info, reason in SELECT[kind]([i for i in there if i.path not in chosen], results):
            n_bytes, age = measure(info.path)
            candidate = Candidate(kind=kind, path=info.path, reason=reason, n_bytes=n_bytes, age=age)
            shy = SHY_SECONDS if info.state == "unfinished" else 0.0
            _sort(candidate, older_than, chosen, spared, shy=shy)
    if "leftovers" in what:
        for candidate in _leftovers(root, [i.path for i in there if i.path not in chosen]):
            _sort(candidate, older_than, chosen, spared)
    return Found(tuple(chosen.values()), tuple(spared.items()))


def _sort(
    candidate: Candidate,
    older_than: float | None,
    chosen: dict[Path, Candidate],
    spared: dict[Path, str],
    *,
    shy: float = 0.0,
) -> None:
    """Choose a candidate, unless it is too young or a running extraction holds it."""
    least = shy if older_than is None else older_than
    if not os.access(candidate.path, os.R_OK | os.X_OK):
        spared[candidate.path] = FORBIDDEN
    elif _is_in_use(candidate):
        spared[candidate.path] = "a running extraction holds it"
    elif candidate.age < least:
        spared[candidate.path] = f"{candidate.kind}, but written to less than {age_text(least)} ago"
    else:
        chosen[candidate.path] = candidate


def _outdated(stores: list[StoreInfo], _: Path) -> Reasons:
    for info in stores:
        if info.state == "outdated":
            yield info, info.reason


def _damaged(stores: list[StoreInfo], _: Path) -> Reasons:
    for info in stores:
        if info.state == "damaged":
            yield info, info.reason
        elif info.header is not None:
            try:
                FeatureStore.open(info.path)
            except Incomplete:
                continue
            except Damaged as error:
                yield info, str(error)


def _unfinished(stores: list[StoreInfo], _: Path) -> Reasons:
    for info in stores:
        if info.state == "unfinished":
            yield info, info.state_text


def _unused(stores: list[StoreInfo], results: Path) -> Reasons:
    """Finished stores that no record names."""
    records = _records(results)
    named = _named_keys(records)
    for info in stores:
        if info.state == "finished" and info.header is not None and info.header.key not in named:
            yield info, f"none of {len(records)} records under {results} names it"


def _covered(stores: list[StoreInfo], results: Path) -> Reasons:
    """Stores that no record names and whose arrays are all in others of their group, read and found whole."""
    named = _named_keys(_records(results))
    staying: dict[str, dict[Path, set[ArrayName]]] = {}
    for info in stores:
        if info.state == "finished" and info.header is not None and _is_whole(info.path):
            staying.setdefault(group(info.header.provenance), {})[info.path] = set(info.header.arrays)
    for info in sorted(stores, key=lambda i: (len(i.header.arrays) if i.header else 0, i.path)):
        if info.header is None or info.state not in ("finished", "unfinished") or info.header.key in named:
            continue
        of_group = staying.get(group(info.header.provenance), {})
        others = {path: held for path, held in of_group.items() if path != info.path}
        wanted = set(info.header.arrays)
        if wanted <= set().union(*others.values()):
            of_group.pop(info.path, None)
            holders = sorted(path for path, held in others.items() if held & wanted)
            yield info, f"its arrays are also in {', '.join(map(str, holders))}"


SELECT: dict[str, Callable[[list[StoreInfo], Path], Reasons]] = {
    "outdated": _outdated,
    "damaged": _damaged,
    "unfinished": _unfinished,
    "unused": _unused,
    "covered": _covered,
}


def _records(results: Path) -> list[Record]:
    """The records that tell which stores are in use; ConfigError where there are none."""
    records = read_records(results)
    if not records:
        raise ConfigError(
            f"{results}: holds no records, so every store would count as unused; say where they are with --results "
            "(before the first probe is on record, no store goes as unused or covered)"
        )
    return records


def _named_keys(records: list[Record]) -> set[str]:
    """Keys of the stores that records name."""
    return {key for r in records for key in _KEY.findall(canonical_json([r.spec, r.result]))}


def _is_whole(path: Path) -> bool:
    try:
        FeatureStore.open(path).verify()
    except CacheError:
        return False
    return True


def _leftovers(root: Path, stores: list[Path]) -> Iterator[Candidate]:
    """Temporary folders and lock files that no living process holds: beside stores, and inside those that stay."""
    apart = {*closed_splits(root), *(split for split in split_folders(root) if split.is_symlink())}
    for folder in (root, *(split for split in split_folders(root) if split not in apart)):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.startswith(_TEMPORARY) and path.is_dir() and not path.is_symlink():
                n_bytes, age = measure(path)
                reason = "its making or removal was interrupted"
                yield Candidate(kind="leftovers", path=path, reason=reason, n_bytes=n_bytes, age=age)
    for store in stores:
        inside = [path for path in leftovers(store) if _is_abandoned(path)]
        if inside:
            yield _of_inside(store, inside)


def _is_in_use(candidate: Candidate) -> bool:
    path = candidate.path
    return is_held(path) or (path.name.startswith(TEMPORARY_PREFIX) and not _is_abandoned(path))


def _is_abandoned(path: Path) -> bool:
    with abandoned(path) as free:
        return free and not path.is_symlink()


def _of_inside(store: Path, inside: list[Path]) -> Candidate:
    measured = [measure(path) for path in inside]
    return Candidate(
        kind="leftovers",
        path=store,
        reason=f"{len(inside)} leftovers of killed runs, first {inside[0].relative_to(store)}",
        n_bytes=sum(n_bytes for n_bytes, _ in measured),
        age=min(age for _, age in measured),
        inside=tuple(inside),
    )
