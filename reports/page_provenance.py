"""What a record rests on, as names and texts: the page's provenance panel."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cache.provenance import KEY_DIGITS
from cache.records import Record

from .render_markdown import estimate_text
from .rows import SCORED_KINDS, SHORT, StoreState, rows_of, stores_of
from .source import Source
from .standing import standing
from .table import Estimate
from .vocabulary import error_digits, unit_of

LONGEST = 600
_DIGEST = re.compile(r"\b([0-9a-f]{16})[0-9a-f]{48}\b")
_TOLD_APART = ("labels", "label", "features", "stores")
"""Parts of a spec that have a line of their own."""
_FIRST = (
    "head",
    "params",
    "selection",
    "seed",
    "control",
    "error_input",
    "noise_levels",
    "draws",
    "train_size",
)
"""Parts of a spec that come before the others, which follow by name."""
_OF_RUN = ("encoder", "files", "command", "commit", "time", "versions", "seconds", "threads")
"""What is shown of `run`; the host's name is not."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """One record: `title` in a line, `stale` what is wrong with it, `fields` as (name, text) in reading order."""

    run_id: str
    title: str
    stale: str
    fields: tuple[tuple[str, str], ...]


def provenance_of(source: Source) -> tuple[Provenance, ...]:
    """Of every record: what it says of where it comes from, and how its stores stand now."""
    of_rows = {row["run_id"]: row["state"] for row in rows_of(source.frame[["run_id", "state"]])}
    return tuple(
        _provenance(record, source, of_rows.get(record.run_id) or standing(record, source))
        for record in source.records
    )


def _provenance(record: Record, source: Source, state: str) -> Provenance:
    return Provenance(
        run_id=record.run_id,
        title=title_of(record),
        stale=state if state.startswith("stale") else "",
        fields=tuple((name, text) for name, text in _fields(record, source.state) if text),
    )


def title_of(record: Record) -> str:
    """A record in one line: kind, labels, features, head, control."""
    spec = record.spec
    labels = ", ".join(_labels(spec))
    features = " + ".join(_part_text(part) for part in _parts(spec))
    control = spec.get("control")
    head = "" if spec.get("head") is None else str(spec["head"])
    words = (record.kind, labels, features, head, "" if control in (None, "none") else str(control))
    return " · ".join(word for word in words if word)


def _fields(record: Record, state: StoreState) -> Iterator[tuple[str, str]]:
    spec, result, run = record.spec, record.result, record.run
    yield "record", record.run_id
    yield "kind", record.kind
    yield "status", _status(result)
    yield "labels", ", ".join(_labels(spec))
    yield "features", "; ".join(_part_text(part) for part in _parts(spec))
    features = spec.get("features")
    for name, value in features.items() if isinstance(features, Mapping) else ():
        if name not in ("parts", "layer", "direction", "pooling"):
            yield name, _text(value)
    for name in sorted(spec, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)):
        if name not in _TOLD_APART:
            yield name.replace("_", " "), _text(spec[name])
    for label in _labels(spec):
        yield f"scores {label}", _scores(result, label)
    yield "chosen on val", _text(result.get("chosen"))
    yield "flags", ", ".join(map(str, result.get("flags") or []))
    yield "intervals", _text(result.get("interval_method"))
    yield "weights", _text(result.get("weights"))
    yield "stores", "; ".join(_stores(record, state)) or "none named"
    yield from ((f"sha256 of {name}", digest) for name, digest in sorted(record.files.items()))
    yield from ((name, _text(run.get(name))) for name in _OF_RUN)


def _status(result: Mapping[str, Any]) -> str:
    status = str(result.get("status", ""))
    return f"{status}: {result['error']}" if result.get("error") else status


def _labels(spec: Mapping[str, Any]) -> list[str]:
    labels = spec.get("labels") or ([spec["label"]] if spec.get("label") else [])
    return [str(label) for label in labels]


def _parts(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The blocks of columns of a spec: `features.parts`, or `features` itself where it is one block or their list."""
    features = spec.get("features") or {}
    parts = features.get("parts", [features]) if isinstance(features, Mapping) else features
    return [part for part in parts if isinstance(part, Mapping) and "layer" in part]


def _part_text(part: Mapping[str, Any]) -> str:
    return " / ".join(str(part[name]) for name in ("layer", "pooling", "direction") if part.get(name))


def _scores(result: Mapping[str, Any], label: str) -> str:
    """'test R2 0.552 [0.506, 0.597], RMSE 0.799 dex, MAE ...; val R2 ...' of one label."""
    unit = unit_of(label)
    texts = []
    for split in ("test", "val", "train"):
        known = (result.get("scores") or {}).get(split, {}).get(label) or {}
        ends = ((result.get("intervals") or {}).get(split, {}).get(label) or {}).get("r2") or (None, None)
        if known.get("r2") is None:
            continue
        text = f"{split} R2 {estimate_text(Estimate(known['r2'], *ends), 4)}"
        digits = error_digits(unit)
        for name in ("rmse", "mae"):
            if known.get(name) is not None:
                text += f", {name.upper()} {known[name]:.{digits}f} {unit}".rstrip()
        texts.append(text)
    return "; ".join(texts)


def _stores(record: Record, state: StoreState) -> Iterator[str]:
    """'test 5e976746dacef131 = 092519e351ae, fresh' for every store."""
    for split, key, digest in _named_stores(record):
        seen = "not recorded" if digest is None else digest[:SHORT]
        yield f"{split} {key[:KEY_DIGITS]} = {seen}, {state(key, digest)}".strip()


def _named_stores(record: Record) -> list[tuple[str, str, str | None]]:
    """(split or '', key, digest seen) of every store, also of kinds that name no splits."""
    named = stores_of(record) if record.kind in SCORED_KINDS else []
    told = {key for _, key, _ in named}
    more = (record.result.get("stores") or {}).items()
    return [*named, *(("", key, digest) for key, digest in sorted(more) if key not in told)]


def _text(value: Any) -> str:
    """Strings as they are, None as '', the rest as sorted JSON with short digests; cut when very long."""
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, str):
        return value
    text = _DIGEST.sub(r"\1", json.dumps(value, sort_keys=True, ensure_ascii=False))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
