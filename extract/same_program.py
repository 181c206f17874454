"""Whether a worker runs the program that the command has begun with: its files may have been updated meanwhile."""

import functools
from collections.abc import Mapping
from typing import Any

from cache.errors import ConfigError
from cache.provenance import NUMERICS, SCHEMA
from cache.runlog import git_commit, versions

from .noise import NOISE_VERSION


@functools.cache  # a process stays with the program that it has begun with, whatever the files are later
def program() -> Mapping[str, Any]:
    """What names the program that this process runs; a commit or version is None where none is known."""
    commit = git_commit()
    return {
        "store schema": SCHEMA,
        "numerics": NUMERICS,
        "noise": NOISE_VERSION,
        "blindspot-probes": versions().get("blindspot-probes"),
        "commit": commit and commit.rstrip("+"),
    }


def check_program(asked_by: Mapping[str, Any], *, worker: str, advice: str) -> None:
    """Refuse, in a worker, to compute for another program than its own, whatever mixture is accepted (ConfigError)."""
    here = program()
    told = [
        f"{name} {asked_by.get(name)!r} here, {here.get(name)!r} there"
        for name in {**here, **asked_by}
        if asked_by.get(name) != here.get(name)
        and not (
            name == "commit" and None in (asked_by.get(name), here.get(name))
        )  # one of them is not known
    ]
    if told:
        raise ConfigError(f"{worker} runs another program: {', '.join(told)}; {advice}")
