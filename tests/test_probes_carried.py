"""How many stars carry a difference or a squared error, and what is flagged where they are few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.carried import (
    LEAST_BEHIND_SCORE,
    LEAST_EFFECTIVE,
    LEAST_STARS,
    carrying_stars,
    doubts,
    effective_stars,
    equal_stars,
)
from probes.statistics import paired_differences


def plain(weights):
    """(sum w)^2 / sum w^2 by a loop."""
    return sum(weights) ** 2 / sum(w * w for w in weights)


@given(st.integers(0, 1000), st.floats(1e-100, 1e100))
def test_it_is_the_plain_formula_whatever_the_unit_and_the_order(seed, unit):
    rng = np.random.default_rng(seed)
    d = rng.standard_t(3, (40, 2))
    found = effective_stars(d)
    for k in range(2):
        centred = d[:, k] - d[:, k].mean()
        assert found[k] == pytest.approx(plain((centred**2).tolist()), rel=1e-9)
    assert effective_stars(unit * d[rng.permutation(40)]) == pytest.approx(found, rel=1e-6)


def test_it_counts_stars():
    signs = np.where(np.arange(50) % 2, 1.0, -1.0)
    one = np.zeros(50)
    one[3] = 7.0
    assert effective_stars(np.stack([signs, np.zeros(50), np.full(50, 2.0)], axis=1)).tolist() == [50, 0, 0]
    assert 1 < effective_stars(one[:, None])[0] < 1.1


def with_rare_failures(rng, n, *, variance, share, part):
    """Normal errors (n,) of a variance, of which a share of the stars makes a part."""
    rare = rng.random(n) < share
    return rng.normal(0, np.sqrt(variance * np.where(rare, part / share, (1 - part) / (1 - share))))


def test_a_difference_that_the_worst_stars_of_one_row_make_is_not_saved_by_the_rest():
    """Both rows fail on rare stars, one on rarer stars that most samples lack: R2 is the same."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 4])
        one = with_rare_failures(rng, 2000, variance=0.15, share=0.0003, part=0.7)
        other = with_rare_failures(rng, 2000, variance=0.15, share=0.002, part=0.5)
        d = (one**2 - other**2)[:, None]
        z = d.mean() / (d.std() / np.sqrt(len(d)))
        held += bool(abs(z) > 2 and carrying_stars(d)[0] >= LEAST_EFFECTIVE)
    assert held <= 3


@pytest.mark.parametrize("rows_per_star", [1, 3])
def test_pairs_are_told_by_star_not_by_row(rows_per_star):
    rng = np.random.default_rng(0)
    stars = np.repeat(np.arange(30), rows_per_star)
    y = rng.standard_normal(stars.size)
    y_hat = y[:, None] + rng.standard_normal((stars.size, 3))
    table = paired_differences(y, y_hat, stars=stars, n_resamples=20, n_flips=9)
    squared = ((y_hat - y[:, None]) ** 2).reshape(30, rows_per_star, 3).sum(axis=1)
    pairs = [squared[:, i] - squared[:, j] for i, j in ((0, 1), (0, 2), (1, 2))]
    assert table.n_eff == pytest.approx(carrying_stars(np.stack(pairs, axis=1)))


@given(st.integers(0, 1000))
def test_stars_that_speak_for_a_difference_do_not_hold_back_what_stands_without_them(seed):
    rng = np.random.default_rng(seed)
    better = 1.0 + rng.uniform(-0.2, 0.2, 400)  # on every star, by much the same
    lost = better.copy()
    better[:3], lost[:3] = 100.0, -100.0
    only = rng.uniform(-0.2, 0.2, 400)
    only[:3] = 100.0
    d = np.stack([better, lost, only], axis=1)
    assert (effective_stars(d) < LEAST_EFFECTIVE).all()
    assert (carrying_stars(d) >= LEAST_EFFECTIVE).tolist() == [True, False, False]
    assert carrying_stars(-d) == pytest.approx(carrying_stars(d))


@given(st.integers(0, 1000), st.integers(2, 300), st.floats(1e-100, 1e100))
def test_equal_stars_are_those_of_one_difference_and_its_standard_errors(seed, n, unit):
    rng = np.random.default_rng(seed)
    d = rng.normal(0.5, 1.0, (n, 3))
    found = equal_stars(unit * d)
    for k in range(3):
        total, squares = sum(d[:, k].tolist()), sum(v * v for v in d[:, k].tolist())
        assert found[k] == pytest.approx(max(total, 0.0) ** 2 / squares, rel=1e-9, abs=1e-12)
        z = d[:, k].mean() / (d[:, k].std() / np.sqrt(n))
        assert found[k] == pytest.approx(n * z**2 / (n + z**2) if z > 0 else 0.0, rel=1e-6, abs=1e-12)
    assert equal_stars(np.stack([np.full(n, 3.0), np.zeros(n), np.full(n, -3.0)], axis=1)).tolist() == [
        n,
        0,
        0,
    ]


