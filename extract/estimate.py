"""What an extraction will write: rows, bytes, files and blocks of every store, before anything is computed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cache.arrays import COORDINATES
from cache.errors import Stale
from cache.header import read_header
from cache.inventory import StoreInfo, look, store_folders
from cache.lookup import explain, explanation_lines
from cache.plan_file import Plan, PlannedFile, PlannedStore
from cache.texts import size_text
from cache.writer import StoreWriter

from .block_memory import available_bytes, held_bytes, memory_lines
from .block_task import computed_with
from .plan import StorePlan, block_rows_of, free_bytes
from .planned import planned_inputs, request_json
from .prepare import Prepared

FILE_BYTES = 330
"""About the mean size of the small files of a store: metadata, and chunks of coordinates without their values."""
COORDINATE_BYTES = 25
"""Of one feature: channel, segment (int32), statistic (int8), wave_lo, wave_hi (float64)."""
RECORD_BYTES, SEAL_BYTES, NOTE_BYTES = 420, 130, 1500
"""About the sizes of a commit record without arrays, of its part for each array, and of the note of a run."""


@dataclass(frozen=True, kw_only=True)
class StoreEstimate:
    """One store of a request: what of it is there, and what will be written."""

    store: PlannedStore
    blocks: int
    n_bytes: int
    """Bytes that will be written: features to the byte, metadata and commit records about."""
    n_files: int
    block_bytes: int
    """Bytes of the features of one block; 0 for a finished store."""
    why: dict[str, Any] | None
    """For a store that is to be computed: what `cache.lookup.explain` finds."""
    mixture: str | None
    """For a store to be finished whose blocks were computed otherwise: what a run will say of it, and refuse."""

    @property
    def state(self) -> str:
        """The state for people."""
        if self.store.finished:
            return "is there and fresh"
        return "to finish" if self.store.path else "to compute"

    @property
    def arrays(self) -> list[str]:
        """Paths of the arrays."""
        return [path for path, _ in self.store.provenance["arrays"]]

    def to_json(self) -> dict[str, Any]:
        """The entry of a plan file, and the estimate beside it."""
        return {
            **self.store.to_json(),
            "state": self.state,
            "blocks": self.blocks,
            "bytes": self.n_bytes,
            "files": self.n_files,
            "arrays": self.arrays,
            "why": self.why,
            "mixture": self.mixture,
        }


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A request as stores by split, with the free space of the disk they go to."""

    command: str
    stores: dict[str, tuple[StoreEstimate, ...]]
    free: int
    """Bytes."""
    processes: int
    """Of this machine that compute blocks."""
    available: int
    """Bytes of memory."""
    request: dict[str, Any]
    inputs: dict[str, tuple[PlannedFile, ...]]

    @property
    def n_bytes(self) -> int:
        """Bytes that will be written."""
        return sum(store.n_bytes for stores in self.stores.values() for store in stores)

    @property
    def n_files(self) -> int:
        """Files that will be written."""
        return sum(store.n_files for stores in self.stores.values() for store in stores)

    @property
    def memory(self) -> int:
        """Bytes of memory for the features of blocks, at most: stores cut alike are computed together."""
        most = 0
        for stores in self.stores.values():
            for blocks in {one.blocks for one in stores}:
                alike = [one for one in stores if one.blocks == blocks]
                left = max(one.store.blocks_left for one in alike)
                one_block = sum(one.block_bytes for one in alike)
                most = max(most, held_bytes(one_block, blocks=left, processes=self.processes))
        return most

    @property
    def plan(self) -> Plan:
        """What goes into a plan file."""
        stores = {split: tuple(e.store for e in estimates) for split, estimates in self.stores.items()}
        return Plan(self.command, stores, self.request, self.inputs)

    def to_json(self) -> dict[str, Any]:
        """Plan and estimate as one object."""
        return {
            "kind": "plan",
            "command": self.command,
            "stores": {split: [store.to_json() for store in stores] for split, stores in self.stores.items()},
            "bytes": self.n_bytes,
            "files": self.n_files,
            "free": self.free,
            "memory": self.memory,
        }

    def lines(self) -> Iterator[str]:
        """The estimate in words, each with its line feed."""
        for split, stores in self.stores.items():
            for estimate in stores:
                store = estimate.store
                left = "" if store.finished else f"{store.blocks_left} of {estimate.blocks} blocks left, "
                written = f"{size_text(estimate.n_bytes)} in {estimate.n_files} files to write"
                yield f"{split}: {store.rows} rows, {left}{written}, {estimate.state}"
                yield f"{f' ({store.path})' if store.path else ''}: {', '.join(estimate.arrays)}\n"
                if estimate.mixture is not None:
                    yield f"warning: {estimate.mixture}\n"
                if estimate.why is not None:
                    yield from explanation_lines(estimate.why)
        yield from memory_lines(self.memory, self.available)
        yield f"in all {size_text(self.n_bytes)} in {self.n_files} files to write; {size_text(self.free)} are free\n"
        if self.n_bytes > self.free:
            yield "warning: that is more than the disk has room for; see python -m cache prune --help\n"


