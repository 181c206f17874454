"""Taking damaged blocks out of a store, so that the next run computes only those again."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from .arrays import ArrayName
from .atomic import sweep, sync
from .canonical import read_sealed
from .commits import commit_path, read_block, read_commit
from .errors import Damaged
from .header import COMMIT_FOLDER, RUNS_FOLDER, Header, check_static, chunk_path, read_header
from .locks import alone
from .writer import StoreWriter, leftovers


@dataclass(frozen=True)
class Repair:
    """What was taken out: block numbers, and why each."""

    blocks: tuple[int, ...]
    reasons: tuple[str, ...]


def repair(store: Path) -> Repair:
    """Remove the commit record and the chunks of every damaged block, and all that uncommitted blocks left.

    Raises Damaged when header, rows, labels or coordinates are altered: these cannot be recomputed block by block,
    the store has to be deleted and extracted again. Busy while an extraction works on the store.
    """
    header = read_header(store)
    with alone(store):
        check_static(store, header)
        _check_header_is_ours(store, header)
        _restore_folders(store, header)
        sweep(leftovers(store))
        damaged = {b: reason for b in range(header.n_blocks) if (reason := _damage(store, header, b))}
        for block in damaged:
            _remove(commit_path(store, block))  # first: without its record the block does not exist
        sync(store / COMMIT_FOLDER)
        for block in StoreWriter.open(store).pending():
            _remove(store / COMMIT_FOLDER / f"{block:06d}.lock")
            for array in header.arrays:
                _remove(chunk_path(store, array, block).parent)
    return Repair(tuple(damaged), tuple(damaged.values()))


def _check_header_is_ours(store: Path, header: Header) -> None:
    """Refuse when the records agree that the header is that of another store: they may be whole, and it is wrong."""
    keys: set[str] = set()
    for path in (store / COMMIT_FOLDER).glob("*.json"):
        try:
            keys |= {key for key in (read_sealed(path).get("key"),) if isinstance(key, str)}
        except (Damaged, FileNotFoundError):
            continue
    if keys and header.key not in keys:
        raise Damaged(
            f"{store}: every commit record is of key {sorted(keys)}, the header says {header.key}: "
            "it is that of another store. Put the right zarr.json back, or delete the folder and extract again"
        )


def _damage(store: Path, header: Header, block: int) -> str:
    """What is wrong with a block; nothing when it is whole or was never committed."""
    try:
        commit = read_commit(store, header, block)
        if commit is not None:
            for path, width in header.provenance["arrays"]:
                read_block(store, ArrayName.parse(path), commit, width)
    except Damaged as error:
        return str(error)
    return ""


def _restore_folders(store: Path, header: Header) -> None:
    """Make folders anew that the next run writes to; what was in them is lost and will be computed again."""
    chunks = [chunk_path(store, array, 0).parent.parent for array in header.arrays]
    for folder in (store / COMMIT_FOLDER, store / RUNS_FOLDER, *chunks):
        if not folder.is_dir():
            _remove(folder)
            folder.mkdir()
            sync(folder.parent)


def _remove(path: Path) -> None:
    """Remove a file, or a folder that stands in its place, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
