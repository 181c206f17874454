"""Flags that `probes audit` and `probes distil` have in common: which probes, of one seed, on which stores."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from cache.commandline import Command

from .cells import CellChoices, with_alpha_on_val
from .stores import FEATURES, StoreChoice


class StudySettings(Command):
    """Which probes, on which stores, to where."""

    layers: tuple[str, ...] = Field(("enc_pre_latent",), description="layers of the stores, one each; or all")
    poolings: tuple[str, ...] = Field(("seg_mean_K8",), description="poolings of the stores")
    directions: tuple[str, ...] = Field(("forward",), description="forward, backward, mean or concat")
    heads: tuple[str, ...] = Field(("ridge",), description="probes: ols, ridge, lightgbm, mlp_1, mlp_2")
    labels: tuple[str, ...] = Field(("log_g",), description="labels of the stores")
    params: tuple[str, ...] = Field(
        (), description="name=value or head.name=value; where no alpha is given, ridge has alpha=val"
    )
    seed: int = Field(0, ge=0, description="of heads that draw, and of folds")
    draws: int | None = Field(
        None,
        ge=1,
        description="train on this many stored noise draws (default: all of --selection; without it the first)",
    )
    missing_labels: Literal["fail", "drop"] = Field(
        "fail",
        description="stars without a finite label: refused, or left out of every fit and score of that label (of a "
        "joint fit those without any of its labels); told in the record, and another test set in tables",
    )
    selection: Path | None = Field(None, description="file written by extract run --selection")
    features: Path = Field(FEATURES, description="folder of the stores, without --selection")
    family: str | None = Field(None, description="first digits of the family, where several are stored")
    noise_level: float | None = Field(None, description="of the stores, where several are stored")
    results: Path = Field(Path("artifacts/results"), description="folder of records, predictions and heads")
    threads: int = Field(1, ge=1, description="threads of linear algebra; more may change last digits")

    def stores(self) -> StoreChoice:
        """The stores that the flags name."""
        return StoreChoice.of_flags(
            features=self.features,
            selection=self.selection,
            family=self.family,
            noise_level=self.noise_level,
            draws=self.draws,
        )

    def choices(self) -> CellChoices:
        """The combinations as the flags say them, ridge choosing its penalty on val; `all` may stand for layers."""
        return CellChoices(
            layers=self.layers,
            poolings=self.poolings,
            directions=self.directions,
            heads=self.heads,
            labels=self.labels,
            params=with_alpha_on_val(self.heads, self.params),
            seeds=(self.seed,),
            missing_labels=self.missing_labels,
        )