@given(st.integers(0, 1000), st.integers(60, 400), st.floats(0.1, 20))
def test_a_star_against_a_difference_holds_it_back_unless_the_rest_outweighs_it_several_times(
    seed, n, weight
):
    """Better by about 1 on every star but one, which is worse by so many times what all others are better."""
    rng = np.random.default_rng(seed)
    d = 1.0 + rng.uniform(-0.1, 0.1, n)
    d[rng.integers(n)] = -n / weight
    n_eff = carrying_stars(d[:, None])[0]
    if n / weight > 0.14 * n:  # a seventh of the 95 % of stars that are left, and a little for their scatter
        assert (
            n_eff < LEAST_EFFECTIVE
        )  # seven such would undo it: at 0.95 / 7 the others sum to six times this one
    if n / weight < 0.02 * n:
        assert n_eff >= LEAST_EFFECTIVE


def drawn_labels(shape, rng, n):
    return {
        "normal": rng.standard_normal,
        "lognormal": lambda m: rng.lognormal(0, 0.5, m),
        "exponential": lambda m: rng.exponential(size=m),
        "two values": lambda m: rng.integers(0, 2, m).astype(float),
    }[shape](n)


@pytest.mark.parametrize("shape", ["normal", "lognormal", "exponential", "two values"])
@pytest.mark.parametrize("n", [200, 500])
def test_nearly_all_of_the_variance_against_none_of_it_is_carried_by_many(shape, n):
    few = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, n, 6])
        y = drawn_labels(shape, rng, n)
        error = np.sqrt(0.02 * y.var()) * rng.standard_t(5, n) / np.sqrt(5 / 3)
        d = ((y - y.mean()) ** 2 - error**2)[:, None]
        few += int(effective_stars(d)[0] < LEAST_EFFECTIVE)
        assert carrying_stars(d)[0] >= LEAST_EFFECTIVE
        assert carrying_stars(-d)[0] == pytest.approx(carrying_stars(d)[0])
    assert few > 0 or shape != "exponential"


@pytest.mark.parametrize("n", [12, 20, 30, 50, 100])
def test_few_stars_with_errors_of_unlike_shape_do_not_hold_though_one_is_better_on_most(n):
    """R2 is the same: errors of one size on every star against mostly small ones with rare failures."""
    apart = held = 0
    for seed in range(120):
        rng = np.random.default_rng([seed, n, 5])
        d = (1.0 - rng.lognormal(-1, 1, n) ** 2)[:, None]
        z = d.mean() / (d.std() / np.sqrt(n))
        apart += bool(abs(z) > 2)
        held += bool(abs(z) > 2 and carrying_stars(d)[0] >= LEAST_EFFECTIVE)
    assert apart > 0.15 * 120
    assert held <= 0.05 * 120


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_of_very_few_stars_none_carry_enough(n):
    d = np.stack([np.ones(n), np.zeros(n), np.arange(1.0, n + 1)], axis=1)
    assert (carrying_stars(d) < LEAST_EFFECTIVE).all()


def test_equal_predictions_of_which_one_fails_on_rare_stars_hold_less_often():
    """Of 2000 stars 5 in 1000 have 30 % of the squared error: R2 is the same, and flips alone call it different."""
    held = guarded = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 3])
        n, v = 2000, 0.15
        y = rng.uniform(-1, 1, n)
        rare = np.where(rng.random(n) < 0.005, rng.normal(0, np.sqrt(0.3 * v / 0.005), n), 0)
        core = rng.normal(0, np.sqrt(0.7 * v), n)
        y_hat = np.stack([y + rng.normal(0, np.sqrt(v), n), y + core + rare], axis=1)
        table = paired_differences(y, y_hat, stars=np.arange(n), n_resamples=100, n_flips=199)
        low, high = table.intervals[0].as_list()
        holds = bool(table.p[0] <= 0.05 and (low > 0 or high < 0))
        held += holds
        guarded += holds and bool(table.n_eff[0] >= LEAST_EFFECTIVE)
    assert held > 0.1 * 60
    assert guarded < held / 2


def residuals(n, *, outliers=0):
    e = np.where(np.arange(n) % 2, 1.0, -1.0)
    e[:outliers] *= 100
    return e


def flags_of(*columns, stars=None):
    e = np.stack(columns, axis=1)
    y = np.zeros_like(e)
    return list(doubts(("T_eff", "log_g"), y, y + e, stars=np.arange(len(e)) if stars is None else stars))


def test_a_score_that_rests_on_few_stars_is_flagged_by_label():
    assert flags_of(residuals(500), residuals(500)) == []
    assert flags_of(residuals(500), residuals(500, outliers=LEAST_BEHIND_SCORE - 1)) == [
        "squared error carried by few stars: n_eff 4.1 of 500 (log_g)"
    ]
    assert flags_of(residuals(500), residuals(500, outliers=LEAST_BEHIND_SCORE + 1)) == []
    assert flags_of(residuals(500), np.zeros(500)) == []


def test_a_small_test_set_is_flagged_whatever_its_rows():
    words = ["fewer than 30 test stars: intervals are too short"]
    few = LEAST_STARS - 1
    assert flags_of(residuals(few), residuals(few)) == words
    assert flags_of(residuals(10 * few), residuals(10 * few), stars=np.repeat(np.arange(few), 10)) == words
    assert flags_of(residuals(LEAST_STARS), residuals(LEAST_STARS)) == []
