"""`python -m probes sweep`: every combination of features, heads, labels, sizes and seeds, on one or many cores."""

import shlex
import sys
from collections import Counter
from pathlib import Path

import joblib
from pydantic import Field

from cache.arrays import stored_directions
from cache.commandline import MENDABLE, Verb, say
from cache.errors import CacheError, NotExtracted
from cache.progress import progress
from cache.runlog import command_line

from .axes import Combine, StoreAxes, along_axes, needed
from .best import best_lines
from .cells import JOIN
from .checks import check_choices
from .samples import DROP
from .schedulers import GO_ON, Schedule, Scheduler, run_tasks
from .settings import ProbeSettings
from .sweep_plan import SweepPlan, plan_batches, tasks_of, whole
from .sweep_task import SweepTask

TOLD_ERRORS = 5


class SweepSettings(ProbeSettings):
    """Fit every combination of features, heads, labels, sizes and seeds; go on where an earlier sweep stopped.

    Every combination is one cell and one record, the same that `probes run` makes. Cells on the same features are
    fitted together: they are read once, and what the fits share is computed once. Cells with a fresh record are
    skipped, so a sweep that was killed goes on with the same command. A cell that fails is recorded with its error,
    the rest go on, and the exit status is 2. Records have the same bits whatever --scheduler, --jobs and kills: each
    task uses --threads threads of linear algebra, heads use their own parameter `threads`.

    --combine one-by-one varies noise levels, draws, training sizes, axes and segments each by itself, the others
    staying at the first value given: configs/robustness.yaml, docs/robustness.md.
    """

    combine: Combine = Field(
        "product",
        description="every combination of everything; or noise levels, draws, train sizes, pca and segments varied one "
        "by one, the others at their first value",
    )
    noise_levels: tuple[float, ...] = Field(
        (),
        description="stored noise levels, each trained on and tested on each: val has the level of train, and where "
        "test has another the crossing is written into the record",
    )
    draws: tuple[int, ...] = Field(
        (),
        description="numbers of stored noise draws to train on, such as 1,2,4,8 (default: all of --selection; without "
        "it the first)",
    )

    train_sizes: tuple[int | str, ...] = Field(
        ("all",), description="numbers of train stars, each contained in the larger ones; all"
    )
    seeds: tuple[int, ...] = Field(
        (0,),
        description="of heads that draw, shuffled labels and the choice of train stars; where a seed changes nothing "
        "the first alone is fitted",
    )
    scheduler: Scheduler = Field(
        "local", description="this process, several processes, or dask workers (docs/cluster.md)"
    )
    jobs: int | None = Field(
        None,
        description="worker processes (default: cores, divided by the most threads that a head uses; 1 with local)",
    )
    dask_address: str | None = Field(
        None, description="tcp://HOST:PORT of a running dask scheduler (default: workers on this machine)"
    )
    dask_config: Path | None = Field(
        None, description="YAML of a dask cluster to make: cluster: slurm or local, jobs: N, its arguments"
    )
    dry_run: bool = Field(
        default=False,
        description="check names, stores and leaks, count the cells, and stop; labels, segments and numbers of axes "
        "are checked cell by cell, when they are fitted",
    )
    print_extract: bool = Field(
        default=False,
        description="check what needs no stores (names, numbers, parameters), print the flags of extract run that "
        "store what the sweep reads, a line for each run, and stop",
    )


def run(settings: SweepSettings) -> int:
    """Fit what has no fresh record, print what failed and the best probes; exit status 2 when any cell failed."""
    axes = StoreAxes(noise_levels=settings.noise_levels, draws=settings.draws)
    check_choices(settings.choices(seeds=settings.seeds, train_sizes=settings.train_sizes), val=settings.val)
    if settings.print_extract:
        for flags in _extractions(settings, axes):
            say(flags)
        return 0
    stores = settings.stores()
    try:
        choices = settings.cells(stores, seeds=settings.seeds, train_sizes=settings.train_sizes)
        asked = along_axes(choices, stores, axes, combine=settings.combine)
        plans = plan_batches(asked.batches, results=settings.results, refit=settings.refit)
    except NotExtracted as error:
        raise NotExtracted(f"{error}\n{_whole_sweep(settings, axes, stores.root)}") from error
    plan = whole([part for part, _ in plans])
    schedule = _schedule(settings, plan)
    tasks = [
        SweepTask(
            cells=cells,
            stores=chosen.absolute(),
            results=settings.results.absolute(),
            threads=settings.threads,
            command=command_line(),
        )
        for part, chosen in plans
        for cells in tasks_of(part, schedule.n_workers)
    ]
    say(_counts(plan, len(tasks), schedule))
    for words in asked.missing:
        say(f"control not run: {words}")
    if settings.dry_run:
        return 0
    failures = _compute(tasks, schedule, plan.missing)
    alike = [part for part, chosen in plans if chosen.told_levels() == plans[0][1].told_levels()]
    for line in best_lines(settings.results, whole(alike).cells):
        say(line)
    say(f"tables: {_tables(settings)}")
    if failures:
        _complain(failures)
    return MENDABLE if failures else 0


