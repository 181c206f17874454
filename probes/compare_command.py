"""`python -m probes compare`: paired differences between all records on the same test rows."""

import time
from pathlib import Path

from pydantic import Field

from cache.commandline import Command, Verb, say
from cache.records import (
    Record,
    read_predictions,
    read_records,
    run_id,
    unchanged,
    write_record,
)
from cache.runlog import run_log

from .comparable import PREDICTING, Comparable, comparable
from .comparison import KIND, binned, comparison_spec, described, paired
from .on_record import check_named, starting_with

ALPHA = 0.05


class CompareSettings(Command):
    """Compare records pair by pair on the test rows that they share; tables then judge by paired differences.

    Two scores on the same stars err together, so their difference is known better than either. One record per label
    and test set holds every pair's difference in R2 with its interval, its sign-flip p-value and that after Holm's
    correction for all pairs; the spread over seeds; each score minus those of its controls; R2 by S/N and magnitude.
    What was compared already, and is unchanged, is not compared again.
    """

    results: Path = Field(Path("artifacts/results"), description="folder of records and predictions")
    labels: tuple[str, ...] = Field((), description="only these labels (default: all)")
    runs: tuple[str, ...] = Field(
        (), description="first digits of run ids: only these records (default: all)"
    )
    limit: int = Field(
        200, ge=2, description="most records in one comparison; time and size grow as its square"
    )


def run(settings: CompareSettings) -> None:
    """Write one record per label and test set, and print a line for each."""
    every = read_records(settings.results)
    chosen = starting_with([record for record in every if record.kind in PREDICTING], settings.runs)
    check_named("label", settings.labels, chosen, field="labels")
    groups = list(comparable(chosen, lambda name: read_predictions(settings.results, name)))
    if not groups:
        say(f"{settings.results}: nothing to compare: no two of {len(chosen)} records share their test rows")
    for found in groups:
        label, m = found.rows.label, len(found.records)
        if settings.labels and label not in settings.labels:
            continue
        if m > settings.limit:
            say(
                f"{label}: {m} records are more than --limit {settings.limit}; name some with --runs, or raise it"
            )
            continue
        say(f"{label}, {_told(found, settings, every)}")


def _told(found: Comparable, settings: CompareSettings, every: list[Record]) -> str:
    """Compare what is not on record; what came out, in words."""
    spec, about = comparison_spec(found, runs=settings.runs), described(found, every)
    started, words = time.time(), " (on record)"
    before = unchanged(settings.results, run_id(KIND, spec), about)
    if before is not None:
        result = before.result
    else:
        result = {
            "status": "ok",
            "error": None,
            **about,
            **paired(found),
            **binned(found),
            "flags": [],
            "stores": {},
        }
        _, log = run_log(started=started, about={})
        write_record(settings.results, kind=KIND, spec=spec, result=result, run=log)
        words = f" ({time.time() - started:.1f} s)"
    clear = sum(p <= ALPHA for p in result["p_holm"])
    return (
        f"{result['n']['test']} test stars, {len(found.records)} records: {clear} of {len(result['p_holm'])} "
        f"differences hold at {100 * ALPHA:.0f} % for all pairs at once{words}"
    )


VERB = Verb(CompareSettings, run)
