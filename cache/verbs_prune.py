"""`python -m cache prune`: shows what could be removed, and removes it when told to."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from pydantic import Field

from .atomic import sweep
from .commandline import MENDABLE, Command
from .errors import Busy
from .prune import Candidate, Found, find_candidates
from .removal import remove_folder
from .texts import age_text, size_text

DAY = 86400.0


class PruneSettings(Command):
    """Remove what is of no use under a folder of stores; without --yes it only tells what would go.

    leftovers: temporary files and folders of killed runs, and locks that nobody holds.
    outdated: stores written in another format.
    damaged: stores with a file that is not the committed one; cache repair and extract run would mend most of them.
    unfinished: stores that lack blocks; extract run would go on with them.
    unused: finished stores that no result record names.
    covered: stores that no record names, with all their arrays in other finished stores of the same rows, draw, noise.
    What a running extraction holds is left alone; so are unfinished stores written to within the last hour, unless
    --older-than is given. Parts of an extraction (--part) hold no locks: wait for them. Fisher matrices, random
    encoders and errors of train are never touched; cache ls says how much they take.
    Example: python -m cache prune --what leftovers,outdated,unused --older-than 30
    """

    root: Path = Field(Path("artifacts/features"), description="folder of the stores")
    results: Path = Field(
        Path("artifacts/results"),
        description="folder of the records: stores that they name are neither unused nor covered",
    )
    what: tuple[str, ...] = Field(
        ("leftovers", "outdated"),
        description="leftovers, outdated, damaged, unfinished, unused, covered; commas between",
    )
    older_than: float | None = Field(
        None, ge=0, description="only what was not written to for this many days"
    )
    yes: bool = Field(default=False, description="remove it; what was removed cannot be had back")
    as_json: bool = Field(default=False, description="one JSON object")


def run_prune(settings: PruneSettings) -> int:
    """Print the candidates; with `yes` remove them. The status is 2 when one of them came to be held meanwhile."""
    older_than = None if settings.older_than is None else settings.older_than * DAY
    found = find_candidates(settings.root, settings.what, results=settings.results, older_than=older_than)
    failed = {c.path: why for c in found.candidates if settings.yes and (why := _remove(c))}
    if settings.as_json:
        sys.stdout.write(json.dumps(_json(found, settings, failed), indent=2) + "\n")
    else:
        sys.stdout.write(_text(found, settings, failed))
    for why in failed.values():
        sys.stderr.write(f"error: {why}\n")
    return MENDABLE if failed else 0


def _remove(candidate: Candidate) -> str:
    """Remove one candidate; why not, or an empty text."""
    try:
        if candidate.inside:
            sweep(candidate.inside)
        else:
            remove_folder(candidate.path)
    except (Busy, OSError) as error:  # the others can still go
        return f"{candidate.path}: not removed: {error}"
    return ""


def _json(found: Found, settings: PruneSettings, failed: dict[Path, str]) -> dict[str, Any]:
    return {
        "candidates": [
            {
                "kind": c.kind,
                "path": str(c.path),
                "inside": [str(path) for path in c.inside] or None,
                "reason": c.reason,
                "bytes": c.n_bytes,
                "age_seconds": round(c.age),
                "removed": settings.yes and c.path not in failed,
            }
            for c in found.candidates
        ],
        "spared": [{"path": str(path), "reason": reason} for path, reason in found.spared],
        "bytes": sum(c.n_bytes for c in found.candidates if c.path not in failed),
        "removed": settings.yes,
    }


def _text(found: Found, settings: PruneSettings, failed: dict[Path, str]) -> str:
    gone = [c for c in found.candidates if c.path not in failed]
    lines = [f"{c.kind}: {c.path}  {size_text(c.n_bytes)}, {age_text(c.age)} old: {c.reason}" for c in gone]
    lines += [f"left alone: {path}: {reason}" for path, reason in found.spared]
    total = size_text(sum(c.n_bytes for c in gone))
    if not found.candidates:
        there = "" if settings.root.is_dir() else ": there is no such folder"
        lines.append(f"nothing to remove under {settings.root} ({', '.join(settings.what)}){there}")
    elif settings.yes:
        lines.append(f"removed {len(gone)}, {total}")
    else:
        lines += [f"{len(gone)} could go, {total}; nothing was removed. To remove them:", _command(settings)]
    return "\n".join(lines) + "\n"


def _command(settings: PruneSettings) -> str:
    """The command that removes what was shown: every flag that chooses is repeated."""
    words = ["python", "-m", "cache", "prune", "--root", str(settings.root)]
    words += ["--results", str(settings.results), "--what", ",".join(settings.what)]
    if settings.older_than is not None:
        words += ["--older-than", repr(settings.older_than)]
    return shlex.join([*words, "--yes"])
