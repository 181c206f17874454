"""Result records for the tests of reports: schema of the design, invented numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cache.errors import NotExtracted
from cache.records import Record, run_id, write_record
from reports.comparisons import comparisons_of
from reports.formats import TEXTS
from reports.generate import build_files, build_tables
from reports.repeats import without_repeats
from reports.rows import StoreState, frame_of
from reports.source import Source

METHOD = "bootstrap over stars, percentile, 95 %, 1000 resamples, seed 0"
FAMILY = "fa" * 32
RANDOM_FAMILY = "0d" * 32
WEIGHTS = "3e" * 32
SPLITS = ("train", "val", "test")
PREDICTED = "digest of the predictions of "


def fresh(_key: str, _digest: str | None) -> str:
    return "fresh"


def source_of(
    records: Sequence[Record],
    arrays: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    predictions: Mapping[str, Mapping[str, Any]] | None = None,
    state: StoreState = fresh,
) -> Source:
    """A source that was never on disk; `arrays` are sidecars by run id, `predictions` their columns."""
    beside, columns = arrays or {}, predictions or {}
    named = [
        replace(item, files={**item.files, "arrays": "digest"}) if item.run_id in beside else item
        for item in records
    ]

    def read_predictions(name: str) -> Mapping[str, Any]:
        if name not in columns:
            raise NotExtracted(f"{name}: the record has no predictions")
        return columns[name]

    paired = comparisons_of(named)
    return Source(
        records=tuple(named),
        frame=without_repeats(frame_of(named, state), paired),
        paired=paired,
        arrays=lambda name: beside.get(name, {}),
        predictions=read_predictions,
        state=state,
    )


def written(item: Record) -> Record:
    """The record as if its predictions stood beside it."""
    return replace(item, files={**item.files, "predictions": PREDICTED + item.run_id})


def documents_of(records: list[Record], *, label: str | None = None, **changed: Any) -> dict[str, str]:
    """Every document of some records as text, by file name."""
    source = source_of(records, **changed)
    files = build_files(source, build_tables(source, label=label), label=label, formats=tuple(TEXTS))
    return {name: content.decode() for name, content in files.items()}


def key_of(split: str, family: str = FAMILY) -> str:
    return (split.encode().hex() + family)[:64]


def scores(r2: float, unit_scale: float = 1.0) -> dict[str, float]:
    rmse = unit_scale * max(1.0 - r2, 0.01) ** 0.5
    return {
        "r2": r2,
        "rmse": rmse,
        "mae": 0.8 * rmse,
        "bias": 0.01 * unit_scale,
        "bias_median": 0.0,
        "sigma_mad": 0.9 * rmse,
    }


def record(
    r2: float | dict[str, float] = 0.5,
    *,
    layer: str = "enc_pre_latent",
    pooling: str = "seg_mean_K8",
    direction: str = "forward",
    head: str = "ridge",
    half_width: float | None = 0.03,
    kind: str = "probe",
    failed: str | None = None,
    family: str = FAMILY,
    parts: list[dict[str, str]] | None = None,
    flags: tuple[str, ...] = (),
    n_rows_train: int = 2000,
    run: dict[str, Any] | None = None,
    **changed: Any,
) -> Record:
    by_label = r2 if isinstance(r2, dict) else {"log_g": r2}
    keys = {split: [key_of(split, family)] for split in SPLITS}
    spec = {
        "head": head,
        "params": {"ridge": {"alpha": 0.001}, "lightgbm": {"leaves": 31, "trees": 100}}.get(head, {}),
        "probe_version": 1,
        "labels": list(by_label),
        "features": {
            "parts": [{"layer": layer, "direction": direction, "pooling": pooling}]
            if parts is None
            else parts,
            "pca": None,
            "segments": None,
        },
        "family": family,
        "stores": keys,
        "draws": {split: [0] for split in SPLITS},
        "noise_levels": dict.fromkeys(SPLITS, 1.0),
        "train_size": None,
        "seed": 0,
        "error_input": "true",
        "control": "none",
        "selection": "fixed",
        "data_kind": "mock",
        "group": None,
        **changed,
    }
    stores = {key: f"{index}{key}"[:64] for index, (key,) in enumerate(keys.values())}
    if failed is not None:
        result: dict[str, Any] = {"status": "failed", "error": failed, "stores": stores, "weights": WEIGHTS}
        return Record(run_id(kind, spec), kind, spec, result, run or {})
    scale = {"T_eff": 600.0}
    result = {
        "status": "ok",
        "error": None,
        "d": 384,
        "n": {"train": 2000, "val": 500, "test": 500},
        "n_rows": {"train": n_rows_train, "val": 500, "test": 500},
        "scores": {
            split: {label: scores(value + gain, scale.get(label, 1.0)) for label, value in by_label.items()}
            for split, gain in (("train", 0.05), ("val", 0.01), ("test", 0.0))
        },
        "intervals": {
            split: {
                label: {
                    "r2": [None, None] if half_width is None else [value - half_width, value + half_width],
                    "rmse": [0.1, 0.2],
                    "mae": [0.1, 0.2],
                }
                for label, value in by_label.items()
            }
            for split in ("val", "test")
        },
        "interval_method": METHOD,
        "chosen": {},
        "flags": list(flags),
        "weights": WEIGHTS if family == FAMILY else "77" * 32,
        "stores": stores,
    }
    return Record(run_id(kind, spec), kind, spec, result, run or {})


def finetuned(r2: float = 0.6, *, frozen: bool = True, head: str = "mlp_1", **changed: Any) -> Record:
    """A head trained end to end: weights, model and training in the place of stores."""
    made = record(r2, head=head, kind="finetune", **changed)
    own = {
        "params": {"batch_size": 256, "freeze_encoder": frozen, "max_epochs": 50},
        "encoder": {"weights": WEIGHTS, "config": {"num_layers": 9}},
        "inputs": {split: [f"{index}d" * 32] for index, split in enumerate(SPLITS)},
        "draws": {"train": ["fresh"], "val": [0], "test": [0]},
        "noise_mode": "draw",
    }
    spec = {name: value for name, value in made.spec.items() if name not in ("stores", "family")} | own
    result = {**made.result, "stores": {}}
    return Record(run_id("finetune", spec), "finetune", spec, result, {})


def demo_records() -> list[Record]:
    """The shape of the demo: latents by layer, pooling and head, inputs and controls, raw flux and error above."""
    latents = [
        record({"log_g": value - shift, "T_eff": 0.95 - shift}, layer=layer, pooling=pooling, head=head)
        for layer, shift in (("enc_pre_latent", 0.0), ("enc_last", 0.05))
        for head, gain in (("ridge", 0.0), ("lightgbm", 0.02), ("mlp_1", 0.04))
        for pooling, value in (
            ("global_mean", 0.10 + gain),
            ("mean_max", 0.15 + gain),
            ("seg_mean_K8", 0.22 + gain),
        )
    ]
    inputs = [
        record({"log_g": flux, "T_eff": 0.97}, layer=layer, pooling="none", head="ridge")
        for layer, flux in (("input_flux", 0.58), ("input_error", 0.98))
    ]
    controls = [
        record({"log_g": 0.12, "T_eff": 0.8}, family=RANDOM_FAMILY, control="random_encoder"),
        record({"log_g": -0.02, "T_eff": -0.01}, control="shuffled_labels"),
        record({"log_g": -0.001, "T_eff": -0.001}, head="mean", control="mean_predictor", half_width=0.002),
    ]
    return [*latents, *inputs, *controls]


def few_records() -> list[Record]:
    """One record of each kind of row, enough where the number of rows does not matter."""
    return demo_records()[2:18:5] + demo_records()[18:]


def history(n_epochs: int, n_labels: int = 0) -> dict[str, np.ndarray]:
    """A learning curve whose val R2 rises to the middle and then falls."""
    epochs = np.arange(n_epochs)
    val_r2 = 0.5 - np.abs(epochs - n_epochs // 2) / (2.0 * n_epochs)
    loss = 1.0 - val_r2
    curves = {"train_loss": loss - 0.1, "val_loss": loss, "val_r2": val_r2}
    curves |= {
        "train_rmse": np.sqrt(curves["train_loss"]),
        "val_rmse": np.sqrt(loss),
        "val_mae": 0.8 * np.sqrt(loss),
    }
    if n_labels:
        curves = {
            name: np.stack([curve + 0.001 * k for k in range(n_labels)], axis=1)
            for name, curve in curves.items()
        }
    return {
        "history_epoch": epochs,
        "history_lr": np.full(n_epochs, 1e-3),
        **{f"history_{name}": curve for name, curve in curves.items()},
    }


def write(root: Any, records: list[Record], arrays: dict[str, dict[str, np.ndarray]] | None = None) -> None:
    for item in records:
        write_record(
            root,
            kind=item.kind,
            spec=item.spec,
            result=item.result,
            run=item.run,
            arrays=(arrays or {}).get(item.run_id),
        )
