"""Records that are not probes for the tests of reports: audits, ceilings, comparisons, importance; invented numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from reports_fakes import PREDICTED, few_records, history, key_of, record, source_of, written

from cache.canonical import digest_json
from cache.records import RECORD_SCHEMA, Record


def with_predictions(*records: Record) -> list[Record]:
    """The records, as if predictions stood beside them."""
    return [written(record) for record in records]


def made(kind: str, spec: dict[str, Any], result: dict[str, Any]) -> Record:
    """A record of any kind, also of one that this checkout cannot write."""
    name = digest_json({"schema_version": RECORD_SCHEMA, "kind": kind, "spec": spec})
    common = {"status": "ok", "error": None, "n": {"test": 500}, "flags": [], "predictions": {}}
    return Record(name, kind, spec, {**common, **result}, {})


def failed(record: Record) -> Record:
    """The same record without a result."""
    return made(record.kind, record.spec, {"status": "failed", "error": "no luck", "stores": {}})


def stores(*splits: str) -> dict[str, str]:
    return {key_of(split): f"{index}5" * 32 for index, split in enumerate(splits)}


def audit(label: str = "log_g", *, layer: str = "enc_pre_latent", r2: float = 0.4) -> Record:
    spec = {
        "label": label,
        "features": {"layer": layer, "direction": "forward", "pooling": "seg_mean_K8"},
        "head": "ridge",
        "params": {"alpha": "val"},
        "seed": 0,
        "data_kind": "mock",
        "method": "version 1",
    }
    row = {
        "question": "What does the error alone tell?",
        "source": "input_error/forward/none",
        "error_input": "true",
        "trained_on_error_input": "true",
        "target": label,
        "interval": [r2 - 0.1, r2 + 0.1],
        "rmse": 0.7,
        "unit": "dex",
        "n": 500,
    }
    survived = {
        "how": "refit",
        "r2": r2 / 2,
        "interval": [r2 / 2 - 0.1, r2 / 2 + 0.1],
        "difference": -r2 / 2,
        "difference_interval": [-r2, 0.0],
        "p": 0.01,
        "p_holm": 0.03,
        "share_interval": [0.4, 0.6],
    }
    result = {
        "rows": [
            {**row, "name": "A1", "r2": r2},
            {**row, "name": "refit", "r2": r2 / 2, "error_input": "zero"},
        ],
        "survival": [
            {**survived, "error_input": "zero", "share": 0.5},
            {**survived, "error_input": "constant", "share": None, "share_interval": None},
        ],
        "verdict": {
            "shortcut": "yes",
            "headline": "A shortcut: half survives.",
            "words": ["Because of this."],
        },
        "stores": stores("train", "test"),
    }
    return made("audit", spec, result)


def ceiling(*runs: Record, above: bool = False, label: str = "log_g") -> Record:
    """A ceiling of 0.8, over records of which the first does not see the error, and the rest do."""
    spec = {
        "label": label,
        "test": {"data_kind": "mock", "noise_level": 1.0},
        "method": "version 1",
        "runs": "all",
    }
    nothing = dict.fromkeys(("share", "share_interval", "gap", "gap_interval"))
    rows = [
        {
            "run": run.run_id,
            "r2": 0.4,
            "interval": [0.35, 0.45],
            "applicable": index == 0,
            "why": None if index == 0 else "sees the error: ceiling not applicable",
            "above": above and index == 0,
            **(
                {"share": 0.5, "share_interval": [0.45, 0.55], "gap": 0.4, "gap_interval": [0.35, 0.45]}
                if index == 0
                else nothing
            ),
        }
        for index, run in enumerate(runs)
    ]
    result = {
        "figures": {
            "prior_aware_mean": {"value": 0.8, "interval": [0.78, 0.82]},
            "unbiased_mean": None,
            "unbiased_median": {"value": 0.85, "interval": [0.83, 0.87]},
        },
        "also": {"ln_A_free": 0.79},
        "formula": "R2 = 1 - V / Var(y)",
        "prior": "covariance of train",
        "fisher_method": "mock",
        "rows": rows,
        "bins": {
            "snr": {
                "edges": [2.0, 5.0, 20.0],
                "n": [250, 250],
                "ceiling": [[0.7, 0.65, 0.75], [0.9, 0.88, 0.92]],
                "unbiased_median": [0.6, 0.95],
                "share": {run.run_id: [[0.4, 0.3, 0.5], [0.6, 0.5, 0.7]] for run in runs[:1]},
            },
            "mag": {
                "edges": [21.5],
                "n": [500],
                "ceiling": [[0.8, 0.78, 0.82]],
                "unbiased_median": [0.85],
                "share": {},
            },
        },
        "stores": stores("test"),
        "predictions": {run.run_id: PREDICTED + run.run_id for run in runs},
    }
    return made("ceiling", spec, result)


def comparison(*records: Record, label: str = "log_g", p: float = 0.0004) -> Record:
    """All pairs, each record better than the next by 0.02, with R2 by two bins of S/N."""
    gaps = [0.02 * (j - i) for i in range(len(records)) for j in range(i + 1, len(records))]
    binned = {record.run_id: [[0.3, 0.2, 0.4], [None, None, None]] for record in records}
    return paired_by(
        records,
        [(gap, gap - 0.01, gap + 0.01, p) for gap in gaps],
        label=label,
        bins={"snr": {"edges": [2.0, 5.0, 20.0], "n": [250, 250], "r2": binned}},
    )


def paired_by(
    records: Sequence[Record],
    numbers: Sequence[tuple[float, float | None, float | None, float]],
    *,
    label: str = "log_g",
    runs: Any = "all",
    **result: Any,
) -> Record:
    """A comparison; `numbers` are (difference, lo, hi, p_holm) of its pairs in order."""
    columns = zip(*numbers, strict=True)
    named = dict(zip(("difference", "lo", "hi", "p_holm"), map(list, columns), strict=True))
    spec = {
        "label": label,
        "test": {"data_kind": "mock", "noise_level": 1.0},
        "runs": runs,
        "method": "pairs",
    }
    return made(
        "comparison",
        spec,
        {
            "runs": [record.run_id for record in records],
            "predictions": {record.run_id: record.files["predictions"] for record in records},
            **named,
            "p": named["p_holm"],
            "n_eff": [100.0] * len(named["p_holm"]),
            "seeds": [],
            "selectivity": [],
            "bins": {},
            "stores": {},
            **result,
        },
    )


def importance(probe: Record, label: str = "log_g") -> tuple[Record, dict[str, np.ndarray]]:
    """Importance of two segments of a forward stream, and its sidecar."""
    part = probe.spec["features"]["parts"][0]
    spec = {
        "run": probe.run_id,
        "labels": [label],
        "data_kind": "mock",
        "permutations": 10,
        "seed": 0,
        "method": "permuted",
        **{name: probe.spec[name] for name in ("head", "params", "features")},
    }
    groups = [
        {
            **part,
            "part": 0,
            "segment": k,
            "wave_lo": lo,
            "wave_hi": lo + 100.0,
            "context": f"context up to {lo + 100:.0f} A",
        }
        for k, lo in enumerate((7100.0, 8000.0))
    ]
    numbers = {
        "importance": [0.3, 0.1],
        "whole": [0.3, 0.1],
        "alone": [0.2, np.nan],
        "without": [0.05, np.nan],
    }
    arrays = {"segments": np.arange(2)}
    for name, values in numbers.items():
        arrays[f"{name}/{label}"] = np.array(values)
        arrays[f"{name}_lo/{label}"] = np.array(values) - 0.02
        arrays[f"{name}_hi/{label}"] = np.array(values) + 0.02
    result = {
        "r2": {label: [0.5, 0.45, 0.55]},
        "groups": groups,
        "stores": stores("test"),
        "predictions": {probe.run_id: PREDICTED + probe.run_id},
    }
    return made("importance", spec, result), arrays


def of_all_kinds():
    """A source with records of every kind, and a failure."""
    probes = with_predictions(
        *few_records(),
        record({"log_g": 0.2, "T_eff": 0.9}, train_size=100),
        record({"log_g": 0.3, "T_eff": 0.9}, noise_levels=dict.fromkeys(("train", "val", "test"), 0.5)),
    )
    told, arrays = importance(probes[0])
    curves = {r.run_id: history(30, n_labels=2) for r in probes if r.spec["head"] == "mlp_1"}
    others = [audit(), ceiling(*probes[:2]), comparison(*probes), told]
    records = [*probes, *others, record(failed="a, b | c\n& 100 % \\d", seed=7)]
    return source_of(records, {**curves, told.run_id: arrays})
