"""`python -m extract run`: settings of the command line, turned into an extraction."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cache.commandline import Command, Verb, importing, say
from cache.errors import ConfigError
from cache.runlog import command_line
from cache.selection import select, write_selection

from .head_start import head_start
from .named_files import check_named_files
from .request import SPLITS, ExtractConfig, named_data

OUTPUT = frozenset(("config", "print_config", "selection", "dry_run", "as_json", "n_parts", "need_splits"))
"""Settings of the verbs about what is shown and written beside the stores."""


class RunSettings(Command):
    """Run the frozen encoder over spectra and store pooled features.

    What is stored already and fresh is not computed again; an interrupted run goes on where it stopped. Spectra
    are HDF5 files of pfsspec (or flat: flux, error, wave); --data names a folder with train/, val/ and test/, or
    one file with --split.
    """

    data: str | None = Field(
        None, description="folder with train/ val/ test/, or file(s) a.h5,b.h5 or shard_index.txt"
    )
    split: str | None = Field(
        None, description="which split(s) of the folder, or what the file is (default test)"
    )
    train: str | None = Field(None, description="file(s) of the train split, instead of --data")
    val: str | None = Field(None, description="file(s) of the val split, instead of --data")
    test: str | None = Field(None, description="file(s) of the test split, instead of --data")
    checkpoint: str = Field(
        "shipped",
        description="Lightning checkpoint, 'shipped', 'shipped:reference' (larger), or random:SEED as a control",
    )
    config_model: Path | None = Field(None, description="the YAML that stands beside the checkpoint")
    error_mode: str | None = Field(
        None, description="pixel, none, L0 ... L5: what the error channel held in training"
    )
    ending: Literal["softplus", "linear"] | None = Field(
        None, description="of the network, when no YAML tells"
    )
    dilation: int | None = Field(None, description="of the network, when no YAML tells")
    profile: Path | None = Field(
        None, description=".npy, mean training error per pixel, for error modes L4 and L5"
    )
    mask: Path | None = Field(None, description=".npy of bool, one per file pixel, True = keep")
    layers: tuple[str, ...] = Field(
        ("enc_pre_latent",),
        description="layers, 'all', or input_flux, input_error, denoised, clean_flux; commas between",
    )
    poolings: tuple[str, ...] = Field(
        ("seg_mean_K8",), description="global_mean, mean_max, seg_mean_K8 (any K); none for the pseudo-layers"
    )
    directions: tuple[str, ...] = Field(("forward",), description="forward, backward")
    noise: Literal["draw", "stored", "none"] = Field(
        "draw",
        description="where the noise comes from: drawn onto the flux, stored (the file's noisy flux, as it is), or "
        "none; flux below 0 is taken as 0 with draw and none",
    )
    noise_level: float = Field(1.0, description="noise in units of the file's error")
    draws: int = Field(1, description="noise realisations 0, 1, ... of every spectrum")
    seed: int = Field(0, description="of the noise")
    error_input: str = Field(
        "true",
        description="what the error channel is fed (audits): true, zero, shuffled (another star's), constant (the mean "
        "of train), from-noisy (guessed from the noisy flux)",
    )
    train_error: Path | None = Field(
        None,
        description="train-error-....json that an extraction of train saved, for constant and from-noisy without train",
    )
    precision: str = Field(
        "fp32",
        description="of the network: fp32, bf16, or tf32 (NVIDIA GPUs); other precisions are other stores",
    )
    engine: str = Field(
        "fast", description="fast, or plain: the network's own modules, a slow twin to compare with"
    )
    device: str = Field("auto", description="auto, cpu, cuda, or some of several GPUs: cuda:0,1")
    threads: int | None = Field(None, description="torch threads of one compute task (default 1)")
    micro_batch: int | None = Field(None, description="spectra computed together (default: 32, on a GPU 256)")
    slab_rows: int = Field(256, description="spectra read together; never changes a result")
    block_rows: int | None = Field(None, description="rows of one committed block (default 4096)")
    on_bad_rows: Literal["fail", "drop"] = Field(
        "fail", description="refuse a file with bad rows, or leave them out"
    )
    need_labels: tuple[str, ...] = Field(
        (),
        description="refuse files without these labels before any store is written; all labels are stored in any case",
    )
    missing_labels: Literal["fail", "drop"] = Field(
        "fail",
        description="drop: labels needed may lack values in rows, which probes leave out with --missing-labels drop",
    )
    need_splits: tuple[str, ...] = Field(
        (), description="refuse data without these splits: train,test for probes that are to be fitted"
    )
    scheduler: Literal["local", "processes", "dask"] = Field(
        "local", description="threads of this process, several processes, or dask workers (docs/cluster.md)"
    )
    jobs: int | None = Field(
        None, description="compute tasks at once: threads with local, else worker processes (default: cores)"
    )
    dask_address: str | None = Field(
        None, description="tcp://HOST:PORT of a running dask scheduler (default: workers on this machine)"
    )
    dask_config: Path | None = Field(
        None, description="YAML of a dask cluster to make: cluster: slurm or local, jobs: N, its arguments"
    )
    plan: Path | None = Field(
        None,
        description="run the request of this plan file (extract plan --plan FILE); only how is said beside",
    )
    part: str | None = Field(
        None, description="i/n: compute every n-th row block only, without locks (cluster file systems)"
    )
    stats: Path | None = Field(None, description="write the times of every stage here, as JSON")
    mixed: bool = Field(
        default=False, description="go on with a store begun on other settings of device or threads"
    )
    out: Path = Field(Path("artifacts/features"), description="folder of the feature stores")
    encoders: Path = Field(
        Path("artifacts/encoders"), description="folder of calibrated random encoders and train errors"
    )
    digests: Path = Field(Path("artifacts/digests"), description="folder of remembered file digests")
    selection: Path | None = Field(
        None, description="write here which stores this is, for probes run --selection"
    )
    dry_run: bool = Field(default=False, description="check everything, say what would be computed, and stop")
    as_json: bool = Field(default=False, description="with --dry-run: the plan as JSON on standard output")


def to_request(settings: RunSettings) -> ExtractConfig:
    """The request that the settings stand for; ConfigError when no data, too little or too much of it is named.

    With a plan it is the plan's, and whatever is given beside must not change it.
    """
    if settings.plan is not None:
        from .planned import planned_request  # noqa: PLC0415  imports torch

        given = settings.model_fields_set - OUTPUT
        request = planned_request(settings.plan, {name: getattr(settings, name) for name in given})
        _check_splits(settings.need_splits, request.data)
        return request
    return stated_request(settings)


def stated_request(settings: RunSettings) -> ExtractConfig:
    """The request that the settings say themselves; ConfigError where it lacks data, or a split that is needed."""
    data = named_data(settings.data, {s: getattr(settings, s) for s in SPLITS}, split=settings.split)
    if not data:
        raise ConfigError(
            "no data: say --data FOLDER (with train/, val/, test/) or --data FILE --split NAME; "
            "python -m extract mock makes a mock survey"
        )
    _check_splits(settings.need_splits, data)
    ours = {field.name for field in dataclasses.fields(ExtractConfig)} - {"data", "command", "plan"}
    fields: dict[str, Any] = {
        name: getattr(settings, name) for name in RunSettings.model_fields if name in ours
    }
    return ExtractConfig(data=data, command=command_line(), **fields)


def _check_splits(needed: Collection[str], data: Mapping[str, Sequence[Path]]) -> None:
    """Raise ConfigError where the data lack a split that is needed."""
    missing = [split for split in needed if split not in data]
    if missing:
        there = "; ".join(f"{split}: {', '.join(map(_shown, files))}" for split, files in data.items())
        raise ConfigError(
            f"no {' and no '.join(missing)} spectra were given ({there}), and --need-splits asks for "
            f"{', '.join(needed)}: name each split with --train FILE --val FILE --test FILE (make: TRAIN= VAL= TEST=), "
            "or give --data FOLDER (make: DATA=) with train/, val/ and test/ in it"
        )


def _shown(path: Path) -> str:
    return str(path) if path.exists() else f"{path}, which does not exist"


def run(settings: RunSettings) -> None:
    """Extract, or with `dry_run` only check and plan; prints the stores."""
    request = to_request(settings)
    check_named_files(request, selection=settings.selection)
    with head_start(request) as begun:
        if settings.dry_run:
            with importing():  # after what may be refused
                from .dry_run import show_estimate  # noqa: PLC0415  imports torch

            show_estimate(request, as_json=settings.as_json, begun=begun)
            return
        with importing():
            from .pipeline import extract_features  # noqa: PLC0415  imports torch

        paths = extract_features(request, say=say, begun=begun)
    write_stores(settings.selection, request, paths)


def write_stores(selection: Path | None, request: ExtractConfig, paths: Mapping[str, Sequence[Path]]) -> None:
    """Write the selection of the stores of a request, where that is asked for."""
    if selection is not None:
        name = request.checkpoint if ":" in request.checkpoint else Path(request.checkpoint).stem
        write_selection(selection, select(request.out, paths, encoder=name))


VERB = Verb(RunSettings, run)
