"""Looking at stores after a kill, and at everything after the next run: nothing wrong, nothing left over."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cache.canonical import digest_json, sha256
from cache.errors import CacheError, Incomplete, NotExtracted
from cache.store import FeatureStore

RUN_NOTE = re.compile(r"/\.runs/[^./][^/]*\.json$")
"""Who ran what and when differs from run to run; anything else in `.runs` counts as left over."""
STORE_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Ending:
    """How a folder must end: sha256 of every file by name (folders: ''), digest and values of every store."""

    files: dict[str, str]
    digests: dict[str, str]
    values: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain mappings."""
        return asdict(self)


def ending_of(work: Path) -> Ending:
    """The ending of an uninterrupted run."""
    stores = {path.relative_to(work).as_posix(): FeatureStore.open(path) for path in store_folders(work)}
    digests = {name: store.digest() for name, store in stores.items()}
    return Ending(files_of(work), digests, {name: values_of(store) for name, store in stores.items()})


def files_of(work: Path) -> dict[str, str]:
    """sha256 of every file under `work` by name, '' for folders, run notes left out."""
    found = {}
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        if not RUN_NOTE.search(name):
            found[name] = "" if path.is_dir() else sha256(path.read_bytes())
    return found


def store_folders(work: Path) -> list[Path]:
    """Whatever has the name of a store, finished or not."""
    return [path for path in sorted(work.glob("features/*/*")) if STORE_NAME.fullmatch(path.name)]


def values_of(store: FeatureStore) -> str:
    """A digest of everything that a store returns."""
    told: list[Any] = [store.key, store.provenance, store.ids]
    values = [store.rows, store.stars, *(store.labels(name) for name in store.label_names)]
    for array in store.arrays:
        where = (array.layer, array.pooling, array.direction)
        values += [store.features(*where), *store.coordinates(*where).values()]
    told += [[str(v.dtype), list(v.shape), sha256(np.ascontiguousarray(v).tobytes())] for v in values]
    return digest_json(told)


def wrong_after_kill(work: Path, ending: Ending) -> list[str]:
    """What readers would be told falsely or told to be damaged, and committed blocks that are not what they must be."""
    wrong = []
    for path in store_folders(work):
        name = path.relative_to(work).as_posix()
        try:
            store = FeatureStore.open(path)
            if values_of(store) != ending.values[name] or store.digest() != ending.digests[name]:
                wrong.append(f"{name}: opened, with other values")
        except (NotExtracted, Incomplete):
            pass
        except CacheError as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
        for record in committed(path):
            files = [record, *path.glob(f"*/*/*/features/c/{int(record.stem)}/0")]
            names = [file.relative_to(work).as_posix() for file in files]
            expected = {
                n for n in ending.files if n.startswith(name) and n.endswith(f"/c/{int(record.stem)}/0")
            }
            if set(names[1:]) != expected:
                wrong.append(f"{names[0]}: committed without its chunks")
            wrong += [
                f"{n}: committed with other bytes"
                for n, file in zip(names, files, strict=True)
                if sha256(file.read_bytes()) != ending.files.get(n)
            ]
    return wrong


def committed(store: Path) -> list[Path]:
    """The commit records that are there."""
    return sorted((store / ".commit").glob("[0-9]*.json"))


def records(work: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every commit record: a later run must not write it again."""
    found = [record for store in store_folders(work) for record in committed(store)]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def left_over(work: Path, ending: Ending) -> list[str]:
    """Names that an uninterrupted run does not leave."""
    return [name for name in files_of(work) if name not in ending.files]


def uncommitted(work: Path) -> list[str]:
    """Chunks without a commit record: leftovers too after a run that ended by an error."""
    return [
        chunk.relative_to(work).as_posix()
        for store in store_folders(work)
        for chunk in store.glob("*/*/*/features/c/*/0")
        if not (store / ".commit" / f"{int(chunk.parent.name):06d}.json").exists()
    ]


def differing(work: Path, ending: Ending) -> list[str]:
    """Files that are missing or have other bytes than after an uninterrupted run, and stores of other digests."""
    found = files_of(work)
    wrong = [
        f"{name}: {'other bytes' if name in found else 'missing'}"
        for name, digest in ending.files.items()
        if found.get(name) != digest
    ]
    for name, digest in ending.digests.items():
        try:
            if FeatureStore.open(work / name).digest() != digest:
                wrong.append(f"{name}: other digest")
        except CacheError as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
    return wrong
