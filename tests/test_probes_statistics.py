"""Intervals and paired tests against plain loops, against enumeration, and against the truth."""

import itertools
import math

import numpy as np
import pytest
from statistics_fakes import (
    TRUE_R2,
    difference,
    gathered,
    labels_and_predictions,
    log_unexplained,
    plain_ends,
    predictions,
)

from cache.errors import ProbeError, UnknownName
from probes import metrics
from probes.bootstrap import Resamples
from probes.flips import ENOUGH, flip_values, group_values
from probes.paired import holm
from probes.statistics import (
    INTERVAL_METHOD,
    LEVEL,
    N_FLIPS,
    N_RESAMPLES,
    PAIRED_METHOD,
    SEED,
    Interval,
    intervals,
    intervals_on,
    paired_difference,
    paired_differences,
    spread,
)

# --- intervals ---


@pytest.mark.parametrize("rows_per_star", [1, 3])
def test_the_interval_of_r2_equals_the_plain_bootstrap(rows_per_star):
    y, y_hat = labels_and_predictions(60)
    stars = np.arange(60, dtype=np.uint64) // rows_per_star + 2**63
    found = intervals(y, y_hat, stars=stars, n_resamples=150, seed=4)[0]["r2"]
    expected = plain_ends(
        log_unexplained,
        np.stack([y, y_hat], axis=1),
        stars,
        scale=lambda x: 1 - np.exp(x),
        n_resamples=150,
        seed=4,
    )
    np.testing.assert_allclose(found.as_list(), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["rmse", "mae", "bias"])
def test_intervals_of_errors_hold_the_percentile_interval(name):
    y, y_hat = labels_and_predictions(60)
    stars = np.arange(60) // 2
    found = intervals(y, y_hat, stars=stars, n_resamples=150, seed=4)[0][name]
    drawn = gathered(np.stack([y, y_hat], axis=1), stars, n_resamples=150, seed=4)
    percentile = np.quantile([metrics.METRICS[name](*pair.T) for pair, _ in drawn], [0.025, 0.975])
    assert found.lo <= percentile[0] + 1e-9
    assert found.hi >= percentile[1] - 1e-9
    assert found.hi - found.lo < 1.3 * np.ptp(percentile)


@pytest.mark.parametrize("name", ["bias_median", "sigma_mad"])
@pytest.mark.parametrize(("n", "rows_per_star"), [(41, 1), (40, 1), (45, 3)])
def test_intervals_of_medians_equal_the_plain_bootstrap(name, n, rows_per_star):
    y, y_hat = labels_and_predictions(n)
    y_hat = np.round(y_hat, -2)  # ties
    stars = np.arange(n) // rows_per_star
    found = intervals(y, y_hat, stars=stars, n_resamples=100, seed=2)[0][name]
    drawn = gathered(np.stack([y, y_hat], axis=1), stars, n_resamples=100, seed=2)
    plain = [metrics.METRICS[name](*pair.T) for pair, _ in drawn]
    np.testing.assert_allclose(found.as_list(), np.quantile(plain, [0.025, 0.975]), rtol=1e-9)


def test_every_metric_has_an_interval_around_it_and_medians_may_be_left_out():
    y, y_hat = labels_and_predictions(300)
    found = intervals(y, y_hat, stars=np.arange(300))[0]
    assert list(found) == list(metrics.METRICS)
    for name, value in metrics.scores(y, y_hat).items():
        assert found[name].lo < value < found[name].hi
    some = intervals_on(Resamples(np.arange(300)), y, y_hat, scores=("mae", "r2"))[0]
    assert some == {"r2": found["r2"], "mae": found["mae"]}
    with pytest.raises(UnknownName, match="unknown score 'bias_mean'; known: r2, rmse"):
        intervals_on(Resamples(np.arange(300)), y, y_hat, scores=("bias_mean",))


