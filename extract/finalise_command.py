"""`python -m extract finalise`: are all stores of a request finished, and if not, which blocks are missing."""

import itertools
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from cache.commandline import MENDABLE, Verb
from cache.commits import Commit, computed_with_text, read_commits
from cache.errors import CacheError, ConfigError
from cache.grouping import grouped
from cache.header import read_header
from cache.plan_file import PlannedStore, read_plan
from cache.runlog import command_line
from cache.store import FeatureStore

from .dry_run import computing
from .plan import block_rows_of
from .planned import folder_of
from .prepare import prepare
from .request import ExtractConfig
from .run_command import RunSettings, to_request, write_stores


class FinaliseSettings(RunSettings):
    """Say which row blocks of an extraction are missing and which commands compute them; compute nothing.

    Takes --plan FILE, which needs neither spectra nor network, or the flags of `run`. Finished stores are checked as
    any reader of them does first: metadata, every commit record, and of every chunk its size and the checksum at its
    end. The values are not read; `python -m cache verify` compares them all with what was committed. Exit status 0 when
    all is finished, and computed alike unless --mixed accepts that it is not; 2 otherwise.
    Example: python -m extract finalise --plan plan.json --n-parts 8
    """

    n_parts: int | None = Field(
        None, description="the n of --part i/n: tells which parts own what is missing"
    )


@dataclass(frozen=True)
class _Left:
    """A store of the request, and the blocks that it lacks."""

    name: str
    n_rows: int
    block_rows: int
    missing: tuple[int, ...]
    mixture: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Blocks by how they were computed, where that differs: only what differs is told."""

    @property
    def n_blocks(self) -> int:
        return -(-self.n_rows // self.block_rows)

    def rows(self, first: int, last: int) -> str:
        """The rows of some blocks, both ends included."""
        return f"{first * self.block_rows}-{min(self.n_rows, (last + 1) * self.block_rows) - 1}"

    def parts(self, n_parts: int) -> dict[int, list[int]]:
        """Missing blocks by the part that owns them."""
        return grouped(self.missing, by=lambda block: block % n_parts + 1)


def run(settings: FinaliseSettings) -> int:
    """Print what every store lacks; the exit status."""
    if settings.n_parts is not None and settings.n_parts < 1:
        raise ConfigError(f"--n-parts is {settings.n_parts}; it must be at least 1")
    request = to_request(settings)
    planned = _planned(request)
    left = [_look(split, store, request) for split, stores in planned.items() for store in stores]
    sys.stdout.writelines(f"{line}\n" for store in left for line in _lines(store, settings.n_parts))
    sound = _check(planned, request) and _check_mixture(left, request)
    if any(store.missing for store in left):
        command = _running(settings)
        parts = {part for store in left for part in store.parts(settings.n_parts or 1)}
        sys.stdout.write("compute what is missing with:\n")
        for part in sorted(parts):
            of_part = "" if settings.n_parts is None else f" --part {part}/{settings.n_parts}"
            sys.stdout.write(f"  {command}{of_part}\n")
        return MENDABLE
    if not sound:
        return MENDABLE
    paths = {
        s: [p for store in stores if (p := folder_of(store, request.out))] for s, stores in planned.items()
    }
    write_stores(settings.selection, request, paths)
    return 0


VERB = Verb(FinaliseSettings, run)


def _planned(request: ExtractConfig) -> dict[str, tuple[PlannedStore, ...]]:
    """The stores of the request by split: as the plan file says, or as planned anew."""
    if request.plan is not None:
        return dict(read_plan(request.plan).stores)
    with prepare(request) as prepared:
        return {
            split: tuple(
                PlannedStore(
                    provenance=plan.provenance,
                    rows=plan.provenance["rows"]["n"],
                    path=plan.path,
                    finished=plan.finished,
                    blocks_left=0,
                )
                for plan in plans
            )
            for split, plans in prepared.plans.items()
        }


def _look(split: str, store: PlannedStore, request: ExtractConfig) -> _Left:
    path = folder_of(store, request.out)
    if path is None:
        block_rows = block_rows_of(store.rows, request.block_rows)
        missing = tuple(range(-(-store.rows // block_rows)))
        return _Left(f"{split}: nothing is there yet", store.rows, block_rows, missing)
    header = read_header(path)
    commits = read_commits(path, header)
    missing = tuple(b for b, commit in enumerate(commits) if commit is None)
    return _Left(f"{split}: {path}", header.n_rows, header.block_rows, missing, _mixture(commits))


def _mixture(commits: Sequence[Commit | None]) -> dict[str, tuple[int, ...]]:
    """Committed blocks by what of their `computed_with` differs between them; empty when nothing does."""
    by_block = {commit.block: commit.computed_with for commit in commits if commit is not None}
    names = sorted({name for how in by_block.values() for name in how})
    differing = [n for n in names if len({json.dumps(how.get(n)) for how in by_block.values()}) > 1]
    found: dict[str, tuple[int, ...]] = {}
    for block, how in by_block.items() if differing else ():
        told = computed_with_text({name: how.get(name) for name in differing})
        found[told] = (*found.get(told, ()), block)
    return found


def _lines(store: _Left, n_parts: int | None) -> Iterator[str]:
    if store.missing:
        yield f"{store.name}; {len(store.missing)} of {store.n_blocks} blocks are missing"
    else:
        yield f"{store.name} is finished, {store.n_blocks} blocks"
    for told, blocks in store.mixture.items():
        yield f"  computed with {told}: {_numbers(blocks)}"
    for first, last in _ranges(store.missing):
        yield f"  block{'' if first == last else 's'} {_range(first, last)}: rows {store.rows(first, last)}"
    if n_parts is not None:
        for part, owned in sorted(store.parts(n_parts).items()):
            yield f"  part {part}/{n_parts} owns {_numbers(tuple(owned))}"


def _ranges(blocks: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First and last of every run of consecutive numbers."""
    for _, run_ in itertools.groupby(enumerate(blocks), key=lambda pair: pair[1] - pair[0]):
        numbers = [block for _, block in run_]
        yield numbers[0], numbers[-1]


def _numbers(blocks: tuple[int, ...]) -> str:
    return ", ".join(itertools.starmap(_range, _ranges(blocks)))


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _check(planned: dict[str, tuple[PlannedStore, ...]], request: ExtractConfig) -> bool:
    """Whether every finished store is intact; tells what is wrong with those that are not."""
    sound = True
    for store in itertools.chain.from_iterable(planned.values()):
        path = folder_of(store, request.out)
        if path is None or None in read_commits(path, read_header(path)):
            continue
        try:
            FeatureStore.open(path)
        except CacheError as error:
            sound = False
            sys.stderr.write(f"error: {error}\n")
    return sound


def _check_mixture(left: list[_Left], request: ExtractConfig) -> bool:
    """Whether the blocks of every store may stand together; tells what to do where they may not."""
    mixed = [store.name for store in left if store.mixture]
    if not mixed or request.mixed:
        return True
    sys.stderr.write(
        f"error: {mixed[0]}: blocks were computed differently, see above; results may differ in the last bits. Accept "
        "it with --mixed, or delete the store and compute it again on machines and settings that are alike\n"
    )
    return False


def _running(settings: FinaliseSettings) -> str:
    """The command that computes what is missing."""
    if settings.plan is not None:
        return f"python -m extract run --plan {shlex.quote(str(settings.plan))}"
    return computing(command_line())
