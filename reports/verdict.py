"""What the numbers say: which row wins, by how much, and whether a baseline beats the latents."""

from collections.abc import Iterator, Sequence

from cache.records import Record

from .audits import audit_of, said_by
from .comparable import plain_latents
from .comparisons import NOT_COMPARED, Comparisons, Judge
from .contest import Contest, above_zero, beats_clearly, competing, contest, r2_estimate, scored
from .paired import ALPHA, LEAST_EFFECTIVE
from .planned import Headline, chosen_on, headline_of
from .render_markdown import estimate_text
from .rows import Row
from .table import Estimate
from .vocabulary import ERROR_ONLY, LATENT, RANDOM_ENCODER, RAW_FLUX, SHUFFLED_LABELS

DIGITS = 3
BASELINES = (RAW_FLUX, ERROR_ONLY)
FAR_BELOW = -0.1
"""A score of shuffled labels whose whole interval is below this is no sound 0."""
PENALISED = ("ols", "ridge")
"""Heads that a larger penalty, chosen on val, makes less flexible."""
NO_RIVAL = "Clean flux is a reference without noise, no rival, and takes no part."


def scored_name(row: Row) -> str:
    """A row of `comparable_rows` in words with its test R2."""
    return f"{row['name']}, R2 {estimate_text(r2_estimate(row), DIGITS)}"


def best_note(sets: Sequence[Sequence[Row]], paired: Comparisons = NOT_COMPARED) -> Iterator[str]:
    """One sentence per test set of `comparable_rows` on what bold means there, or why nothing is bold."""
    for rows in sets:
        ranking = competing(rows)
        result = contest(ranking, paired)
        if result is None or result.rival is None:
            continue
        without = "" if len(ranking) == len(scored(rows)) else f" {NO_RIVAL}"
        if not result.clear:
            yield (
                f"Best, but not clear: {scored_name(result.best)}; {_not_cleared(result, paired)} "
                f"{scored_name(result.rival)}, so no row is bold.{without}"
            )
        elif result.n_paired:
            yield (
                f"Bold: {result.best['name']} is best, by the paired difference from {result.n_paired} of the "
                f"{len(ranking) - 1} other rows (p <= 0.05 after Holm, 0 outside the interval, and {LEAST_EFFECTIVE} "
                f"stars or more carry it) and by 95 % intervals from the rest.{without}"
            )
        else:
            yield (
                f"Bold: {result.best['name']} is best; its 95 % interval lies above that of every other row.{without}"
            )


def _not_cleared(result: Contest, paired: Comparisons) -> str:
    pair = None if result.rival is None else paired.between(result.best, result.rival)
    if pair is None:
        return "its 95 % interval does not clear that of"
    return f"in pairs ({pair.even_by}) it cannot be told from"


def verdicts(
    sets: Sequence[Sequence[Row]], paired: Comparisons = NOT_COMPARED, *, audits: Sequence[Record] = ()
) -> tuple[str, ...]:
    """Plain sentences on one label's rows, the test sets of `comparable_rows`; empty without scores.

    `audits` of the label answer for the error channel where one is of the test set.
    """
    return tuple(sentence for rows in sets for sentence in _verdict(rows, paired, audits))


def _verdict(rows: Sequence[Row], paired: Comparisons, audits: Sequence[Record]) -> Iterator[str]:
    ranking = competing(rows)
    result = contest(ranking, paired)
    if result is None:
        return
    latents = [row for row in ranking if row["role"] == LATENT]
    stale = sum(row["state"].startswith("stale") for row in ranking)
    if stale:
        yield (
            f"Careful: {stale} of the {len(ranking)} rows compared are stale (their stores are missing, changed or "
            "unreadable)."
        )
    yield f"{_setting(result.best)}: {scored_name(result.best)} {_margin(result)}."
    if latents:
        planned = headline_of(ranking, paired)
        assert planned is not None
        yield from _against_controls(planned, plain_latents(latents), paired, audits)
    else:
        yield "No latent row has a score here, so nothing can be said about the encoder."
    for role in (*BASELINES, RANDOM_ENCODER):
        if any(row["role"] == role for row in rows) and not any(row["role"] == role for row in ranking):
            yield f"{role} has no score here: its fit failed, so it takes no part in this."
    yield from _shuffled(ranking)


def _setting(row: Row) -> str:
    noise = "" if row["noise_level_test"] in (None, 1) else f", noise level {row['noise_level_test']:g}"
    return f"{row['label']}, test, {row['n_test']} stars, {row['data_kind']} data{noise}"


def _margin(result: Contest) -> str:
    if result.rival is None:
        return "is the only row with a score"
    if result.clear:
        return "wins, clear of every other row"
    if result.rival["test_r2"] > result.best["test_r2"]:
        return f"is the best row with true labels, but not above {scored_name(result.rival)}"
    return f"scores highest, but is not told apart from {scored_name(result.rival)}"


