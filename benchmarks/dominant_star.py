"""How often intervals of a paired difference cover it where one star holds much of it, and how wide they are.

Stars fail in the first of two predictions: with probability k / n for each of n stars, its squared residual grows by so
much that alone it holds a share of all absolute differences. k is how many such stars a sample has on average; the true
difference counts them, so a sample without one is short of it and one with two has too much.

Rules tried, on the same data sets and the same resamples: `before` (percentile, and symmetric studentised where no star
holds half), with a floor on the standard errors of resamples, with percentile alone from a lower share on, equal-tailed
where the floor of a quarter moves the symmetric interval, and what is used now: four standard errors at most.

A rule is accepted, as fixed before anything was run, if in every cell, of 1000 sets,
1. coverage is 93 % or more wherever that of `before` is;
2. every interval is finite, and where one star holds 15 % or more of the absolute differences (shares 0.15 to 0.5) the
   median width is below 3 times that of the percentile interval, and so is the largest ratio;
3. the combined rule (p <= 0.05, 0 outside the interval, n_eff >= 12) holds falsely in no more than 5 % of the sets
   wherever it did so with `before`, and elsewhere in no more than 0.5 % of the sets more than with `before`.
Of those accepted the simplest is taken, of two as simple the one with the shorter intervals.

Cells with k of 3, 4.25, 5 and 6, those of 2000 and of 12 stars and of predictions that are equal on most stars were
added after a first look, as the hardest; they ruled out a floor of a third and equal tails. What is used now was tried
after that, and judged by the same rule on all cells.

Prints machine, versions, a line for each cell and one for each kind; about ten minutes on one core. `--sets 20` for
a quick look.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from few_stars import ERRORS, PAIRS, alike
from simulated.data_sets import CASES, CONTAMINATED, R2, WORSE, Case, data_set
from simulated.telling import flags_of, tell

from probes.bootstrap import percentile_ends, studentised_ends
from probes.carried import LEAST_EFFECTIVE, carrying_stars
from probes.flips import flip_values
from probes.paired import DECISIVE, MOST_ERRORS
from probes.statistics import Resamples

N_FLIPS = 199
SHARES = (0.15, 0.5)
"""Where a star is called dominant: of the absolute differences."""
_I, _J = np.triu_indices(4)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two predictions (n, 2) of labels y (n,), and the true difference in R2."""

    y: np.ndarray
    y_hat: np.ndarray
    stars: np.ndarray
    true: float


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A difference, its standard error, both of every resample (1000, 1), and its values by star (n_stars,)."""

    value: np.ndarray
    error: np.ndarray
    replicates: np.ndarray
    errors: np.ndarray
    by_star: np.ndarray

    @cached_property
    def share(self) -> float:
        """Of the absolute differences, that of the largest star."""
        size = np.abs(self.by_star)
        return float(size.max() / size.sum())

    @cached_property
    def percentile(self) -> np.ndarray:
        return percentile_ends(self.replicates)[:, 0]

    def ends(self, *, least: float = 0.0, most: float = np.inf, alone_from: float = DECISIVE) -> np.ndarray:
        """The wider (2,) of percentile and symmetric studentised; percentile alone beyond a share."""
        if self.share > alone_from:
            return self.percentile
        errors = np.maximum(self.errors, least * self.error)
        return self._or(studentised_ends(self.value, self.error, self.replicates, errors, most=most)[:, 0])

    def equal_tailed(self) -> np.ndarray:
        """The same, but equal-tailed where a floor of a quarter moves the symmetric interval, with that floor."""
        if self.share > DECISIVE or np.array_equal(self.ends(least=1 / 4), self.ends()):
            return self.ends()
        studentised = (self.replicates - self.value) / np.maximum(self.errors, self.error / 4)
        low, high = np.quantile(studentised, [0.025, 0.975])
        return self._or(self.value - np.array([high, low]) * self.error)

    def _or(self, ends: np.ndarray) -> np.ndarray:
        return np.array([np.fmin(self.percentile[0], ends[0]), np.fmax(self.percentile[1], ends[1])])


RULES: Mapping[str, Callable[[Drawn], np.ndarray]] = {
    "before": lambda drawn: drawn.ends(),
    "floor 1/4": lambda drawn: drawn.ends(least=1 / 4),
    "floor 1/3": lambda drawn: drawn.ends(least=1 / 3),
    "percentile from 1/5": lambda drawn: drawn.ends(alone_from=0.2),
    "equal-tailed": lambda drawn: drawn.equal_tailed(),
    "now": lambda drawn: drawn.ends(most=MOST_ERRORS),
}


@lru_cache(maxsize=1)
def counts_of(n_stars: int) -> np.ndarray:
    """How often each star is in each resample, (1000, n_stars): always the same."""
    return np.concatenate(list(Resamples(np.arange(n_stars)).counts())).astype(np.float64)


def drawn_of(pair: Pair) -> Drawn:
    """From sums by star of 1, y, y^2 and the difference of squared residuals, as comparisons have it; delta method."""
    centred = pair.y - pair.y.mean()
    lost = np.diff((pair.y_hat - pair.y[:, None]) ** 2, axis=1)[:, 0]
    rows = np.stack([np.ones_like(centred), centred, centred**2, lost], axis=1)
    sums = Resamples(pair.stars).star_sums(rows)

    def estimate(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, first, second, difference = totals[:, :4].T
        spread = second - first**2 / n
        value = difference / spread
        gradient = np.stack([-value * (first / n) ** 2, 2 * value * first / n, -value, np.ones_like(n)])
        twice = np.where(_I == _J, 1.0, 2.0)[:, None]
        variance = np.sum(twice * gradient[_I] * gradient[_J] * totals[:, 4:].T, axis=0)
        return value[:, None], (np.sqrt(np.maximum(variance, 0.0)) / spread)[:, None]

    moments = np.concatenate([sums, sums[:, _I] * sums[:, _J]], axis=1)
    value, error = estimate(moments.sum(axis=0)[None])
    replicates, errors = estimate(counts_of(len(sums)) @ moments)
    return Drawn(value=value[0], error=error[0], replicates=replicates, errors=errors, by_star=sums[:, 3])


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Of many sets, by rule (6,): % that cover, widths over that of percentile where a star is dominant, and so on."""

    covered: np.ndarray
    wrong: np.ndarray
    """% in which the difference is said to hold and is 0 or of the other sign."""
    finite: bool
    n_dominant: int
    median: np.ndarray
    largest: np.ndarray


