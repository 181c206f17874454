"""What Fisher matrices are asked for, checked before anything is opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cache.errors import ConfigError, UnknownName

from ..choices import BAD_ROW_POLICIES, FAIL, MISSING_LABELS
from .local_gradient import NEIGHBOURS

METHODS = ("auto", "mock", "emulator")
TRAIN_ROWS = 20000
"""Train stars that an emulator keeps in memory unless told otherwise: 328 MB of 4096 pixels."""


@dataclass(frozen=True, kw_only=True)
class FisherRequest:
    """What is asked for; names are those of `python -m extract fisher`.

    `data` maps splits to file lists; `train` is the file list of an emulator. Raises ConfigError or UnknownName.
    """

    data: Mapping[str, tuple[Path, ...]]
    train: tuple[Path, ...] | None = None
    method: str = "auto"
    noise_level: float = 1.0
    mask: Path | None = None
    neighbours: int = NEIGHBOURS
    train_rows: int = TRAIN_ROWS
    on_bad_rows: str = "fail"
    missing_labels: str = FAIL
    out: Path = Path("artifacts/fisher")
    digests: Path = Path("artifacts/digests")
    command: str = "python -m extract fisher"

    def __post_init__(self) -> None:
        """Check names and numbers."""
        if self.method not in METHODS:
            raise UnknownName("method", self.method, METHODS)
        if self.on_bad_rows not in BAD_ROW_POLICIES:
            raise UnknownName("policy for bad rows", self.on_bad_rows, BAD_ROW_POLICIES)
        if self.missing_labels not in MISSING_LABELS:
            raise UnknownName("policy for missing labels", self.missing_labels, MISSING_LABELS)
        if not 0 < self.noise_level < float("inf"):
            raise ConfigError(
                f"--noise-level is {self.noise_level}; it must be above 0: without noise the information is endless"
            )
        if self.train_rows < 1:
            raise ConfigError(f"--train-rows is {self.train_rows}; it must be at least 1")
