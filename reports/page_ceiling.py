"""The page's answer from ceiling records: how far the encoder is from what noisy flux can tell."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cache.records import Record

from .columns import FINE_TUNED
from .drawn import plain
from .page_answers import Answer, Field, unmeasured
from .page_audit import interval_text, outdated
from .page_cells import interval_bar
from .rows import Row, rows_of
from .source import Source
from .table import estimate_of
from .vocabulary import LATENT

NO_SHARE = "no share: the ceiling is not clear of 0"


def ceiling_answer(source: Source, field: Field) -> Answer:
    """How far the encoder is from the best that noisy flux allows."""
    question = "How far from the ceiling?"
    ceilings = [record for record in _ceilings(source, field.label) if record.result["status"] == "ok"]
    if not ceilings:
        return unmeasured(question, "Run make ceiling: it works out the R2 that noisy flux allows at best.")
    record = min(ceilings, key=lambda item: _distance_of_test(item, field.best))
    bound = record.result["figures"]["prior_aware_mean"]
    height = f"R2 {interval_text(bound['value'], bound['interval'])}"
    applicable = [row for row in record.result["rows"] if row["applicable"]]
    own = next(
        (row for row in record.result["rows"] if field.best and row["run"] == field.best["run_id"]), None
    )
    known = _rows_of_label(source, field.label)
    chosen = own if own is not None and own["applicable"] else _best_by_val(known, applicable, latents=True)
    other = None if chosen else _best_by_val(known, applicable, latents=False)
    above = [row for row in applicable if row["above"]]
    return Answer(
        question=question,
        value=f"{_share(chosen)} reached{'' if chosen is own else ' (by another row)'}"
        if chosen and _has_share(chosen)
        else height,
        tone="bad" if above else "plain",
        sentences=(
            f"The ceiling, what noisy flux allows at best (prior-aware mean): {height}.",
            *_reached(known, own, chosen, other),
            *(
                f"{_name(known, row['run'])} lies above the ceiling beyond its interval: a little is no proof, a lot "
                "is a leak."
                for row in above[:1]
            ),
            *_of_other_test(record, field.best),
            *([f"Flags: {', '.join(record.result['flags'])}."] if record.result.get("flags") else []),
            *outdated(source, record),
        ),
        runs=(record.run_id, *(row["run"] for row in (chosen or other,) if row)),
        bar=interval_bar(estimate_of(chosen["share"], chosen["share_interval"]))
        if chosen and _has_share(chosen)
        else interval_bar(estimate_of(bound["value"], bound["interval"])),
    )


def _ceilings(source: Source, label: str) -> list[Record]:
    return [record for record in source.of_kind("ceiling") if record.spec.get("label") == label]


def ceiling_alarms(source: Source, label: str) -> Iterator[str]:
    """Red flags of the ceiling records of a label: a score above what is possible."""
    for record in _ceilings(source, label):
        above = [row for row in record.result.get("rows") or [] if row["above"]]
        if above:
            more = f" and {len(above) - 1} more" if len(above) > 1 else ""
            first = _name(_rows_of_label(source, label), above[0]["run"])
            yield (
                f"RED FLAG, {label}: {first}{more} scores above the ceiling, "
                "beyond its interval; the ceiling is right to a few hundredths, so far above it means a leak."
            )


def _distance_of_test(record: Record, best: Row | None) -> tuple[int, str]:
    test = record.spec.get("test") or {}
    if best is None:
        return (0, record.run_id)
    level, own = test.get("noise_level"), best["noise_level_test"]
    same = (
        "+".join(test.get("input") or ()) == best["input_test"],
        level == own,
        test.get("noise_mode") == best["noise_mode"],
        best["noise_seed"] in (None, test.get("noise_seed", 0)),
    )
    return (same.count(False), record.run_id)


def _of_other_test(record: Record, best: Row | None) -> Iterator[str]:
    if best is not None and _distance_of_test(record, best)[0]:
        level = (record.spec.get("test") or {}).get("noise_level")
        yield (
            f"This ceiling is of another test set (noise level {level:g})."
            if level is not None
            else ("This ceiling is of another test set.")
        )


def _best_by_val(
    known: Mapping[str, Row], rows: Sequence[Mapping[str, Any]], *, latents: bool
) -> Mapping[str, Any] | None:
    """Of the latent rows of a ceiling, or of its other rows, the one with the highest val R2.

    A fine-tuned encoder is no frozen one, so its rows are left out wherever there are others; so are those of a sweep,
    whose val scores are of other noise or fewer stars (`drawn.plain`).
    """

    def val(row: Mapping[str, Any]) -> float:
        score = known[row["run"]]["val_r2"]
        return -math.inf if score is None else float(score)

    there = [row for row in rows if row["run"] in known and (known[row["run"]]["role"] == LATENT) == latents]
    frozen = [row for row in there if known[row["run"]]["training"] != FINE_TUNED] or there
    asked = {row["run_id"] for row in plain(known.values())}
    return max([row for row in frozen if row["run"] in asked] or frozen, key=val, default=None)


def _rows_of_label(source: Source, label: str) -> dict[str, Row]:
    """By run id the rows of one label: a record fitted to several labels has a val score of each."""
    return {row["run_id"]: row for row in rows_of(source.frame[source.frame["label"] == label])}


def _reached(
    known: Mapping[str, Row],
    own: Mapping[str, Any] | None,
    chosen: Mapping[str, Any] | None,
    other: Mapping[str, Any] | None,
) -> Iterator[str]:
    """What the best configuration, or the best latent or else input that sees flux alone, reaches."""
    if own is not None and not own["applicable"]:
        yield f"The best configuration has no share: it {own['why'].split(':')[0]}."
    if chosen is None:
        yield (
            "No latent row that sees flux alone was compared with it: extract with --error-input from-noisy, fit, and "
            "run make ceiling."
        )
    row = chosen or other
    if row is not None:
        which = "It" if row is own else _name(known, row["run"])
        share = "" if row is chosen or not _has_share(row) else f", {_share(row)} of it"
        none = "" if _has_share(row) else f", {NO_SHARE}"
        yield (
            f"{which} reaches R2 {interval_text(row['r2'], row['interval'])}{share}, "
            f"gap {interval_text(row['gap'], row['gap_interval'])}{none}."
        )


def _has_share(row: Mapping[str, Any]) -> bool:
    return row["share"] is not None


def _share(row: Mapping[str, Any]) -> str:
    low, high = row["share_interval"] or (None, None)
    text = f"{100 * row['share']:.0f} %"
    return text if low is None or high is None else f"{text} [{100 * low:.0f}, {100 * high:.0f}]"


def _name(known: Mapping[str, Row], run: str) -> str:
    """A row of the label in words, by run id."""
    row = known.get(run)
    if row is None:
        return f"run {run[:8]}"
    words = [row[key] for key in ("layer", "pooling", "direction", "head") if row[key]]
    error = (
        ""
        if row["error_input"].lower() == "true"
        else f", error input {row['error_input'].partition(':')[0]}"
    )
    training = f", {row['training']}" if row["training"] else ""
    return f"{' / '.join(words)}{training}{error}"