def measured(pairs: Iterator[Pair]) -> Cell:
    covered, wrong, ratios, shares, finite = [], [], [], [], True
    for pair in pairs:
        drawn = drawn_of(pair)
        ends = np.array([rule(drawn) for rule in RULES.values()])
        finite = finite and bool(np.isfinite(ends).all())
        covered.append((ends[:, 0] <= pair.true) & (pair.true <= ends[:, 1]))
        wrong.append(_holds_wrongly(ends, drawn, pair.true))
        ratios.append(np.diff(ends)[:, 0] / np.ptp(drawn.percentile))
        shares.append(drawn.share)
    dominant = (np.array(shares) >= SHARES[0]) & (np.array(shares) <= SHARES[1])
    wide = np.array(ratios)[dominant] if dominant.any() else np.ones((1, len(RULES)))
    return Cell(
        covered=100 * np.mean(covered, axis=0),
        wrong=100 * np.mean(wrong, axis=0),
        finite=finite,
        n_dominant=int(dominant.sum()),
        median=np.median(wide, axis=0),
        largest=wide.max(axis=0),
    )


def _holds_wrongly(ends: np.ndarray, drawn: Drawn, true: float) -> np.ndarray:
    wrong = ((ends[:, 0] > 0) & (true <= 0)) | ((ends[:, 1] < 0) & (true >= 0))
    if not wrong.any() or carrying_stars(drawn.by_star[:, None])[0] < LEAST_EFFECTIVE:
        return np.zeros_like(wrong)
    squared = np.stack([np.zeros_like(drawn.by_star), drawn.by_star], axis=1)
    return wrong & (flip_values(squared, n_flips=N_FLIPS)[0] <= 0.05)


