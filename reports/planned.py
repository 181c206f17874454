"""Contrasts of one row with few others, judged for themselves alone where they were planned before test was seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .columns import FINE_TUNED
from .comparable import best_on_val, plain, plain_latents
from .comparisons import NOT_COMPARED, Comparisons, Judge
from .contest import beats_clearly, scored
from .paired import Paired
from .rows import Row
from .vocabulary import DENOISED, ERROR_ONLY, LATENT, MEAN_PREDICTOR, RANDOM_ENCODER, RAW_FLUX

CONTRASTS = "planned contrasts"
LATENT_ROWS = "latent rows"
FLUX_PCA = "PCA of the raw noisy flux"
TRAINED_ALONG = "fine-tuned encoder"
KINDS = (RAW_FLUX, FLUX_PCA, ERROR_ONLY, DENOISED, RANDOM_ENCODER, MEAN_PREDICTOR, TRAINED_ALONG)
"""What the latent row is set against. Shuffled labels are other labels, so they are judged against 0 instead."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Paired differences of one row and several others, with Holm's correction over these alone."""

    run: str
    """Run id of the one row."""
    pairs: Mapping[str, Paired]
    """The one row minus each other row that it was compared with, by run id of the other."""

    def between(self, row: Row, other: Row) -> Paired | None:
        """The paired difference of the one row and another, either way; None where it is no contrast of the family."""
        if row["run_id"] == self.run:
            return self.pairs.get(other["run_id"])
        found = self.pairs.get(row["run_id"]) if other["run_id"] == self.run else None
        return None if found is None else found.reversed()


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The latent row that val chooses, and the row of each kind of control that val chooses.

    `controls` are by kind, in order of KINDS, and `numbers` of how many rows each was chosen. `family` judges the
    controls against the latent row: as planned contrasts, for themselves, where test chose none of these rows, each
    being chosen by val or the only one; else over all pairs. `ahead` is, of each kind whose control does not beat the
    latent row, the best row that does so over all pairs, where there is one.
    """

    latent: Row
    controls: Mapping[str, Row]
    numbers: Mapping[str, int]
    family: Judge
    ahead: Mapping[str, Row]

    def told(self, kind: str) -> str:
        """What stands for a kind, in words: itself if it is one row, else the row that was chosen."""
        if self.numbers[kind] == 1:
            return kind
        return f"the row of {kind} best on {chosen_on(self.controls[kind])}"


def headline_of(rows: Sequence[Row], paired: Comparisons = NOT_COMPARED) -> Headline | None:
    """The planned contrasts of rows of one test set; None without a scored latent row."""
    latent = chosen_latent(rows)
    if latent is None:
        return None
    kinds: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    for row in scored(rows):
        if row is not latent and (kind := _kind(row)) in kinds:
            kinds[kind].append(row)
    if latent["training"] == FINE_TUNED:
        del kinds[TRAINED_ALONG]
    rivals = {kind: plain(there) for kind, there in kinds.items() if there}
    controls = {kind: best for kind, there in rivals.items() if (best := chosen(there)) is not None}
    choices = [(latent, plain_latents(rows)), *((controls[kind], rivals[kind]) for kind in controls)]
    by_val = all(len(there) == 1 or row["val_r2"] is not None for row, there in choices)
    family = family_of(latent, tuple(controls.values()), paired, of=CONTRASTS) if by_val else paired
    return Headline(
        latent=latent,
        controls=controls,
        numbers={kind: len(there) for kind, there in rivals.items()},
        family=family,
        ahead={
            kind: first
            for kind, control in controls.items()
            if not beats_clearly(control, latent, family)
            and (first := _first_ahead(kinds[kind], latent, paired)) is not None
        },
    )


def _first_ahead(rows: Sequence[Row], latent: Row, paired: Comparisons) -> Row | None:
    """The highest of scored rows that beats the latent row over all pairs."""
    return next((row for row in scored(rows) if beats_clearly(row, latent, paired)), None)


def chosen_on(*rows: Row) -> str:
    """On what `chosen` chose these rows, in words."""
    by_test = [row["val_r2"] is None for row in rows]
    if any(by_test):
        return "test" if all(by_test) else "val (on test without val scores)"
    return "val"


def chosen(rows: Sequence[Row]) -> Row | None:
    """Of scored rows that with the highest val R2, or the highest test R2 where none has one; None without any."""
    by_test = sorted(rows, key=lambda row: (-float(row["test_r2"]), str(row["run_id"])))
    return best_on_val(rows) or next(iter(by_test), None)


def chosen_latent(rows: Sequence[Row]) -> Row | None:
    """The plain latent row that val chooses, by test where none has a val score; None without a scored one."""
    return chosen(plain_latents(scored(rows)))


def among_latents(latent: Row, others: Sequence[Row], paired: Comparisons) -> Judge:
    """What judges the chosen latent row against others: a family of these, or all pairs where test chose it."""
    return paired if latent["val_r2"] is None else family_of(latent, others, paired, of=LATENT_ROWS)


def family_of(row: Row, others: Sequence[Row], paired: Comparisons, *, of: str) -> Family:
    """The contrasts of a row with others, after Holm over all of them; `of` is what they are, in words.

    Those that were never compared in pairs count, as if their p-value were 1.
    """
    pairs = {other["run_id"]: pair for other in others if (pair := paired.between(row, other)) is not None}
    adjusted = holm([pair.p_alone for pair in pairs.values()], n=len(others))
    return Family(
        run=row["run_id"],
        pairs={
            run: replace(pair, p=p, n_pairs=len(others), of=of)
            for (run, pair), p in zip(pairs.items(), adjusted, strict=True)
        },
    )


def holm(p: Sequence[float], *, n: int) -> list[float]:
    """P-values that hold for n hypotheses at once, after Holm (1979), of those known; the others are taken for 1."""
    adjusted, most = [1.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
        most = max(most, (n - rank) * p[at])
        adjusted[at] = min(1.0, most)
    return adjusted


def _kind(row: Row) -> str:
    if row["role"] == RAW_FLUX and row["pca"]:
        return FLUX_PCA
    if row["role"] == LATENT:
        return TRAINED_ALONG if row["training"] == FINE_TUNED else LATENT
    return str(row["role"])
