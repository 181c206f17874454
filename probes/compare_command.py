"""`python -m probes compare`: paired differences between all records on the same test rows."""

import time
from pathlib import Path

from pydantic import Field

from cache.commandline import Command, Verb, say
from cache.errors import ProbeError
from cache.records import (
    Record,
    read_predictions,
    read_records,
    run_id,
    unchanged,
    write_record,
)
from cache.runlog import run_log

from .comparable import PREDICTING, Comparable, comparable, without_repeats
from .comparison import KIND, binned, comparison_spec, described, n_holding, paired
from .on_record import check_named, starting_with

ALPHA = 0.05


class CompareSettings(Command):
    """Compare records pair by pair on the test rows that they share; tables then judge by paired differences.

    Two scores on the same stars err together, so their difference is known better than either. One record per label
    and test set holds every pair's difference in R2 with its interval, its sign-flip p-value and that after Holm's
    correction for all pairs; the spread over seeds; each score minus those of its controls; R2 by S/N and magnitude.
    Mean predictors that predict the same count as one. What was compared already, and is unchanged, is not
    compared again.
    """

    results: Path = Field(Path("artifacts/results"), description="folder of records and predictions")
    labels: tuple[str, ...] = Field((), description="only these labels (default: all)")
    runs: tuple[str, ...] = Field(
        (), description="first digits of run ids: only these records (default: all)"
    )
    limit: int = Field(
        500, ge=2, description="most records in one comparison; time and size grow as its square"
    )


def run(settings: CompareSettings) -> None:
    """Write one record per label and test set, and print a line for each.

    Raises ProbeError once all others are written, if some have more records than the limit and what is on record is of
    other records.
    """
    every = read_records(settings.results)
    chosen = starting_with([record for record in every if record.kind in PREDICTING], settings.runs)
    check_named("label", settings.labels, chosen, field="labels")
    found_by_rows = list(comparable(chosen, lambda name: read_predictions(settings.results, name)))
    groups = [found for found in map(without_repeats, found_by_rows) if len(found.records) > 1]
    if not groups:
        why = (
            "those that share their test rows are mean predictors of one constant"
            if found_by_rows
            else f"no two of {len(chosen)} records share their test rows"
        )
        say(f"{settings.results}: nothing to compare: {why}")
    too_many: dict[str, int] = {}
    for found in groups:
        label, m = found.rows.label, len(found.records)
        if settings.labels and label not in settings.labels:
            continue
        if m > settings.limit and _before(found, settings, every) is None:
            too_many[label] = max(m, too_many.get(label, 0))
            continue
        say(f"{label}, {_told(found, settings, every)}")
    if too_many:
        most = max(too_many.values())
        named = ", ".join(f"{label} ({m} records)" for label, m in too_many.items())
        raise ProbeError(
            f"not compared: {named}: more on the same test rows than --limit {settings.limit}. Tables mark what no "
            "comparison on record is of, and judge it by intervals alone. Compare all with "
            f"--limit {most} (make tables COMPARE='--limit {most}'; time and memory grow as the square of records), "
            "or some with --runs, or keep studies in results folders of their own"
        )


def _before(found: Comparable, settings: CompareSettings, every: list[Record]) -> Record | None:
    """The comparison on record, if it is of these records as they are."""
    name = run_id(KIND, comparison_spec(found, runs=settings.runs))
    return unchanged(settings.results, name, described(found, every))


def _told(found: Comparable, settings: CompareSettings, every: list[Record]) -> str:
    """Compare what is not on record; what came out, in words."""
    started, words = time.time(), " (on record)"
    before = _before(found, settings, every)
    if before is not None:
        result = before.result
    else:
        result = {
            "status": "ok",
            "error": None,
            **described(found, every),
            **paired(found),
            **binned(found),
            "flags": [],
            "stores": {},
        }
        _, log = run_log(started=started, about={})
        spec = comparison_spec(found, runs=settings.runs)
        write_record(settings.results, kind=KIND, spec=spec, result=result, run=log)
        words = f" ({time.time() - started:.1f} s)"
    clear = n_holding(result, alpha=ALPHA)
    return (
        f"{result['n']['test']} test stars, {len(found.records)} records: {clear} of {len(result['p_holm'])} "
        f"differences hold at {100 * ALPHA:.0f} % for all pairs at once{words}"
    )


VERB = Verb(CompareSettings, run)