def plain(case: Case, *, r2_b: float, tag: int, n_sets: int) -> Iterator[Pair]:
    """The sets of `coverage.py` with these seeds."""
    for seed in range(n_sets):
        drawn = data_set(case, np.random.default_rng([seed, tag]), r2_b=r2_b)
        yield Pair(y=drawn.y, y_hat=np.stack([drawn.a, drawn.b], axis=1), stars=drawn.stars, true=R2 - r2_b)


def shaped(one: str, other: str, *, n: int, n_sets: int) -> Iterator[Pair]:
    """The sets of `few_stars.py` of one R2."""
    for y, y_hat in alike(ERRORS[one], ERRORS[other], n=n, n_sets=n_sets):
        yield Pair(y=y, y_hat=y_hat, stars=np.arange(n), true=0.0)


def nearly_equal(n: int, k: float, *, n_sets: int) -> Iterator[Pair]:
    """Two predictions of one R2 that differ on some k of n stars, one at least, and are equal on the others."""
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, n, 18])
        y = rng.standard_normal(n)
        one, other = 0.7 * rng.standard_normal((2, n))
        unequal = rng.random(n) < k / n
        if not unequal.any():
            continue
        other = np.where(unequal, other, one)
        yield Pair(y=y, y_hat=y[:, None] + np.stack([one, other], axis=1), stars=np.arange(n), true=0.0)


def failing(case: Case, *, share: float, k: float, null: bool, n_sets: int) -> Iterator[Pair]:
    """Of each star with probability k / n the squared residual of the first prediction grows, see above.

    `null`: the second prediction has so low an R2 that the true difference is 0 (none has for a share of 0.45).
    """

    def growth(r2_b: float) -> tuple[float, float]:
        """Of the squared residual of a star, and the loss in R2 that it makes."""
        many = Case(n_stars=200_000, clustered=case.clustered, heavy=case.heavy)
        drawn = data_set(many, np.random.default_rng(1), r2_b=r2_b)
        lost = np.bincount(drawn.stars, weights=(drawn.a - drawn.y) ** 2 - (drawn.b - drawn.y) ** 2)
        grows = share / (1 - share) * case.n_stars * np.abs(lost).mean()
        return grows, k * grows / case.n_stars / (drawn.y.size / many.n_stars)

    r2_b = WORSE
    if null:
        low, high = 0.01, R2 - 1e-6
        for _ in range(25):
            r2_b = (low + high) / 2
            low, high = (low, r2_b) if R2 - growth(r2_b)[1] < r2_b else (r2_b, high)
    grows, loss = growth(r2_b)
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, 17])
        drawn = data_set(case, rng, r2_b=r2_b)
        first = np.unique(drawn.stars, return_index=True)[1][rng.random(case.n_stars) < k / case.n_stars]
        residual = drawn.a - drawn.y
        residual[first] = np.where(residual[first] < 0, -1, 1) * np.sqrt(residual[first] ** 2 + grows)
        y_hat = np.stack([drawn.y + residual, drawn.b], axis=1)
        yield Pair(y=drawn.y, y_hat=y_hat, stars=drawn.stars, true=0.0 if null else R2 - loss - r2_b)


