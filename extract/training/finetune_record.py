"""The record of an end-to-end training: the fields of a probe's, with encoder and inputs in place of stores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.canonical import digest_json
from cache.records import prediction_columns
from cache.stars import count_stars

from ..checkpoint import weights_digest
from ..chosen_encoder import is_random
from ..mask import mask_digest
from ..prepare import Prepared
from .finetune import (
    CUT_SHORT_FLAG,
    INTERVAL_METHOD,
    NEGATIVE_FLAG,
    Resamples,
    doubts,
    intervals_by_label,
    scores,
)
from .finetune_data import SplitSpectra
from .finetune_module import EndToEnd
from .finetune_recipe import FinetuneRecipe
from .finetune_rows import HELD_OUT

KIND = "finetune"
VERSION = 1
"""Raised by hand when equal settings come to mean another training."""


Float64s = NDArray[np.float64]
Splits = Mapping[str, SplitSpectra]


def spec_of(
    prepared: Prepared, recipe: FinetuneRecipe, n_rows: Mapping[str, int | None], *, n_processes: int = 1
) -> dict[str, Any]:
    """What names the record: everything that determines the training, under the names of a probe's spec.

    Of several processes each drops units of its own, and its norms go by its share of the batch, so their number is
    told where there are more than one. A random encoder is a control while it is frozen; one that learns is trained.
    """
    provenance = {split: plans[0].provenance for split, plans in prepared.plans.items()}
    first, config, choice = provenance["train"], prepared.config, recipe.choice
    drawn = config.noise == "draw"
    draws = "fresh" if recipe.train_draws is None else recipe.train_draws
    untrained = is_random(str(first["encoder"]["origin"])) and recipe.freeze_encoder
    return {
        "head": recipe.head,
        "params": recipe.params() | ({"processes": n_processes} if n_processes > 1 else {}),
        "probe_version": VERSION,
        "labels": list(recipe.labels),
        "features": {
            "parts": [{"layer": choice.layer, "pooling": choice.pooling, "direction": choice.direction}],
            "pca": None,
            "segments": None,
        },
        "encoder": first["encoder"],
        "mask": mask_digest(prepared.mask),
        "noise_mode": config.noise,
        "noise_version": first["noise"]["noise_version"],
        "noise_seed": config.seed if drawn else None,
        "noise_levels": dict.fromkeys(provenance, float(config.noise_level)),
        "draws": {
            "train": ["fresh"] if drawn and draws == "fresh" else list(range(int(draws))) if drawn else [0],
            "val": [0],
            "test": [0],
        },
        "inputs": {split: [told["input"]] for split, told in provenance.items()},
        "rows": {split: told["rows"] for split, told in provenance.items()},
        "train_size": n_rows.get("train"),
        "test_size": n_rows.get("test"),
        "seed": recipe.seed,
        "error_input": first["error_input"],
        "control": "random_encoder" if untrained else "none",
        "selection": "val_r2",
        "data_kind": "mock" if "mock" in {p["data_kind"] for p in provenance.values()} else "real",
        "cross": [],
        "group": None,
    }


def result_of(
    module: EndToEnd, splits: Splits, y_hat: Mapping[str, Float64s], *, weights: str
) -> dict[str, Any]:
    """The fields of a probe's result; `weights` is the digest of the encoder before training.

    `encoder_after` is that of the encoder now; of a frozen one it is the same.
    """
    labels = module.recipe.labels
    scored = {
        split: {label: scores(source.y[:, k], y_hat[split][:, k]) for k, label in enumerate(labels)}
        for split, source in splits.items()
    }
    spans = {
        split: intervals_by_label(
            labels, Resamples(splits[split].stars), splits[split].y, y_hat[split], split=split
        )
        for split in HELD_OUT
    }
    return {
        "status": "ok",
        "error": None,
        "d": len(module.x_scaling.mean),
        "n": {split: count_stars(source.stars) for split, source in splits.items()},
        "n_rows": {split: len(source) for split, source in splits.items()},
        "scores": scored,
        "intervals": spans,
        "interval_method": INTERVAL_METHOD,
        "chosen": {"best_epoch": module.curve.best},
        "flags": [
            *_flags(module, labels, scored),
            *doubts(labels, splits["test"].y, y_hat["test"], stars=splits["test"].stars),
        ],
        "weights": weights,
        "architecture": digest_json(module.features.encoder.config.to_json()),
        "encoder_after": weights_digest(module.features.encoder),
        "model": weights_digest(module.head),
        "stores": {},
    }


def _flags(module: EndToEnd, labels: Sequence[str], scored: Mapping[str, Any]) -> list[str]:
    """What a reader of the table must know, as `text` or `text (label)`."""
    cut_short = module.curve.best == module.recipe.max_epochs - 1
    negative = [label for label in labels if (scored["train"][label]["r2"] or 0.0) < 0]
    return [CUT_SHORT_FLAG] * cut_short + [f"{NEGATIVE_FLAG} ({label})" for label in negative]


def prediction_table(labels: Sequence[str], splits: Splits, y_hat: Mapping[str, Float64s]) -> dict[str, Any]:
    """Columns of a probe's predictions: row, star, split, draw, y, y_hat and every stored label, of val and test."""
    held_out = [splits[split] for split in HELD_OUT]
    columns: dict[str, NDArray[Any]] = {
        "row": np.concatenate([source.spectra.rows for source in held_out]),
        "star": np.concatenate([source.stars for source in held_out]),
        "split": np.concatenate([np.full(len(source), source.split) for source in held_out]),
        "draw": np.concatenate([np.zeros(len(source), dtype=np.int64) for source in held_out]),
    }
    for k, (truth, prediction) in enumerate(prediction_columns(labels)):
        columns[truth] = np.concatenate([source.y[:, k] for source in held_out])
        columns[prediction] = np.concatenate([y_hat[source.split][:, k] for source in held_out])
    for name in dict.fromkeys(name for source in held_out for name in source.stored):
        if name not in columns:
            nothing = [source.stored.get(name, np.full(len(source), np.nan)) for source in held_out]
            columns[name] = np.concatenate(nothing)
    return columns
