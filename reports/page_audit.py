"""The page's answer from audit records: is it a shortcut."""

from collections.abc import Iterator, Mapping, Sequence

from cache.records import Record

from .audits import (
    OF_ERROR,
    audits_of,
    distance,
    of_other_test,
    subject,
    unlike_features,
    unlike_head,
    unlike_otherwise,
)
from .contest import beats_clearly, r2_estimate
from .page_answers import Answer, Field, Tone
from .planned import Headline, chosen_on, headline_of
from .render_markdown import estimate_text
from .rows import Row
from .source import Source
from .standing import standing
from .table import estimate_of
from .verdict import DIGITS
from .vocabulary import ERROR_ONLY

SHORTCUT_WORDS: Mapping[str, tuple[str, Tone]] = {
    "yes": ("yes", "bad"),
    "unclear": ("unclear", "unclear"),
    "no": ("no", "good"),
}
"""The verdict of an audit record, as it is shown."""


def shortcut_answer(source: Source, field: Field) -> Answer:
    """Whether what the latents know may have come through the error channel."""
    question = "Is it a shortcut?"
    audit = min(audits_of(source, field.label), key=lambda record: distance(record, field.best), default=None)
    elsewhere = () if audit is None else of_other_test(audit, field.best)
    if audit is None or elsewhere:
        planned = headline_of(field.rows, source.paired)
        alone = None if planned is None else planned.ahead.get(ERROR_ONLY, planned.controls.get(ERROR_ONLY))
        differs = f"The nearest audit on record has {', '.join(elsewhere)}."
        return Answer(
            question=question,
            value="not measured on this test set" if elsewhere else "not measured",
            tone="missing",
            sentences=(
                *([differs] if elsewhere else []),
                f"Run make audit LABEL={field.label}.",
                *_error_alone(planned, alone),
            ),
            runs=() if alone is None else (alone["run_id"],),
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


def _audited_instead(audit: Record, best: Row | None) -> str:
    """What was audited instead of the best row, where it differs; '' for the same."""
    if best is None:
        return ""
    return ", ".join(
        [*unlike_head(audit, best), *unlike_features(audit, best), *unlike_otherwise(audit, best)]
    )


def _audited_rows(audit: Record) -> Iterator[str]:
    """A1, and by ridge where the head is another: what the error alone tells."""
    for row in audit.result["rows"]:
        if row["name"] in OF_ERROR:
            by = " by ridge" if row["name"] == "A1 ridge" else ""
            yield f"The error alone gives R2 {interval_text(row['r2'], row['interval'])}{by}."


def _of_other_features(audit: Record, best: Row | None) -> Iterator[str]:
    """Say so when the audit is not of the best configuration."""
    if best is not None and distance(audit, best)[1]:
        others = "".join(f", {words}" for words in unlike_otherwise(audit, best))
        yield f"Audited: {subject(audit)}{others}, not the best configuration."


def outdated(source: Source, record: Record) -> Iterator[str]:
    """Say so when stores or predictions are not those that the record saw."""
    state = standing(record, source)
    if state.startswith("stale"):
        yield f"Rests on stale stores or records: {state.removeprefix('stale: ')}."


def _error_alone(planned: Headline | None, alone: Row | None) -> Iterator[str]:
    """What is known without an audit: the score of the error alone beside the latents'."""
    if planned is None or alone is None:
        yield "Nothing was fitted to the error alone."
        return
    text = estimate_text(r2_estimate(alone), DIGITS)
    if ERROR_ONLY in planned.ahead or beats_clearly(alone, planned.latent, planned.family):
        by = f" by {alone['head']}" if planned.numbers[ERROR_ONLY] > 1 else ""
        yield f"The error alone gives R2 {text}{by}, more than the latents: it cannot be excluded."
        return
    n_rows = planned.numbers[ERROR_ONLY]
    of = f" ({alone['head']}, best on {chosen_on(alone)} of {n_rows} rows)" if n_rows > 1 else ""
    yield f"The error alone gives R2 {text}{of}; that does not show what the latents use."


def interval_text(value: float | None, ends: Sequence[float | None] | None) -> str:
    """'0.400 [0.370, 0.430]'; 'not known' where there is no value."""
    known = estimate_of(value, ends)
    return "not known" if known is None else estimate_text(known, DIGITS)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
