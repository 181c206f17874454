"""Metrics against scikit-learn, intervals against plain loops."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from cache.errors import ProbeError
from probes import metrics
from probes.statistics import (
    INTERVAL_METHOD,
    LEVEL,
    N_RESAMPLES,
    SEED,
    Interval,
    intervals,
    paired_difference,
)


def sample(n=300, *, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    y = 5000 + 700 * rng.standard_normal(n)
    return y, y + 700 * noise * rng.standard_normal(n) + 30


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(seed):
    y, y_hat = sample(seed=seed)
    assert metrics.r2(y, y_hat) == pytest.approx(reference.r2_score(y, y_hat), rel=1e-12)
    assert metrics.rmse(y, y_hat) == pytest.approx(reference.root_mean_squared_error(y, y_hat), rel=1e-12)
    assert metrics.mae(y, y_hat) == pytest.approx(reference.mean_absolute_error(y, y_hat), rel=1e-12)


def test_bias_is_prediction_minus_label():
    y = np.zeros(5)
    y_hat = np.array([1.0, 1.0, 2.0, 3.0, 13.0])
    assert metrics.bias(y, y_hat) == 4.0
    assert metrics.bias_median(y, y_hat) == 2.0
    assert metrics.sigma_mad(y, y_hat) == 1.4826


def test_robust_scatter_is_sigma_for_normal_residuals():
    residual = np.random.default_rng(0).standard_normal(200_000)
    assert metrics.sigma_mad(np.zeros_like(residual), residual + 9) == pytest.approx(1.0, abs=0.01)


def test_r2_of_the_mean_is_zero_and_of_the_truth_one():
    y, _ = sample()
    assert metrics.r2(y, np.full_like(y, y.mean())) == pytest.approx(0, abs=1e-12)
    assert metrics.r2(y, y) == 1.0


@pytest.mark.parametrize("y", [[3.0, 3.0, 3.0], [3.0], [0.1] * 7])
def test_constant_labels_have_no_r2_but_other_scores(y):
    y = np.array(y)
    assert math.isnan(metrics.r2(y, y + 1))
    found = metrics.scores(y, y + 1)
    assert found["r2"] is None
    assert found["rmse"] == pytest.approx(1.0)


def test_scores_hold_every_metric():
    assert list(metrics.scores(*sample())) == ["r2", "rmse", "mae", "bias", "bias_median", "sigma_mad"]


@pytest.mark.parametrize(
    ("y", "y_hat", "message"),
    [
        ([1.0, 2.0], [1.0], "two equally long vectors"),
        ([], [], "two equally long vectors"),
        ([[1.0]], [[1.0]], "two equally long vectors"),
        ([1.0, math.nan], [1.0, 1.0], "not finite"),
        ([1.0, 2.0], [1.0, math.inf], "not finite"),
    ],
)
def test_metrics_refuse_what_has_no_score(y, y_hat, message):
    for metric in metrics.METRICS.values():
        with pytest.raises(ProbeError, match=message):
            metric(np.array(y), np.array(y_hat))


# --- intervals ---


def plain_bootstrap(y, y_hat, stars, *, n_resamples, seed):
    """Draw stars, gather their rows, score: one resample at a time."""
    unique = np.unique(stars)
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(n_resamples):
        drawn = unique[rng.integers(0, unique.size, size=unique.size)]
        rows = np.concatenate([np.flatnonzero(stars == star) for star in drawn])
        pair = (y[rows], y_hat[rows])
        scores.append([metrics.r2(*pair), metrics.rmse(*pair), metrics.mae(*pair)])
    return np.array(scores)


@pytest.mark.parametrize("rows_per_star", [1, 3])
def test_intervals_equal_the_plain_bootstrap(rows_per_star):
    y, y_hat = sample(60)
    stars = np.arange(60, dtype=np.uint64) // rows_per_star + 2**63
    found = intervals(y, y_hat, stars=stars, n_resamples=200, seed=4)[0]
    plain = plain_bootstrap(y, y_hat, stars, n_resamples=200, seed=4)
    for column, name in enumerate(("r2", "rmse", "mae")):
        expected = np.quantile(plain[:, column], [0.025, 0.975])
        np.testing.assert_allclose(found[name].as_list(), expected, rtol=1e-9)


def test_labels_share_the_resamples_and_slabs_do_not_matter(monkeypatch):
    y, y_hat = sample(50)
    stars = np.arange(50)
    one = intervals(y, y_hat, stars=stars)
    both = intervals(np.stack([y, -y], 1), np.stack([y_hat, -y_hat], 1), stars=stars)
    monkeypatch.setattr("probes.statistics._COUNTS_AT_ONCE", 50 * 7)
    assert intervals(y, y_hat, stars=stars)[0]["r2"].lo == pytest.approx(one[0]["r2"].lo, rel=1e-12)
    assert both[0]["mae"].lo == pytest.approx(one[0]["mae"].lo, rel=1e-12)
    assert both[1]["mae"].hi == pytest.approx(one[0]["mae"].hi, rel=1e-12)


def test_order_of_rows_does_not_matter_within_stars():
    y, y_hat = sample(40)
    stars = np.arange(40) // 2
    order = np.random.default_rng(0).permutation(40)
    plain = intervals(y, y_hat, stars=stars)[0]["r2"]
    shuffled = intervals(y[order], y_hat[order], stars=stars[order])[0]["r2"]
    assert plain.lo == pytest.approx(shuffled.lo, rel=1e-9)


def test_repeated_rows_do_not_narrow_the_interval():
    y, y_hat = sample(100)
    stars = np.arange(100)
    once = intervals(y, y_hat, stars=stars)[0]["r2"]
    many = intervals(np.tile(y, 5), np.tile(y_hat, 5), stars=np.tile(stars, 5))[0]["r2"]
    assert many.lo == pytest.approx(once.lo, rel=1e-9)
    assert many.hi == pytest.approx(once.hi, rel=1e-9)


def test_intervals_cover_about_as_often_as_they_say():
    """Measured over 1000 sets: 0.939 at 1000 stars, 0.931 at 200; 300 sets scatter by 0.013."""
    truth, n_sets, n_stars = 1 - 0.5**2, 300, 500
    covered = 0
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        y_hat = rng.standard_normal(n_stars) * math.sqrt(truth)
        y = y_hat + 0.5 * rng.standard_normal(n_stars)
        span = intervals(y, y_hat, stars=np.arange(n_stars), n_resamples=200)[0]["r2"]
        covered += span.lo <= truth <= span.hi
    assert 0.90 <= covered / n_sets <= 0.98


def test_intervals_of_a_thousand_stars_are_as_wide_as_reference_says():
    rng = np.random.default_rng(0)
    y_hat = rng.standard_normal(1000) * math.sqrt(0.55)
    y = y_hat + math.sqrt(0.45) * rng.standard_normal(1000)
    span = intervals(y, y_hat, stars=np.arange(1000))[0]["r2"]
    assert (span.hi - span.lo) / 2 == pytest.approx(0.046, abs=0.01)


def test_no_interval_where_the_score_is_not_defined():
    y = np.full(20, 4.5)
    found = intervals(y, y + 1, stars=np.arange(20))[0]
    assert found["r2"] == Interval(None, None)
    assert found["rmse"].lo == pytest.approx(1.0)
    single = intervals(np.array([1.0]), np.array([2.0]), stars=np.array([7]))[0]
    assert single["r2"].as_list() == [None, None]


def test_paired_difference_is_narrower_than_two_intervals():
    y, y_hat = sample(400)
    slightly_worse = y_hat + 40 * np.random.default_rng(3).standard_normal(400)
    stars = np.arange(400)
    found = paired_difference(y, y_hat, slightly_worse, stars=stars)
    assert found.difference == pytest.approx(metrics.r2(y, y_hat) - metrics.r2(y, slightly_worse), abs=1e-12)
    assert found.interval.lo < found.difference < found.interval.hi
    alone = intervals(y, y_hat, stars=stars)[0]["r2"]
    assert found.interval.hi - found.interval.lo < 0.5 * (alone.hi - alone.lo)
    same = paired_difference(y, y_hat, y_hat, stars=stars)
    assert (same.difference, same.interval) == (0.0, Interval(0.0, 0.0))


def test_paired_difference_equals_the_plain_bootstrap():
    y, y_hat = sample(45)
    other = y_hat + 200
    stars = np.arange(45) // 3
    found = paired_difference(y, y_hat, other, stars=stars, n_resamples=150, seed=2)
    a = plain_bootstrap(y, y_hat, stars, n_resamples=150, seed=2)[:, 0]
    b = plain_bootstrap(y, other, stars, n_resamples=150, seed=2)[:, 0]
    np.testing.assert_allclose(found.interval.as_list(), np.quantile(a - b, [0.025, 0.975]), rtol=1e-9)


def test_shapes_must_agree():
    y, y_hat = sample(10)
    with pytest.raises(ProbeError, match="must have the same rows"):
        intervals(y, y_hat, stars=np.arange(9))


def test_the_words_of_the_record_are_the_defaults():
    assert (
        f"bootstrap over stars, percentile, {100 * LEVEL:.0f} %, {N_RESAMPLES} resamples, seed {SEED}"
    ) == INTERVAL_METHOD
