"""`python -m extract mock`: settings of the command line, turned into a mock survey."""

import sys
from pathlib import Path

from pydantic import Field

from cache.commandline import Command, Verb
from cache.progress import progress

from .survey import write_survey


class MockSettings(Command):
    """Write a mock survey of noisy stellar spectra as HDF5 files.

    The files have the layout of pfsspec, with train/, val/ and test/ of different stars. The physics is simple
    (LTE lines, curve of growth, bands, sky); numbers found on them are not BOSZ or PFS results.
    """

    out: Path = Field(Path("artifacts/data/mock"), description="folder to write train/, val/ and test/ into")
    n_train: int = Field(8000, description="stars of the train split")
    n_val: int = Field(1000, description="stars of the val split")
    n_test: int = Field(2000, description="stars of the test split")
    seed: int = Field(0, description="of stars and observing conditions")
    mag_lo: float = Field(20.5, description="brightest magnitude")
    mag_hi: float = Field(22.5, description="faintest magnitude; equal to the brightest for one magnitude")


def run(settings: MockSettings) -> None:
    """Write the files of the survey that are not there yet; print all of them."""
    total = settings.n_train + settings.n_val + settings.n_test
    with progress(total, "mock survey", unit="spectra") as advance:
        paths = write_survey(
            settings.out,
            n_train=settings.n_train,
            n_val=settings.n_val,
            n_test=settings.n_test,
            seed=settings.seed,
            mag=(settings.mag_lo, settings.mag_hi),
            progress=advance,
        )
    for split, path in paths.items():
        sys.stdout.write(f"{split}: {path}\n")


VERB = Verb(MockSettings, run)
