"""Probes and their scores in one line each, as commands print them."""

from collections.abc import Mapping
from typing import Any

from .spec import ProbeRequest


def title(request: ProbeRequest) -> str:
    """What was asked, short."""
    return f"{description(request)} {'+'.join(request.labels)}"


def description(request: ProbeRequest) -> str:
    """What was asked, without the labels."""
    first = request.features[0]
    layers = "+".join(part.layer for part in request.features)
    words = [f"{layers}/{first.direction}/{first.pooling}"]
    if request.segments is not None:
        words.append(f"segments {'+'.join(map(str, request.segments))}")
    if request.pca is not None:
        words.append(f"pca {request.pca}")
    words.append(request.head)
    words += [f"{name}={value}" for name, value in request.params.items()]
    if request.control != "none":
        words.append(f"({request.control})")
    if request.train_size is not None:
        words.append(f"on {request.train_size} stars")
    if request.seed:
        words.append(f"seed {request.seed}")
    return " ".join(words)


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
