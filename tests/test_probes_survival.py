"""Shares and differences of scores on the same stars, against plain loops, and how often their intervals hold."""

import numpy as np
import pytest

from probes.bootstrap import NO_INTERVAL, Resamples
from probes.metrics import r2
from probes.statistics import paired_difference
from probes.survival import survival


def made(n_stars=150, n_each=1, *, seed=0, noise=(0.4, 0.6, 0.3)):
    """Labels, a reference and two others that share part of its errors; n_each rows for each star."""
    rng = np.random.default_rng(seed)
    stars = np.repeat(np.arange(n_stars), n_each)
    y = rng.standard_normal(n_stars)[stars]
    common = 0.3 * rng.standard_normal(n_stars)[stars]
    hats = [y + common + scale * rng.standard_normal(stars.size) for scale in noise]
    return stars, y, hats[0], np.stack(hats[1:], axis=1)


@pytest.mark.parametrize("n_each", [1, 3])
def test_shares_are_those_of_a_plain_loop(n_each):
    stars, y, reference, y_hat = made(n_each=n_each)
    resamples = Resamples(stars, n_resamples=200)
    found = survival(resamples, y, reference, y_hat, with_share=True)
    value, spans = found.share, found.share_intervals
    np.testing.assert_allclose(value, [r2(y, column) / r2(y, reference) for column in y_hat.T], rtol=1e-10)
    for k, column in enumerate(y_hat.T):
        drawn, errors = [], []
        for counts in np.concatenate(list(resamples.counts())):
            rows = np.repeat(np.arange(stars.size), counts[stars])
            drawn.append(r2(y[rows], column[rows]) / r2(y[rows], reference[rows]))
            errors.append(_error(stars, y, reference, column, counts))
        at = [r2(y, column) / r2(y, reference), _error(stars, y, reference, column, np.ones(150))]
        reach = np.quantile(np.abs(np.array(drawn) - at[0]) / np.array(errors), 0.95)
        lo, hi = np.quantile(drawn, [0.025, 0.975])
        assert spans[k].lo == pytest.approx(min(lo, at[0] - reach * at[1]), rel=1e-6)
        assert spans[k].hi == pytest.approx(max(hi, at[0] + reach * at[1]), rel=1e-6)


def _error(stars, y, reference, column, counts):
    """Standard error of the share by its influence on each star, found by weights a little off."""
    weights = counts.astype(float)

    def share(at):
        w = at[stars]
        mean = np.sum(w * y) / w.sum()
        total = np.sum(w * (y - mean) ** 2)
        return (total - np.sum(w * (column - y) ** 2)) / (total - np.sum(w * (reference - y) ** 2))

    influence = []
    for star in np.flatnonzero(counts):
        step = np.zeros(counts.size)
        step[star] = 1e-5
        influence.append((share(weights + step) - share(weights - step)) / 2e-5)
    return np.sqrt(np.sum(counts[counts > 0] * np.array(influence) ** 2))


def test_differences_are_those_of_each_pair_alone_and_holm_is_over_them():
    stars, y, reference, y_hat = made()
    found = survival(Resamples(stars), y, reference, y_hat, with_share=True)
    for k, column in enumerate(y_hat.T):
        alone = paired_difference(y, column, reference, stars=stars)
        assert found.difference[k] == pytest.approx(alone.difference)
        assert found.difference_intervals[k].as_list() == pytest.approx(alone.interval.as_list())
    assert found.p_holm.max() <= 2 * found.p.max()
    assert (found.p_holm >= found.p).all()


def test_a_reference_compared_with_itself_is_whole():
    stars, y, reference, _ = made()
    found = survival(Resamples(stars), y, reference, reference[:, None], with_share=True)
    assert (found.difference[0], found.share[0], found.p[0]) == (0.0, 1.0, 1.0)
    assert found.share_intervals[0].as_list() == [1.0, 1.0]
    assert found.difference_intervals[0].as_list() == [0.0, 0.0]


def test_without_a_score_there_is_no_share():
    stars, y, reference, y_hat = made()
    found = survival(Resamples(stars), y, reference, y_hat, with_share=False)
    assert found.share is None
    assert list(found.share_intervals) == [NO_INTERVAL, NO_INTERVAL]


def test_a_star_that_holds_most_of_the_error_leaves_the_percentile_interval():
    """docs/statistics.md: beyond a fifth of the squared error the studentised interval would be that star's."""
    stars, y, reference, y_hat = made()
    one = y_hat[:, :1].copy()
    one[7] += 6
    assert (one[7] - y[7]) ** 2 > 0.2 * np.sum((one[:, 0] - y) ** 2)
    resamples = Resamples(stars)
    found = survival(resamples, y, reference, one, with_share=True)
    drawn = []
    for counts in np.concatenate(list(resamples.counts())):
        rows = np.repeat(np.arange(stars.size), counts)
        drawn.append(r2(y[rows], one[rows, 0]) / r2(y[rows], reference[rows]))
    assert found.share_intervals[0].as_list() == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())


def test_where_the_reference_has_no_score_a_share_is_not_defined():
    stars, y, _, y_hat = made()
    found = survival(Resamples(stars), y, np.full(y.size, y.mean() + 0.1), y_hat, with_share=True)
    assert np.isnan(found.share).all()
    assert list(found.share_intervals) == [NO_INTERVAL, NO_INTERVAL]


def test_resamples_without_a_score_of_the_reference_are_left_out():
    """A share over a negative R2 would have the wrong sign."""
    stars, y, _, _ = made(40)
    reference = y + 0.7 * y.std() * np.random.default_rng(3).standard_normal(y.size)
    one = y + np.where(stars == 7, 1.0, 0.0)  # one star has all of its error: the percentile interval alone
    resamples = Resamples(stars)
    drawn = []
    for counts in np.concatenate(list(resamples.counts())):
        rows = np.repeat(stars, counts)
        drawn.append((r2(y[rows], one[rows]), r2(y[rows], reference[rows])))
    ours, true = np.array(drawn).T
    assert 0.025 < np.mean(true <= 0) < 0.5
    found = survival(resamples, y, reference, one[:, None], with_share=True)
    expected = np.quantile(ours[true > 0] / true[true > 0], [0.025, 0.975])
    assert found.share_intervals[0].as_list() == pytest.approx(expected.tolist())


def test_intervals_of_a_share_hold():
    """400 sets of 150 stars: the true share lies within in about 95 % (standard error 1.1 %)."""
    noise, common = (0.4, 0.6, 0.3), 0.3
    true = [(1 - common**2 - scale**2) / (1 - common**2 - noise[0] ** 2) for scale in noise[1:]]
    held = []
    for seed in range(400):
        stars, y, reference, y_hat = made(seed=[seed, 5])
        spans = survival(Resamples(stars), y, reference, y_hat, with_share=True).share_intervals
        held.append([span.lo <= value <= span.hi for span, value in zip(spans, true, strict=True)])
    assert (np.mean(held, axis=0) > 0.92).all()
    assert (np.mean(held, axis=0) < 0.985).all()
