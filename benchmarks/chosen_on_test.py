"""How often a verdict on equal rows is false, by what chose the latent row: val, or test for lack of val scores.

Every set has 500 test stars, and latent rows, one row of flux and one of the error alone, all of R2 0.5; errors are
normal and share 70 % of their variance. All pairs are compared as `probes compare` does, then `reports.planned` judges
the latent row against flux and error. A verdict is false where it is said to beat one of them, or to be beaten.
`as planned` judges the row that test chose as if val had chosen it: what reports did before.

Prints machine, versions and a table; about seven minutes on one core. `--sets 20` for a quick look.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from simulated.telling import flags_of, tell

from probes.paired import PairedTable, paired_table
from probes.statistics import PAIRED_METHOD, Resamples
from reports.comparisons import Comparisons, Judge, Pairs
from reports.contest import beats_clearly
from reports.planned import CONTRASTS, Headline, family_of, headline_of
from reports.rows import Row
from reports.vocabulary import ERROR_ONLY, LATENT, RAW_FLUX

LABEL = "y"
N_STARS = 500
R2, SHARED = 0.5, 0.7
CONTROLS = (RAW_FLUX, ERROR_ONLY)
RULES = ("val", "test, over all pairs", "test, as planned")


def compared(rng: np.random.Generator, n_rows: int) -> tuple[np.ndarray[Any, Any], PairedTable]:
    """Test R2 of rows whose true R2 is the same, and all their pairs."""
    y = rng.uniform(-np.sqrt(3), np.sqrt(3), N_STARS)
    own, common = rng.standard_normal((N_STARS, n_rows)), rng.standard_normal((N_STARS, 1))
    errors = np.sqrt(1 - R2) * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own)
    r2 = 1 - (errors**2).sum(axis=0) / ((y - y.mean()) ** 2).sum()
    return r2, paired_table(Resamples(np.arange(N_STARS)), y, y[:, None] + errors)


def row_of(role: str, place: int, r2: float, val_r2: float | None) -> Row:
    """As much of a row as verdicts ask for; it is judged in pairs, so its own interval is left out."""
    settings = {"training": "", "error_input": "true", "cross": "", "pca": ""}
    levels = {"noise_level_val": 1.0, "noise_level_test": 1.0}
    scores = {"test_r2": r2, "test_r2_lo": None, "test_r2_hi": None, "val_r2": val_r2}
    return {"role": role, "label": LABEL, "run_id": f"{place:03}", **settings, **levels, **scores}


def comparisons(rows: Sequence[Row], table: PairedTable) -> Comparisons:
    """What reports know of a comparison of these rows."""
    runs = [row["run_id"] for row in rows]
    low, high = zip(*(interval.as_list() for interval in table.intervals), strict=True)
    numbers: Mapping[str, Sequence[float | None]] = {
        "difference": table.difference.tolist(),
        "lo": low,
        "hi": high,
        "p_holm": table.p_holm.tolist(),
    }
    pairs = Pairs(
        label=LABEL,
        order={run: place for place, run in enumerate(runs)},
        same=frozenset(runs),
        numbers=numbers,
        p_alone=table.p.tolist(),
        n_eff=table.n_eff.tolist(),
    )
    return Comparisons((pairs,))


def is_false(found: Headline, judge: Judge) -> bool:
    """Whether the latent row is said to differ from a control, which none does."""
    return any(
        beats_clearly(found.latent, row, judge) or beats_clearly(row, found.latent, judge)
        for row in found.controls.values()
    )


def false_verdicts(n_latents: int, n_sets: int) -> dict[str, float]:
    """Share of sets with a false verdict, by RULES."""
    wrong = dict.fromkeys(RULES, 0)
    roles = [LATENT] * n_latents + list(CONTROLS)
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, 9])
        r2, table = compared(rng, len(roles))
        val = rng.standard_normal(len(roles)).tolist()
        for rule in RULES:
            scores: Sequence[float | None] = val if rule == "val" else [None] * len(roles)
            rows = [row_of(roles[k], k, float(r2[k]), scores[k]) for k in range(len(roles))]
            paired = comparisons(rows, table)
            found = headline_of(rows, paired)
            assert found is not None
            judge = found.family
            if rule == "test, as planned":
                judge = family_of(found.latent, tuple(found.controls.values()), paired, of=CONTRASTS)
            wrong[rule] += is_false(found, judge)
    return {rule: count / n_sets for rule, count in wrong.items()}


def lines(n_sets: int) -> Iterator[str]:
    yield f"pairs: {PAIRED_METHOD}"
    yield f"false verdicts in % of {n_sets} sets with seeds [k, 9], k from 0; {N_STARS} stars, R2 {R2} of all rows"
    yield f"| latent rows | {' | '.join(f'chosen on {rule}' for rule in RULES)} |"
    yield f"| ---: |{' ---: |' * len(RULES)}"
    for n_latents in (6, 36):
        shares = " | ".join(f"{100 * share:.1f}" for share in false_verdicts(n_latents, n_sets).values())
        yield f"| {n_latents} | {shares} |"


def main() -> None:
    tell(lines(flags_of(__doc__, n_sets=400, what="data sets of each line").parse_args().sets))


if __name__ == "__main__":
    main()
