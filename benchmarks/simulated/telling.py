"""Flags of a script that draws data sets, and how its lines are printed."""

import argparse
import platform
import time
from collections.abc import Iterable

from cache.runlog import versions


def flags_of(about: str | None, *, n_sets: int, what: str) -> argparse.ArgumentParser:
    """A parser with --sets, the number of `what`, by default `n_sets`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=n_sets, help=f"{what} (default {n_sets})")
    return parser


def tell(lines: Iterable[str]) -> None:
    """Print machine and versions, each line as it comes, and the seconds that all took."""
    started = time.perf_counter()
    print(f"{platform.machine()}, {platform.system()}, {versions()}")
    for line in lines:
        print(line, flush=True)
    print(f"{time.perf_counter() - started:.0f} s")
