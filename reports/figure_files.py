"""Every figure of a results folder as files, PDF for paper and PNG for screens, with their captions."""

import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cache.atomic import publish_bytes
from cache.errors import ConfigError
from cache.progress import progress

from .gallery import NamedFigure, Skipped, Task, tasks
from .source import read_source
from .style import Format, rendered

FORMATS: tuple[Format, ...] = ("png", "pdf")
CAPTIONS = "captions.md"


@dataclass(frozen=True, kw_only=True)
class Written:
    """A figure that was written, with its title and caption."""

    name: str
    title: str
    caption: str


Outcome = Written | Skipped
T = TypeVar("T")


def make_figures(
    results_root: Path, features_root: Path | None, *, out: Path, label: str | None = None, jobs: int = 1
) -> list[Outcome]:
    """Write every figure that has data as PNG and PDF under `out`, and `captions.md`; in reading order.

    Equal records, predictions and store states give equal bytes, whatever the number of jobs. Raises what `each_task`
    raises.
    """
    draw = functools.partial(_write, out=out)
    outcomes = each_task(results_root, features_root, draw, label=label, jobs=jobs)
    write_captions(outcomes, out)
    return outcomes


def each_task(
    results_root: Path,
    features_root: Path | None,
    draw: Callable[[Task], list[T]],
    *,
    label: str | None = None,
    jobs: int = 1,
) -> list[T]:
    """What `draw`, a function that pickles, gives of the figures of each kind and label, in reading order.

    `jobs` processes draw. Raises what `read_source` and `gallery.tasks` raise, ConfigError for less than one job.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}: at least one process has to draw")
    todo = tasks(read_source(results_root, features_root), label=label)
    with progress(len(todo), "figures", unit="kinds") as advance, contextlib.ExitStack() as stack:
        found: Iterator[list[T]] = map(draw, todo)
        if jobs > 1:
            # Spawned, not forked: the caller may have threads.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(min(jobs, len(todo)), mp_context=context))
            one = functools.partial(_one, results_root, features_root, label, draw)
            found = pool.map(one, range(len(todo)))
        items: list[T] = []
        for some in found:
            items += some
            advance(1)
    return items


def _one(
    results_root: Path,
    features_root: Path | None,
    label: str | None,
    draw: Callable[[Task], list[T]],
    place: int,
) -> list[T]:
    """What one process of several does: the n-th task, of a source that it has read once."""
    return draw(_tasks_of(results_root, features_root, label)[place])


@functools.cache
def _tasks_of(results_root: Path, features_root: Path | None, label: str | None) -> Sequence[Task]:
    return tasks(read_source(results_root, features_root), label=label)


def _write(task: Task, out: Path) -> list[Outcome]:
    return [item if isinstance(item, Skipped) else write_figure(item, out) for item in task.run()]


def write_figure(item: NamedFigure, out: Path) -> Written:
    """Write one figure in every format of FORMATS under `out`."""
    for file_format in FORMATS:
        publish_bytes(out / f"{item.name}.{file_format}", rendered(item.figure, file_format))
    return Written(name=item.name, title=item.title, caption=item.caption)


def write_captions(outcomes: Sequence[Outcome], out: Path) -> None:
    """Write `captions.md` under `out`."""
    publish_bytes(out / CAPTIONS, captions(outcomes).encode())


def captions(outcomes: Sequence[Outcome]) -> str:
    """Titles and captions as Markdown, in reading order; what has no data is named at the end."""
    parts = ["# Figures"]
    parts += [
        f"## {item.name}\n\n**{item.title}**\n\n{item.caption}"
        for item in outcomes
        if isinstance(item, Written)
    ]
    if gaps := list(missing(outcomes)):
        parts.append("\n".join(["## Not drawn, for lack of data", "", *(f"- {line}" for line in gaps)]))
    return "\n\n".join(parts) + "\n"


def missing(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """One line per kind of figure without data: which labels, and what would give it some."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for item in outcomes:
        if isinstance(item, Skipped):
            kind = item.name.removesuffix(f"_{item.label}")
            kinds.setdefault((kind, item.needs), []).extend([item.label] if item.label else [])
    for (kind, needs), labels in kinds.items():
        of = f" of {', '.join(labels)}" if labels else ""
        yield f"{kind}{of}: needs {needs}"