def _compute(tasks: list[SweepTask], schedule: Schedule, n_cells: int) -> list[tuple[str, str]]:
    """Failed cells, as (title, error); CacheError for what ends the whole sweep."""
    failures: list[tuple[str, str]] = []
    if not tasks:
        return failures
    with progress(n_cells, "sweep", unit="probes") as advance:
        for done in run_tasks(tasks, schedule, advance):
            failures += done.failures
            if done.stopped is not None:
                raise CacheError(f"the sweep stopped: {done.stopped}; {GO_ON}")
    return failures


def _schedule(settings: SweepSettings, plan: SweepPlan) -> Schedule:
    """Where tasks run; by default as many at once as cores can serve."""
    jobs = settings.jobs
    if jobs is None and settings.scheduler != "local":
        jobs = max(1, joblib.cpu_count() // _most_threads(settings, plan))
    return Schedule(
        scheduler=settings.scheduler,
        jobs=1 if jobs is None else jobs,
        dask_address=settings.dask_address,
        dask_config=settings.dask_config,
    )


def _most_threads(settings: SweepSettings, plan: SweepPlan) -> int:
    """Threads of the hungriest missing cell, in linear algebra or in its head's library."""
    of_heads = (
        int(cell.request.make_head().get_params().get("threads", 1))
        for group in plan.groups
        for cell in group
    )
    return max((settings.threads, *of_heads))


def _counts(plan: SweepPlan, n_tasks: int, schedule: Schedule) -> str:
    heads = Counter(cell.request.fitted_head() for cell in plan.cells)
    told = ", ".join(f"{head} {n}" for head, n in heads.items())
    return (
        f"{len(plan.cells)} cells ({told}): {len(plan.cells) - plan.missing} on record, {plan.missing} to compute in "
        f"{len(plan.groups)} groups of the same features, as {n_tasks} tasks, {schedule.n_workers} at once "
        f"({schedule.scheduler})"
    )


def _extractions(settings: SweepSettings, axes: StoreAxes) -> list[str]:
    """Flags of the runs of `extract run` that store what the sweep reads."""
    flags = _extract_flags(settings)
    return [f"{flags} {of_store}".rstrip() for of_store in needed(axes, combine=settings.combine)]


def _whole_sweep(settings: SweepSettings, axes: StoreAxes, root: Path) -> str:
    """The commands that store all that the sweep reads, where a cell lacks something."""
    command, out = (
        "python -m extract run --data FOLDER --checkpoint X --config-model X.yaml",
        shlex.quote(str(root)),
    )
    commands = [f"  {command} {flags} --out {out}" for flags in _extractions(settings, axes)]
    return "\n".join(["That was found for one cell. All that the sweep reads is stored by:", *commands])


def _extract_flags(settings: SweepSettings) -> str:
    """Layers, poolings, stored directions and labels of all cells, as flags of `extract run`."""
    named = {
        "--layers": [part for layer in settings.layers for part in layer.split(JOIN)],
        "--poolings": settings.poolings,
        "--directions": [stored for name in settings.directions for stored in stored_directions(name)],
        "--need-labels": [part for label in settings.labels for part in label.split(JOIN)],
    }
    if settings.missing_labels == DROP:
        named["--missing-labels"] = (DROP,)
    return " ".join(f"{flag} {shlex.quote(','.join(dict.fromkeys(names)))}" for flag, names in named.items())


def _tables(settings: SweepSettings) -> str:
    """The command that makes the tables; the features tell which records are stale."""
    folders = {"--results": settings.results, "--features": settings.stores().root}
    return "python -m reports tables " + " ".join(
        f"{flag} {shlex.quote(str(p))}" for flag, p in folders.items()
    )


def _complain(failures: list[tuple[str, str]]) -> None:
    """Print the errors, each once, with its first cell and how many cells have it."""
    first: dict[str, str] = {}
    for title, error in sorted(failures):
        first.setdefault(error, title)
    counts = Counter(error for _, error in failures)
    lines = [f"error: {len(failures)} cells failed; their records hold the errors, other cells went on:"]
    lines += [f"  {n} x {error} (first: {first[error]})" for error, n in counts.most_common(TOLD_ERRORS)]
    if len(counts) > TOLD_ERRORS:
        lines.append(f"  and {len(counts) - TOLD_ERRORS} other errors")
    sys.stderr.write("\n".join(lines) + "\n")


VERB = Verb(SweepSettings, run)
