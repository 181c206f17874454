"""Requests kept in a plan file: what is written of them, and that nothing has changed when a part runs them."""

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cache.arrays import ArrayName
from cache.canonical import canonical_json
from cache.commits import is_finished
from cache.errors import ConfigError, Stale
from cache.header import read_header
from cache.plan_file import Plan, PlannedFile, PlannedStore, read_plan
from cache.provenance import KEY_DIGITS, differences, store_key
from cache.store import FeatureStore

from .chosen_encoder import SHIPPED_FILES
from .mask import Mask
from .plan import StorePlan
from .remembered import sidecars
from .request import DATA_NAMES, RANDOM_PREFIX, SPLITS, ExtractConfig
from .sidecar import file_identity, remembered_sha256
from .spectra import SpectraFile
from .wanted import WantedArrays

OF_ONE_RUN = ("part", "plan", "stats", "need_labels", "missing_labels", "command")
"""Settings that belong to a run and not to the request that it is a part of."""
HOW = frozenset(
    {"device", "engine", "threads", "micro_batch", "slab_rows", "mixed"}
    | {"scheduler", "jobs", "dask_address", "dask_config", "part", "plan", "stats"}
    | {"need_labels", "missing_labels"}
)
"""Settings that may be given beside a plan: they say how to compute, not what, or are a check."""

_REQUEST = TypeAdapter(ExtractConfig)


def request_json(config: ExtractConfig) -> dict[str, Any]:
    """The settings of a request as JSON values, with paths that do not depend on the working folder.

    Raises ConfigError when no command asks for the same: then no store could name what rebuilds it.
    """
    whole: dict[str, Any] = {
        field.name: _whole(getattr(config, field.name)) for field in dataclasses.fields(config)
    }
    whole["data"] = {split: tuple(map(_whole, files)) for split, files in config.data.items()}
    if config.checkpoint not in SHIPPED_FILES and not config.checkpoint.startswith(RANDOM_PREFIX):
        whole["checkpoint"] = str(Path(config.checkpoint).absolute())
    request = ExtractConfig(**whole)
    command_of(request)
    told: dict[str, Any] = _REQUEST.dump_python(request, mode="json")
    return {name: value for name, value in told.items() if name not in OF_ONE_RUN}


def _whole(value: Any) -> Any:
    return value.absolute() if isinstance(value, Path) else value


def planned_request(path: Path, given: Mapping[str, Any]) -> ExtractConfig:
    """The request of a plan file, with the settings of how to compute it that are `given`.

    Raises ConfigError when anything else is given or the plan holds no request, and what `read_plan` raises.
    """
    plan = read_plan(path)
    if other := sorted(set(given) - HOW):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in other)
        raise ConfigError(
            f"{flags} beside --plan {path}: the plan says already what is computed; leave that out, or plan again "
            f"with it ({shlex.join(['python', '-m', 'extract', 'plan', '...', '--plan', str(path)])})"
        )
    try:
        request = _REQUEST.validate_python({**plan.request, **given, "plan": path})
    except ValidationError as error:
        fields = ", ".join(str(e["loc"][0]) for e in error.errors())
        raise ConfigError(
            f"{path}: the request in it cannot be used ({fields}); plan again: {plan.command}"
        ) from error
    return dataclasses.replace(request, command=command_of(request))


def command_of(config: ExtractConfig) -> str:
    """A command that asks for the same without any plan file; ConfigError when there is none."""
    return shlex.join(["python", "-m", "extract", "run", *_flags(config)])


def _flags(config: ExtractConfig) -> Iterator[str]:
    yield from _data_flags(config.data)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in ("data", *OF_ONE_RUN) or value == field.default:
            continue
        yield f"--{field.name.replace('_', '-')}"
        if value is not True:
            yield ",".join(value) if isinstance(value, tuple) else str(value)


def _data_flags(data: Mapping[str, tuple[Path, ...]]) -> Iterator[str]:
    """How `run` takes these files: by split, as one file list of any name, or as one folder of splits of any name."""
    if set(data) <= set(SPLITS):
        for split, files in data.items():
            yield from (f"--{split}", ",".join(map(str, files)))
        return
    yield from ("--split", ",".join(data), "--data")
    if len(data) == 1:
        yield ",".join(map(str, *data.values()))
        return
    folders = {_folder_of(split, files) for split, files in data.items()}
    if len(folders) > 1 or None in folders:
        raise ConfigError(
            f"no command asks for splits {', '.join(data)} of these files at once; put each into "
            f"FOLDER/NAME/dataset.h5 for --data FOLDER --split {','.join(data)}, or plan each split alone: --data FILE "
            "--split NAME"
        )
    yield str(*folders)


