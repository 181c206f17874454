"""Plan files: the stores that a request stands for, as `extract plan` writes them and `cache why` reads them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .atomic import publish_json
from .canonical import read_sealed
from .errors import ConfigError, SchemaVersion
from .near_stores import meant
from .provenance import SCHEMA

KIND = "plan"
PLAN_SCHEMA = 2
"""Version of the form of a plan file; 2 adds the request and its input files, so that parts can run it."""


@dataclass(frozen=True, kw_only=True)
class PlannedStore:
    """One store of a request: what it is made from, and how much of it was there when the plan was made."""

    provenance: dict[str, Any]
    rows: int
    path: Path | None
    """Where it is, finished or begun; None when nothing is there yet."""
    finished: bool
    blocks_left: int

    def to_json(self) -> dict[str, Any]:
        """The form of the file."""
        return {**asdict(self), "path": None if self.path is None else str(self.path)}


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """One file of spectra as the plan found it, and where the digests of its rows are remembered."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    digests: str
    """Name of the remembered digests in their folder."""
    sha256: str | None
    """Digest of the remembered digests; None when there are none."""


@dataclass(frozen=True)
class Plan:
    """A request as stores by split, and the command that computes what is missing of them.

    `request` are the settings of the extraction (JSON values), `inputs` its files by split: what a part needs to run
    exactly this request without reading all of the input again.
    """

    command: str
    stores: Mapping[str, tuple[PlannedStore, ...]]
    request: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[PlannedFile, ...]] = field(default_factory=dict)


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan, whole and sealed."""
    stores = {split: [store.to_json() for store in stores] for split, stores in plan.stores.items()}
    publish_json(
        path,
        {
            "schema_version": PLAN_SCHEMA,
            "kind": KIND,
            "command": plan.command,
            "stores": stores,
            "request": plan.request,
            "inputs": {split: [asdict(file) for file in files] for split, files in plan.inputs.items()},
        },
    )


def read_plan(path: Path) -> Plan:
    """Read and check a plan; ConfigError when it is none, Damaged when altered, SchemaVersion for another format."""
    try:
        content = read_sealed(path)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no store and no plan there{meant(path)}; `python -m cache ls` lists the stores, "
            f"python -m extract plan ... --plan {path} writes a plan"
        ) from None
    if content.get("kind") != KIND:
        raise ConfigError(
            f"{path}: is a {content.get('kind', 'file of another kind')!r}, expected a plan; "
            f"write one with python -m extract plan ... --plan {path}"
        )
    if content["schema_version"] != PLAN_SCHEMA:
        raise SchemaVersion(
            f"{path}: plan format {content['schema_version']}, this program reads {PLAN_SCHEMA}; plan again: "
            f"{content['command']}"
        )
    stores = {
        split: tuple(
            PlannedStore(**{**store, "path": None if store["path"] is None else Path(store["path"])})
            for store in planned
        )
        for split, planned in content["stores"].items()
    }
    for store in (store for planned in stores.values() for store in planned):
        if store.provenance["schema"] != SCHEMA:
            raise SchemaVersion(
                f"{path}: plans stores of format {store.provenance['schema']}, this program reads format {SCHEMA}; "
                f"plan again: {content['command']}"
            )
    inputs = {
        split: tuple(PlannedFile(**file) for file in files) for split, files in content["inputs"].items()
    }
    return Plan(content["command"], stores, content["request"], inputs)
