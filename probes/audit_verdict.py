"""What an audit comes to: is the score a shortcut through the error channel, by stated rules, in plain words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

NEEDED = 0.1
"""Part of a score that must need the true error before it is called a shortcut; less is none."""
COUNTS = 0.1
"""Part of the label's variance below which a residual that nothing predicts proves little."""

Answer = Literal["yes", "no", "unclear"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """R2 on test with its 95 % interval; ends are None where there is none."""

    r2: float
    lo: float | None
    hi: float | None

    def above_zero(self) -> bool:
        """Whether the whole interval is."""
        return self.lo is not None and self.lo > 0

    def holds_zero(self) -> bool:
        """Whether there is an interval and it does."""
        return self.lo is not None and self.hi is not None and self.lo <= 0 <= self.hi

    def ends_below(self, bar: float) -> bool:
        """Whether there is an interval and it does not reach above."""
        return self.hi is not None and self.hi <= bar

    def text(self) -> str:
        """As sentences have it."""
        return f"R2 {self.r2:.3f}" + ("" if self.lo is None else f" [{self.lo:.3f}, {self.hi:.3f}]")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Of features fed another error input: their score, and what it is of the score with the true error.

    `difference_hi` is the upper end of R2 minus that with the true error. Shares are None where that score is not
    clearly above 0.
    """

    error_input: str
    score: Score
    difference_hi: float | None
    share: float | None
    share_lo: float | None
    share_hi: float | None

    def text(self) -> str:
        """Share in per cent, with its interval."""
        if self.share is None:
            return self.score.text()
        span = "" if self.share_lo is None else f" [{percent(self.share_lo)}, {percent(self.share_hi)}]"
        return f"{percent(self.share)} %{span}"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the verdict rests on.

    `error_alone` is what the head of the audit finds in the error, `error_by_ridge` what ridge with alpha=val finds
    there (the same where it is the head; None without val). `left` is the part of the label's variance that the head
    leaves, on test.
    """

    label: str
    true: Score
    error_alone: Score
    error_by_ridge: Score | None
    left: float
    flux_on_residual: Score
    latent_on_residual: Score
    refit: Sequence[Kept]
    apply: Sequence[Kept]

    def beside(self) -> bool:
        """Whether ridge was fitted to the error beside the head."""
        return self.error_by_ridge not in {None, self.error_alone}

    def most_found(self) -> Score:
        """The better of what head and ridge find in the error."""
        found = [score for score in (self.error_alone, self.error_by_ridge) if score is not None]
        return max(found, key=lambda score: score.r2)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`shortcut` is the answer, `headline` one sentence, `words` the sentences that weigh the rest."""

    shortcut: Answer
    headline: str
    words: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """As the record holds it."""
        return {"shortcut": self.shortcut, "headline": self.headline, "words": list(self.words)}


def judged(evidence: Evidence) -> Verdict:
    """The verdict by these rules, the first that applies; intervals are of 95 %, shares those of refits.

    1. The score with the true error is not clearly above 0: unclear, there is nothing to judge.
    2. Of what the head and ridge with alpha=val find in the error alone, the interval of the better holds 0 and ends
       below NEEDED of the score: no. Without val, so without that ridge, this rule is passed over.
    3. Some share lies wholly above 1 - NEEDED: no.
    4. Every share lies wholly below 1 - NEEDED: yes; but unclear where the best refit has lost more, by its interval,
       than the better of the two finds in the error alone: then the network has been harmed by what it was fed.
    5. Anything else: unclear.
    """
    shortcut, headline, rule = _answer(evidence)
    return Verdict(shortcut=shortcut, headline=headline, words=[*_weighed(evidence), rule])


def _answer(found: Evidence) -> tuple[Answer, str, str]:
    """Answer, headline, and the rule in words."""
    label, alone, bar = found.label, found.most_found(), 1 - NEEDED
    best = max(found.refit, key=lambda kept: kept.score.r2)
    survives = f"{best.text()} of the R2 of {label} survives without the true error (fed {best.error_input}, refitted)"
    leans = _leaning(found)
    if not found.true.above_zero():
        return (
            "unclear",
            f"Nothing to judge: the latents give {found.true.text()} of {label}, not clearly above 0.",
            "Rule 1: a score that is not clearly above 0 can be no shortcut, and none is shown to be absent.",
        )
    if found.error_by_ridge is not None and alone.holds_zero() and alone.ends_below(NEEDED * found.true.r2):
        finds = "neither this head nor ridge finds anything" if found.beside() else "this head finds nothing"
        return (
            "no",
            f"No shortcut to take: {finds} of {label} in the error alone, {alone.text()}.",
            f"Rule 2: the interval of what is found there holds 0 and ends below {percent(NEEDED)} % of the score.",
        )
    if any(kept.share_lo is not None and kept.share_lo > bar for kept in found.refit):
        return (
            "no",
            f"No shortcut: {survives}{leans}.",
            f"Rule 3: a share of more than {percent(bar)} % survives, by its interval.",
        )
    if all(kept.share_hi is not None and kept.share_hi < bar for kept in found.refit):
        lost = 0.0 if best.difference_hi is None else -best.difference_hi
        if alone.hi is not None and lost > alone.hi:
            return (
                "unclear",
                f"Unclear: {survives}, but more is lost than is found in the error alone ({alone.text()}).",
                "Rule 4: the network was harmed by what it was fed, so the loss does not tell a shortcut.",
            )
        return (
            "yes",
            f"Shortcut: at best {survives}.",
            f"Rule 4: whatever is fed, less than {percent(bar)} % of the score survives, by the intervals.",
        )
    some = all(kept.difference_hi is not None and kept.difference_hi < 0 for kept in found.refit)
    certain = (
        "every refit is below the score, by its interval, so some of it needs the true error; "
        if some
        else ""
    )
    rule = (
        f"Rule 5: {certain}whether more than {percent(NEEDED)} % does is open; more test stars would decide."
    )
    return "unclear", f"Unclear: at best {survives}.", rule


def _leaning(found: Evidence) -> str:
    """What a headline that says no must add: the features do without the error, but the probe as it is does not.

    Judged on shuffled errors where there are, since each of them is one that the network knows; it is just not the
    star's.
    """
    applied = {kept.error_input: kept for kept in found.apply}
    kept = applied.get("shuffled", found.apply[0])
    if kept.share_hi is None or kept.share_hi >= 1 - NEEDED:
        return ""
    return f"; but the probe of the true error leans on it: applied to {kept.error_input} errors it keeps {kept.text()}"


def _weighed(found: Evidence) -> Iterator[str]:
    label, alone = found.label, found.error_alone
    ridge = f", ridge {found.error_by_ridge.text()}" if found.error_by_ridge and found.beside() else ""
    yield f"The latents give {found.true.text()} of {label}; this head finds {alone.text()} in the error alone{ridge}."
    residual = (
        f"What this head finds in the error leaves {percent(found.left)} % of the variance of {label}. "
        f"Of that part the flux tells {found.flux_on_residual.text()}, the latents {found.latent_on_residual.text()}"
    )
    if found.left < COUNTS:
        yield f"{residual}: so small a part says little either way, and the verdict does not rest on it."
    elif not alone.above_zero():
        yield f"{residual}: with nothing clear found in the error, that is the label again and tells nothing new."
    elif found.latent_on_residual.above_zero():
        yield f"{residual}: they know something that this head does not find in the error."
    else:
        yield f"{residual}: nothing clear that this head does not find in the error."
    shares = "; ".join(f"{kept.error_input} {kept.text()}" for kept in found.refit)
    yield f"Of the score survives, with the probe fitted anew to latents fed something else: {shares}."
    applied = "; ".join(f"{kept.error_input} {kept.score.r2:.3g}" for kept in found.apply)
    yield (
        f"The probe of the true error, applied as it is, has R2 {applied}: what is missing there is what it leans on, "
        "and what inputs that the network has never seen do to it."
    )


def percent(part: float | None) -> str:
    """A part of 1 in per cent, two digits or all before the point; '-' for None."""
    return "-" if part is None else f"{100 * part:.0f}" if abs(part) >= 0.0995 else f"{100 * part:.2g}"


def score_of(row: Mapping[str, Any]) -> Score:
    """The score of a row of a record."""
    return Score(r2=row["r2"], lo=row["interval"][0], hi=row["interval"][1])
