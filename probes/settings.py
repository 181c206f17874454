"""Flags that `probes run` and `probes sweep` have in common."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from cache.commandline import Command

from .cells import CellChoices
from .default_controls import DEFAULT
from .stores import FEATURES, StoreChoice


class ProbeSettings(Command):
    """Which probes, on which stores, to where."""

    layers: tuple[str, ...] = Field(
        ("enc_pre_latent",), description="layers of the stores; commas, or '+' to join"
    )
    poolings: tuple[str, ...] = Field(("seg_mean_K8",), description="poolings of the stores")
    directions: tuple[str, ...] = Field(("forward",), description="forward, backward, mean or concat")
    pca: tuple[int | str, ...] = Field(
        ("none",), description="fit on so many principal axes of train: none, or numbers such as 16,32,64,128"
    )
    segments: tuple[int | str, ...] = Field(
        ("all",),
        description="wavelength segments of the pooling: all, each, all-but-each, or numbers; 0+1,7 joins two",
    )
    mix: Literal["none", "softmax"] = Field(
        "none", description="softmax: joined layers are mixed by learned weights (MLP heads)"
    )
    heads: tuple[str, ...] = Field(("ridge",), description="ols, ridge, lightgbm, mlp_1, mlp_2, or all")
    labels: tuple[str, ...] = Field(
        ("log_g",), description="labels of the stores; commas, or '+' to fit jointly"
    )
    controls: tuple[str, ...] = Field(
        (DEFAULT,),
        description="default: none, and beside it shuffled labels, mean predictor, noisy flux and its PCA, error "
        "only, random encoder, as far as stored; or any of none, shuffled_labels, mean_predictor",
    )
    params: tuple[str, ...] = Field(
        (),
        description="name=value or head.name=value: ridge.alpha=val, mlp_2.hidden=[512,64]; "
        "a name given twice is fitted with both values",
    )
    cross: tuple[str, ...] = Field((), description="noise-level, error-input: what may differ between splits")
    val: bool = Field(
        default=True, description="--no-val: there will be no val split, so that no head may choose on it"
    )
    allow_leak: bool = Field(
        default=False, description="fit although stars stand in two splits; flagged in every record and table"
    )
    missing_labels: Literal["fail", "drop"] = Field(
        "fail",
        description="stars without a finite label: the probe fails, or they are left out of its fit and scores (of a "
        "joint fit those without any of its labels); told in the record, and another test set in tables",
    )
    selection: Path | None = Field(None, description="file written by extract run --selection")
    features: Path = Field(FEATURES, description="folder of the stores, without --selection")
    family: str | None = Field(None, description="first digits of the family, where several are stored")
    noise_level: float | None = Field(None, description="of the stores, where several are stored")
    test_noise_level: float | None = Field(
        None,
        description="of test, where it is another than that of train and val; say --cross noise-level with it",
    )
    test_error_input: str | None = Field(
        None,
        description="of test, where it is another than that of train and val: true, zero, shuffled, constant, "
        "from-noisy; say --cross error-input with it",
    )
    test_draw: int = Field(0, ge=0, description="stored noise draw of test; val has draw 0")
    results: Path = Field(Path("artifacts/results"), description="folder of records, predictions and heads")
    refit: bool = Field(default=False, description="fit again even what has a fresh record")
    threads: int = Field(
        1,
        ge=1,
        description="threads of linear algebra in one fit, whatever runs beside it: more may change last digits",
    )

    def stores(self, *, draws: int | None = None) -> StoreChoice:
        """The stores that the flags name, with so many draws of train."""
        return StoreChoice.of_flags(
            features=self.features,
            selection=self.selection,
            family=self.family,
            noise_level=self.noise_level,
            draws=draws,
            test_noise_level=self.test_noise_level,
            test_error_input=self.test_error_input,
            test_draw=self.test_draw,
        )

    def choices(self, *, seeds: tuple[int, ...], train_sizes: tuple[int | str, ...]) -> CellChoices:
        """The product that the flags stand for, as it is said: `all` may stand for layers."""
        return CellChoices(
            layers=self.layers,
            poolings=self.poolings,
            directions=self.directions,
            heads=self.heads,
            labels=self.labels,
            controls=self.controls,
            params=self.params,
            pca=self.pca,
            segments=self.segments,
            mix=self.mix,
            seeds=seeds,
            train_sizes=train_sizes,
            cross=self.cross,
            allow_leak=self.allow_leak,
            missing_labels=self.missing_labels,
        )

    def cells(
        self, stores: StoreChoice, *, seeds: tuple[int, ...], train_sizes: tuple[int | str, ...]
    ) -> CellChoices:
        """The product that the flags stand for, with the layers that are stored."""
        asked = self.choices(seeds=seeds, train_sizes=train_sizes)
        return replace(asked, layers=stores.layers(self.layers, self.poolings))
