"""One task of a sweep, in whatever process: cells of one group, from stores to records."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache.errors import BlindspotError, Stale
from cache.progress import Advance
from cache.records import run_id
from cache.runlog import run_log

from .cells import arrays_of
from .runner import KIND, run_group, store_result, unfinished_folder
from .scoring import ProbeOutcome, failed_outcome
from .spec import ProbeRequest, spec_of
from .splits import Views
from .stores import StoreChoice
from .sweep_plan import Cells
from .threads import blas_threads
from .titles import title


@dataclass(frozen=True, kw_only=True)
class SweepTask:
    """Cells that share their features, and all that any process needs to compute them; paths are absolute."""

    cells: Cells
    stores: StoreChoice
    results: Path
    threads: int
    command: str


@dataclass(frozen=True, kw_only=True)
class TaskDone:
    """What became of a task: failed cells as (title, error), and what ended it early, if anything did."""

    n_cells: int
    failures: tuple[tuple[str, str], ...] = field(default=())
    stopped: str | None = None


def run_task(task: SweepTask, advance: Advance = lambda _: None) -> TaskDone:
    """Compute every cell and write its record at once; a cell that fails is recorded with its error.

    `advance` is told of every record. Errors that concern more than these cells (a disk that is full, stores that
    changed since the sweep was planned) are told by `stopped`: exceptions of other processes lose their words.
    """
    failures: list[tuple[str, str]] = []

    def keep(request: ProbeRequest, outcome: ProbeOutcome) -> None:
        store_result(task.results, outcome)
        if outcome.result["status"] != "ok":
            named = title(request, control=outcome.spec["control"]) + task.stores.told()
            failures.append((named, str(outcome.result["error"])))
        advance(1)

    stopped = None
    try:
        with blas_threads(task.threads):
            _compute(task, keep)
    except (BlindspotError, OSError) as error:
        stopped = str(error)
    return TaskDone(n_cells=len(task.cells), failures=tuple(failures), stopped=stopped)


def _compute(task: SweepTask, keep: Callable[[ProbeRequest, ProbeOutcome], None]) -> None:
    """All cells together; what is left when something breaks, cell by cell, so that each has its own error."""
    views = task.stores.views(arrays_of(task.cells[0].request))
    _check_unchanged(task, views)
    about = {
        **task.stores.origin(views),
        "threads": task.threads,
        "command": task.command,
    }
    left = {cell.name: cell.request for cell in task.cells}
    unfinished = unfinished_folder(task.results)
    try:
        for request, outcome in run_group(list(left.values()), views, about=about, unfinished=unfinished):
            keep(request, outcome)
            del left[run_id(KIND, outcome.spec)]
    except OSError:
        raise
    except BlindspotError as error:  # the features cannot be read
        for request in left.values():
            keep(request, failed_outcome(request, views, str(error), run=_note(about)))
    except Exception:  # noqa: BLE001  a fault of ours or of a library: it must not take the other cells with it
        for request in left.values():
            keep(request, _alone(request, views, about))


def _alone(request: ProbeRequest, views: Views, about: Mapping[str, Any]) -> ProbeOutcome:
    """The outcome of a cell by itself; whatever is raised becomes its error."""
    try:
        ((_, outcome),) = run_group([request], views, about=about)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  recorded, counted, and told at the end of the sweep
        return failed_outcome(request, views, f"{type(error).__name__}: {error}", run=_note(about))
    return outcome


def _check_unchanged(task: SweepTask, views: Views) -> None:
    for cell in task.cells:
        if run_id(KIND, spec_of(cell.request, views)) != cell.name:
            raise Stale(
                f"{task.stores.root}: {title(cell.request)} is another probe here than where the sweep was planned: "
                "the stores have changed meanwhile, or this worker runs another version; run the sweep again"
            )


def _note(about: Mapping[str, Any]) -> dict[str, Any]:
    return run_log(started=time.time(), about=about)[1]
