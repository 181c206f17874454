"""What a sweep has to do: its cells, which are on record, and what is computed together."""

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.errors import ConfigError
from cache.grouping import grouped
from cache.records import run_id
from cache.stars import count_stars

from .cells import CellChoices, arrays_of, requests
from .default_controls import Batch
from .fresh import is_fresh
from .groups import group_key
from .left_out import Settled
from .registry import head_entry
from .runner import KIND
from .spec import ProbeRequest, check_request, check_val, spec_of
from .splits import Views, check_views
from .stores import Arrays, StoreChoice


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One probe of a sweep, name and control of its record, and what was said of its stores, to stand behind its title.

    Where features come from an untrained encoder the record's control is another than the request's.
    """

    request: ProbeRequest
    name: str
    control: str = "none"
    told: str = ""


Cells = tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """All cells in order, and those without a fresh record in groups of the same features."""

    cells: Cells
    groups: tuple[Cells, ...]

    @property
    def missing(self) -> int:
        """How many cells have to be computed."""
        return sum(map(len, self.groups))


def plan_sweep(
    choices: CellChoices,
    stores: StoreChoice,
    *,
    results: Path,
    refit: bool = False,
    planned: Collection[str] = (),
) -> SweepPlan:
    """Check every cell and every store it needs, and look up what is on record; nothing is computed.

    Raises what `requests`, `check_request`, `check_views` and `StoreChoice.views` raise: a leak, a mixture of
    families or a missing store concerns the whole sweep. What is wrong with a label is left to its own cells. Cells
    whose names are `planned` already are left out.
    """
    views_of: dict[Arrays, Views] = {}
    n_stars: dict[Arrays, int] = {}
    cells: dict[str, Cell] = {}
    groups: dict[Hashable, list[Cell]] = {}
    settled = Settled()
    for asked in requests(choices):
        check_request(asked)
        arrays = arrays_of(asked)
        if arrays not in views_of:
            views_of[arrays] = stores.views(arrays)
            check_views(views_of[arrays], asked.features, choices.cross, allow_leak=choices.allow_leak)
            n_stars[arrays] = _n_train_stars(views_of[arrays])
        views = views_of[arrays]
        request = settled.request(asked, views, of=arrays)
        check_val(request, there="val" in views)
        if request.train_size is not None and request.train_size > n_stars[arrays]:
            raise ConfigError(
                f"--train-sizes {request.train_size}: train has {n_stars[arrays]} stars; leave that size out"
            )
        spec = spec_of(request, views)
        name = run_id(KIND, spec)
        if name in cells or name in planned:
            continue
        cells[name] = Cell(request=request, name=name, control=spec["control"], told=stores.told())
        if refit or not is_fresh(results, name, views):
            groups.setdefault(group_key(request), []).append(cells[name])
    return SweepPlan(cells=tuple(cells.values()), groups=tuple(map(tuple, groups.values())))


def plan_batches(
    batches: Sequence[Batch], *, results: Path, refit: bool = False
) -> list[tuple[SweepPlan, StoreChoice]]:
    """The plan of every batch with its stores; a cell of several batches is planned once."""
    plans: list[tuple[SweepPlan, StoreChoice]] = []
    planned: set[str] = set()
    for batch in batches:
        plan = plan_sweep(batch.choices, batch.stores, results=results, refit=refit, planned=planned)
        planned |= {cell.name for cell in plan.cells}
        plans.append((plan, batch.stores))
    return plans


def whole(plans: Sequence[SweepPlan]) -> SweepPlan:
    """Several plans as one."""
    return SweepPlan(
        cells=tuple(cell for plan in plans for cell in plan.cells),
        groups=tuple(group for plan in plans for group in plan.groups),
    )


def tasks_of(plan: SweepPlan, n_workers: int) -> list[Cells]:
    """The groups, cut into pieces where there are too few of them to keep all workers busy.

    Pieces change no result, only what is computed twice: features are read for each. Fits that are made together
    stay together.
    """
    if n_workers == 1 or not plan.groups:
        return list(plan.groups)
    n_pieces = -(-2 * n_workers // len(plan.groups))
    return [piece for group in plan.groups for piece in _pieces(group, n_pieces)]


def _n_train_stars(views: Views) -> int:
    return count_stars(np.concatenate([view.stars for view in views["train"]]))


def _pieces(group: Cells, n_pieces: int) -> Iterator[Cells]:
    """At most `n_pieces` parts of a group, of about as many cells."""
    piles: list[list[Cell]] = [[] for _ in range(n_pieces)]
    for unit in sorted(_units(group), key=len, reverse=True):
        min(piles, key=len).extend(unit)
    return (tuple(pile) for pile in piles if pile)


def _units(group: Cells) -> Iterator[Sequence[Cell]]:
    """Cells that are worth fitting together."""
    for head, cells in grouped(group, lambda cell: cell.request.fitted_head()).items():
        at_once = head_entry(head).at_once
        for start in range(0, len(cells), at_once):
            yield cells[start : start + at_once]
