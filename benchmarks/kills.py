"""Kill extractions at every instant and in every way, run them again, and compare with an uninterrupted run.

Experiments: `random` (kill -9 at random times), `events` (kill -9 before every file-system event), `power` (the same,
and what was not fsynced is lost), `full` (no room left), `writers` (three extractions into one folder). After each
attack every store must be unfinished or exactly right; after the next run every byte but run notes must be that
of an uninterrupted run, with nothing left over. Most trials fork a process that has imported torch (see
killing/processes.py for what that changes), the rest are real commands. Linux only.

Columns: `stopped` processes (killed, or ended by the error they should end by), trials that ended `identical`, with
`leftovers`, with anything `wrong` (a store that was not unfinished or right after the attack, a run that failed, ...).

Prints machine, versions and a table; exit status 1 when anything was wrong. About ten minutes on two cores.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from killing.experiments import EXPERIMENTS
from killing.lab import Lab, Row

from cache.runlog import versions

FAST = Path("/dev/shm")  # noqa: S108  memory, where Linux has it: kills do not depend on the disk, time does
COLUMNS = ("workers", "trials", "stopped", "identical", "leftovers", "wrong")


def main() -> int:
    """Run the experiments asked for; 1 when anything was wrong."""
    flags = _flags()
    torch.set_num_threads(1)
    parent = flags.folder or (FAST if os.access(FAST, os.W_OK) else None)
    folder = Path(tempfile.mkdtemp(prefix="kills-", dir=parent)).resolve()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, {flags.slots} trials at a time; {versions()}")
    started = time.monotonic()
    rows: list[Row] = []
    try:
        for name in flags.only or EXPERIMENTS:
            lab = Lab(folder / name, flags.slots, flags.seed, flags.n_random, flags.sample)
            lab.folder.mkdir()
            rows += EXPERIMENTS[name](lab)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - started
    show(rows, seconds)
    if flags.json:
        told = {"machine": machine, "versions": versions(), "seconds": seconds}
        flags.json.write_text(json.dumps({**told, "rows": [row.to_json() for row in rows]}, indent=1) + "\n")
    return int(any(row.bad for row in rows))


def show(rows: list[Row], seconds: float) -> None:
    """Print the table, the events died at, and the first faults."""
    print(f"\n{'experiment':24s}" + "".join(f"{name:>10s}" for name in (*COLUMNS, "seconds")))
    for row in rows:
        cells = "".join(f"{getattr(row, name):10d}" for name in COLUMNS)
        print(f"{row.experiment:24s}{cells}{row.seconds:10.0f}")
    print(
        f"{'all':24s}{'':10s}"
        + "".join(f"{sum(getattr(row, n) for row in rows):10d}" for n in COLUMNS[1:])
        + f"{seconds:10.0f}"
    )
    died = sum((row.events for row in rows), Counter())
    if died:
        print("\ndied before: " + ", ".join(f"{name} {n}" for name, n in sorted(died.items())))
    for row in rows:
        for text in row.examples:
            print(f"\n{row.experiment}, {row.workers} worker(s), trial {text}")


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--n-random", type=int, default=50, help="kills at random times per number of workers"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=list(EXPERIMENTS), help="may be repeated")
    parser.add_argument(
        "--sample", type=int, help="so many trials per row, evenly chosen, and no real commands"
    )
    parser.add_argument("--slots", type=int, default=os.cpu_count() or 1, help="trials at a time")
    parser.add_argument(
        "--folder", type=Path, help="where trials write (default: /dev/shm, or the usual folder)"
    )
    parser.add_argument("--json", type=Path, help="write the table here as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