def test_labels_share_the_resamples_and_slabs_do_not_matter(monkeypatch):
    y, y_hat = labels_and_predictions(50)
    stars = np.arange(50)
    one = intervals(y, y_hat, stars=stars)
    both = intervals(np.stack([y, -y], 1), np.stack([y_hat, -y_hat], 1), stars=stars)
    monkeypatch.setattr("probes.bootstrap._COUNTS_AT_ONCE", 50 * 7)
    slabs = intervals(y, y_hat, stars=stars)
    monkeypatch.setattr("probes.bootstrap._COUNTS_KEPT", 0)
    again = intervals(y, y_hat, stars=stars)
    for name in metrics.METRICS:
        assert slabs[0][name].lo == pytest.approx(one[0][name].lo, rel=1e-9)
        assert again[0][name].hi == pytest.approx(one[0][name].hi, rel=1e-9)
    assert both[0]["mae"].lo == pytest.approx(one[0]["mae"].lo, rel=1e-12)
    assert both[1]["mae"].hi == pytest.approx(one[0]["mae"].hi, rel=1e-12)
    assert both[1]["bias_median"].hi == pytest.approx(-one[0]["bias_median"].lo, rel=1e-12)


def test_order_of_rows_does_not_matter_within_stars():
    y, y_hat = labels_and_predictions(40)
    stars = np.arange(40) // 2
    order = np.random.default_rng(0).permutation(40)
    plain = intervals(y, y_hat, stars=stars)[0]
    shuffled = intervals(y[order], y_hat[order], stars=stars[order])[0]
    for name in metrics.METRICS:
        assert plain[name].lo == pytest.approx(shuffled[name].lo, rel=1e-9)


def test_repeated_rows_do_not_narrow_the_interval():
    y, y_hat = labels_and_predictions(100)
    stars = np.arange(100)
    once = intervals(y, y_hat, stars=stars)[0]
    many = intervals(np.tile(y, 5), np.tile(y_hat, 5), stars=np.tile(stars, 5))[0]
    for name in metrics.METRICS:
        np.testing.assert_allclose(many[name].as_list(), once[name].as_list(), rtol=1e-9)


def test_an_unequal_unit_scales_the_interval():
    y, y_hat = labels_and_predictions(80)
    kelvin, kilo = (intervals(u * y, u * y_hat, stars=np.arange(80))[0] for u in (1.0, 1e-3))
    assert kilo["r2"].lo == pytest.approx(kelvin["r2"].lo, rel=1e-9)
    for name in ("rmse", "mae", "bias", "bias_median", "sigma_mad"):
        assert 1000 * kilo[name].hi == pytest.approx(kelvin[name].hi, rel=1e-9)


def test_intervals_of_a_thousand_stars_are_as_wide_as_reference_says():
    y, y_hat, _, stars = predictions(np.random.default_rng(0), 1000)
    span = intervals(y, y_hat, stars=stars)[0]["r2"]
    assert (span.hi - span.lo) / 2 == pytest.approx(0.046, abs=0.01)


def test_no_interval_where_the_score_is_not_defined():
    y = np.full(20, 4.5)
    found = intervals(y, y + 1, stars=np.arange(20))[0]
    assert found["r2"] == Interval(None, None)
    assert found["rmse"].lo == pytest.approx(1.0)
    single = intervals(np.array([1.0]), np.array([2.0]), stars=np.array([7]))[0]
    assert single["r2"].as_list() == [None, None]
    assert single["sigma_mad"].as_list() == [None, None]


def test_one_star_that_holds_the_error_leaves_the_percentile_interval():
    """Studentised by that star's own error, it would reach from -1e9 to 1."""
    y, y_hat = labels_and_predictions(200)
    y_hat[7] += 40 * y.std()
    stars = np.arange(200)
    found = intervals(y, y_hat, stars=stars, n_resamples=150, seed=4)[0]["r2"]
    drawn = gathered(np.stack([y, y_hat], axis=1), stars, n_resamples=150, seed=4)
    percentile = np.quantile([metrics.r2(*pair.T) for pair, _ in drawn], [0.025, 0.975])
    np.testing.assert_allclose(found.as_list(), percentile, rtol=1e-9)
    assert found.lo > -60


