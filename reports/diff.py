"""What changed between two results folders: records that came or went, scores, comparisons, what else was found."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cache.records import Record

from .changes import COLUMNS, Change, change, number
from .columns import IN_UNIT_OF_LABEL
from .comparable import name_of
from .comparisons import KIND as COMPARISON
from .diff_comparisons import TOLD, of_comparison
from .rows import SCORED_KINDS, SHORT, frame_of, rows_of
from .settings import settings_rows
from .vocabulary import unit_of

LONGEST = 60
"""Letters of a changed value that are shown."""
_TOLD: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(SCORED_KINDS, frozenset({"scores", "intervals"})),
    COMPARISON: TOLD,
}
"""By kind, the results that are told in words of their own."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """All changes, in order: records on one side only, then scores, other results, pairs."""

    changes: tuple[Change, ...]
    n_old: int
    n_new: int


def difference(old: Sequence[Record], new: Sequence[Record]) -> Difference:
    """Compare records by run id; what is in `run` (time, host, versions, seconds) is never compared."""
    before, after = ({record.run_id: record for record in records} for records in (old, new))
    names = _names([*old, *new])
    changes: list[Change] = []
    for what, side, other in (("only in old", before, after), ("only in new", after, before)):
        changes += [
            change(what, run, names[run])
            for run in sorted(side, key=lambda run: names[run])
            if run not in other
        ]
    shared = sorted(before.keys() & after.keys(), key=lambda run: (names[run], run))
    for run in shared:
        changes += _changed(before[run], after[run], names[run])
    return Difference(changes=tuple(changes), n_old=len(before), n_new=len(after))


def _names(records: Sequence[Record]) -> dict[str, str]:
    """Every record in words: scored ones by features, head and labels, others by kind and label."""
    rows = settings_rows(rows_of(frame_of(records, lambda _key, _digest: "fresh")))
    names: dict[str, str] = {}
    for row in rows:
        labels = ", ".join(row["fitted_labels"].split())
        settings = f", {row['settings_text']}" if row["settings_text"] else ""
        names[row["run_id"]] = f"{labels}: {name_of(row)}{settings}"
    for record in records:
        if record.kind not in SCORED_KINDS:
            label = record.spec.get("label") or ", ".join(record.spec.get("labels") or [])
            names[record.run_id] = f"{label}: {record.kind}" if label else record.kind
    return names


def _changed(old: Record, new: Record, name: str) -> Iterator[Change]:
    if old.kind in SCORED_KINDS:
        yield from _scores(old, new, name)
    if old.kind == COMPARISON:
        yield from of_comparison(old, new, name)
    differing = [
        key
        for key in sorted((old.result.keys() | new.result.keys()) - _TOLD.get(old.kind, frozenset()))
        if old.result.get(key) != new.result.get(key)
    ]
    for key in differing:
        texts = {"old": _short(old.result.get(key)), "new": _short(new.result.get(key))}
        yield change("result", old.run_id, name, **texts, words=f"{key} changed")
    for key in sorted(old.files.keys() | new.files.keys()):
        if old.files.get(key) != new.files.get(key):
            texts = {
                "old": (old.files.get(key) or "none")[:SHORT],
                "new": (new.files.get(key) or "none")[:SHORT],
            }
            yield change("result", old.run_id, name, **texts, words=f"{key} beside it changed")


def _scores(old: Record, new: Record, name: str) -> Iterator[Change]:
    """Every score that changed, and whether the new one lies in the interval of the old."""
    before, after = (_flat_scores(record) for record in (old, new))
    for key in dict.fromkeys([*before, *after]):
        a, b = before.get(key), after.get(key)
        if a == b:
            continue
        split, label, metric = key
        unit = unit_of(label) if metric in IN_UNIT_OF_LABEL else ""
        yield change(
            "score",
            old.run_id,
            f"{name}, {split} {'R2' if metric == 'r2' else metric} of {label}{f' [{unit}]' * bool(unit)}",
            old=number(a),
            new=number(b),
            words=_by(a, b, _interval(old, key)),
        )
    if old.result.get("intervals") != new.result.get("intervals") and before == after:
        yield change("result", old.run_id, name, words="intervals changed, scores did not")


def _flat_scores(record: Record) -> dict[tuple[str, str, str], float | None]:
    return {
        (split, label, metric): value
        for split, labels in (record.result.get("scores") or {}).items()
        for label, metrics in labels.items()
        for metric, value in metrics.items()
    }


def _interval(record: Record, key: tuple[str, str, str]) -> Sequence[float | None] | None:
    split, label, metric = key
    by_label: Mapping[str, Any] = (record.result.get("intervals") or {}).get(split) or {}
    found: Mapping[str, Sequence[float | None]] = by_label.get(label) or {}
    return found.get(metric)


def _by(old: float | None, new: float | None, interval: Sequence[float | None] | None) -> str:
    if old is None or new is None:
        return "appeared" if old is None else "disappeared"
    by = f"by {new - old:+.2g}"
    low, high = interval or (None, None)
    if low is None or high is None:
        return f"{by}, no interval to judge it by"
    return f"{by}, {'within' if low <= new <= high else 'BEYOND'} the old 95 % interval"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def csv_of(found: Difference) -> str:
    """A difference as CSV, one line per change, columns COLUMNS."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.changes)
    return stream.getvalue()


def text_of(found: Difference) -> str:
    """A difference in plain lines, ending in a newline; 'no difference' when there is none."""
    if not found.changes:
        return f"no difference: {found.n_old} records in both\n"
    lines = [f"{found.n_old} records in old, {found.n_new} in new"]
    for what, heading in (
        ("only in old", "Only in old"),
        ("only in new", "Only in new"),
        ("score", "Scores that changed"),
        ("result", "Other results that changed"),
        ("pair", "Comparisons"),
    ):
        changes = [change for change in found.changes if change["what"] == what]
        if changes:
            lines += ["", f"{heading}: {len(changes)}", *(f"  {_line(change)}" for change in changes)]
    return "\n".join(lines) + "\n"


def _line(change: Change) -> str:
    arrow = f": {change['old']} -> {change['new']}" if change["old"] or change["new"] else ""
    words = f" ({change['words']})" if change["words"] else ""
    return f"{change['record']} {change['about']}{arrow}{words}"
