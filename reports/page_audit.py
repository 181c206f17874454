"""The page's answers from audit and ceiling records: is it a shortcut, how far is it from what the flux can tell."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cache.records import Record

from .page_answers import Answer, Field, Tone
from .page_cells import Bar, interval_bar
from .render_markdown import estimate_text
from .rows import Row
from .source import Source
from .standing import standing
from .table import Estimate
from .verdict import DIGITS, beats_clearly, r2_estimate, scored
from .vocabulary import ERROR_ONLY, LATENT

SHORTCUT_WORDS: Mapping[str, tuple[str, Tone]] = {
    "yes": ("yes", "bad"),
    "no": ("no", "good"),
    "unclear": ("unclear", "unclear"),
}
"""The verdict of an audit record, as it is shown."""


def shortcut_answer(source: Source, field: Field) -> Answer:
    """Whether what the latents know may have come through the error channel."""
    question = "Is it a shortcut?"
    audits = [record for record in _of_label(source, "audit", field.label) if record.result["status"] == "ok"]
    if not audits:
        return Answer(
            question=question,
            value="not measured",
            tone="missing",
            sentences=(f"Run make audit LABEL={field.label}.", *_error_alone(source, field)),
            runs=tuple(row["run_id"] for row in _error_rows(field)[:1]),
        )
    audit = min(audits, key=lambda record: _distance(record, field.best))
    verdict = audit.result["verdict"]
    value, tone = SHORTCUT_WORDS[verdict["shortcut"]]
    return Answer(
        question=question,
        value=value,
        tone=tone,
        sentences=(
            _sentence(verdict["headline"]),
            *_audited_rows(audit),
            *_of_other_features(audit, field.best),
            *_outdated(source, audit),
        ),
        runs=(audit.run_id,),
    )


def ceiling_answer(source: Source, field: Field) -> Answer:
    """How far the encoder is from the best that noisy flux allows."""
    question = "How far from the ceiling?"
    ceilings = [
        record for record in _of_label(source, "ceiling", field.label) if record.result["status"] == "ok"
    ]
    if not ceilings:
        return Answer(
            question=question,
            value="not measured",
            tone="missing",
            sentences=("Run make ceiling: it works out the R2 that noisy flux allows at best.",),
        )
    record = min(ceilings, key=lambda item: _distance_of_test(item, field.best))
    bound = record.result["figures"]["prior_aware_mean"]
    height = f"R2 {_interval(bound['value'], bound['interval'])}"
    applicable = [row for row in record.result["rows"] if row["applicable"]]
    own = next(
        (row for row in record.result["rows"] if field.best and row["run"] == field.best["run_id"]), None
    )
    chosen = own if own is not None and own["applicable"] else _best_by_val(source, applicable, latents=True)
    other = None if chosen else _best_by_val(source, applicable, latents=False)
    above = [row for row in applicable if row["above"]]
    return Answer(
        question=question,
        value=f"{_share(chosen)} reached" if chosen else height,
        tone="bad" if above else "plain",
        sentences=(
            f"The ceiling, what noisy flux allows at best (prior-aware mean): {height}.",
            *_reached(source, own, chosen, other),
            *(f"{_name(source, row['run'])} lies above the ceiling: look for a leak." for row in above[:1]),
            *_of_other_test(record, field.best),
            *_outdated(source, record),
        ),
        runs=(record.run_id, *(row["run"] for row in (chosen or other,) if row)),
        bar=_share_bar(chosen)
        if chosen
        else interval_bar(Estimate(bound["value"], *(bound["interval"] or (None, None)))),
    )


def audit_alarms(source: Source, label: str) -> Iterator[str]:
    """Red flags of the audit and ceiling records of a label: a score above what is possible."""
    for record in _of_label(source, "ceiling", label):
        above = [row for row in record.result.get("rows") or [] if row["above"]]
        if above:
            more = f" and {len(above) - 1} more" if len(above) > 1 else ""
            yield (
                f"RED FLAG, {label}: {_name(source, above[0]['run'])}{more} scores above the ceiling, "
                "which no sound probe of noisy flux can."
            )


def _of_label(source: Source, kind: str, label: str) -> list[Record]:
    return [record for record in source.of_kind(kind) if record.spec.get("label") == label]


def _distance(record: Record, best: Row | None) -> tuple[int, str]:
    """How unlike the best row an audit is: features first, then the head."""
    features = record.spec.get("features") or {}
    if best is None:
        return (0, record.run_id)
    unlike = [features.get(name) != best[name] for name in ("layer", "pooling", "direction")]
    return (2 * sum(unlike) + (record.spec.get("head") != best["head"]), record.run_id)


def _distance_of_test(record: Record, best: Row | None) -> tuple[int, str]:
    test = record.spec.get("test") or {}
    if best is None:
        return (0, record.run_id)
    level, own = test.get("noise_level"), best["noise_level_test"]
    same = (
        "+".join(test.get("input") or ()) == best["input_test"],
        level == own,
        test.get("noise_mode") == best["noise_mode"],
    )
    return (same.count(False), record.run_id)


def _audited_rows(audit: Record) -> Iterator[str]:
    """A1: what the error alone tells."""
    for row in audit.result["rows"]:
        if row["name"] == "A1":
            yield f"The error alone gives R2 {_interval(row['r2'], row['interval'])}."


def _of_other_features(audit: Record, best: Row | None) -> Iterator[str]:
    """Say so when the audit is not of the best configuration."""
    if best is not None and _distance(audit, best)[0]:
        features = audit.spec.get("features") or {}
        names = [str(features.get(name)) for name in ("layer", "pooling", "direction")]
        yield f"Audited: {' / '.join([*names, str(audit.spec.get('head'))])}, not the best configuration."


def _of_other_test(record: Record, best: Row | None) -> Iterator[str]:
    if best is not None and _distance_of_test(record, best)[0]:
        level = (record.spec.get("test") or {}).get("noise_level")
        yield (
            f"This ceiling is of another test set (noise level {level:g})."
            if level is not None
            else ("This ceiling is of another test set.")
        )


def _outdated(source: Source, record: Record) -> Iterator[str]:
    """Say so when stores or predictions are not those that the record saw."""
    state = standing(record, source)
    if state.startswith("stale"):
        yield f"Rests on stale stores or records: {state.removeprefix('stale: ')}."


def _error_rows(field: Field) -> list[Row]:
    return [row for row in scored(field.rows) if row["role"] == ERROR_ONLY]


def _error_alone(source: Source, field: Field) -> Iterator[str]:
    """What is known without an audit: the score of the error alone beside the latents'."""
    rows = _error_rows(field)
    if not rows or field.best is None:
        yield "Nothing was fitted to the error alone."
        return
    text = estimate_text(r2_estimate(rows[0]), DIGITS)
    if beats_clearly(rows[0], field.best, source.paired):
        yield f"The error alone gives R2 {text}, more than the latents: it cannot be excluded."
    else:
        yield f"The error alone gives R2 {text}; that does not show what the latents use."


