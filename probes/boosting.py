"""Gradient-boosted trees (LightGBM) with the group's published settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from cache.errors import ConfigError, ProbeError
from cache.progress import Told, untold

from .base import Array, CheckedSample, Head
from .boosting_bins import BINNING, Bins
from .setting_checks import check_counts, check_numbers, check_word
from .together import Fit, TrainingSet, arguments_of


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings that go together."""

    num_leaves: int
    n_trees: int
    learning_rate: float
    min_child: int = 20
    subsample: float = 1.0
    colsample: float = 1.0
    reg_lambda: float = 0.0


PRESETS: dict[str, Preset] = {
    "conservative": Preset(num_leaves=15, n_trees=50, learning_rate=0.05),
    "default": Preset(num_leaves=31, n_trees=100, learning_rate=0.1),
    "large": Preset(num_leaves=31, n_trees=1000, learning_rate=0.1),
    "full_spectrum": Preset(
        num_leaves=31,
        n_trees=800,
        learning_rate=0.03,
        min_child=40,
        subsample=0.85,
        colsample=0.45,
        reg_lambda=5.0,
    ),
}
"""The settings of the published tables (REFERENCE 5)."""
COUNTS = ("num_leaves", "n_trees", "min_child", "early_stopping", "seed", "threads")
PRESET_FIELDS = tuple(Preset.__dataclass_fields__)


