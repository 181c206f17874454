"""Paired intervals where one star holds much of a difference: not too wide there, and as before elsewhere."""

import numpy as np
import pytest
from statistics_fakes import difference, gathered, predictions

from probes.bootstrap import Resamples, studentised_ends
from probes.paired import DECISIVE, MOST_ERRORS
from probes.statistics import PAIRED_METHOD, paired_difference, paired_differences

SHARES = (0.15, 0.25, 0.35, 0.48)


def dominated(seed, *, n=200, share, worse_by=0.05):
    """(y, a, b, stars, held): of star 3 the first prediction fails, so that it holds a share of the difference.

    `held` is what it takes from R2 of a.
    """
    y, a, b, stars = predictions(np.random.default_rng(seed), n, worse_by=worse_by)
    lost = (a - y) ** 2 - (b - y) ** 2
    lost[3] = 0
    grows = share / (1 - share) * np.abs(lost).sum()
    a = a.copy()
    a[3] = y[3] + np.sqrt((b[3] - y[3]) ** 2 + grows)
    return y, a, b, stars, grows / np.sum((y - y.mean()) ** 2)


def table_with(monkeypatch, y, y_hat, stars, **constants):
    """The table where constants of `probes.paired` have these values."""
    with monkeypatch.context() as patched:
        for name, value in constants.items():
            patched.setattr(f"probes.paired.{name}", value)
        return paired_differences(y, y_hat, stars=stars, n_flips=1)


def width(table):
    (interval,) = table.intervals
    return interval.hi - interval.lo


@pytest.mark.parametrize("n", [30, 60, 200])
@pytest.mark.parametrize("clustered", [False, True])
def test_where_no_star_is_dominant_no_bit_differs(monkeypatch, n, clustered):
    """Dominant: more than a third of the squares of what stars add to the difference."""
    compared = 0
    for seed in range(6):
        y, a, b, stars = predictions(np.random.default_rng(seed), n, clustered=clustered, worse_by=0.1)
        more = y + np.random.default_rng(seed).standard_t(5, y.size)
        y_hat = np.stack([a, b, more, np.full_like(y, y.mean())], axis=1)
        found = paired_differences(y, y_hat, stars=stars, n_flips=1)
        unbounded = table_with(monkeypatch, y, y_hat, stars, MOST_ERRORS=np.inf)
        squared = Resamples(stars).star_sums((y_hat - y[:, None]) ** 2)
        for k, (i, j) in enumerate(zip(*np.triu_indices(4, 1), strict=True)):
            square = (squared[:, i] - squared[:, j]) ** 2
            if square.max() <= square.sum() / 3:
                compared += 1
                assert found.intervals[k] == unbounded.intervals[k]
        np.testing.assert_array_equal(found.p, unbounded.p)
        np.testing.assert_array_equal(found.n_eff, unbounded.n_eff)
    assert compared >= 12


@pytest.mark.parametrize("share", SHARES)
def test_the_interval_is_that_of_the_plain_bootstrap_but_four_errors_at_most(share):
    y, a, b, stars, _ = dominated(0, n=60, share=share, worse_by=0.0)
    flags = {"n_resamples": 150, "seed": 4}
    found = paired_difference(y, a, b, stars=stars, **flags).interval
    value, error = difference(np.stack([y, a, b], axis=1), stars)
    drawn = [difference(*sample) for sample in gathered(np.stack([y, a, b], axis=1), stars, **flags)]
    replicates, errors = np.array(drawn).T
    reach = np.quantile(np.abs(replicates - value) / errors, 0.95)
    low, high = np.quantile(replicates, [0.025, 0.975])
    expected = [min(low, value - min(reach, 4) * error), max(high, value + min(reach, 4) * error)]
    np.testing.assert_allclose(found.as_list(), expected, rtol=1e-9)
    assert (reach > 4) == (share > 0.3)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("n", [200, 1000])
def test_it_is_below_three_times_the_percentile_interval(monkeypatch, n, share):
    y, a, b, stars, _ = dominated(1, n=n, share=share)
    y_hat = np.stack([a, b], axis=1)
    found = width(paired_differences(y, y_hat, stars=stars, n_flips=1))
    unbounded = width(table_with(monkeypatch, y, y_hat, stars, MOST_ERRORS=np.inf))
    percentile = width(table_with(monkeypatch, y, y_hat, stars, DECISIVE=0.0))
    assert percentile <= found < 3 * percentile
    assert found <= unbounded
    if share > 0.4:
        assert unbounded > 5 * percentile