def test_one_star_that_holds_a_difference_leaves_its_percentile_interval():
    y, one = labels_and_predictions(200)
    _, other = labels_and_predictions(200, seed=1)
    one[7] += 40 * y.std()
    stars = np.arange(200)
    found = paired_difference(y, one, other, stars=stars, n_resamples=150, seed=4).interval
    drawn = gathered(np.stack([y, one, other], axis=1), stars, n_resamples=150, seed=4)
    lost = [metrics.r2(rows[0], rows[1]) - metrics.r2(rows[0], rows[2]) for rows in (r.T for r, _ in drawn)]
    np.testing.assert_allclose(found.as_list(), np.quantile(lost, [0.025, 0.975]), rtol=1e-9)


def test_a_single_star_has_no_interval_of_any_score():
    y, y_hat = np.array([1.0, 2.0]), np.array([1.3, 2.1])
    found = intervals(y, y_hat, stars=np.array([7, 7]))[0]
    assert set(found) == set(metrics.METRICS)
    assert set(found.values()) == {Interval(None, None)}


def test_two_stars_have_no_interval():
    """Half of their resamples hold one star, the rest are all the same."""
    found = intervals(np.array([1.0, 3.0]), np.array([1.5, 2.0]), stars=np.arange(2))[0]
    assert found["r2"].as_list() == [None, None]
    pair = paired_difference(np.array([1.0, 3.0]), np.array([1.5, 2.0]), np.zeros(2), stars=np.arange(2))
    assert pair.interval.as_list() == [None, None]


def test_a_perfect_prediction_has_an_interval_of_no_length():
    y, _ = labels_and_predictions(30)
    found = intervals(y, y, stars=np.arange(30))[0]
    assert found["r2"] == Interval(1.0, 1.0)
    assert {found[name] for name in ("rmse", "mae", "bias", "bias_median", "sigma_mad")} == {
        Interval(0.0, 0.0)
    }


def test_the_mean_predictor_is_not_below_what_chance_gives():
    """Its standard error vanishes; the percentile interval says how far a mean of n stars lies from the truth."""
    y, _ = labels_and_predictions(1000)
    span = intervals(y, np.full_like(y, y.mean()), stars=np.arange(1000))[0]["r2"]
    assert -0.02 < span.lo < -0.001
    assert -1e-3 < span.hi <= 1e-3


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [30, 100])
def test_the_interval_of_a_constant_ends_at_0_and_is_no_longer_than_chance_makes_it(n, seed):
    """Labels of two values nearly: many resamples have the constant for their mean, and no standard error."""
    rng = np.random.default_rng(seed)

    def labels(m):
        return np.where(rng.random(m) < 0.5, -999.0, rng.uniform(-0.25, 0.5, m))

    y, constant = labels(n), labels(3 * n).mean()
    r2 = metrics.r2(y, np.full(n, constant))
    span = intervals(y, np.full(n, constant), stars=np.arange(n))[0]["r2"]
    assert span.lo < r2 <= span.hi <= 0
    off = 1 + math.sqrt(
        -r2 * n
    )  # of the mean, in standard errors; a resample is off by another two, or three
    assert span.lo > -((off + 3) ** 2) / n
    nearly = constant + 1e-4 * rng.standard_normal(
        n
    )  # no constant: may reach above 0, by what its scatter allows
    span = intervals(y, nearly, stars=np.arange(n))[0]["r2"]
    assert -((off + 3) ** 2) / n < span.lo < span.hi < (off + 3) ** 2 / n


def test_standard_errors_that_vanish_are_the_edge_alone():
    """Ordinary predictions: the floor under the errors of resamples changes no bit."""
    y, y_hat = labels_and_predictions(60)
    floored = intervals(y, y_hat, stars=np.arange(60))[0]["r2"]
    plain = plain_ends(
        log_unexplained,
        np.stack([y, y_hat], axis=1),
        np.arange(60),
        scale=lambda x: 1 - np.exp(x),
        n_resamples=N_RESAMPLES,
        seed=SEED,
    )
    np.testing.assert_allclose(floored.as_list(), plain, rtol=1e-9)


# --- paired differences ---