class LightGBM(Head):
    """One booster per label on one binned copy of X.

    `preset` names the settings; a setting given by itself overrides it. `early_stopping` is a number of rounds
    without a better val error (the same as a better val R2) after which a booster stops and keeps its best
    iteration; it needs X_val. Results repeat bit for bit for equal seed, threads and library version. For 1, 2 and 4
    threads predictions were equal too (benchmarks/heads/boosting.py); the saved text names the number of threads.
    """

    boosters_: list[lightgbm.Booster]

    def __init__(
        self,
        preset: str = "default",
        *,
        num_leaves: int | None = None,
        n_trees: int | None = None,
        learning_rate: float | None = None,
        min_child: int | None = None,
        subsample: float | None = None,
        colsample: float | None = None,
        reg_lambda: float | None = None,
        early_stopping: int | None = None,
        seed: int = 0,
        threads: int = 2,
    ) -> None:
        """Settings; None leaves the choice to the preset."""
        self.preset = preset
        self.num_leaves = num_leaves
        self.n_trees = n_trees
        self.learning_rate = learning_rate
        self.min_child = min_child
        self.subsample = subsample
        self.colsample = colsample
        self.reg_lambda = reg_lambda
        self.early_stopping = early_stopping
        self.seed = seed
        self.threads = threads

    def settings(self) -> dict[str, Any]:
        """Every setting, with the preset's where none was given."""
        given = super().settings()
        preset = _preset(self.preset)
        resolved = {name: getattr(preset, name) for name in PRESET_FIELDS if given[name] is None}
        return {**given, **resolved}

    def selection_rule(self) -> str:
        """`val_r2` with early stopping."""
        return "fixed" if self.early_stopping is None else "val_r2"

    def seed_matters(self) -> bool:
        """Where rows or columns are drawn for trees; nothing else is drawn."""
        settings = self.settings()
        return bool(settings["subsample"] < 1 or settings["colsample"] < 1)

    def check_settings(self) -> None:
        """Refuse unknown presets and numbers that LightGBM would refuse halfway."""
        settings = self.settings()
        optional = {"preset"} if self.early_stopping is not None else {"preset", "early_stopping"}
        check_numbers({name: value for name, value in settings.items() if name not in optional})
        check_counts({name: settings[name] for name in COUNTS if name not in optional})
        wrong = [
            name for name in ("n_trees", "learning_rate", "min_child", "threads") if not settings[name] > 0
        ]
        wrong += [name for name in ("subsample", "colsample") if not 0 < settings[name] <= 1]
        wrong += ["num_leaves"] if settings["num_leaves"] < 2 else []
        wrong += ["reg_lambda"] if settings["reg_lambda"] < 0 else []
        wrong += ["early_stopping"] if self.early_stopping is not None and self.early_stopping < 1 else []
        if wrong:
            told = ", ".join(f"{name} {settings[name]!r}" for name in wrong)
            raise ConfigError(f"lightgbm: {told}: out of range; see the presets {', '.join(PRESETS)}")

    @classmethod
    def fit_several(cls, fits: Sequence[Fit], data: TrainingSet) -> list[str | None]:
        """Fit on one binned copy for each training size, whatever the labels, settings and seeds."""
        failures: list[str | None] = [None] * len(fits)
        for n_rows in dict.fromkeys(fit.n_rows for fit in fits):
            bins = None
            for k, fit in enumerate(fits):
                if fit.n_rows != n_rows:
                    continue
                assert isinstance(fit.head, cls)
                try:
                    sample = fit.head.prepare(**arguments_of(fit, data))
                    bins = bins or Bins(sample, threads=fit.head.threads)
                    fit.head.grow(sample, bins, told=data.told)
                except ProbeError as error:
                    failures[k] = str(error)
        return failures

    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        sample = CheckedSample(X=X, Y=Y, X_val=X_val, Y_val=Y_val)
        self.grow(sample, Bins(sample, threads=self.threads))

    def grow(self, sample: CheckedSample, bins: "Bins", *, told: Told = untold) -> None:
        """Fit to a prepared sample whose features are binned; ProbeError with LightGBM's reason when it refuses.

        `told` is called after every tree.
        """
        settings = self.settings()
        stop = self.early_stopping
        self.boosters_ = []
        try:
            for label in range(self.n_labels_):
                train = bins.train(sample.Y[:, label])
                val = None if stop is None or sample.Y_val is None else bins.val(sample.Y_val[:, label])
                callbacks = [
                    _telling(told, label * settings["n_trees"], self.n_labels_ * settings["n_trees"])
                ]
                if val is not None and stop is not None:
                    callbacks.append(lightgbm.early_stopping(stop, verbose=False))
                self.boosters_.append(
                    lightgbm.train(
                        _parameters(settings),
                        train,
                        num_boost_round=settings["n_trees"],
                        valid_sets=None if val is None else [val],
                        callbacks=callbacks,
                    )
                )
        except lightgbm.basic.LightGBMError as error:
            raise ProbeError(f"LightGBM refused the fit: {error}") from error
        if stop is not None:
            self.chosen_ = {"best_iteration": [_n_trees(booster) for booster in self.boosters_]}

    def _predict(self, X: Array) -> Array:
        columns = [
            np.asarray(booster.predict(X, num_iteration=_n_trees(booster), num_threads=self.threads))
            for booster in self.boosters_
        ]
        return np.stack(columns, axis=1)

    def to_files(self) -> dict[str, bytes]:
        """LightGBM's own text for each label, up to the best iteration."""
        return {
            f"booster_{label}.txt": booster.model_to_string(num_iteration=_n_trees(booster)).encode()
            for label, booster in enumerate(self.boosters_)
        }

    def from_files(self, files: Mapping[str, bytes]) -> None:
        """Read what `to_files` gave."""
        self.boosters_ = [
            lightgbm.Booster(model_str=files[f"booster_{label}.txt"].decode())
            for label in range(self.n_labels_)
        ]


def _preset(name: str) -> Preset:
    check_word("LightGBM preset", name, PRESETS)
    return PRESETS[name]


def _parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in LightGBM's words; rows are subsampled anew for every tree."""
    return {
        "objective": "regression",
        "metric": "l2",
        "num_leaves": settings["num_leaves"],
        "learning_rate": settings["learning_rate"],
        "min_data_in_leaf": settings["min_child"],
        "bagging_fraction": settings["subsample"],
        "bagging_freq": 1 if settings["subsample"] < 1 else 0,
        "feature_fraction": settings["colsample"],
        "lambda_l2": settings["reg_lambda"],
        "seed": settings["seed"],
        "num_threads": settings["threads"],
        **BINNING,
    }


def _telling(told: Told, before: int, at_most: int) -> Callable[[Any], None]:
    """What LightGBM calls after each tree; `before`: trees of earlier labels at most."""

    def tell(environment: Any) -> None:
        told(before + environment.iteration + 1, at_most, "trees")

    return tell


def _n_trees(booster: lightgbm.Booster) -> int:
    """Trees in use: up to the best iteration if one was chosen, else all."""
    best = int(booster.best_iteration)
    return best if best > 0 else int(booster.current_iteration())
