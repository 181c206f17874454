"""Showing what an extraction would write: shared by `extract run --dry-run` and `extract plan`."""

import json
import shlex
import sys
from collections.abc import Iterator

from .estimate import Estimate, estimate
from .head_start import HeadStart
from .prepare import prepare
from .request import ExtractConfig

OURS = ("--dry-run", "--no-dry-run", "--as-json", "--no-as-json")
OURS_WITH_VALUE = {"plan": "--plan", "finalise": "--n-parts"}
"""Flags with a value that belong to another verb than `run`, by the verb."""


def show_estimate(request: ExtractConfig, *, as_json: bool, begun: HeadStart | None = None) -> Estimate:
    """Check the request, print the estimate to standard output, and return it; no store is written.

    `begun` may be at the fingerprints of the files already. Warnings and assumptions go to standard error when the
    output is JSON. Raises what `prepare` raises.
    """
    notes = sys.stderr if as_json else sys.stdout
    with prepare(request, say=lambda line: notes.write(f"{line}\n"), begun=begun) as prepared:
        found = estimate(prepared, computing(request.command))
    if as_json:
        sys.stdout.write(json.dumps(found.to_json(), indent=2) + "\n")
    else:
        sys.stdout.writelines(found.lines())
    return found


def computing(command: str) -> str:
    """The command that computes what `command` (`extract plan`, `extract finalise` or a dry run) tells about."""
    return shlex.join(_words(shlex.split(command)))


def _words(words: list[str]) -> Iterator[str]:
    previous, with_value = "", None
    for word in words:
        if previous == "extract" and word in OURS_WITH_VALUE:
            with_value = OURS_WITH_VALUE[word]
            yield "run"
        elif word.split("=")[0] not in (*OURS, with_value) and previous != with_value:
            yield word
        previous = word
