"""How often 95 % intervals cover the truth, how often the paired test rejects without and with a difference.

Draws data sets whose true scores are known: labels with a spread of 1, predictions with R2 0.55 and 0.50 whose errors
correlate by 0.7. Stars have one row each, or one to five rows with a common error (clustered); labels and errors are
normal, or uniform and Student's t with 5 degrees of freedom (heavy). For every set the intervals of all scores and of
the paired difference are made as records and comparisons have them: 1000 resamples. Under the null both predictions
have R2 0.55; the power is that for R2 0.55 against 0.52 on 10,000 stars.

Contaminated sets show the limits: errors are normal, but for a small share of stars that has a large share of the
squared error. There only the first prediction is, so that the pair has one R2 and not one shape.

Edge: the mean of four times as many train stars, and nearly that, of normal labels and of labels that half of the stars
lack and have -999 for. There R2 is near the most that it can be, and its standard error nearly vanishes.

Prints machine, versions and a table; about six minutes on one core. `--sets 50` for a quick look.
"""

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace

import numpy as np
from simulated.data_sets import CASES, CONTAMINATED, R2, WORSE, Case, data_set
from simulated.telling import flags_of, tell

from probes.carried import LEAST_EFFECTIVE, doubts
from probes.flips import flip_values
from probes.metrics import METRICS
from probes.paired import paired_table
from probes.statistics import INTERVAL_METHOD, PAIRED_METHOD, Resamples, intervals_on

FOUND = 0.52
TRUTH_ROWS = 4_000_000
SCORES = (*METRICS, "difference")