def cells(n_sets: int) -> Iterator[tuple[str, str, Iterator[Pair]]]:
    """Kind, name and sets of each cell."""
    kinds = [(False, False), (False, True), (True, False), (True, True)]
    small = [Case(n_stars=n, clustered=c, heavy=h) for n in (30, 50, 100) for c, h in kinds]
    for case in (*CASES, *small):
        yield "R2 0.55 and 0.50", case.name, plain(case, r2_b=WORSE, tag=1, n_sets=n_sets)
    for case in (CASES[0], CASES[2], CASES[3], Case(n_stars=50), Case(n_stars=100)):
        yield "R2 0.55 twice", case.name, plain(case, r2_b=R2, tag=4, n_sets=n_sets)
    for case in CONTAMINATED:
        yield "contaminated", case.name, plain(case, r2_b=R2, tag=4, n_sets=n_sets)
    for (one, other), n in product(PAIRS, (12, 20, 30, 50, 100, 200)):
        yield "errors of other shapes", f"{n} stars, {one}, {other}", shaped(one, other, n=n, n_sets=n_sets)
    for n, k in product((50, 200, 1000), (5, 10, 20)):
        yield "equal on most stars", f"{n} stars, unequal on {k}", nearly_equal(n, k, n_sets=n_sets)
    one_row, clustered, heavy = (
        Case(n_stars=200),
        Case(n_stars=200, clustered=True),
        Case(n_stars=200, heavy=True),
    )
    many = [
        *product([one_row], (0.15, 0.2, 0.25, 0.3, 0.4, 0.5), (1, 2, 4)),
        *product([Case(n_stars=1000)], (0.15, 0.25, 0.4, 0.5), (1, 2, 4)),
        *product([clustered, heavy], (0.15, 0.25, 0.4), (1, 2, 4)),
        *product([one_row, Case(n_stars=1000)], (0.25, 0.4), (3, 4.25, 5, 6)),
        *product([Case(n_stars=2000)], (0.4, 0.5), (4.25,)),
    ]
    for case, share, k in many:
        name = f"{case.name}, a star of {share:g}, k = {k:g}"
        yield "a dominant star", name, failing(case, share=share, k=k, null=False, n_sets=n_sets)
    null = [(0.15, 1), (0.15, 2), (0.15, 4), (0.25, 1), (0.25, 2), (0.35, 1)]
    for case, (share, k) in product((one_row, Case(n_stars=100), clustered), null):
        name = f"{case.name}, a star of {share:g}, k = {k:g}, R2 the same"
        yield "a dominant star, R2 the same", name, failing(case, share=share, k=k, null=True, n_sets=n_sets)


def lines(n_sets: int) -> Iterator[str]:
    yield f"{n_sets} sets each; by rule: {', '.join(RULES)}"
    yield "| data sets | covered, in % | a star dominant in | width over percentile's | largest | holds falsely |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    found: dict[str, list[Cell]] = {}
    for kind, name, pairs in cells(n_sets):
        cell = measured(pairs)
        found.setdefault(kind, []).append(cell)
        widths = f"{cell.n_dominant} | {_by_rule(cell.median)} | {_by_rule(cell.largest)}"
        yield f"| {name} | {_by_rule(cell.covered)} | {widths} | {_by_rule(cell.wrong)} |"
    yield ""
    yield "lowest coverage of sound cells (`before` 93 % or more); largest median width, width, rise of falsely held"
    yield "| kind | cells | covered, in % | width over percentile's | largest | holds falsely, rise |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for kind, of_kind in found.items():
        sound = [cell.covered for cell in of_kind if cell.covered[0] >= 93]
        covered = _by_rule(np.min(sound, axis=0)) if sound else "-"
        median, largest = (
            np.max([getattr(cell, name) for cell in of_kind], axis=0) for name in ("median", "largest")
        )
        rise = np.max([cell.wrong - cell.wrong[0] for cell in of_kind], axis=0)
        n = f"{len(of_kind)}, {len(sound)} of them sound"
        yield f"| {kind} | {n} | {covered} | {_by_rule(median)} | {_by_rule(largest)} | {_by_rule(rise)} |"
    yield f"all intervals finite: {all(cell.finite for of_kind in found.values() for cell in of_kind)}"


def _by_rule(numbers: np.ndarray) -> str:
    return " / ".join(f"{number:.1f}" for number in numbers)


def main() -> None:
    tell(lines(flags_of(__doc__, n_sets=1000, what="data sets of each cell").parse_args().sets))


if __name__ == "__main__":
    main()