def test_paired_differences_equal_the_plain_bootstrap():
    rng = np.random.default_rng(1)
    y, a, b, stars = predictions(rng, 25, clustered=True, worse_by=0.1)
    found = paired_difference(y, a, b, stars=stars, n_resamples=120, seed=2)
    assert found.difference == pytest.approx(metrics.r2(y, a) - metrics.r2(y, b), abs=1e-12)
    expected = plain_ends(
        difference, np.stack([y, a, b], axis=1), stars, scale=lambda x: x, n_resamples=120, seed=2
    )
    np.testing.assert_allclose(found.interval.as_list(), expected, rtol=1e-9)


def test_a_table_holds_what_its_pairs_have_alone():
    rng = np.random.default_rng(3)
    y, a, b, stars = predictions(rng, 60, clustered=True, worse_by=0.1)
    both = np.stack([a, b, y + rng.standard_normal(y.size), a], axis=1)
    table = paired_differences(y, both, stars=stars, n_resamples=200)
    for k, (i, j) in enumerate(itertools.combinations(range(4), 2)):
        alone = paired_difference(y, both[:, i], both[:, j], stars=stars, n_resamples=200)
        assert table.difference[k] == pytest.approx(alone.difference, abs=1e-12)
        np.testing.assert_allclose(table.intervals[k].as_list(), alone.interval.as_list(), atol=1e-12)
        assert table.p[k] == alone.p
        back = paired_difference(y, both[:, j], both[:, i], stars=stars, n_resamples=200)
        assert back.difference == pytest.approx(-alone.difference, abs=1e-12)
        assert back.interval.lo == pytest.approx(-alone.interval.hi, abs=1e-3)
    np.testing.assert_array_equal(table.p_holm, holm(table.p))
    assert (table.difference[2], table.intervals[2], table.p[2]) == (0.0, Interval(0.0, 0.0), 1.0)


def test_paired_difference_is_narrower_than_two_intervals():
    y, y_hat = labels_and_predictions(400)
    slightly_worse = y_hat + 40 * np.random.default_rng(3).standard_normal(400)
    stars = np.arange(400)
    found = paired_difference(y, y_hat, slightly_worse, stars=stars)
    assert found.interval.lo < found.difference < found.interval.hi
    alone = intervals(y, y_hat, stars=stars)[0]["r2"]
    assert found.interval.hi - found.interval.lo < 0.5 * (alone.hi - alone.lo)


def test_constant_labels_have_no_difference_in_r2():
    y = np.full(30, 2.0)
    found = paired_difference(y, y + 1, y + 2, stars=np.arange(30))
    assert math.isnan(found.difference)
    assert found.interval == Interval(None, None)


def test_one_prediction_has_no_pairs():
    y, y_hat = labels_and_predictions(20)
    table = paired_differences(y, y_hat, stars=np.arange(20))
    assert (table.difference.size, table.intervals, table.p.size, table.p_holm.size) == (0, [], 0, 0)


def enumerated(d):
    """The exact two-sided sign-flip p-value: all 2^n signs."""
    reached = [
        abs(np.dot(signs, d)) >= abs(d.sum()) * (1 - 1e-9)
        for signs in itertools.product((-1, 1), repeat=d.size)
    ]
    return np.mean(reached)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_flip_values_approach_the_enumeration(shift):
    d = np.random.default_rng(5).standard_normal(10) + shift
    squared = np.stack([np.zeros(10), d], axis=1)
    exact = enumerated(d)
    assert flip_values(squared, n_flips=20_000)[0] == pytest.approx(
        exact, abs=4 * math.sqrt(exact / 20_000) + 1e-4
    )


def test_flip_values_equal_the_plain_loop():
    rng = np.random.default_rng(8)
    squared = rng.random((30, 3))
    signs = np.where(np.random.default_rng([6, 30]).random((200, 30)) < 0.5, -1.0, 1.0)
    for k, (i, j) in enumerate(itertools.combinations(range(3), 2)):
        d = squared[:, j] - squared[:, i]
        reached = sum(abs((row * d).sum()) >= abs(d.sum()) * (1 - 1e-9) for row in signs)
        assert flip_values(squared, n_flips=200, seed=6)[k] == pytest.approx((1 + reached) / 201)


