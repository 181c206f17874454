"""Whether a worker runs the program that the command has begun with: its files may have been updated meanwhile."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache.canonical import digest_json, sha256
from cache.errors import ConfigError
from cache.provenance import NUMERICS, SCHEMA
from cache.runlog import versions

from .noise import NOISE_VERSION

PACKAGES = ("cache", "extract")
"""What features are computed and stored by."""
DIGITS = 12


@functools.cache  # a process stays with the program that it has begun with, whatever the files are later
def program() -> Mapping[str, Any]:
    """What names the program that this process runs: its versions, and the digest of its files at the first call."""
    return {
        "store schema": SCHEMA,
        "numerics": NUMERICS,
        "noise": NOISE_VERSION,
        "blindspot-probes": versions().get("blindspot-probes"),
        "source files": source_digest(Path(__file__).parents[1])[:DIGITS],
    }


def source_digest(folder: Path) -> str:
    """sha256 over names and contents of the Python files of `PACKAGES` below `folder`, hex."""
    files = sorted(path for package in PACKAGES for path in (folder / package).rglob("*.py"))
    return digest_json({path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files})


def check_program(asked_by: Mapping[str, Any], *, worker: str, advice: str) -> None:
    """Refuse, in a worker, to compute for another program than its own, whatever mixture is accepted (ConfigError)."""
    here = program()
    told = [
        f"{name} {asked_by.get(name)!r} here, {here.get(name)!r} there"
        for name in {**here, **asked_by}
        if asked_by.get(name) != here.get(name)
    ]
    if told:
        raise ConfigError(f"{worker} runs another program: {', '.join(told)}; {advice}")