def _folder_of(split: str, files: tuple[Path, ...]) -> Path | None:
    """The folder that `run --data` finds these files of a split in."""
    file, *more = files
    found = file.parent.name == split and file.name in DATA_NAMES and not more
    return file.parent.parent if found else None


def planned_inputs(
    spectra: Mapping[str, SpectraFile], digests: Path, *, mask: Mask | None
) -> dict[str, tuple[PlannedFile, ...]]:
    """The files of every split as they are, with the digests that are remembered of them."""
    return {split: tuple(_planned_files(files, digests, mask)) for split, files in spectra.items()}


def _planned_files(spectra: SpectraFile, digests: Path, mask: Mask | None) -> Iterator[PlannedFile]:
    for path, sidecar in zip(spectra.files, sidecars(spectra, digests, mask=mask), strict=True):
        yield PlannedFile(
            path=str(path.resolve()),
            **file_identity(spectra.status(path)),
            digests=sidecar.name,
            sha256=remembered_sha256(sidecar),
        )


def check_inputs(
    plan: Plan, config: ExtractConfig, spectra: Mapping[str, SpectraFile], *, mask: Mask | None
) -> None:
    """Refuse files that are not those of the plan, or whose digests are no longer remembered (Stale, naming which).

    What passes is not read again: the digests of its rows are those that the plan was made with.
    """
    if set(plan.inputs) != set(spectra):
        raise _stale(config, plan, "splits", sorted(plan.inputs), sorted(spectra))
    found = planned_inputs(spectra, config.digests, mask=mask)
    for split, planned in plan.inputs.items():
        if len(planned) != len(found[split]):
            raise _stale(config, plan, f"number of files of {split}", len(planned), len(found[split]))
        for one, other in zip(planned, found[split], strict=True):
            if other.sha256 is None and one.digests == other.digests:
                raise Stale(
                    f"{config.digests / one.digests}: the digests of {one.path} that the plan {config.plan} was made "
                    f"with are gone; plan again: {_planning(config, plan)}"
                )
            for field in dataclasses.fields(PlannedFile):
                before, now = getattr(one, field.name), getattr(other, field.name)
                if before != now:
                    raise _stale(config, plan, f"{field.name} of {one.path}", before, now)


def planned_stores(
    plan: Plan, config: ExtractConfig, provenance: dict[str, Any], *, wanted: WantedArrays
) -> list[StorePlan]:
    """The stores of the plan for one split and draw, as far as they are now.

    `provenance` is that of everything `wanted` by the request as it is now. Every part fills these stores and no
    others, whatever other stores have come since. Raises Stale naming the first field in which the plan differs.
    """
    split, draw = provenance["split"], provenance["noise"]["draw"]
    stores = [s for s in plan.stores.get(split, ()) if s.provenance["noise"]["draw"] == draw]
    for store in stores:
        now = {**provenance, "arrays": store.provenance["arrays"]}
        for field, before, after in differences(store.provenance, now):
            raise _stale(config, plan, f"{field} of {split}", before, after)
    held = {canonical_json(array) for store in stores for array in store.provenance["arrays"]}
    if lacking := [array for array in wanted.widths() if canonical_json(array) not in held]:
        raise _stale(config, plan, f"arrays of {split}, draw {draw}", "without it", lacking[0])
    return [_as_it_is(store, config.out, draw, wanted) for store in stores]


def _as_it_is(store: PlannedStore, root: Path, draw: int | None, wanted: WantedArrays) -> StorePlan:
    names = {ArrayName.parse(path) for path, _ in store.provenance["arrays"]}
    path = folder_of(store, root)
    finished = path is not None and is_finished(path, read_header(path))
    if finished and path is not None:
        FeatureStore.open(path)  # a damaged store is no hit; the error says how to mend it
    return StorePlan(store.provenance, draw, wanted.restrict(names), path, finished)


def folder_of(store: PlannedStore, root: Path) -> Path | None:
    """Where a planned store is under `root`, begun or finished; None when it is not there yet."""
    key = store_key(store.provenance)
    ours = root / store.provenance["split"] / key[:KEY_DIGITS]
    there = [path for path in (ours, store.path) if path is not None and (path / "zarr.json").exists()]
    return next((path for path in there if read_header(path).key == key), None)


def _stale(config: ExtractConfig, plan: Plan, what: str, before: Any, now: Any) -> Stale:
    return Stale(
        f"{config.plan}: {what}: {before!r} when the plan was made, {now!r} now; "
        f"undo the change, or plan again: {_planning(config, plan)}"
    )


def _planning(config: ExtractConfig, plan: Plan) -> str:
    """The command that makes the plan anew."""
    return f"{plan.command.replace('extract run', 'extract plan', 1)} --plan {shlex.quote(str(config.plan))}"
