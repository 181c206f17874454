"""`python -m extract fisher`: settings of the command line, turned into Fisher matrices."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from cache.commandline import Command, Verb, say
from cache.errors import ConfigError
from cache.runlog import command_line

from ..request import find_data
from .local_gradient import NEIGHBOURS
from .request import TRAIN_ROWS, FisherRequest
from .run import make_fisher


class FisherSettings(Command):
    """Write per-star Fisher matrices of the labels and the flux scale: what noisy flux can tell at all.

    For every row of a split: J' diag(1 / (error noise_level)^2) J, J the gradient of the clean spectrum along T_eff,
    log_g, M_H, a_M, C_M (all of which are needed) and ln A. Mock files are differentiated exactly, by their generator;
    for others an emulator is fitted to the nearest train stars, which is approximate. No network is run. Read by the
    ceiling of python -m probes.
    Example: python -m extract fisher --data artifacts/data/mock --split test
    """

    data: str | None = Field(None, description="folder with train/ val/ test/, or file(s) a.h5,b.h5")
    split: str = Field("test", description="which split(s) of the folder, or what the file is")
    train: str | None = Field(
        None, description="train file(s) for the emulator (default: train/ of the folder)"
    )
    method: Literal["auto", "mock", "emulator"] = Field(
        "auto", description="of the gradient: the mock survey's generator, or an emulator; auto: by the file"
    )
    noise_level: float = Field(1.0, description="noise in units of the file's error, above 0")
    mask: Path | None = Field(None, description=".npy of bool, one per file pixel, True = keep")
    neighbours: int = Field(NEIGHBOURS, description="train stars that a gradient is fitted to (emulator)")
    train_rows: int = Field(TRAIN_ROWS, description="train stars kept in memory, the first ones (emulator)")
    on_bad_rows: Literal["fail", "drop"] = Field(
        "fail", description="refuse a file with bad rows, or leave them out"
    )
    missing_labels: Literal["fail", "drop"] = Field(
        "fail",
        description="stars without one of the five labels: refused, or left without a matrix and so out of the ceiling",
    )
    out: Path = Field(Path("artifacts/fisher"), description="folder of the Fisher matrices")
    digests: Path = Field(Path("artifacts/digests"), description="folder of remembered file digests")
    dry_run: bool = Field(default=False, description="check everything, say what would be computed, and stop")


def to_request(settings: FisherSettings) -> FisherRequest:
    """The request that the settings stand for; ConfigError when no data is named."""
    if settings.data is None:
        raise ConfigError(
            "no data: say --data FOLDER (with test/) or --data FILE; python -m extract mock makes a mock survey"
        )
    train = None if settings.train is None else tuple(Path(part) for part in settings.train.split(","))
    if train is None and (Path(settings.data) / "train").is_dir():
        train = find_data(settings.data, "train")["train"]
    return FisherRequest(
        data=find_data(settings.data, settings.split),
        train=train,
        command=command_line(),
        **{
            name: getattr(settings, name)
            for name in (
                *("method", "noise_level", "mask", "neighbours", "train_rows"),
                *("on_bad_rows", "missing_labels", "out", "digests"),
            )
        },
    )


def run(settings: FisherSettings) -> None:
    """Write what is missing, or with `dry_run` only check; prints the files."""
    make_fisher(to_request(settings), say=say, dry_run=settings.dry_run)


VERB = Verb(FisherSettings, run)