def truth(case: Case) -> dict[str, float]:
    """Scores of prediction a, exact where they are moments, of TRUTH_ROWS rows where they are medians or means."""
    many = replace(case, n_stars=TRUTH_ROWS // (3 if case.clustered else 1))
    drawn = data_set(many, np.random.default_rng(12345), r2_b=WORSE)
    exact = {"r2": R2, "rmse": math.sqrt(1 - R2), "bias": 0.0, "bias_median": 0.0, "difference": R2 - WORSE}
    sampled = {name: METRICS[name](drawn.y, drawn.a) for name in ("mae", "sigma_mad")}
    return exact | sampled


def covered(case: Case, n_sets: int) -> dict[str, tuple[float, float, float]]:
    """By score: share of sets whose interval covers the truth, lies above it, and lies below it."""
    true = truth(case)
    above, below = dict.fromkeys(SCORES, 0), dict.fromkeys(SCORES, 0)
    for seed in range(n_sets):
        drawn = data_set(case, np.random.default_rng([seed, 1]), r2_b=WORSE)
        resamples = Resamples(drawn.stars)
        found = intervals_on(resamples, drawn.y, drawn.a)[0]
        pair = paired_table(resamples, drawn.y, np.stack([drawn.a, drawn.b], axis=1), n_flips=1)
        for name, interval in (found | {"difference": pair.intervals[0]}).items():
            above[name] += interval.lo > true[name]
            below[name] += interval.hi < true[name]
    return {
        name: (1 - (above[name] + below[name]) / n_sets, above[name] / n_sets, below[name] / n_sets)
        for name in SCORES
    }


def rejected(case: Case, n_sets: int, *, r2_b: float, n_flips: int) -> float:
    """Share of sets in which the paired test has p <= 0.05."""
    hits = 0
    for seed in range(n_sets):
        drawn = data_set(case, np.random.default_rng([seed, 2]), r2_b=r2_b)
        squared = np.stack([(drawn.a - drawn.y) ** 2, (drawn.b - drawn.y) ** 2], axis=1)
        hits += int(flip_values(Resamples(drawn.stars).star_sums(squared), n_flips=n_flips)[0] <= 0.05)
    return hits / n_sets


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of many sets, in which nothing differs but the shape of the errors: shares of them."""

    covered: float
    flagged: float
    covered_unflagged: float
    rejected: float
    held: float
    """By p and interval alone."""
    held_by_many: float
    """And by no fewer than LEAST_EFFECTIVE stars, as comparisons judge."""


def limits(case: Case, n_sets: int, *, n_flips: int) -> Limits:
    """What contamination does to the interval of R2 and to a pair of equal R2; Holm corrects nothing in one pair."""
    found = []
    for seed in range(n_sets):
        drawn = data_set(case, np.random.default_rng([seed, 4]), r2_b=R2)
        resamples = Resamples(drawn.stars)
        interval = intervals_on(resamples, drawn.y, drawn.a, scores=("r2",))[0]["r2"]
        pair = paired_table(resamples, drawn.y, np.stack([drawn.a, drawn.b], axis=1), n_flips=n_flips)
        low, high = pair.intervals[0].as_list()
        rejects = pair.p[0] <= 0.05
        holds = rejects and (low > 0 or high < 0)
        flagged = any(doubts(("y",), drawn.y[:, None], drawn.a[:, None], stars=drawn.stars))
        many = pair.n_eff[0] >= LEAST_EFFECTIVE
        found.append((interval.lo <= R2 <= interval.hi, flagged, rejects, holds, holds and many))
    covers, flagged, rejects, holds, guarded = np.array(found, dtype=bool).T
    return Limits(
        covered=covers.mean(),
        flagged=flagged.mean(),
        covered_unflagged=covers[~flagged].mean(),
        rejected=rejects.mean(),
        held=holds.mean(),
        held_by_many=guarded.mean(),
    )


def lines_of_limits(n_sets: int) -> Iterator[str]:
    yield "limits, in %: R2 0.55 twice; one pair, 999 flips; sets have seeds [k, 4]"
    yield "| data sets | n | R2 covered | flagged | covered, unflagged | p <= 0.05 | and interval | and n_eff |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for case in (CASES[0], CASES[2], Case(n_stars=100), Case(n_stars=50), *CONTAMINATED):
        n = max(1, int(min(case.share, 0.25) * n_sets))
        shares = " | ".join(f"{100 * share:.1f}" for share in astuple(limits(case, n, n_flips=999)))
        yield f"| {case.name} | {n} | {shares} |"


FLAG = -999.0
SCATTERS = {"the mean of train": 0.0, "the same with scatter of 0.02 of the labels'": 0.02}


def edge_labels(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,): normal, or FLAG for half of the stars and uniform for the others."""
    if kind == "normal":
        return rng.standard_normal(n)
    return np.where(rng.random(n) < 0.5, FLAG, rng.uniform(-0.5, 0.5, n))


def lines_of_edge(n_sets: int) -> Iterator[str]:
    yield "edge: R2 of constants and nearly constants, coverage in %; sets have seeds [k, 5]"
    yield "| labels | prediction | stars | n | R2 covered | lowest lower end | highest upper end |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    moments = {"normal": (0.0, 1.0), "half -999": (FLAG / 2, math.sqrt(FLAG**2 / 4 + 1 / 24))}
    for kind, (mean, spread) in moments.items():
        for words, scatter in SCATTERS.items():
            for n_stars in (50, 100, 1000):
                ends, covers = [], 0
                for seed in range(n_sets):
                    rng = np.random.default_rng([seed, 5])
                    y, constant = edge_labels(kind, n_stars, rng), edge_labels(kind, 4 * n_stars, rng).mean()
                    y_hat = constant + scatter * spread * rng.standard_normal(n_stars)
                    (found,) = intervals_on(Resamples(np.arange(n_stars)), y, y_hat, scores=("r2",))
                    low, high = found["r2"].as_list()
                    covers += low <= -(((constant - mean) / spread) ** 2 + scatter**2) <= high
                    ends.append((low, high))
                told = f"{min(low for low, _ in ends):.2f} | {max(high for _, high in ends):.3f}"
                yield f"| {kind} | {words} | {n_stars} | {n_sets} | {100 * covers / n_sets:.1f} | {told} |"


def lines(n_sets: int) -> Iterator[str]:
    yield f"intervals: {INTERVAL_METHOD}"
    yield f"pairs: {PAIRED_METHOD}"
    yield ""
    yield "coverage in % (interval above the truth, below it); sets have seeds [k, 1], k from 0"
    yield f"| data sets | n | {' | '.join(SCORES)} |"
    yield f"| --- | ---: |{' ---: |' * len(SCORES)}"
    for case in CASES:
        n = max(1, int(case.share * n_sets))
        cells = [f"{100 * c:.1f} ({100 * hi:.1f}, {100 * lo:.1f})" for c, hi, lo in covered(case, n).values()]
        yield f"| {case.name} | {n} | {' | '.join(cells)} |"
    yield ""
    yield "paired test, rejections at 5 % in % (sets have seeds [k, 2]; 999 flips)"
    yield "| data sets | n | R2 0.55 and 0.55 |\n| --- | ---: | ---: |"
    for case in CASES[:4]:
        yield f"| {case.name} | {n_sets} | {100 * rejected(case, n_sets, r2_b=R2, n_flips=999):.1f} |"
    yield ""
    yield from lines_of_limits(n_sets)
    yield ""
    yield from lines_of_edge(max(1, n_sets // 4))
    yield ""
    power, n = Case(n_stars=10_000), max(1, n_sets // 20)
    share = rejected(power, n, r2_b=FOUND, n_flips=399)
    yield f"R2 0.55 and 0.52, 10000 stars: found in {100 * share:.0f} % of {n} sets"


def main() -> None:
    parser = flags_of(__doc__, n_sets=2000, what="data sets of the small cases")
    parser.add_argument(
        "--limits", action="store_true", help="only the contaminated sets, about three minutes"
    )
    parser.add_argument(
        "--edge", action="store_true", help="only constants and nearly constants, a quarter of the sets"
    )
    flags = parser.parse_args()
    told = lines_of_limits if flags.limits else lines
    tell(lines_of_edge(max(1, flags.sets // 4)) if flags.edge else told(flags.sets))


if __name__ == "__main__":
    main()