def estimate(prepared: Prepared, command: str) -> Estimate:
    """Estimate a checked request; reads the stores that are there and writes nothing.

    `command` is the one that computes what is missing.
    """
    there = [look(path) for path in store_folders(prepared.config.out)]
    stores = {
        split: tuple(_estimate_store(prepared, split, plan, there) for plan in plans)
        for split, plans in prepared.plans.items()
    }
    return Estimate(
        command=command,
        stores=stores,
        free=free_bytes(prepared.config.out),
        processes=prepared.config.n_workers if prepared.config.scheduler == "processes" else 1,
        available=available_bytes(),
        request=request_json(prepared.asked),
        inputs=planned_inputs(prepared.spectra, prepared.config.digests, mask=prepared.mask),
    )


def _estimate_store(prepared: Prepared, split: str, plan: StorePlan, there: list[StoreInfo]) -> StoreEstimate:
    n_rows = len(prepared.fingerprints[split].kept)
    block_rows, left = _blocks(plan, n_rows, prepared.config.block_rows)
    ours = sum(prepared.config.owns(block) for block in left)
    widths = [width for _, width in plan.provenance["arrays"]]
    n_bytes = ours * sum(4 * min(block_rows, n_rows) * width for width in widths)
    n_bytes += ours * (RECORD_BYTES + SEAL_BYTES * len(widths))
    n_files = ours * (len(widths) + 1)
    if left:
        n_files += 1
        n_bytes += NOTE_BYTES
    if plan.path is None:
        static_files, static_bytes = _static(prepared, split, plan)
        n_files += static_files
        n_bytes += static_bytes
    store = PlannedStore(
        provenance=plan.provenance,
        rows=n_rows,
        path=plan.path,
        finished=plan.finished,
        blocks_left=len(left),
    )
    why = explain(plan.provenance, there) if plan.path is None else None
    return StoreEstimate(
        store=store,
        blocks=-(-n_rows // block_rows),
        n_bytes=n_bytes,
        n_files=n_files,
        block_bytes=4 * min(block_rows, n_rows) * sum(widths) if left else 0,
        why=why,
        mixture=_mixture(prepared, plan),
    )


def _mixture(prepared: Prepared, plan: StorePlan) -> str | None:
    """Why a run would not go on with the plan's store: another engine, other threads, another machine."""
    if plan.path is None or plan.finished or prepared.config.mixed:
        return None
    try:
        StoreWriter.open(plan.path).check_computed_with(computed_with(prepared.config, prepared.device))
    except Stale as problem:
        return str(problem)
    return None


def _blocks(plan: StorePlan, n_rows: int, block_rows: int | None) -> tuple[int, list[int]]:
    """Rows of a block, and the blocks that are not committed yet."""
    if plan.path is None:
        rows = block_rows_of(n_rows, block_rows)
        return rows, list(range(-(-n_rows // rows)))
    left = [] if plan.finished else StoreWriter.open(plan.path).pending()
    return read_header(plan.path).block_rows, left


def _static(prepared: Prepared, split: str, plan: StorePlan) -> tuple[int, int]:
    """Number and about the bytes of the files of a new store beside chunks and records."""
    names = list(plan.arrays.coordinates)
    groups = {"", "rows", "labels", *(name.layer for name in names)}
    groups |= {f"{name.layer}/{name.direction}" for name in names} | {name.path for name in names}
    labels = len(prepared.spectra[split].label_names)
    columns = 3 + labels + len(COORDINATES) * len(names)
    n_files = len(groups) + 2 * columns + len(names)
    n_bytes = FILE_BYTES * n_files + COORDINATE_BYTES * sum(width for _, width in plan.provenance["arrays"])
    return n_files, n_bytes + 8 * (3 + labels) * len(prepared.fingerprints[split].kept)
