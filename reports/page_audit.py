"""The page's answer from audit records: is it a shortcut."""

from collections.abc import Iterator, Mapping, Sequence

from cache.records import Record

from .page_answers import Answer, Field, Tone
from .render_markdown import estimate_text
from .rows import SHORT, Row
from .settings import params_of
from .source import Source
from .standing import standing
from .table import Estimate
from .verdict import DIGITS, beats_clearly, r2_estimate, scored
from .vocabulary import ERROR_ONLY

SHORTCUT_WORDS: Mapping[str, tuple[str, Tone]] = {
    "yes": ("yes", "bad"),
    "unclear": ("unclear", "unclear"),
    "no": ("no", "good"),
}
"""The verdict of an audit record, as it is shown, the gravest first."""


def shortcut_answer(source: Source, field: Field) -> Answer:
    """Whether what the latents know may have come through the error channel."""
    question = "Is it a shortcut?"
    audits = [
        record for record in records_of(source, "audit", field.label) if record.result["status"] == "ok"
    ]
    audit = min(audits, key=lambda record: _distance(record, field.best), default=None)
    elsewhere = () if audit is None else _of_other_test(audit, field.best)
    if audit is None or elsewhere:
        differs = f"The nearest audit on record has {', '.join(elsewhere)}."
        return Answer(
            question=question,
            value="not measured on this test set" if elsewhere else "not measured",
            tone="missing",
            sentences=(
                *([differs] if elsewhere else []),
                f"Run make audit LABEL={field.label}.",
                *_error_alone(source, field),
            ),
            runs=tuple(row["run_id"] for row in _error_rows(field)[:1]),
        )
    verdict = audit.result["verdict"]
    value, tone = SHORTCUT_WORDS[verdict["shortcut"]]
    if other := _audited_instead(audit, field.best):
        value, tone = f"{value} (audited: {other})", "unclear" if tone == "good" else tone
    return Answer(
        question=question,
        value=value,
        tone=tone,
        sentences=(
            _sentence(verdict["headline"]),
            *_audited_rows(audit),
            *_of_other_features(audit, field.best),
            *outdated(source, audit),
        ),
        runs=(audit.run_id,),
    )


def records_of(source: Source, kind: str, label: str) -> list[Record]:
    """The records of one kind that are of a label."""
    return [record for record in source.of_kind(kind) if record.spec.get("label") == label]


def _distance(record: Record, best: Row | None) -> tuple[int, int, int, str]:
    """How unlike the best row an audit is: test set first, then features, then head and noise level of train."""
    if best is None:
        return (0, 0, 0, record.run_id)
    features, others = (
        _unlike_features(record, best),
        [*_unlike_head(record, best), *_unlike_otherwise(record, best)],
    )
    caution = list(SHORTCUT_WORDS).index(
        record.result["verdict"]["shortcut"]
    )  # of two as near, not the milder one
    return (len(_of_other_test(record, best)), 9 * len(features) + len(others), caution, record.run_id)


def _unlike_features(audit: Record, best: Row) -> list[str]:
    """The layer, pooling and direction audited, where they are not those of the best row."""
    features = audit.spec.get("features") or {}
    return [
        str(features.get(name))
        for name in ("layer", "pooling", "direction")
        if features.get(name) != best[name]
    ]


def _unlike_head(audit: Record, best: Row) -> list[str]:
    """The head audited, where it is not that of the best row."""
    return [str(audit.spec.get("head"))] if audit.spec.get("head") != best["head"] else []


def _unlike_otherwise(audit: Record, best: Row) -> list[str]:
    """In what else an audit is not of the best row, in words; what its record does not tell is taken for the same."""
    spec, level, own = audit.spec, _level(audit, "train"), params_of(best)
    train = "+".join(digest[:SHORT] for digest in (spec.get("inputs") or {}).get("train") or ())
    found = (
        ("another encoder or input", spec.get("family", best["family"]) == best["family"]),
        ("other parameters", _unlike_head(audit, best) or spec.get("params", own) == own),
        ("other train stars", not train or f"train {train}" in best["inputs"].split(", ")),
        (f"trained at noise level {_number(level)}", level == best["noise_level_train"]),
    )
    return [words for words, same in found if not same]


def _of_other_test(record: Record, best: Row | None) -> tuple[str, ...]:
    """In what an audit's test set is not that of the best row, in words."""
    if best is None:
        return ()
    spec = record.spec
    level, own = _level(record, "test"), best["noise_level_test"]
    found = (
        (
            f"{spec.get('data_kind')} data, not {best['data_kind']}",
            spec.get("data_kind") == best["data_kind"],
        ),
        ("another test file", "+".join((spec.get("inputs") or {}).get("test") or ()) == best["input_test"]),
        (
            f"noise {spec.get('noise_mode')}, not {best['noise_mode']}",
            (spec.get("noise_mode") or "") == best["noise_mode"],
        ),
        (f"noise level {_number(level)}, not {_number(own)}", level == own),
    )
    return tuple(words for words, same in found if not same)


def _level(record: Record, split: str) -> float | None:
    level: float | None = (record.spec.get("noise_levels") or {}).get(split)
    return level


def _number(level: float | None) -> str:
    return "unknown" if level is None else f"{level:g}"


def _audited_instead(audit: Record, best: Row | None) -> str:
    """What was audited instead of the best row, where it differs; '' for the same."""
    if best is None:
        return ""
    return ", ".join(
        [*_unlike_head(audit, best), *_unlike_features(audit, best), *_unlike_otherwise(audit, best)]
    )


def _audited_rows(audit: Record) -> Iterator[str]:
    """A1, and by ridge where the head is another: what the error alone tells."""
    for row in audit.result["rows"]:
        if row["name"] in ("A1", "A1 ridge"):
            by = " by ridge" if row["name"] == "A1 ridge" else ""
            yield f"The error alone gives R2 {interval_text(row['r2'], row['interval'])}{by}."


def _of_other_features(audit: Record, best: Row | None) -> Iterator[str]:
    """Say so when the audit is not of the best configuration."""
    if best is not None and _distance(audit, best)[1]:
        features = audit.spec.get("features") or {}
        names = [str(features.get(name)) for name in ("layer", "pooling", "direction")]
        others = "".join(f", {words}" for words in _unlike_otherwise(audit, best))
        yield f"Audited: {' / '.join([*names, str(audit.spec.get('head'))])}{others}, not the best configuration."


def outdated(source: Source, record: Record) -> Iterator[str]:
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


def interval_text(value: float | None, ends: Sequence[float | None] | None) -> str:
    """'0.400 [0.370, 0.430]'; 'not known' where there is no value."""
    if value is None:
        return "not known"
    low, high = ends or (None, None)
    return estimate_text(Estimate(value, low, high), DIGITS)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
