"""Probes and their scores in one line each, as commands print them."""

from collections.abc import Iterable, Mapping
from typing import Any

from cache.canonical import canonical_json
from cache.grouping import grouped
from cache.records import Record

from .samples import FAIL
from .spec import ProbeRequest


def title(request: ProbeRequest, *, control: str | None = None) -> str:
    """What was asked, short; `control` is that of the record, which features of an untrained encoder decide."""
    some = "" if request.missing_labels == FAIL else " (rows that have it)"
    return f"{description(request, control=control)} {'+'.join(request.labels)}{some}"


def description(request: ProbeRequest, *, control: str | None = None) -> str:
    """What was asked, without the labels."""
    features = {
        "parts": [part.to_json() for part in request.features],
        "pca": request.pca,
        "segments": request.segments,
    }
    asked = {
        "features": features,
        "head": request.head,
        "control": request.control if control is None else control,
        "train_size": request.train_size,
        "seed": request.seed,
    }
    return recorded_description(asked, request.params)


def recorded_description(spec: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """What the spec of a record asks, without the labels, with these parameters of its head."""
    features = spec["features"]
    first = features["parts"][0]
    layers = "+".join(part["layer"] for part in features["parts"])
    words = [f"{layers}/{first['direction']}/{first['pooling']}"]
    if features.get("segments") is not None:
        words.append(f"segments {'+'.join(map(str, features['segments']))}")
    if features["pca"] is not None:
        words.append(f"pca {features['pca']}")
    words.append(spec["head"])
    words += [f"{name}={value}" for name, value in params.items()]
    if spec["control"] != "none":
        words.append(f"({spec['control'].replace('_', ' ')})")
    if spec.get("train_size") is not None:
        words.append(f"on {spec['train_size']} stars")
    if spec.get("seed"):
        words.append(f"seed {spec['seed']}")
    return " ".join(words)


def telling_params(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """By run id, the parameters in which records of one kind and head differ, seeds apart: what all share tells none.

    No head is made for it, so that commands which only read records import none of their libraries.
    """
    told: dict[str, dict[str, Any]] = {}
    for alike in grouped(records, lambda record: (record.kind, record.spec["head"])).values():
        found: dict[str, set[str]] = {}
        for name, value in (pair for record in alike for pair in record.spec["params"].items()):
            found.setdefault(name, set()).add(canonical_json(value))
        differing = {name for name, values in found.items() if len(values) > 1 and name != "seed"}
        for record in alike:
            params = record.spec["params"]
            told[record.run_id] = {name: value for name, value in params.items() if name in differing}
    return told


def score(result: Mapping[str, Any], labels: tuple[str, ...]) -> str:
    """Test R2 of each label with its interval, or why there is none."""
    if result["status"] != "ok":
        return f"failed: {result['error']}"
    texts = []
    for label in labels:
        name = f"{label} " if len(labels) > 1 else ""
        texts.append(f"{name}test R2 {r2_text(result, 'test', label)}")
    return ", ".join(texts)


def r2_text(result: Mapping[str, Any], split: str, label: str) -> str:
    """R2 of a split with its interval; '-' for a split that there is not."""
    if split not in result["scores"]:
        return "-"
    r2 = result["scores"][split][label]["r2"]
    lo, hi = result["intervals"].get(split, {}).get(label, {}).get("r2", (None, None))
    return "undefined" if r2 is None else f"{r2:.4f}" + ("" if lo is None else f" [{lo:.3f}, {hi:.3f}]")