@pytest.mark.parametrize("share", SHARES[1:])
@pytest.mark.parametrize("seed", range(2))
def test_it_allows_for_five_such_stars_where_one_was_found(share, seed):
    """Where five are expected, one sample in 25 has one or none."""
    y, a, b, stars, held = dominated(seed, n=1000, share=share)
    pair = paired_difference(y, a, b, stars=stars, n_flips=1)
    assert pair.difference - 5 * held < pair.interval.lo <= pair.difference - 4 * held
    assert pair.difference + 4 * held <= pair.interval.hi < pair.difference + 5 * held


def test_a_difference_of_which_one_star_holds_a_quarter_is_told_within_four_errors(monkeypatch):
    """R2 0.98 against -0.29 on 2000 stars: 1.27 [-0.07, 2.61]; without a bound [-11, 13.5]."""
    rng = np.random.default_rng(5)
    y = rng.standard_normal(2000)
    good, bad = y + 0.14 * rng.standard_normal(2000), 0.05 * y + 0.21 * rng.standard_normal(2000)
    bad[3] = y[3] + np.sqrt(0.35 * np.sum((bad - y) ** 2))
    y_hat, stars = np.stack([good, bad], axis=1), np.arange(2000)
    (found,) = paired_differences(y, y_hat, stars=stars, n_flips=1).intervals
    (unbounded,) = table_with(monkeypatch, y, y_hat, stars, MOST_ERRORS=np.inf).intervals
    assert unbounded.lo < -2
    assert unbounded.hi > 4
    assert -0.3 < found.lo < 0.95
    assert 1.9 < found.hi < 3


@pytest.mark.parametrize("share", SHARES)
def test_the_other_way_round_it_is_the_mirror_image_and_units_do_not_matter(share):
    y, a, b, stars, _ = dominated(2, share=share)
    pair = paired_difference(y, a, b, stars=stars, n_flips=1).interval
    back = paired_difference(y, b, a, stars=stars, n_flips=1).interval
    other = paired_difference(700 * y, 700 * a, 700 * b, stars=stars, n_flips=1).interval
    np.testing.assert_allclose([-back.hi, -back.lo], pair.as_list(), rtol=1e-9)
    np.testing.assert_allclose(other.as_list(), pair.as_list(), rtol=1e-9)


@pytest.mark.parametrize("k", [2, 3, 6])
def test_predictions_that_are_equal_on_most_stars_have_an_interval_that_tells_something(monkeypatch, k):
    """Without these few stars nothing differs, and neither difference nor standard error is left."""
    y, a, _, stars = predictions(np.random.default_rng(3), 100)
    b = a.copy()
    b[:k] += np.linspace(0.5, 0.6, k)
    y_hat = np.stack([a, b], axis=1)
    found = paired_differences(y, y_hat, stars=stars, n_flips=1)
    (interval,) = found.intervals
    assert interval.lo <= found.difference[0] <= interval.hi
    assert 0 < width(found) < 3 * width(table_with(monkeypatch, y, y_hat, stars, DECISIVE=0.0))


def test_a_studentised_interval_reaches_no_further_than_it_may():
    """Columns: below the bound, beyond it, without a standard error, not defined."""
    rng = np.random.default_rng(0)
    replicates = np.stack([rng.standard_normal(400)] * 4, axis=1)
    error = np.array([1.0, 1.0, 0.0, np.nan])
    errors = np.broadcast_to(error, (400, 4)).copy()
    errors[:150, 1] = 0.01
    value = np.array([0.0, 2.0, 0.0, 0.0])
    free = studentised_ends(value, error, replicates, errors)
    bound = studentised_ends(value, error, replicates, errors, most=4.0)
    np.testing.assert_array_equal(bound[:, [0, 2, 3]], free[:, [0, 2, 3]])
    assert np.ptp(free[:, 1]) > 20
    assert bound[:, 1].tolist() == [-2.0, 6.0]


def test_the_words_of_the_method_are_the_constants():
    assert DECISIVE == 0.5
    assert (
        f"({MOST_ERRORS:g} standard errors at most; percentile alone where one star holds half"
        in PAIRED_METHOD
    )
