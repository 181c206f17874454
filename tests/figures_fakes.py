"""Synthetic sources for the tests of figures: every kind of record that a figure reads, invented numbers."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from reports_fakes import demo_records, history, record, source_of, written
from reports_other_fakes import made

from cache.records import Record, write_record
from reports.source import Source

LABELS = ("log_g", "T_eff")


def predicted(n: int = 300, *, noise: float = 0.8, seed: int = 0, scale: float = 1.0) -> dict[str, Any]:
    """Predictions of n test rows: truth uniform in [1, 5], shrunk and noisy, noisier at low S/N."""
    rng = np.random.default_rng(seed)
    y, snr = scale * rng.uniform(1, 5, n), rng.uniform(3, 20, n)
    y_hat = scale * 3 + 0.6 * (y - scale * 3) + scale * noise * rng.standard_normal(n) * 5 / snr
    return {
        "row": np.arange(n),
        "star": np.arange(n, dtype=np.uint64),
        "split": np.array(["test"] * n, dtype=object),
        "draw": np.zeros(n, dtype=np.int64),
        "y": y,
        "y_hat": y_hat,
        "snr": snr,
        "mag": 25 - snr / 5,
        "T_eff": rng.uniform(3800, 6000, n),
    }


def predicted_together() -> dict[str, Any]:
    """Predictions of log_g and T_eff fitted together."""
    columns = {name: values for name, values in predicted().items() if name not in ("y", "y_hat", "T_eff")}
    for label, scale in (("log_g", 1.0), ("T_eff", 1000.0)):
        columns |= {f"{name}_{label}": predicted(scale=scale)[name] for name in ("y", "y_hat")}
    return columns | {"T_eff": columns["y_T_eff"]}


def comparison(label: str, probes: Sequence[Record], n_bins: int = 4) -> Record:
    """Bins of S/N and magnitude of these probes; no pairs."""
    runs = [probe.run_id for probe in probes]
    bins = {
        name: {
            "edges": edges,
            "n": [125] * n_bins,
            "r2": {
                run: [
                    [0.1 * k + 0.1 * b, 0.1 * k + 0.1 * b - 0.05, 0.1 * k + 0.1 * b + 0.05]
                    for b in range(n_bins)
                ]
                for k, run in enumerate(runs)
            },
        }
        for name, edges in (
            ("snr", np.linspace(3, 20, n_bins + 1).tolist()),
            ("mag", np.linspace(20.5, 22.5, n_bins + 1).tolist()),
        )
    }
    n_pairs = len(runs) * (len(runs) - 1) // 2
    result = {
        "runs": runs,
        "predictions": {probe.run_id: probe.files.get("predictions") for probe in probes},
        "bins": bins,
        "seeds": [],
        "selectivity": [],
        **{name: [0.0] * n_pairs for name in ("difference", "lo", "hi")},
        **{name: [1.0] * n_pairs for name in ("p", "p_holm")},
    }
    return made("comparison", {"label": label, "test": {}, "runs": "all"}, result)


AUDIT_ROWS = (
    ("A1", "true", "true", 0.91),
    ("A2", "true", "true", 0.92),
    ("A3", "true", "true", 0.02),
    ("A4 latent->residual", "true", "true", 0.05),
    ("A4 latent->label", "true", "true", 0.55),
    *(
        ("refit", fed, fed, value)
        for fed, value in (("zero", 0.31), ("constant", 0.33), ("shuffled", 0.2), ("from-noisy", 0.35))
    ),
    *(
        ("apply", fed, "true", value)
        for fed, value in (("zero", -12.0), ("constant", -0.2), ("shuffled", 0.1), ("from-noisy", 0.3))
    ),
    ("mean", "true", "true", 0.0),
)


def audit(
    label: str = "log_g",
    *,
    layer: str = "enc_pre_latent",
    headline: str = "Shortcut: at best 64 % survives.",
    **changed: Any,
) -> Record:
    """An audit in the schema of audit records."""
    rows = [
        {
            "name": name,
            "question": "what?",
            "source": "x",
            "error_input": fed,
            "trained_on_error_input": trained,
            "target": "residual" if name.endswith(("residual", "A3")) else label,
            "r2": r2,
            "interval": [r2 - 0.04, r2 + 0.03],
            "rmse": 0.5,
            "unit": "dex",
            "n": 500,
        }
        for name, fed, trained, r2 in AUDIT_ROWS
    ]
    spec = {
        "label": label,
        "features": {"layer": layer, "direction": "concat", "pooling": "seg_mean_K8"},
        "head": "ridge",
        "params": {},
        "data_kind": "mock",
    } | changed
    result = {
        "rows": rows,
        "survival": [],
        "verdict": {"shortcut": "yes", "headline": headline, "words": []},
        "n": {"test": 500},
        "stores": {},
    }
    return made("audit", spec, result)


def ceiling(
    label: str,
    probes: Sequence[Record],
    *,
    applicable: Sequence[bool] = (),
    level: float = 1.0,
    n_bins: int = 4,
) -> Record:
    """A ceiling of 0.8 with the shares that these probes reach."""
    holds = list(applicable) or [True] * len(probes)
    rows = [
        {
            "run": probe.run_id,
            "r2": 0.5,
            "interval": [0.45, 0.55],
            "applicable": ok,
            "why": None if ok else "sees the error: ceiling not applicable",
            "share": 0.62 if ok else None,
            "share_interval": [0.57, 0.67] if ok else None,
            "gap": 0.3 if ok else None,
            "gap_interval": [0.25, 0.35] if ok else None,
            "above": False,
        }
        for probe, ok in zip(probes, holds, strict=True)
    ]
    steps = [0.4 + 0.5 * b / max(1, n_bins - 1) for b in range(n_bins)]
    bins = {
        "snr": {
            "edges": np.linspace(3, 20, n_bins + 1).tolist(),
            "n": [125] * n_bins,
            "ceiling": [[v, v - 0.05, v + 0.04] for v in steps],
            "unbiased_median": [v - 0.3 for v in steps],
            "share": {
                row["run"]: [[0.5 + 0.1 * b, 0.4 + 0.1 * b, None] for b in range(n_bins)]
                for row in rows
                if row["applicable"]
            },
        }
    }
    figures = {
        "prior_aware_mean": {"value": 0.8, "interval": [0.78, 0.82]},
        "unbiased_median": {"value": 0.89, "interval": [0.88, 0.9]},
        "unbiased_mean": None,
    }
    result = {
        "figures": figures,
        "rows": rows,
        "bins": bins,
        "n": {"test": 500},
        "formula": "",
        "prior": "",
        "fisher_method": "mock",
    }
    return made("ceiling", {"label": label, "test": {"noise_level": level, "data_kind": "mock"}}, result)


def importance(
    label: str, probe: Record, *, directions: Sequence[str] = ("forward", "backward"), n_segments: int = 8
) -> tuple[Record, dict[str, Any]]:
    """A record of importance and its sidecar: segment 3 of the first direction carries 0.2, the others nothing."""
    edges = np.linspace(7100, 8850, n_segments + 1)
    groups = [
        {
            "part": 0,
            "layer": "enc_pre_latent",
            "direction": direction,
            "pooling": f"seg_mean_K{n_segments}",
            "segment": s,
            "wave_lo": None if direction == "mean" else edges[s],
            "wave_hi": None if direction == "mean" else edges[s + 1],
            "context": {
                "forward": f"context up to {edges[s + 1]:.0f} A",
                "backward": f"context from {edges[s]:.0f} A",
            }.get(direction),
        }
        for direction in directions
        for s in range(n_segments)
    ]
    value = np.array([0.2 if (g["segment"], g["direction"]) == (3, directions[0]) else 0.005 for g in groups])
    arrays = {
        "wave_lo": np.array([np.nan if g["wave_lo"] is None else g["wave_lo"] for g in groups]),
        "wave_hi": np.array([np.nan if g["wave_hi"] is None else g["wave_hi"] for g in groups]),
        f"importance/{label}": value,
        f"importance_lo/{label}": value - 0.02,
        f"importance_hi/{label}": value + 0.02,
    }
    spec = {"run": probe.run_id, "labels": [label], "data_kind": "mock"}
    return made(
        "importance", spec, {"groups": groups, "r2": {label: [0.5, 0.45, 0.55]}, "n": {"test": 500}}
    ), arrays


def spectra(n: int = 5, n_pixels: int = 400, *, labels: bool = True) -> tuple[Record, dict[str, Any]]:
    """Example spectra: a line at 8542.09 A, noise of a fifth, denoised to a fiftieth."""
    rng = np.random.default_rng(1)
    wave = np.linspace(7100, 8850, n_pixels)
    clean = np.tile(1 - 0.5 * np.exp(-0.5 * ((wave - 8542.09) / 8) ** 2), (n, 1))
    arrays = {
        "wave": wave,
        "flux": clean,
        "error": np.full_like(clean, 0.2),
        "noisy": clean + 0.2 * rng.standard_normal(clean.shape),
        "denoised": clean + 0.02 * rng.standard_normal(clean.shape),
    }
    stored = (
        {"snr": [5.0 - k for k in range(n)], "T_eff": [4500.0] * n, "log_g": [None] * n} if labels else {}
    )
    spec = {"view": "spectra", "split": "test", "data_kind": "mock"}
    return made(
        "examples", spec, {"n": n, "rows": list(range(n)), "labels": stored, "weights": "3e" * 32}
    ), arrays


def occlusion(
    names: Sequence[str] = ("enc_pre_latent/backward/seg_mean_K4", "enc_pre_latent/forward/seg_mean_K4"),
    *,
    n_windows: int = 50,
    where: float = 8542.0,
) -> tuple[Record, dict[str, Any]]:
    """Occlusion whose change is all in the window that holds `where`; one feature never varies."""
    edges = np.linspace(7100, 8850, n_windows + 1)
    change = np.zeros((n_windows, 8), dtype=np.float32)
    change[np.searchsorted(edges, where) - 1] = 0.3
    std = np.ones(8, dtype=np.float32)
    std[0] = 0.0
    arrays = {"wave_lo": edges[:-1], "wave_hi": edges[1:], "row": np.arange(5)}
    arrays |= {
        f"{kind}/{name}": values for name in names for kind, values in (("change", change), ("std", std))
    }
    spec = {"view": "occlusion", "window": 8, "split": "test", "data_kind": "mock", "features": sorted(names)}
    return made("examples", spec, {"n": 5}), arrays


def fitted_to(probe: Record, n_train: int) -> Record:
    """The record with this number of training stars."""
    n = probe.result["n"] | {"train": n_train}
    return dataclasses.replace(probe, result=probe.result | {"n": n})


def swept() -> list[Record]:
    """Probes over training sizes, noise draws, principal axes, and noise levels crossed."""
    sizes = [
        fitted_to(record(0.2 + 0.1 * k, train_size=size, seed=1), size)
        for k, size in enumerate((250, 500, 1000))
    ]
    draws = [
        record(0.4 + 0.02 * k, head="mlp_1", draws={"train": list(range(n)), "val": [0], "test": [0]})
        for k, n in enumerate((1, 2, 4, 8))
    ]
    axes = [
        record(0.3 + 0.05 * k, head="ols", features={"parts": _PARTS, "pca": n, "segments": None})
        for k, n in enumerate((16, 64, 128))
    ]
    levels = (0.0, 0.1, 0.5, 1.0)
    noise = [
        record(
            0.9 - 0.3 * test - 0.2 * abs(train - test),
            head="lightgbm",
            noise_levels={"train": train, "val": train, "test": test},
            cross=["noise-level"] if train != test else [],
        )
        for train in levels
        for test in levels
    ]
    return [*sizes, *draws, *axes, *noise]


_PARTS = [{"layer": "enc_pre_latent", "direction": "forward", "pooling": "seg_mean_K8"}]


def full_source() -> Source:
    """A source in which every figure has data."""
    probes = [*demo_records(), *swept()]
    digests = [written(probe) for probe in probes]
    main = [
        p for p in digests if p.spec["noise_levels"]["test"] == 1.0 and p.spec["control"] != "shuffled_labels"
    ]
    best = max(main[:18], key=lambda p: p.result["scores"]["val"]["log_g"]["r2"])
    heavy, heavy_arrays = importance("log_g", best)
    shown, shown_arrays = spectra()
    covered, covered_arrays = occlusion()
    mlps = [p for p in main if p.spec["head"] == "mlp_1"]
    others = [
        *(comparison(label, main[:20]) for label in LABELS),
        audit(),
        ceiling("log_g", main[16:19], applicable=(True, True, False)),
        heavy,
        shown,
        covered,
    ]
    arrays = {heavy.run_id: heavy_arrays, shown.run_id: shown_arrays, covered.run_id: covered_arrays}
    arrays |= {p.run_id: history(20, len(p.spec["labels"]) if len(p.spec["labels"]) > 1 else 0) for p in mlps}
    predictions = {
        p.run_id: predicted() if len(p.spec["labels"]) == 1 else predicted_together() for p in main
    }
    return source_of([*digests, *others], arrays=arrays, predictions=predictions)


def write_small(root: Path) -> None:
    """A results folder with a probe and its predictions."""
    item = record(0.5)
    write_record(root, kind="probe", spec=item.spec, result=item.result, run={}, predictions=predicted(200))
