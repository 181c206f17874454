"""Taking damaged blocks out of a store, so that the next run computes only those again."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from .atomic import sweep, sync
from .commits import commit_path, read_block, read_commit
from .errors import Damaged
from .header import COMMIT_FOLDER, RUNS_FOLDER, Header, check_static, chunk_path, read_header
from .writer import leftovers


@dataclass(frozen=True)
class Repair:
    """What was taken out: block numbers, and why each."""

    blocks: tuple[int, ...]
    reasons: tuple[str, ...]


def repair(store: Path) -> Repair:
    """Remove the commit record and the chunks of every damaged block, and what killed runs left.

    Raises Damaged when header, rows, labels or coordinates are altered: these cannot be recomputed block by block,
    the store has to be deleted and extracted again.
    """
    header = read_header(store)
    check_static(store, header)
    _restore_folders(store, header)
    sweep(leftovers(store))
    widths = dict(header.provenance["arrays"])
    blocks, reasons = [], []
    for block in range(header.n_blocks):
        try:
            commit = read_commit(store, header, block)
            if commit is not None:
                for array in header.arrays:
                    read_block(store, array, commit, widths[array.path])
        except Damaged as error:
            _remove(commit_path(store, block))  # first: without its record the block does not exist
            sync(store / COMMIT_FOLDER)
            for array in header.arrays:
                _remove(chunk_path(store, array, block).parent)
            blocks.append(block)
            reasons.append(str(error))
    return Repair(tuple(blocks), tuple(reasons))


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
