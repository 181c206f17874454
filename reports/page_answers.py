"""What the page's first screen says of a label: four questions, each with a number, or with what measures it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from cache.records import Record

from .audits import ErrorAlone, error_command, not_run
from .comparable import plain_latents, ranked_sets
from .comparisons import NOT_COMPARED, Comparisons, Judge
from .contest import beats_clearly, r2_estimate, scored
from .page_cells import Bar, interval_bar
from .page_test_sets import other_sets_told
from .planned import among_latents, chosen
from .render_markdown import estimate_text, number_text
from .rows import Row
from .tables import of_label
from .verdict import DIGITS
from .vocabulary import ERROR_ONLY, error_digits

Tone = Literal["good", "bad", "unclear", "missing", "plain"]
NAMED = 2
"""So many rows are named, the others counted."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question, `value` in large letters, `sentences` below, `runs` the records that it rests on.

    `bar` is the interval that the value tells, on a scale from 0 to 1.
    """

    question: str
    value: str
    tone: Tone
    sentences: tuple[str, ...]
    runs: tuple[str, ...] = ()
    bar: Bar | None = None


@dataclass(frozen=True, kw_only=True)
class Field:
    """The rows of a label on one test set, and the latent row that stands for the encoder.

    `rows` are all that were scored there, `latents` those of the encoder that ask the plain question, `best` the one of
    them with the highest `chosen_by` ('val R2', or 'test R2' where no row has a val score); None without any score.
    `others` are the rows of the further test sets of the label.
    """

    label: str
    rows: tuple[Row, ...]
    latents: tuple[Row, ...]
    best: Row | None
    chosen_by: str
    others: tuple[tuple[Row, ...], ...] = ()


def unmeasured(question: str, sentence: str) -> Answer:
    """The answer where there is no number; the sentence says what gives one."""
    return Answer(question=question, value="not measured", tone="missing", sentences=(sentence,))


def field_of(frame: pd.DataFrame, label: str) -> Field:
    """The rows of the test set to answer for, the first of `ranked_sets`."""
    ranked = ranked_sets(of_label(frame, label))
    rows = ranked[0] if ranked else []
    latents = plain_latents(rows)
    best = chosen(latents)
    return Field(
        label=label,
        rows=tuple(rows),
        latents=tuple(latents),
        best=best,
        chosen_by="test R2" if best is None or best["val_r2"] is None else "val R2",
        others=tuple(tuple(one) for one in ranked[1:]),
    )


def best_answer(field: Field, paired: Comparisons = NOT_COMPARED) -> Answer:
    """Which configuration to use, how it was chosen, and how many others test cannot tell from it."""
    question = "What is the best configuration?"
    best = field.best
    if best is None:
        command = f"python -m probes run --labels {field.label}"
        return unmeasured(question, f"No latent row of {field.label} has a test score: run {command}.")
    digits = error_digits(best["unit"])
    errors = ", ".join(
        f"{name.upper()} {number_text(best[f'test_{name}'], digits)} {best['unit']}".rstrip()
        for name in ("rmse", "mae")
        if best[f"test_{name}"] is not None
    )
    chosen = (
        f" ({number_text(best['val_r2'], DIGITS)})"
        if field.chosen_by == "val R2"
        else ", having no val score,"
    )
    among = f"Chosen by {field.chosen_by}{chosen} among {len(field.latents)} latent rows."
    others = [row for row in field.latents if row is not best]
    family = among_latents(best, others, paired)
    even = sum(_even(best, row, family) for row in others)
    return Answer(
        question=question,
        value=best["name"],
        tone="plain",
        sentences=(
            f"Test R2 {estimate_text(r2_estimate(best), DIGITS)}{f', {errors}' if errors else ''}.",
            among if len(field.latents) > 1 else "It is the only latent row with a score.",
            *([f"On test it is not told apart from {even} of the others."] if even else []),
            *other_sets_told(field.rows, field.others),
        ),
        runs=(best["run_id"],),
    )


def certainty_answer(
    field: Field, paired: Comparisons, *, alarms: Sequence[str] = (), audits: Sequence[Record] = ()
) -> Answer:
    """How sure the score is, and whether other configurations can be told from it; not at all with red flags.

    `audits` of the label may hold the error alone where no row does.
    """
    question = "How sure are we?"
    best = field.best
    if best is None:
        return unmeasured(question, "There is no score to judge.")
    low, high = best["test_r2_lo"], best["test_r2_hi"]
    others = [row for row in field.latents if row is not best]
    family = among_latents(best, others, paired)
    unbeaten = [row for row in scored(others) if not beats_clearly(best, row, family)]
    absent, alone = not_run(field.rows, audits)
    sentences = (
        _where(best),
        *_judged_beside(field.label, absent, alone),
        *_against_others(best, others, unbeaten, family),
        *_doubts(best, paired),
    )
    sound = not alarms and not best["state"].startswith("stale")
    sure = low is not None and others and not unbeaten and not best["flags"] and not absent
    return Answer(
        question=question,
        value="no interval"
        if low is None
        else f"R2 {number_text(low, DIGITS)} to {number_text(high, DIGITS)}",
        tone="good" if sound and sure else "unclear" if sound else "bad",
        sentences=(*(["Red flags stand above: trust no score of this label."] if alarms else []), *sentences),
        runs=tuple(row["run_id"] for row in unbeaten[:NAMED]),
        bar=interval_bar(r2_estimate(best)),
    )


def _judged_beside(label: str, absent: Sequence[str], alone: ErrorAlone | None) -> Iterator[str]:
    if alone is not None:
        yield f"The error alone, by the audit on record ({alone.name}): R2 {estimate_text(alone.r2, DIGITS)}."
    if absent:
        how = f" {ERROR_ONLY}: {error_command(label)}." if ERROR_ONLY in absent else ""
        yield f"Not on record: {', '.join(absent)}; without them a score cannot be judged.{how}"


def _even(row: Row, other: Row, paired: Judge) -> bool:
    """Whether chance may have parted two rows."""
    return not beats_clearly(row, other, paired) and not beats_clearly(other, row, paired)


def _where(best: Row) -> str:
    level = best["noise_level_test"]
    noise = "" if level is None else f", noise level {level:g}"
    return f"95 % interval of test R2: {best['n_test']} stars, {best['data_kind']} data{noise}."


def _against_others(
    best: Row, others: Sequence[Row], unbeaten: Sequence[Row], paired: Judge
) -> Iterator[str]:
    if not others:
        yield "There is no other latent row to compare it with."
        return
    n_paired = sum(paired.between(best, row) is not None for row in others)
    how = "in pairs on the same stars" if n_paired == len(others) else "partly by intervals alone"
    yield f"Better than {len(others) - len(unbeaten)} of the {len(others)} other latent rows beyond chance, {how}."
    ahead = [row for row in unbeaten if beats_clearly(row, best, paired)]
    even = [row for row in unbeaten if row not in ahead]
    if even:
        yield f"Cannot be told from {_named(best, even, paired)}."
    if ahead:
        yield f"On test it is behind {_named(best, ahead, paired)}, beyond chance."


def _named(best: Row, rows: Sequence[Row], paired: Judge) -> str:
    """The first rows in words with R2 and, where they were compared in pairs, what chance gives for the difference."""
    texts = []
    for row in rows[:NAMED]:
        pair = paired.between(row, best)
        judged = "" if pair is None else f", {pair.even_by}"
        texts.append(f"{row['name']} (R2 {number_text(row['test_r2'], DIGITS)}{judged})")
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return "; ".join(texts) + more


def _doubts(best: Row, paired: Comparisons) -> Iterator[str]:
    key = (best["label"], best["run_id"])
    if seeds := paired.seeds.get(key):
        spread = f"mean {seeds['mean']:.{DIGITS}f}, standard deviation {seeds['std']:.{DIGITS}f}"
        yield f"{len(seeds['runs'])} seeds: {spread}."
    if known := paired.selectivity_of(best):
        words = {"shuffled_labels": "shuffled labels", "random_encoder": "a random encoder"}
        yield (
            "R2 minus that of controls (0 where it is below): "
            + ", ".join(
                f"{words.get(n, n)} {estimate_text(above, DIGITS)}" for n, above in sorted(known.items())
            )
            + "."
        )
    if best["state"].startswith("stale"):
        yield f"Its feature stores are {best['state']}."
    if best["flags"]:
        yield f"Flags: {best['flags']}."
