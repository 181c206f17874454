"""Commands and make verbs as tests run them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from cache.cli import VERBS as CACHE
from cache.commandline import main
from extract.cli import VERBS as EXTRACT
from probes.cli import VERBS as PROBES

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()


def cache(*words):
    """Exit status of `python -m cache WORDS`, in this process."""
    return main("cache", CACHE, [str(word) for word in words])


def extract(*words):
    """Exit status of `python -m extract WORDS`, in this process."""
    return main("extract", EXTRACT, [str(word) for word in words])


def probes(*words):
    """Exit status of `python -m probes WORDS`, in this process."""
    return main("probes", PROBES, [str(word) for word in words])


def run(*command, cwd=ROOT, timeout=300):
    """A process of its own, without the variables of a make around it; what became of it."""
    ours = {
        "MAKEFLAGS",
        "MAKEOVERRIDES",
        "MFLAGS",
        *re.findall(r"^([A-Z]+) *\?=", MAKEFILE, flags=re.MULTILINE),
    }
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {
        "OMP_NUM_THREADS": "1"
    }
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment,
    )


def make(*arguments, timeout=300):
    """Make with this interpreter, and without rebuilding the environment."""
    quiet = ("--no-print-directory", "-o", ".venv/ready")  # as `make test` runs us, a make within make
    return run("make", *quiet, f"PY={sys.executable}", *arguments, timeout=timeout)