def _best_by_val(
    source: Source, rows: Sequence[Mapping[str, Any]], *, latents: bool
) -> Mapping[str, Any] | None:
    """Of the latent rows of a ceiling, or of its other rows, the one with the highest val R2."""
    frame = source.frame.drop_duplicates("run_id").set_index("run_id")
    known = [
        row
        for row in rows
        if row["run"] in frame.index and (frame.loc[row["run"], "role"] == LATENT) == latents
    ]
    return max(known, key=lambda row: float(frame.loc[row["run"], "val_r2"]), default=None)


def _reached(
    source: Source,
    own: Mapping[str, Any] | None,
    chosen: Mapping[str, Any] | None,
    other: Mapping[str, Any] | None,
) -> Iterator[str]:
    """What the best configuration, or the best latent or else input that sees flux alone, reaches."""
    if own is not None and not own["applicable"]:
        yield f"The best configuration has no share: it {own['why'].split(':')[0]}."
    if chosen is None:
        yield "No latent row that sees flux alone was compared with it."
    row = chosen or other
    if row is not None:
        which = "It" if row is own else _name(source, row["run"])
        share = "" if row is chosen else f", {_share(row)} of it"
        yield (
            f"{which} reaches R2 {_interval(row['r2'], row['interval'])}{share}, "
            f"gap {_interval(row['gap'], row['gap_interval'])}."
        )


def _share_bar(row: Mapping[str, Any]) -> Bar | None:
    return interval_bar(Estimate(row["share"], *(row["share_interval"] or (None, None))))


def _share(row: Mapping[str, Any]) -> str:
    ends = row["share_interval"]
    text = f"{100 * row['share']:.0f} %"
    return text if ends is None else f"{text} [{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]"


def _name(source: Source, run: str) -> str:
    """A probe row in words, by run id."""
    rows = source.frame[source.frame["run_id"] == run]
    if not len(rows):
        return f"run {run[:8]}"
    row = rows.iloc[0]
    words = [row[key] for key in ("layer", "pooling", "direction", "head") if row[key]]
    error = "" if row["error_input"].lower() == "true" else f", error input {row['error_input']}"
    return f"{' / '.join(words)}{error}"


def _interval(value: float, ends: Sequence[float] | None) -> str:
    low, high = ends or (None, None)
    return estimate_text(Estimate(value, low, high), DIGITS)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