@pytest.mark.parametrize("exploded", [1e6, 1e9, 1e11])
def test_one_exploded_prediction_leaves_the_pairs_of_the_others_alone(exploded):
    """Its residual is as large as that of all others together, and must not take their digits away."""
    squared = np.random.default_rng(8).random((60, 3))
    lost = squared[:, :1].copy()
    lost[7] = exploded
    apart, beside = flip_values(squared, n_flips=500), flip_values(np.hstack([squared, lost]), n_flips=500)
    np.testing.assert_array_equal(beside[[0, 1, 3]], apart)
    far = np.hstack([squared, lost])
    pairs = np.array([0, 0, 1]), np.array([1, 2, 2])
    kept = group_values(squared, *pairs, n_bits=10, at_once=10)
    np.testing.assert_array_equal(group_values(far, *pairs, n_bits=10, at_once=10), kept)


def test_where_no_flip_reaches_the_sum_p_is_a_bound_on_the_enumeration():
    d = np.random.default_rng(0).random(16) + 3
    exact, found = enumerated(d), flip_values(np.stack([np.zeros(16), d], axis=1), n_flips=99)[0]
    assert exact <= found < 0.01
    many = np.full(1000, 0.5)
    assert flip_values(np.stack([np.zeros(1000), many], axis=1), n_flips=99)[0] == pytest.approx(
        2 * math.exp(-500)
    )


def test_slabs_of_flips_do_not_matter(monkeypatch):
    squared = np.random.default_rng(8).random((30, 4))
    whole = flip_values(squared, n_flips=500)
    monkeypatch.setattr("probes.flips._SIGNS_AT_ONCE", 30 * 7)
    np.testing.assert_array_equal(flip_values(squared, n_flips=500), whole)


def test_a_group_of_flips_that_is_all_of_them_gives_the_exact_value():
    """14 random products of 10 signs span all 1024 of them."""
    d = np.random.default_rng(5).standard_normal((10, 3)) + 0.5
    one, other = np.triu_indices(3, k=1)
    found = group_values(d, one, other, n_bits=14, at_once=14)
    exact = [enumerated(d[:, j] - d[:, i]) for i, j in zip(one, other, strict=True)]
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_flips_of_a_group_that_are_in_memory_together_do_not_matter():
    shift = np.array([0.0, 0.7, 0.8, 0.75])
    far = np.random.default_rng(1).standard_normal((70, 4)) + shift
    pairs = np.zeros(3, dtype=int), np.arange(1, 4)
    whole = group_values(far, *pairs, n_bits=12, at_once=12)
    assert whole.max() < ENOUGH / 2**7
    np.testing.assert_array_equal(group_values(far, *pairs, n_bits=12, at_once=7), whole)


def test_a_group_gives_about_what_free_flips_give():
    d = np.random.default_rng(3).standard_normal(60) + 0.3
    by_star = np.stack([np.zeros(60), d], axis=1)
    first, second = np.array([0]), np.array([1])
    found = group_values(by_star, first, second, n_bits=16, at_once=16)[0]
    free = flip_values(by_star, n_flips=50_000)[0]
    assert found == pytest.approx(free, abs=5 * math.sqrt(free / 50_000))
    settled = group_values(by_star, first, second, n_bits=16, at_once=6)[0]
    assert settled == pytest.approx(free, rel=1.5)


@pytest.fixture(scope="module")
def forty():
    """Squared residuals of 300 stars, of 39 predictions that are alike but for chance and one that is worse."""
    rng = np.random.default_rng(4)
    chance = rng.standard_normal((300, 40))
    squared = 1 + 0.1 * (chance - chance.mean(axis=0))
    squared[:, -1] += 0.034
    return squared


def test_flips_suffice_for_all_pairs_and_change_no_other_value(forty):
    coarse, fine = flip_values(forty, level=-np.inf), flip_values(forty)
    changed = coarse != fine
    assert changed.any()
    assert (coarse[changed] <= 1e-4).all()
    assert holm(coarse).min() > 0.05
    assert holm(fine).min() <= 0.05
    np.testing.assert_array_equal(fine, flip_values(forty))
    few = forty[:, -5:]
    np.testing.assert_array_equal(flip_values(few), flip_values(few, level=-np.inf))


