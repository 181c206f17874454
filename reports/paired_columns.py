"""Columns of what rows are in pairs: how far behind the best and behind a latent row, and above their controls."""

from collections.abc import Iterator, Sequence

import pandas as pd

from .comparable import names_without_seed, plain_latents
from .comparisons import Comparisons, Judge
from .contest import competing, scored
from .paired import ALPHA, FEW, LEAST_EFFECTIVE, Paired, p_text
from .planned import among_latents, chosen_latent
from .render_markdown import estimate_text
from .rows import Row, rows_of
from .table import Cell, Column, Estimate
from .uncompared import MARK
from .verdict import DIGITS
from .vocabulary import LATENT

BEHIND = Column(key="behind", heading="behind the best, paired (95 % interval)")
BEHIND_LATENT = "behind_latent"
SELECTIVITY = Column(key="selectivity", heading="selectivity: shuffled / random")


def paired_columns(sets: Sequence[Sequence[Row]]) -> tuple[Column, ...]:
    """The columns on pairs and controls of tables with these test sets."""
    by_val = [latent["val_r2"] is not None for latent in map(_set_against, sets) if latent is not None]
    which = "latent row of val" if all(by_val) else "latent row best on test"
    if any(by_val) and not all(by_val):
        which = "latent row of val, or best on test without val scores"
    latent = Column(key=BEHIND_LATENT, heading=f"behind the {which}, paired (95 % interval)")
    return BEHIND, latent, SELECTIVITY


def _set_against(rows: Sequence[Row]) -> Row | None:
    """The latent row that val chooses, against which others of a test set are set where it is not the best row."""
    ranking = competing(rows)
    return chosen_latent(ranking) if ranking and ranking[0]["role"] != LATENT else None


def difference_text(pair: Paired) -> str:
    """A paired difference with its interval, p-value and what else keeps it from holding."""
    by = estimate_text(Estimate(pair.difference, pair.low, pair.high), DIGITS)
    few = f", {FEW}" if pair.on_few and pair.p <= ALPHA else ""
    return f"{by}, {p_text(pair.p)}{few}"


def _behind(reference: Row, rows: Sequence[Row], paired: Judge) -> dict[str, str]:
    """By run id, how far rows are behind another one, where the two were compared in pairs."""
    texts: dict[str, str] = {}
    for row in rows:
        pair = paired.between(reference, row)
        if pair is not None:
            texts[row["run_id"]] = difference_text(pair)
    return texts


def _mark(texts: dict[str, str], reference: Row, rows: Sequence[Row], paired: Comparisons) -> None:
    """Say of rows without a difference that they and the one they are set against were not compared."""
    if any(map(paired.holds, (reference, *rows))):
        for row in rows:
            if row["run_id"] not in texts and paired.takes(row):
                texts[row["run_id"]] = MARK


def paired_cells(sets: Sequence[Sequence[Row]], paired: Comparisons) -> dict[str, dict[str, Cell]]:
    """By run id, the cells of `paired_columns`: behind the best of the test set, behind a latent row, selectivity."""
    cells: dict[str, dict[str, Cell]] = {}
    for rows in sets:
        ranking, chosen = competing(rows), _set_against(rows)
        found = {SELECTIVITY.key: {row["run_id"]: _selectivity(row, paired) for row in scored(rows)}}
        if ranking:
            found[BEHIND.key] = _behind(ranking[0], ranking, paired)
            _mark(found[BEHIND.key], ranking[0], ranking[1:], paired)
        if chosen is not None:
            others = [row for row in ranking if row["role"] == LATENT and row is not chosen]
            found[BEHIND_LATENT] = {}
            for group in _families(others):
                found[BEHIND_LATENT] |= _behind(chosen, group, among_latents(chosen, group, paired))
            _mark(found[BEHIND_LATENT], chosen, others, paired)
        for key, texts in found.items():
            for run, text in texts.items():
                cells.setdefault(run, {})[key] = text
    return cells


def _families(latents: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Latent rows that are judged together: those that the page ranks, and those fed or tested otherwise."""
    ranked = plain_latents(latents)
    runs = {row["run_id"] for row in ranked}
    return ranked, [row for row in latents if row["run_id"] not in runs]


def _selectivity(row: Row, paired: Comparisons) -> str:
    """R2 minus those of the controls: shuffled labels, random encoder."""
    known = paired.selectivity_of(row)
    if not known:
        return ""
    return " / ".join(
        estimate_text(known[name], DIGITS) if name in known else "-"
        for name in ("shuffled_labels", "random_encoder")
    )


def _latent_notes(sets: Sequence[Sequence[Row]]) -> Iterator[str]:
    """What the column of the chosen latent row is: of test sets where val chose it, and of those where test did."""
    by_val = {latent["val_r2"] is not None for latent in map(_set_against, sets) if latent is not None}
    chance = "One not told apart from it may stand above or below it by chance."
    if True in by_val:
        yield (
            "Behind the latent row of val: the same from the latent row that val chooses (empty in its own line), for "
            f"latent rows, after Holm's correction for these alone, rows fed another error apart. {chance}"
        )
    if False in by_val:
        yield (
            "Behind the latent row best on test: no latent row has a val score, so test itself chose that row, and "
            f"Holm's correction is for all pairs compared. {chance}"
        )


def _some_of_older_version(sets: Sequence[Sequence[Row]], paired: Comparisons) -> bool:
    """Whether a pair that the column `behind the best` tells was compared without the stars that carry it."""
    rankings = filter(None, map(competing, sets))
    pairs = (paired.between(ranking[0], row) for ranking in rankings for row in ranking[1:])
    return any(pair is not None and pair.n_eff is None for pair in pairs)


def paired_notes(
    frame: pd.DataFrame, sets: Sequence[Sequence[Row]], *, columns: Sequence[Column], paired: Comparisons
) -> Iterator[str]:
    """What the columns on pairs and controls are, and the spread over seeds; `sets` are the test sets of the frame."""
    if BEHIND in columns:
        yield (
            "Behind the best: R2 of the best row of the test set minus that of this row, on the same stars, with the "
            "95 % interval of that one difference, and its sign-flip p-value after Holm's correction for all pairs "
            "compared. The two are told apart only where that p is at most 0.05, the interval leaves 0 out, and "
            f"{LEAST_EFFECTIVE} stars or more carry the difference: otherwise the next sample may have another."
        )
        if _some_of_older_version(sets, paired):
            yield (
                "Some pairs were compared by an older version, which did not tell how many stars carry a difference: "
                "python -m probes compare compares them anew."
            )
    for column in columns:
        if column.key == BEHIND_LATENT:
            yield from _latent_notes(sets)
    if SELECTIVITY in columns:
        yield (
            "Selectivity: R2 minus that of the same probe on labels shuffled among stars, and on a random encoder of "
            "the same shape; a control below 0 counts as 0. In brackets the 95 % interval of that difference on these "
            "stars; there is none to shuffled labels, which are other labels, and to controls below 0."
        )
    told: set[tuple[str, ...]] = set()
    names = names_without_seed(frame) if paired.seeds else {}
    for row in rows_of(frame[["label", "run_id"]]):
        seeds = paired.seeds.get((row["label"], row["run_id"]))
        if seeds is not None and tuple(seeds["runs"]) not in told:
            told.add(tuple(seeds["runs"]))
            yield (
                f"{names[row['run_id']]}, {len(seeds['runs'])} seeds: test R2 {seeds['mean']:.4f}, standard deviation "
                f"{seeds['std']:.4f}, from {seeds['lowest']:.4f} to {seeds['highest']:.4f}."
            )