def _against_controls(
    planned: Headline, latents: Sequence[Row], paired: Comparisons, audits: Sequence[Record]
) -> Iterator[str]:
    """Of the latent row that val chooses: the best of many on test owes part of its score to the choice."""
    latent, family = planned.latent, planned.family
    best = _which(latent, latents)
    baselines = [row for row in planned.controls.values() if row["role"] in BASELINES]
    winners = [row for row in baselines if beats_clearly(row, latent, family)]
    even = [row for row in baselines if row not in winners and not beats_clearly(latent, row, family)]
    for rows, verb in ((winners, "is beaten by"), (even, "is not told apart from")):
        if rows:
            each = [f"{scored_name(row)} ({_apart(latent, row, family)})" for row in rows]
            joined = f" and {verb.split()[-1]} ".join(each)
            yield f"The {best}, {scored_name(latent)}, {verb} {joined}."
    beaten = {
        kind: row
        for kind, row in planned.controls.items()
        if row in baselines and not winners and not even and kind not in planned.ahead
    }
    if beaten:
        closest = scored(list(beaten.values()))[0]
        yield (
            f"The {best}, {scored_name(latent)}, beats {' and '.join(map(planned.told, beaten))}; "
            f"the closest is {scored_name(closest)} ({_difference(latent, closest, family)})."
        )
    for row in planned.ahead.values():
        yield f"Another row beats the {best}: {scored_name(row)} ({_difference(row, latent, paired)})."
    yield from _by_the_error(planned, alike=[*winners, *even], audits=audits)
    told = [*winners, *even, *beaten.values()]
    others = [_set_against(row, kind, planned) for kind, row in planned.controls.items() if row not in told]
    if others:
        yield f"The {best}{'' if told else f', {scored_name(latent)},'} is {'; '.join(others)}."


def _which(latent: Row, latents: Sequence[Row]) -> str:
    """Which of the latent rows is spoken of, in words."""
    if len(latents) == 1:
        return "only latent row"
    if latent["val_r2"] is None:
        return f"latent row best on test for lack of val scores (of {len(latents)})"
    levels = {row["noise_level_val"] for row in latents if row["val_r2"] is not None} - {None}
    level = (
        ""
        if len(levels) < 2 or latent["noise_level_val"] is None
        else f" at noise level {latent['noise_level_val']:g}"
    )
    return f"latent row best on val{level} (of {len(latents)})"


def _by_the_error(planned: Headline, *, alike: Sequence[Row], audits: Sequence[Record]) -> Iterator[str]:
    """What the error alone leaves open of the latents; `alike` are the baselines that they do not beat."""
    latent, alone = planned.latent, planned.controls.get(ERROR_ONLY)
    as_much = alone in alike or ERROR_ONLY in planned.ahead
    if alone is not None and (as_much or above_zero(alone)):
        part = "what" if as_much else "part of what"
        may = f"So {part} the latents know of {latent['label']} may have come through the error channel"
        audit = audit_of(audits, latent)
        yield (
            f"{may}; make audit asks whether it did." if audit is None else f"{may}. {said_by(audit, latent)}"
        )


def _set_against(control: Row, kind: str, planned: Headline) -> str:
    latent, family = planned.latent, planned.family
    above, below = beats_clearly(latent, control, family), beats_clearly(control, latent, family)
    word = "above" if above else "below" if below else "not told apart from"
    who = f"{planned.told(kind)}, " if kind in planned.ahead and planned.numbers[kind] > 1 else ""
    if control["role"] == RANDOM_ENCODER:
        who = f"the row of an untrained encoder best on {chosen_on(control)}, "
    return f"{word} {who}{scored_name(control)} ({_apart(latent, control, family)})"


def _shuffled(ranking: Sequence[Row]) -> Iterator[str]:
    rows = [row for row in ranking if row["role"] == SHUFFLED_LABELS]
    if not rows:
        return
    worst = max(rows, key=lambda row: row["test_r2"] if row["test_r2_lo"] is None else row["test_r2_lo"])
    low = worst["test_r2_lo"]
    if low is None:
        yield f"Shuffled labels reach {scored_name(worst)}; it has no interval to judge it by."
    elif low <= 0:
        yield (
            f"Shuffled labels are compatible with 0 or below, as they must be: {scored_name(worst)}."
            f"{_far_below(rows, worst)}"
        )
    else:
        yield f"Shuffled labels are above 0, which a sound set-up cannot give: {scored_name(worst)}. Look for a leak."


def _far_below(rows: Sequence[Row], named: Row) -> str:
    """Say so where a fit to shuffled labels is far worse than the mean: what it learns is mostly noise."""
    row = min(
        (row for row in rows if row["test_r2_hi"] is not None), key=lambda row: float(row["test_r2_hi"])
    )
    if row["test_r2_hi"] >= FAR_BELOW:
        return ""
    penalised = row["head"] in PENALISED and row["selection"] != "val_r2"
    cure = (
        "a larger penalty (ridge with alpha=val) helps" if penalised else "more stars or a simpler head help"
    )
    who = "It" if row is named else scored_name(row)
    return f" {who} is far below 0: the fit is too flexible for {row['n_train']} train stars; {cure}."


def _apart(row: Row, other: Row, paired: Judge) -> str:
    """By how much the better of two rows is better; which one that is is said where chance may have chosen it."""
    upper, lower = scored([row, other])
    text = _difference(upper, lower, paired)
    return (
        text if beats_clearly(upper, lower, paired) else f"{'below' if upper is other else 'above'} it {text}"
    )


def _difference(upper: Row, lower: Row, paired: Judge) -> str:
    """By how much `upper` is better, and whether that can be told from noise."""
    pair = paired.between(upper, lower)
    if pair is not None:
        by = estimate_text(Estimate(pair.difference, pair.low, pair.high), DIGITS)
        corrected = " once corrected" if pair.p > ALPHA else ""
        judged = "paired" if pair.holds else f"paired, not beyond chance{corrected}"
        return f"by {by}, {judged}: {pair.even_by} over {pair.others}"
    by = f"by {upper['test_r2'] - lower['test_r2']:.{DIGITS}f}"
    if beats_clearly(upper, lower):
        return f"{by}, beyond both 95 % intervals"
    if upper["test_r2_lo"] is None or lower["test_r2_hi"] is None:
        return f"{by}, without intervals to judge it by"
    return f"{by}, not clear: the 95 % intervals overlap"