def test_rows_of_a_star_flip_together():
    """Copies of rows add nothing: the p-value counts stars."""
    y, a, b, stars = predictions(np.random.default_rng(2), 40, worse_by=0.2)
    once = paired_difference(y, a, b, stars=stars)
    many = paired_difference(*(np.tile(v, 9) for v in (y, a, b)), stars=np.tile(stars, 9))
    assert many.p == once.p


def plain_holm(p):
    adjusted, so_far = [0.0] * len(p), 0.0
    for rank, k in enumerate(sorted(range(len(p)), key=lambda k: p[k])):
        so_far = max(so_far, (len(p) - rank) * p[k])
        adjusted[k] = min(1.0, so_far)
    return adjusted


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_holm_equals_the_plain_loop(n):
    p = np.random.default_rng(n).random(n) ** 3
    np.testing.assert_allclose(holm(p), plain_holm(p), rtol=1e-12)
    assert np.all(holm(p) >= p)


# --- against the truth; benchmarks/coverage.py has the full study ---


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_about_as_often_as_they_say(clustered):
    """100 sets scatter by 0.022; docs/statistics.md has 2000."""
    hits = dict.fromkeys(("r2", "bias", "difference"), 0)
    for seed in range(100):
        y, a, b, stars = predictions(np.random.default_rng(seed), 200, clustered=clustered, worse_by=0.05)
        found = intervals(y, a, stars=stars, n_resamples=400)[0]
        pair = paired_difference(y, a, b, stars=stars, n_resamples=400, n_flips=1).interval
        hits["r2"] += found["r2"].lo <= TRUE_R2 <= found["r2"].hi
        hits["bias"] += found["bias"].lo <= 0 <= found["bias"].hi
        hits["difference"] += pair.lo <= 0.05 <= pair.hi
    assert min(hits.values()) >= 88
    assert max(hits.values()) <= 100


@pytest.mark.parametrize("clustered", [False, True])
def test_the_paired_test_keeps_its_size_under_the_null(clustered):
    """500 sets of equally good predictions: 6 % is one standard deviation above 5."""
    rejected = 0
    for seed in range(500):
        y, a, b, stars = predictions(np.random.default_rng(seed), 60, clustered=clustered)
        squared = Resamples(stars).star_sums(np.stack([(a - y) ** 2, (b - y) ** 2], axis=1))
        rejected += flip_values(squared, n_flips=399)[0] <= 0.05
    assert rejected / 500 <= 0.06


@pytest.mark.parametrize("seed", range(3))
def test_a_difference_of_three_hundredths_is_found_at_ten_thousand_stars(seed):
    y, a, b, stars = predictions(np.random.default_rng(seed), 10_000, worse_by=0.03)
    found = paired_difference(y, a, b, stars=stars, n_flips=999)
    assert 0.01 < found.interval.lo <= found.difference <= found.interval.hi < 0.05
    assert found.p <= 1e-3


# --- spreads, shapes, words ---


def test_a_spread_is_mean_and_standard_deviation_of_one():
    found = spread(np.array([0.5, 0.6, 0.7]))
    assert (found.n, found.lowest, found.highest) == (3, 0.5, 0.7)
    assert (found.mean, found.std) == (pytest.approx(0.6), pytest.approx(0.1))
    with pytest.raises(ProbeError, match="two seeds or more"):
        spread(np.array([0.5]))


def test_shapes_must_agree():
    y, y_hat = labels_and_predictions(10)
    with pytest.raises(ProbeError, match="must have the same rows"):
        intervals(y, y_hat, stars=np.arange(9))
    with pytest.raises(ProbeError, match="must have the same rows"):
        paired_differences(y[:9], y_hat, stars=np.arange(10))


def test_the_words_of_the_record_are_the_defaults():
    drawn = f"{100 * LEVEL:.0f} %, {N_RESAMPLES} resamples, seed {SEED}"
    assert INTERVAL_METHOD.endswith(drawn)
    assert drawn in PAIRED_METHOD
    assert f"{N_FLIPS} flips, seed {SEED}" in PAIRED_METHOD
