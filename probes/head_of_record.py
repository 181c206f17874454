"""The fitted head of a record: found by the first digits of its run id, and compared with what the record tells."""

import re
from pathlib import Path

from cache.errors import ConfigError, Damaged, NotExtracted
from cache.records import Record, read_record, record_path

from .persistence import AGAIN, SavedHead, load_head
from .runner import head_folder

_DIGITS = re.compile(r"[0-9a-f]{1,64}")
_MOST = 5
"""Run ids that are shown."""


def run_id_of(results: Path, digits: str) -> str:
    """The one run id that begins with `digits` and has a fitted head under `results`.

    Raises ConfigError for what are no digits of a run id and for digits that several begin with, NotExtracted for
    those that none begins with.
    """
    folder = results / "heads"
    if not _DIGITS.fullmatch(digits):
        raise ConfigError(
            f"--head {digits!r}: expected a run id or its first digits (0-9, a-f), as the folders under {folder} are "
            "named; the results folder is named by --results"
        )
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = [name for name in there if name.startswith(digits)]
    if not found:
        raise NotExtracted(f"{folder}: no fitted head begins with {digits!r}; fit one with probes run")
    if len(found) > 1:
        shown = ", ".join(name[: len(digits) + 8] for name in found[:_MOST])
        more = ", ..." if len(found) > _MOST else ""
        raise ConfigError(
            f"{len(found)} fitted heads begin with {digits!r}; give more digits ({shown}{more})"
        )
    return found[0]


def load_head_of(results: Path, run_id: str) -> tuple[SavedHead, Record]:
    """The head of a record, with the record, which says what the head is worth.

    Raises NotExtracted when one of them is missing, Damaged when one was altered or the head is that of another
    record, and what else `load_head` and `read_record` raise.
    """
    folder = head_folder(results, run_id)
    saved = load_head(folder)
    if not record_path(results, run_id).exists():
        raise NotExtracted(
            f"{record_path(results, run_id)}: the record of the head {folder} is not there, so nothing says what the "
            f"head is; bring the record back, or {AGAIN}"
        )
    record = read_record(results, run_id)
    check_is_of(record, saved, folder)
    return saved, record


def check_is_of(record: Record, saved: SavedHead, folder: Path) -> None:
    """Raise Damaged, naming what differs, when the head in `folder` is not the one that the record tells of."""
    both = {
        "labels": ("+".join(saved.use["labels"]), "+".join(record.spec["labels"])),
        "model": (saved.digest[:12], str(record.result["model"])[:12]),
    }
    differing = [
        f"{what} {found} there, {told} on record" for what, (found, told) in both.items() if found != told
    ]
    if differing:
        raise Damaged(
            f"{folder}: is not the head of the record of that name: {', '.join(differing)}; {AGAIN}"
        )
