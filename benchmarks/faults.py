"""Random faults in a finished feature store: is any wrong value ever returned without an error?

Each fault is done to one small store (made-up values; fsync does nothing here, because no plug is pulled), which is
put back bit for bit before the next. Everything is read along four routes (FeatureStore, verify, open_dataset, find)
and, after one fault in three, through a FeatureStore that was opened before the fault. Faults are accidents: no edit
is given a matching digest again. The same faults are done to the same arrays in plain zarr, without a checksum and
with crc32c, and read with zarr alone, every array by its name.

detected   a CacheError was raised            harmless   nothing raised, everything returned bit-identical
repaired   python -m cache repair and the next extraction gave the same digest and bytes / how many could be mended so
silent     something returned differs from what was committed and nothing was raised: must be 0
crashed    an error of another class: must be 0

Run: python benchmarks/faults.py [--n 2000] [--seed 0] [--json FILE]. Exit status 1 if anything was silent, crashed or
could not be mended.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from damage import stores, twins
from damage.campaign import INJECTED, REBUILT, REPAIRABLE, REPAIRED, Report, inject
from damage.kinds import KINDS
from damage.routes import CRASHED, DETECTED, HARMLESS, SILENT

from cache.atomic import publish_json
from cache.progress import progress
from cache.runlog import versions

SHOWN = 20
"""Findings that are printed; all are in the JSON file."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=2000, help="number of faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    flags = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, progress(flags.n, "faults", unit="faults") as advance:
        report = inject(flags.n, Path(folder), seed=flags.seed, advance=advance)
    seconds = time.perf_counter() - started
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, {platform.system()}; {versions()}")
    print(
        f"{flags.n} faults, seed {flags.seed}; store of {len(stores.WIDTHS)} arrays, {stores.N_ROWS} rows in blocks of "
        f"{stores.BLOCK_ROWS}; {seconds:.0f} s\n"
    )
    print(table(report))
    print(details(report))
    if flags.json:
        publish_json(flags.json, {"n": flags.n, "seed": flags.seed, "seconds": seconds, **as_json(report)})
    return 0 if report.passed else 1


def table(report: Report) -> str:
    """Counts by kind; in the plain columns, silent of those faults that apply."""
    widest = max(map(len, KINDS)) + 1
    names = (INJECTED, DETECTED, REPAIRED, HARMLESS, SILENT, CRASHED, "silent: zarr", "zarr+crc32c")
    lines = [" " * widest + "".join(f"{name:>14}" for name in names)]
    for kind in (*KINDS, "all"):
        chosen = list(KINDS) if kind == "all" else [kind]
        total = {name: sum(report.kinds[k][name] for k in chosen) for name in (*names, REPAIRABLE)}
        cells = [str(total[name]) for name in names[:6]]
        cells[2] = f"{total[REPAIRED]}/{total[REPAIRABLE]}" if total[REPAIRABLE] else "-"
        for twin in (twins.PLAIN, twins.CRC32C):
            counts = [report.twins[twin][k] for k in chosen]
            applied = sum(c[outcome] for c in counts for outcome in (SILENT, DETECTED, HARMLESS))
            cells.append(f"{sum(c[SILENT] for c in counts)}/{applied}" if applied else "-")
        lines.append(f"{kind:{widest}}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines) + "\n"


def details(report: Report) -> str:
    """Outcomes by route and by plain layout, why faults were harmless, and every finding."""
    outcomes = (DETECTED, HARMLESS, SILENT, CRASHED)
    lines = ["by route:"]
    for route, counts in report.routes.items():
        lines.append(f"  {route:14}" + "".join(f"{counts[o]:7} {o}" for o in outcomes))
    lines.append("the same faults in plain zarr (those that apply), any error counted as detected:")
    for twin, kinds in report.twins.items():
        totals = {outcome: sum(counts[outcome] for counts in kinds.values()) for outcome in outcomes[:3]}
        lines.append(f"  {twin:14}" + "".join(f"{count:7} {outcome}" for outcome, count in totals.items()))
    lines.append(
        "header, rows, labels or coordinates hurt, store deleted and written again: the same digest in"
    )
    lines.append(f"  {report.total(REBUILT)} kinds of faults, once each")
    lines.append("harmless along every route, and why:")
    lines += [f"  {count:5}  {kind}: {why}" for (kind, why), count in sorted(report.harmless.items())]
    lines.append(f"findings: {len(report.findings)}")
    lines += [f"  {finding}" for finding in report.findings[:SHOWN]]
    return "\n".join(lines)


def as_json(report: Report) -> dict[str, object]:
    """The counts, ready for a JSON file."""
    return {
        "versions": versions(),
        "kinds": {kind: dict(counts) for kind, counts in report.kinds.items()},
        "routes": {route: dict(counts) for route, counts in report.routes.items()},
        "twins": {twin: {k: dict(c) for k, c in kinds.items()} for twin, kinds in report.twins.items()},
        "harmless": [[kind, why, count] for (kind, why), count in sorted(report.harmless.items())],
        "findings": report.findings,
    }


if __name__ == "__main__":
    sys.exit(main())
