"""What one extraction is asked to do, checked before anything is opened."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cache.arrays import PSEUDO_LAYERS, STORED_DIRECTIONS, safe_name
from cache.dask_cluster import check_dask_flags
from cache.errors import ConfigError, InputError, UnknownName, did_you_mean

from .choices import BAD_ROW_POLICIES, ENGINES, ERROR_INPUTS, MICRO_BATCH, NOISE_MODES, PRECISIONS, devices_of
from .shard_index import listed_files

SPLITS = ("train", "val", "test")
SCHEDULERS = ("local", "processes", "dask")
SHIPPED = "shipped"
SHIPPED_REFERENCE = "shipped:reference"
RANDOM_PREFIX = "random:"
MOST_TOGETHER = 16384
"""Largest compute micro-batch: 0.5 GB of input at 4096 pixels and two channels."""
DATA_NAMES = ("shard_index.txt", "dataset.h5")
"""File names looked for in a split's folder, in this order."""


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """One request for features; field names are those of `python -m extract run`.

    `data` maps a split to its file list (or one `shard_index.txt`). `checkpoint` is a path, 'shipped',
    'shipped:reference' or 'random:SEED'. `layers` may hold aliases and 'all'. `need_labels` must be in every file;
    `missing_labels` is `drop` where probes leave out rows without them; both change nothing that is stored. Raises
    ConfigError or UnknownName on construction.
    """

    data: Mapping[str, tuple[Path, ...]]
    checkpoint: str = SHIPPED
    config_model: Path | None = None
    error_mode: str | None = None
    ending: str | None = None
    dilation: int | None = None
    profile: Path | None = None
    mask: Path | None = None
    layers: tuple[str, ...] = ("enc_pre_latent",)
    poolings: tuple[str, ...] = ("seg_mean_K8",)
    directions: tuple[str, ...] = ("forward",)
    noise: str = "draw"
    noise_level: float = 1.0
    draws: int = 1
    seed: int = 0
    error_input: str = "true"
    train_error: Path | None = None
    precision: str = "fp32"
    engine: str = "fast"
    device: str = "auto"
    threads: int | None = None
    micro_batch: int | None = None
    slab_rows: int = 256
    block_rows: int | None = None
    on_bad_rows: str = "fail"
    need_labels: tuple[str, ...] = ()
    missing_labels: str = "fail"
    scheduler: str = "local"
    jobs: int | None = None
    part: str | None = None
    dask_address: str | None = None
    dask_config: Path | None = None
    plan: Path | None = None
    stats: Path | None = None
    mixed: bool = False
    out: Path = Path("artifacts/features")
    encoders: Path = Path("artifacts/encoders")
    digests: Path = Path("artifacts/digests")
    command: str = "python -m extract run"

    def __post_init__(self) -> None:
        """Check every name and number that can be checked without opening a file."""
        for kind, name, known in (
            ("noise mode", self.noise, NOISE_MODES),
            ("error input", self.error_input, ERROR_INPUTS),
            ("precision", self.precision, PRECISIONS),
            ("engine", self.engine, ENGINES),
            ("scheduler", self.scheduler, SCHEDULERS),
            ("policy for bad rows", self.on_bad_rows, BAD_ROW_POLICIES),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        for direction in self.directions:
            if direction not in STORED_DIRECTIONS:
                raise ConfigError(
                    f"direction {direction!r} cannot be extracted; extract {', '.join(STORED_DIRECTIONS)} "
                    "(mean and concat are formed from both when features are read)"
                )
        self._check_numbers()
        if self.part is not None:
            parse_part(self.part)
        check_dask_flags(self.scheduler, dask_address=self.dask_address, dask_config=self.dask_config)
        if self.device != "auto":
            devices_of(self.device)
        for split in self.data:
            safe_name("split", split)
        if not self.data:
            raise ConfigError(
                "no data: say --data FOLDER (with train/, val/, test/) or --data FILE --split NAME"
            )

    def _check_numbers(self) -> None:
        for name in ("draws", "threads", "micro_batch", "slab_rows", "block_rows", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}; it must be at least 1")
        if self.micro_batch is not None and self.micro_batch > MOST_TOGETHER:
            raise ConfigError(
                f"--micro-batch is {self.micro_batch}; at most {MOST_TOGETHER} spectra go through the network "
                "together: every batch is filled up to that size, in memory"
            )
        # the noise is keyed by its text: 0, 0.0 and False would be three seeds
        if type(self.seed) is not int:
            raise ConfigError(f"the seed is {self.seed!r}; it must be a plain integer")
        if self.seed < 0:
            raise ConfigError(f"--seed is {self.seed}; it must be at least 0")
        if not 0 <= self.noise_level < float("inf"):
            raise ConfigError(f"--noise-level is {self.noise_level}; it must be 0 or more")
        if self.noise != "draw" and self.draws != 1:
            raise ConfigError(
                f"--noise {self.noise} has one realisation; --draws {self.draws} makes no sense with it"
            )
        if self.noise == "stored" and self.noise_level != 1:
            raise ConfigError("--noise stored is what the file holds; --noise-level must stay 1 with it")

    @property
    def pseudo_layers(self) -> tuple[str, ...]:
        """The pseudo-layers asked for."""
        return tuple(layer for layer in self.layers if layer in PSEUDO_LAYERS)

    @property
    def draw_numbers(self) -> tuple[int | None, ...]:
        """Noise draws to make: 0, 1, ...; None for noise that is not drawn."""
        return tuple(range(self.draws)) if self.noise == "draw" else (None,)

    def owns(self, block: int) -> bool:
        """Whether a row block is this run's: every n-th one with `part` i/n, else any."""
        if self.part is None:
            return True
        index, n_parts = parse_part(self.part)
        return block % n_parts == index - 1

    @property
    def n_workers(self) -> int:
        """Compute tasks at once: threads of this process with `local`, else worker processes of one task each."""
        return self.jobs or usable_cores()

    @property
    def n_threads(self) -> int:
        """Torch threads of one compute task; part of `computed_with`."""
        return self.threads or 1

    @property
    def n_together(self) -> int:
        """Spectra computed together: the compute micro-batch, that of the processor where none is said yet."""
        return self.micro_batch or MICRO_BATCH["cpu"]


def usable_cores() -> int:
    """Cores that this process may use: of a job on a shared machine, not of the machine."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def parse_part(part: str) -> tuple[int, int]:
    """`i/n` as numbers, 1 <= i <= n; ConfigError otherwise."""
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"--part is {part!r}; say i/n with 1 <= i <= n, as in --part 1/3, 2/3, 3/3")
    return int(match[1]), int(match[2])


def without_part(command: str) -> str:
    """The command that does all of what `command` does a part of."""
    return re.sub(r" --part[ =]\S+", "", command)


def named_data(
    data: str | None, by_split: Mapping[str, str | None], *, split: str | None = None
) -> dict[str, tuple[Path, ...]]:
    """File lists by split from `--data` (with `--split`), or from flags of the splits; empty where neither is given.

    Raises ConfigError where both are, and what `find_data` raises.
    """
    given = {name: files for name, files in by_split.items() if files}
    if data and given:
        raise ConfigError("say either --data, or --train, --val and --test, not both")
    if data:
        return find_data(data, split)
    return {name: tuple(Path(part) for part in files.split(",")) for name, files in given.items()}


def find_data(data: str, split: str | None = None) -> dict[str, tuple[Path, ...]]:
    """File lists by split from what `--data` says.

    A folder holds train/, val/, test/ (any of them; `split` picks some, comma-separated), each with dataset.h5 or
    shard_index.txt. A file, or files with commas between them, is the split named (default test). Raises InputError
    where nothing is there, and where both are and the index does not list dataset.h5.
    """
    asked = tuple(split.split(",")) if split else None
    folder = Path(data)
    if not folder.is_dir():
        if asked is not None and len(asked) != 1:
            raise ConfigError(
                f"--data {data} is one file list, so --split must name one split, not {split!r}"
            )
        return {asked[0] if asked else "test": tuple(Path(part) for part in data.split(","))}
    found: dict[str, tuple[Path, ...]] = {}
    for name in asked or SPLITS:
        # a link to nothing too: it is opened, and refused, and not passed over
        paths = [folder / name / file for file in DATA_NAMES if os.path.lexists(folder / name / file)]
        if paths:
            found[name] = (_only(*paths),)
        elif asked:
            there = [path.name for path in sorted(folder.iterdir()) if _holds_data(path)]
            raise InputError(
                f"{folder / name}: expected {' or '.join(DATA_NAMES)} there for --split {name}; splits there: "
                f"{', '.join(there) or 'none'}{did_you_mean(name, there)}"
            )
    if not found and _holds_data(folder):
        raise InputError(
            f"{folder}: is the folder of one split; say --data {folder.parent}, and --split {folder.name} for it alone"
        )
    if not found:
        raise InputError(
            f"{folder}: holds none of {', '.join(f'{s}/dataset.h5' for s in SPLITS)}; "
            "name a file with --data FILE --split test, or make mock data with python -m extract mock"
        )
    return found


def _only(path: Path, *others: Path) -> Path:
    """The index, where it lists the other file too, or the one file that there is."""
    listed = {file.resolve() for file in listed_files(path)} if others else set()
    if left_out := [other.name for other in others if other.resolve() not in listed]:
        raise InputError(
            f"{path.parent}: holds {path.name} and {left_out[0]}, which it does not list: which are the spectra? Take "
            f"one away, add {left_out[0]} to the index, or name the files of every split (--train, --val, --test)"
        )
    return path


def _holds_data(folder: Path) -> bool:
    return any((folder / file).exists() for file in DATA_NAMES)
