"""How often the rule on the stars that carry a difference holds back what is clear, and lets through what is not.

Clear: predictions of R2 0.98 and 0 (errors of Student's t with 5 degrees of freedom; the mean of the labels), of labels
of several shapes. Not so: predictions of one R2, of normal labels, whose errors have other shapes, as of one size on
every star against lognormal ones, mostly small with rare failures. For each kind of sets the share of them in which
p <= 0.05 and the interval leaves 0 out, and in which the difference also holds; Holm corrects nothing in one pair.

Prints machine, versions and two tables; about two minutes on one core. `--sets 20` for a quick look.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from simulated.telling import flags_of, tell

from probes.carried import LEAST_EFFECTIVE
from probes.paired import paired_table
from probes.statistics import Resamples

Draw = Callable[[np.random.Generator, int], np.ndarray]

LABELS: Mapping[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "lognormal": lambda rng, n: rng.lognormal(0, 0.5, n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "0 or 1": lambda rng, n: rng.integers(0, 2, n).astype(np.float64),
}
ERRORS: Mapping[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "of one size": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "Laplace": lambda rng, n: rng.laplace(size=n) / math.sqrt(2),
    "t of 3 degrees": lambda rng, n: rng.standard_t(3, n) / math.sqrt(3),
    "lognormal": lambda rng, n: rng.choice([-1.0, 1.0], n) * rng.lognormal(-1, 1, n),
}
"""Of variance 1 each."""
PAIRS = (
    ("normal", "normal"),
    ("t of 3 degrees", "t of 3 degrees"),
    ("lognormal", "lognormal"),
    ("normal", "t of 3 degrees"),
    ("of one size", "Laplace"),
    ("of one size", "t of 3 degrees"),
    ("of one size", "lognormal"),
)
CLEAR_STARS, LIKE_STARS = (50, 100, 200, 500), (12, 20, 30, 50, 100, 200)


def held(y: np.ndarray, y_hat: np.ndarray) -> tuple[bool, bool]:
    """Whether two predictions (n, 2) differ by p and interval, and whether the difference holds."""
    pair = paired_table(Resamples(np.arange(y.size)), y, y_hat, n_flips=199)
    low, high = pair.intervals[0].as_list()
    apart = bool(pair.p[0] <= 0.05 and low is not None and (low > 0 or high < 0))
    return apart, apart and bool(pair.n_eff[0] >= LEAST_EFFECTIVE)


def shares(sets: Iterator[tuple[np.ndarray, np.ndarray]]) -> str:
    """The two shares of `held` over sets, in %."""
    apart, holds = 100 * np.mean([held(y, y_hat) for y, y_hat in sets], axis=0)
    return f"{apart:.1f} → {holds:.1f}"


def clear(label: Draw, *, n: int, n_sets: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sets of R2 0.98 against 0."""
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, n, 6])
        y = label(rng, n)
        error = math.sqrt(0.02 * y.var()) * rng.standard_t(5, n) / math.sqrt(5 / 3)
        yield y, np.stack([y + error, np.full(n, y.mean())], axis=1)


def alike(one: Draw, other: Draw, *, n: int, n_sets: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sets of R2 0.55 against 0.55."""
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, n, 5])
        y = rng.standard_normal(n)
        yield y, y[:, None] + math.sqrt(0.45) * np.stack([one(rng, n), other(rng, n)], axis=1)


def lines(n_sets: int) -> Iterator[str]:
    yield f"p and interval → holds, in % of {n_sets} sets; seeds [k, stars, 6] and [k, stars, 5]; 199 flips"
    yield ""
    yield f"| R2 0.98 against 0, labels | {' | '.join(f'{n} stars' for n in CLEAR_STARS)} |"
    yield f"| --- |{' ---: |' * len(CLEAR_STARS)}"
    for name, label in LABELS.items():
        cells = [shares(clear(label, n=n, n_sets=n_sets)) for n in CLEAR_STARS]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield f"| one R2, errors | {' | '.join(f'{n} stars' for n in LIKE_STARS)} |"
    yield f"| --- |{' ---: |' * len(LIKE_STARS)}"
    for one, other in PAIRS:
        sets = (alike(ERRORS[one], ERRORS[other], n=n, n_sets=n_sets) for n in LIKE_STARS)
        yield f"| {one}, {other} | {' | '.join(map(shares, sets))} |"


def main() -> None:
    tell(lines(flags_of(__doc__, n_sets=400, what="data sets of each kind").parse_args().sets))


if __name__ == "__main__":
    main()
