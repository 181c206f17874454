"""What an extraction will write: which stores exist, which are begun, which arrays are missing."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.arrays import ArrayName
from cache.canonical import digest_json
from cache.commits import is_finished
from cache.errors import ConfigError, LeakError
from cache.header import Header
from cache.provenance import NUMERICS, SCHEMA, group, selection_of
from cache.skeleton import RowTable
from cache.store import FeatureStore
from cache.store_folders import stores_of
from cache.texts import size_text
from cache.writer import StoreWriter

from .checkpoint import weights_digest
from .encoder import BlindspotModel1D
from .fed_error import FedError
from .fingerprint import Fingerprint, checked_labels
from .mask import mask_digest
from .noise import NOISE_VERSION
from .request import ExtractConfig
from .spectra import SpectraFile
from .wanted import WantedArrays

BLOCK_ROWS = 4096
BLOCK_ROWS_LARGE = 16384
LARGE = 500_000
"""From this many rows on, larger blocks keep the number of files low (DESIGN 3)."""


@dataclass(frozen=True)
class StorePlan:
    """One store of the request: finished, begun, or not there yet."""

    provenance: dict[str, Any]
    draw: int | None
    arrays: WantedArrays
    path: Path | None
    finished: bool


def provenance_of(
    config: ExtractConfig,
    model: BlindspotModel1D,
    *,
    split: str,
    draw: int | None,
    spectra: SpectraFile,
    fingerprint: Fingerprint,
    fed: FedError,
    mask: NDArray[np.bool_] | None,
    arrays: WantedArrays,
) -> dict[str, Any]:
    """Everything that changes the answer, in the form of DESIGN 3."""
    drawn = config.noise == "draw"
    uses_profile = model.config.error_mode in ("L4", "L5")
    profile = model.error_profile if uses_profile else None
    return {
        "schema": SCHEMA,
        "numerics": NUMERICS,
        "encoder": {
            "weights": weights_digest(model),
            "config": model.config.to_json(),
            "origin": model.origin,
            "profile": None if profile is None else digest_json(profile.tolist()),
        },
        "error_input": fed.key,
        "input": fingerprint.digest,
        "data_kind": spectra.data_kind,
        "split": split,
        "rows": {
            "n": len(fingerprint.kept),
            "selection": selection_of(fingerprint.kept, spectra.n_spectra),
        },
        "mask": mask_digest(mask),
        "noise": {
            "mode": config.noise,
            "level": float(config.noise_level),
            "seed": config.seed if drawn else None,
            "draw": draw,
            "noise_version": NOISE_VERSION if drawn else None,
        },
        "precision": config.precision,
        "arrays": arrays.widths(),
    }


def plan_stores(root: Path, provenance: dict[str, Any], wanted: WantedArrays) -> list[StorePlan]:
    """Meet the request array by array: finished stores are hits, begun ones go on, the rest is one new store.

    A begun store whose arrays are not all wanted is left alone. Raises Damaged when a finished one is not intact.
    """
    draw = provenance["noise"]["draw"]
    missing = set(wanted.coordinates)
    plans: list[StorePlan] = []
    of_group = _stores_of_group(root, provenance)
    for path, header, finished in sorted(of_group, key=lambda store: (not store[2], store[0].name)):
        held = set(header.arrays) & missing
        if not held or (not finished and not set(header.arrays) <= missing):
            continue
        if finished:
            FeatureStore.open(path)  # a damaged store is no hit; the error says how to mend it
        plans.append(StorePlan(header.provenance, draw, wanted.restrict(set(header.arrays)), path, finished))
        missing -= held
    if missing:
        rest = wanted.restrict(missing)
        plans.append(StorePlan({**provenance, "arrays": rest.widths()}, draw, rest, None, finished=False))
    return plans


def open_writer(root: Path, plan: StorePlan, rows: RowTable, block_rows: int | None) -> StoreWriter:
    """The writer of an unfinished store; a begun one keeps the block size that it has."""
    return StoreWriter.create(
        root,
        plan.provenance,
        rows=rows,
        coordinates=plan.arrays.coordinates,
        block_rows=block_rows_of(len(rows.row), block_rows),
    )


def block_rows_of(n_rows: int, asked: int | None) -> int:
    """Rows of a block of a new store: as asked, or by the number of rows (DESIGN 3)."""
    return min(asked or (BLOCK_ROWS if n_rows < LARGE else BLOCK_ROWS_LARGE), n_rows)


def free_bytes(root: Path) -> int:
    """Free bytes of the disk that holds `root`, or will hold it."""
    return shutil.disk_usage(_there(root)).free


def _there(path: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def check_room(root: Path, plans: Mapping[str, Sequence[StorePlan]]) -> None:
    """Refuse to begin what the disks under `root` cannot hold (ConfigError with both numbers).

    Folders of splits may be links to other disks. Chunks of committed blocks are there already; only stores that are
    not begun count.
    """
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}
    for split, of_split in plans.items():
        place = _there(root / split)
        disk = place.stat().st_dev
        places.setdefault(disk, root if place == _there(root) else place)
        needed[disk] = needed.get(disk, 0) + sum(
            4 * plan.provenance["rows"]["n"] * sum(width for _, width in plan.arrays.widths())
            for plan in of_split
            if plan.path is None
        )
    for disk, place in places.items():
        free = free_bytes(place)
        if needed[disk] > free:
            raise ConfigError(
                f"{place}: the features take {size_text(needed[disk])}, the disk has {size_text(free)} left; make room "
                f"(python -m cache prune --root {root}), name another --out, or ask for fewer layers, poolings or draws"
            )


def row_table(spectra: SpectraFile, fingerprint: Fingerprint) -> RowTable:
    """Rows, stars, ids and every numeric label of the kept rows, as fingerprinted (InputError when they changed).

    A row without an id is called by its number; ids repeat across files and are never joined by.
    """
    kept, found = fingerprint.kept, checked_labels(spectra, fingerprint)
    ids = [str(row) if name is None else name for row, name in enumerate(found.ids)]
    return RowTable(
        row=kept,
        star=fingerprint.stars[kept],
        id=[ids[row] for row in kept],
        labels={name: found.values[kept, k] for k, name in enumerate(spectra.label_names)},
    )


def check_no_shared_stars(fingerprints: dict[str, Fingerprint]) -> None:
    """Refuse a star that stands in two splits, whatever its id (LeakError with counts and first rows)."""
    names = list(fingerprints)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            one, two = fingerprints[first], fingerprints[second]
            stars_one, stars_two = one.stars[one.kept], two.stars[two.kept]
            shared, at_one, at_two = np.intersect1d(stars_one, stars_two, return_indices=True)
            if len(shared):
                rows = [
                    (int(one.kept[a]), int(two.kept[b])) for a, b in zip(at_one[:5], at_two[:5], strict=True)
                ]
                raise LeakError(
                    f"{len(shared)} stars stand in both {first} and {second} (the same flux, whatever their id); "
                    f"first (row in {first}, row in {second}): {rows}. Take them out of one of the files"
                )


def _stores_of_group(root: Path, provenance: dict[str, Any]) -> list[tuple[Path, Header, bool]]:
    wanted = group(provenance)
    found = []
    for path, header in stores_of(root, provenance["split"]).readable:
        if group(header.provenance) == wanted:
            found.append((path, header, is_finished(path, header)))
    return found


def arrays_of(plan: StorePlan) -> tuple[ArrayName, ...]:
    """The arrays a store of the plan holds."""
    return tuple(plan.arrays.coordinates)
