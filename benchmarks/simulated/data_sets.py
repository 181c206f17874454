"""Data sets whose true scores are known: labels with a spread of 1, and two predictions whose errors correlate."""

import math
from dataclasses import dataclass

import numpy as np

R2, WORSE = 0.55, 0.50
SHARED = 0.7
DEGREES = 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of data set."""

    n_stars: int
    clustered: bool = False
    heavy: bool = False
    rare: float = 0.0
    """Share of the stars on which the first prediction fails."""
    held_by_rare: float = 0.0
    """Share of its squared error that these have."""
    other: tuple[float, float] | None = None
    """The same two of the second prediction, which fails on other stars."""
    share: float = 1.0
    """Of the sets asked for."""

    @property
    def name(self) -> str:
        stars = f"{self.n_stars} stars, {'1 to 5 rows each' if self.clustered else 'one row each'}"
        if self.rare:
            one = f"{100 * self.held_by_rare:g} % of the error on {100 * self.rare:g} % of the stars"
            two = (
                f"; of the other {100 * self.other[1]:g} % on {100 * self.other[0]:g} %" if self.other else ""
            )
            return f"{stars}, {one}{two}"
        return f"{stars}, {'heavy tails' if self.heavy else 'normal'}"


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Labels and two predictions, (n,) each."""

    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    stars: np.ndarray


CASES = (
    Case(n_stars=200),
    Case(n_stars=200, clustered=True),
    Case(n_stars=200, heavy=True),
    Case(n_stars=200, clustered=True, heavy=True),
    Case(n_stars=1000, share=0.5),
    Case(n_stars=1000, clustered=True, share=0.5),
)


CONTAMINATED = (
    Case(n_stars=200, rare=0.01, held_by_rare=0.5, share=0.25),
    Case(n_stars=200, rare=0.02, held_by_rare=0.3, share=0.25),
    Case(n_stars=2000, rare=0.002, held_by_rare=0.3, share=0.1),
    Case(n_stars=2000, rare=0.005, held_by_rare=0.3, share=0.1),
    Case(n_stars=2000, rare=0.0025, held_by_rare=0.9, share=0.1),
    Case(n_stars=200, rare=0.005, held_by_rare=0.5, other=(0.02, 0.3), share=0.25),
    Case(n_stars=2000, rare=0.0003, held_by_rare=0.7, other=(0.002, 0.5), share=0.1),
)


def data_set(case: Case, rng: np.random.Generator, *, r2_b: float) -> DataSet:
    """Predictions with R2 of R2 and `r2_b`."""
    rows = rng.integers(1, 6, case.n_stars) if case.clustered else np.ones(case.n_stars, dtype=int)
    member = np.repeat(np.arange(case.n_stars), rows)

    def normal(n: int) -> np.ndarray:
        if case.heavy:
            return rng.standard_t(DEGREES, n) / math.sqrt(DEGREES / (DEGREES - 2))
        return rng.standard_normal(n)

    def error() -> np.ndarray:
        per_row = normal(member.size)
        return (
            math.sqrt(0.6) * normal(case.n_stars)[member] + math.sqrt(0.4) * per_row
            if case.clustered
            else per_row
        )

    label = (
        rng.uniform(-1, 1, case.n_stars) * math.sqrt(3) if case.heavy else rng.standard_normal(case.n_stars)
    )
    y, common = label[member], error()

    def prediction(r2: float, *, failing: np.ndarray | float = 0.0, held: float = 0.0) -> np.ndarray:
        mixed = math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * error()
        return r2 * y + math.sqrt(r2 * (1 - r2)) * (math.sqrt(1 - held) * mixed + failing)

    if not case.rare:
        return DataSet(y=y, a=prediction(R2), b=prediction(r2_b), stars=member)

    def failing(rare: float, held: float) -> np.ndarray:
        large = math.sqrt(held / rare) * rng.standard_normal(case.n_stars)
        return np.where(rng.random(case.n_stars) < rare, large, 0.0)[member]

    a = prediction(R2, failing=failing(case.rare, case.held_by_rare), held=case.held_by_rare)
    if case.other is None:
        return DataSet(y=y, a=a, b=prediction(r2_b), stars=member)
    b = prediction(r2_b, failing=failing(*case.other), held=case.other[1])
    return DataSet(y=y, a=a, b=b, stars=member)
