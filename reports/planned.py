"""Contrasts of one row with few others, planned before test was looked at, and judged for themselves alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .columns import FINE_TUNED
from .comparable import best_on_val, plain, plain_latents
from .comparisons import NOT_COMPARED, Comparisons, Paired
from .contest import scored
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

    `by_val`: whether there was a val score to choose the latent row by; else test chose it. `controls` are by kind, in
    order of KINDS; `family` judges each of them against the latent row.
    """

    latent: Row
    by_val: bool
    controls: Mapping[str, Row]
    family: Family


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
    controls = {kind: best for kind, there in kinds.items() if (best := chosen(plain(there))) is not None}
    return Headline(
        latent=latent,
        by_val=latent["val_r2"] is not None,
        controls=controls,
        family=family_of(latent, tuple(controls.values()), paired, of=CONTRASTS),
    )


def chosen(rows: Sequence[Row]) -> Row | None:
    """Of scored rows that with the highest val R2, or the highest test R2 where none has one; None without any."""
    by_test = sorted(rows, key=lambda row: (-float(row["test_r2"]), str(row["run_id"])))
    return best_on_val(rows) or next(iter(by_test), None)


def chosen_latent(rows: Sequence[Row]) -> Row | None:
    """The plain latent row that val chooses, by test where none has a val score; None without a scored one."""
    return chosen(plain_latents(scored(rows)))


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
