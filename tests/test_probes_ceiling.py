"""The ceiling: bounds against posteriors that are known exactly, shares against plain loops, and what is refused."""

import numpy as np
import pytest
from statistics_fakes import gathered, plain_ends

from cache.errors import ProbeError
from probes.ceiling import (
    Prior,
    label_information,
    label_prior,
    prior_aware_variances,
    unbiased_variances,
    van_trees_variances,
)
from probes.ceiling_scores import Bounded, binned_figures, figures, row_items
from probes.metrics import r2
from probes.share_intervals import median_r2, share_intervals
from probes.statistics import Resamples

PARAMETERS = ("T_eff", "log_g", "M_H", "ln_A")
UNITS = np.array([600.0, 1.0, 0.8])
MEAN = np.array([5000.0, 3.0, -1.0])
PIXELS = 12


class LinearSurvey:
    """Stars whose flux is linear in labels and ln A, each with its own gradient and error; normal prior, correlated."""

    def __init__(self, n=40, *, seed=0, amplitude_sd=0.0):
        rng = np.random.default_rng(seed)
        mixed = rng.standard_normal((3, 3))
        self.amplitude_sd = amplitude_sd
        self.covariance = (mixed @ mixed.T + np.eye(3)) * UNITS[:, None] * UNITS
        self.gradient = rng.standard_normal((n, PIXELS, 4)) / np.append(UNITS, 0.1)
        self.sigma = rng.uniform(0.5, 8, (n, PIXELS))
        scaled = self.gradient / self.sigma[:, :, None]
        self.matrices = scaled.transpose(0, 2, 1) @ scaled
        drawn = rng.multivariate_normal(MEAN, self.covariance, size=n)
        self.labels = drawn
        theta = np.column_stack([drawn - MEAN, amplitude_sd * rng.standard_normal(n)])
        self.seen = np.einsum("npk,nk->np", self.gradient, theta)
        self.seen += self.sigma * rng.standard_normal(self.seen.shape)

    @property
    def full_prior(self):
        prior = np.zeros((4, 4))
        prior[:3, :3], prior[3, 3] = self.covariance, self.amplitude_sd**2
        return prior

    def posterior(self):
        """Posterior means and variances of the labels, by conditioning the joint normal distribution of all."""
        means, variances = [], []
        for gradient, sigma, seen in zip(self.gradient, self.sigma, self.seen, strict=True):
            cross = self.full_prior @ gradient.T
            gain = np.linalg.solve(gradient @ cross + np.diag(sigma**2), cross.T).T
            means.append(MEAN + (gain @ seen)[:3])
            variances.append(np.diag(self.full_prior - gain @ cross.T)[:3])
        return np.array(means), np.array(variances)

    def information(self, amplitude_sd=None):
        sd = self.amplitude_sd if amplitude_sd is None else amplitude_sd
        return label_information(self.matrices, PARAMETERS, amplitude_sd=sd)

    def bounded(self, k):
        return Bounded(
            y=self.labels[:, k],
            stars=np.arange(len(self.labels)),
            prior_aware=prior_aware_variances(self.information(), self.covariance)[:, k],
            unbiased=unbiased_variances(self.information(np.inf))[:, k],
        )


# --- bounds ---


@pytest.mark.parametrize("amplitude_sd", [0.0, 0.01, 0.3, 50.0])
def test_prior_aware_is_the_posterior_variance_of_a_linear_model(amplitude_sd):
    toy = LinearSurvey(amplitude_sd=amplitude_sd)
    ours = prior_aware_variances(toy.information(), toy.covariance)
    np.testing.assert_allclose(ours, toy.posterior()[1], rtol=1e-6)


def test_amplitude_free_is_the_limit_of_a_wide_prior_and_known_of_a_narrow_one():
    toy = LinearSurvey()
    for exact, nearly in ((np.inf, 1e6), (0.0, 1e-9)):
        np.testing.assert_allclose(
            toy.information(exact), toy.information(nearly), rtol=1e-6, atol=1e-9 * toy.information(0.0).max()
        )


def test_unbiased_is_the_variance_of_weighted_least_squares():
    toy = LinearSurvey()
    plain = []
    for gradient, sigma in zip(toy.gradient, toy.sigma, strict=True):
        estimator = np.linalg.pinv(gradient / sigma[:, None])
        plain.append(np.sum(estimator**2, axis=1)[:3])
    np.testing.assert_allclose(unbiased_variances(toy.information(np.inf)), plain, rtol=1e-6)


def test_figures_of_the_linear_model_are_the_analytic_ones():
    toy, k = LinearSurvey(300, amplitude_sd=0.1), 1
    y, (_, exact) = toy.labels[:, k], toy.posterior()
    inverse = np.array([np.linalg.inv(matrix)[k, k] for matrix in toy.matrices])
    spread = np.mean((y - y.mean()) ** 2)
    found = figures(toy.bounded(k))
    analytic = {
        "prior_aware_mean": 1 - exact[:, k].mean() / spread,
        "unbiased_median": np.median(1 - inverse / spread),
        "unbiased_mean": 1 - inverse.mean() / spread,
    }
    for name, value in analytic.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-6, rel=1e-5)  # 6 digits are kept
        lo, hi = found[name]["interval"]
        assert lo < value < hi
    assert toy.bounded(k).ceiling() == pytest.approx(analytic["prior_aware_mean"], abs=1e-6)


@pytest.mark.parametrize("amplitude_sd", [0.0, 0.2])
def test_a_simulated_posterior_mean_reaches_the_ceiling_and_no_more(amplitude_sd):
    toy = LinearSurvey(4000, seed=3, amplitude_sd=amplitude_sd)
    means, _ = toy.posterior()
    for k in range(3):
        (item,) = row_items(toy.bounded(k), ["oracle"], means[:, [k]], [None])
        lo, hi = item["gap_interval"]
        assert lo < 0 < hi
        assert item["share_interval"][0] < 1 < item["share_interval"][1]
        assert abs(item["gap"]) < 0.03
        assert not item["above"]


def test_who_knows_more_than_the_flux_is_above_and_who_knows_less_is_not():
    toy, k = LinearSurvey(500), 1
    means, _ = toy.posterior()
    y = toy.labels[:, k]
    y_hat = np.stack([means[:, k] + 0.6 * (y - means[:, k]), means[:, k] + 0.3 * y.std()], axis=1)
    told, poor = row_items(toy.bounded(k), ["told", "poor"], y_hat, [None, None])
    assert told["above"]
    assert told["gap_interval"][1] < 0
    assert told["share"] > 1
    assert not poor["above"]
    assert 0 < poor["share"] < 1
    assert [item["r2"] for item in (told, poor)] == pytest.approx([r2(y, c) for c in y_hat.T], rel=1e-5)


def grid_best(flux, grid, prior, sigma):
    """Best R2 of a reader of one noisy pixel, and the ceiling from the gradient at each label; sums over grids."""
    prior = prior / prior.sum()
    seen = np.linspace(flux.min() - 7 * sigma, flux.max() + 7 * sigma, 3001)
    joint = prior * np.exp(-0.5 * ((seen[:, None] - flux) / sigma) ** 2)
    mass = joint.sum(axis=1)
    mean = joint @ grid / mass
    spread = prior @ (grid - prior @ grid) ** 2
    squared = np.sum(joint * (mean[:, None] - grid) ** 2) / mass.sum()
    information = (np.gradient(flux, grid) / sigma)[:, None, None] ** 2
    variances = prior_aware_variances(information, np.array([[spread]]))[:, 0]
    return 1 - squared / spread, 1 - prior @ variances / spread


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.6, 1.0, 2.0])
def test_with_a_uniform_prior_the_best_is_a_little_above_the_ceiling(sigma):
    """The normal prior is the worst of its variance: a reader who knows the edges does better, by 0.018 at most."""
    grid = np.sqrt(3) * (np.arange(-799, 800, 2) / 800)
    best, ceiling = grid_best(grid, grid, np.ones_like(grid), sigma)
    assert ceiling == pytest.approx(1 / (1 + sigma**2), abs=1e-4)
    assert -1e-4 < best - ceiling < 0.018


@pytest.mark.parametrize(
    ("curve", "sigma", "off"),
    [
        (np.tanh, 0.03, 0.011),
        (np.tanh, 0.3, 0.074),
        (np.tanh, 2.0, -0.015),
        (lambda label: np.exp(label / 2), 0.1, 0.003),
        (lambda label: np.exp(label / 2), 0.6, 0.024),
    ],
)
def test_a_curved_model_with_normal_prior_misses_by_what_the_docs_say(curve, sigma, off):
    """tanh is flat far out: there the gradient tells nothing, but a reader knows at least that it is far out."""
    grid = np.linspace(-4, 4, 801)
    best, ceiling = grid_best(curve(grid), grid, np.exp(-0.5 * grid**2), sigma)
    assert best - ceiling == pytest.approx(off, abs=6e-4)


def test_a_label_without_a_trace_keeps_its_prior_and_has_no_unbiased_estimate():
    toy = LinearSurvey()
    blind = toy.matrices.copy()
    blind[:, 2], blind[:, :, 2] = 0, 0
    free = label_information(blind, PARAMETERS, amplitude_sd=np.inf)
    diagonal = np.diag(np.diag(toy.covariance))
    np.testing.assert_allclose(prior_aware_variances(free, diagonal)[:, 2], diagonal[2, 2])
    unbiased = unbiased_variances(free)
    assert np.isinf(unbiased[:, 2]).all()
    np.testing.assert_allclose(unbiased[:, :2], unbiased_variances(free[:, :2, :2]), rtol=1e-9)
    found = figures(
        Bounded(y=toy.labels[:, 2], stars=np.arange(40), prior_aware=np.ones(40), unbiased=unbiased[:, 2])
    )
    assert found["unbiased_mean"] is None
    assert found["unbiased_median"] == {"value": None, "interval": [None, None]}


def test_labels_that_only_count_together_are_told_together_alone():
    """The same trace of both: neither has an unbiased estimate; a prior that knows one of them tells the other."""
    same = np.array([[[4.0, 4.0], [4.0, 4.0]]])
    assert np.isinf(unbiased_variances(same)).all()
    known = np.diag([1.0, 0.0])
    np.testing.assert_allclose(prior_aware_variances(same, known), [[1 / (4 + 1), 0.0]])
    both = prior_aware_variances(same, np.eye(2))[0]
    np.testing.assert_allclose(both, np.diag(np.linalg.inv(same[0] + np.eye(2))))


def test_units_do_not_matter():
    toy, scale = LinearSurvey(), np.array([1e4, 1e-3, 7.0])
    information, covariance = toy.information(), toy.covariance
    other = information / scale[:, None] / scale
    np.testing.assert_allclose(
        prior_aware_variances(other, covariance * scale[:, None] * scale),
        prior_aware_variances(information, covariance) * scale**2,
        rtol=1e-8,
    )
    np.testing.assert_allclose(
        unbiased_variances(other), unbiased_variances(information) * scale**2, rtol=1e-8
    )


def test_bounds_stand_in_order():
    """Van Trees is lowest (Jensen), no prior is highest, and nothing is above what the prior alone leaves."""
    toy = LinearSurvey(200)
    information = toy.information()
    prior_aware = prior_aware_variances(information, toy.covariance)
    assert (van_trees_variances(information, toy.covariance) <= prior_aware.mean(axis=0)).all()
    assert (prior_aware <= unbiased_variances(information)).all()
    assert (prior_aware <= np.diag(toy.covariance)).all()
    assert (unbiased_variances(information) <= unbiased_variances(toy.information(np.inf))).all()


def test_parameters_are_found_by_name():
    toy, order = LinearSurvey(), [3, 1, 0, 2]
    turned = label_information(
        toy.matrices[:, order][:, :, order], [PARAMETERS[k] for k in order], amplitude_sd=0.1
    )
    np.testing.assert_allclose(turned, toy.information(0.1)[:, [1, 0, 2]][:, :, [1, 0, 2]])
    without = label_information(toy.matrices[:, :3, :3], PARAMETERS[:3], amplitude_sd=np.inf)
    np.testing.assert_array_equal(without, toy.matrices[:, :3, :3])


def broken(place, value):
    matrices = LinearSurvey().matrices.copy()
    matrices[3][place] = value
    return matrices


@pytest.mark.parametrize(
    "matrices",
    [broken((0, 0), np.nan), broken((0, 1), 1e3), broken((2, 2), -1.0)],
    ids=["not finite", "not symmetric", "negative"],
)
def test_matrices_that_are_none_are_refused(matrices):
    with pytest.raises(ProbeError, match=r"1 of 40 Fisher matrices are not finite, .*first: \[3\]"):
        label_information(matrices, PARAMETERS, amplitude_sd=0.0)


def test_shapes_and_priors_that_do_not_fit_are_refused():
    toy = LinearSurvey()
    with pytest.raises(ProbeError, match=r"expected \(n, 3, 3\)"):
        label_information(toy.matrices, PARAMETERS[:3], amplitude_sd=0.0)
    for covariance in (np.full((3, 3), np.nan), -np.eye(3), np.triu(np.ones((3, 3)))):
        with pytest.raises(ProbeError, match="prior covariance is not finite, symmetric"):
            prior_aware_variances(toy.information(), covariance)


# --- the prior ---


def test_the_prior_is_the_covariance_of_train_stars_each_counted_once():
    rng = np.random.default_rng(0)
    labels = {"log_g": rng.standard_normal(50), "T_eff": 5000 + 300 * rng.standard_normal(50)}
    labels["log_g"][7] = np.nan
    kept = np.arange(50) != 7
    prior = label_prior(labels, ("T_eff", "log_g"), stars=np.arange(50), amplitude_sd=0.1)
    plain = np.cov(labels["T_eff"][kept], labels["log_g"][kept], bias=True)
    np.testing.assert_allclose(prior.covariance, plain)
    assert (prior.n_stars, prior.amplitude_sd) == (49, 0.1)
    assert prior.sd("log_g") == pytest.approx(np.sqrt(plain[1, 1]))
    twice = {name: np.concatenate([values, values[:20]]) for name, values in labels.items()}
    again = label_prior(twice, ("T_eff", "log_g"), stars=np.arange(70) % 50)
    np.testing.assert_array_equal(again.covariance, prior.covariance)


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ({"T_eff": np.ones(5)}, {}, "no label log_g"),
        ({"T_eff": np.ones(5), "log_g": np.full(5, np.nan)}, {}, "0 train stars have all of T_eff, log_g"),
        (
            {"T_eff": np.ones(5), "log_g": np.array([1, 2, -999, 3, 4])},
            {},
            "label 'log_g' is -999 in 1 of 5 rows",
        ),
        ({"T_eff": np.ones(5), "log_g": np.ones(5)}, {"amplitude_sd": -1.0}, "of ln A is -1.0"),
        ({"T_eff": np.ones(5), "log_g": np.ones(5)}, {"amplitude_sd": np.nan}, "of ln A is nan"),
    ],
)
def test_a_prior_that_cannot_be_told_is_refused(labels, options, words):
    with pytest.raises(ProbeError, match=words):
        label_prior(labels, ("T_eff", "log_g"), stars=np.arange(5), **options)


def test_a_constant_label_of_train_is_known():
    prior = Prior(labels=("a", "b"), covariance=np.diag([4.0, 0.0]), n_stars=9)
    information = np.array([[[2.0, 1.0], [1.0, 3.0]]])
    np.testing.assert_allclose(prior_aware_variances(information, prior.covariance), [[1 / (2 + 1 / 4), 0.0]])


# --- shares and medians, against loops ---


def clustered(n_stars=60, seed=5):
    rng = np.random.default_rng(seed)
    member = np.repeat(np.arange(n_stars), rng.integers(1, 4, n_stars))
    y = rng.standard_normal(n_stars)[member]
    bound = rng.uniform(0.05, 0.3, member.size)
    y_hat = y[:, None] + rng.standard_normal((member.size, 2)) * [0.6, 0.9]
    return y, bound, y_hat, 7 * member + 3


def test_shares_are_those_of_plain_loops():
    y, bound, y_hat, stars = clustered()
    options = {"n_resamples": 200, "seed": 1}
    values, intervals = share_intervals(Resamples(stars, **options), y, bound, (y_hat - y[:, None]) ** 2)

    def share(rows, member):
        y, bound, column = rows.T
        deviation, squared = (y - y.mean()) ** 2, (column - y) ** 2
        below = np.sum(deviation - bound)
        value = np.sum(deviation - squared) / below
        parts = [
            np.sum(((1 - value) * deviation - squared + value * bound)[member == s]) / below
            for s in np.unique(member)
        ]
        return value, np.sqrt(np.sum(np.square(parts)))

    for column, value, interval in zip(y_hat.T, values, intervals, strict=True):
        rows = np.stack([y, bound, column], axis=1)
        assert value == pytest.approx(share(rows, stars)[0], rel=1e-9)
        ceiling = 1 - bound.mean() / y.var()
        assert value == pytest.approx(r2(y, column) / ceiling, rel=1e-9)
        ends = plain_ends(share, rows, stars, scale=lambda values: values, **options)
        assert interval.as_list() == pytest.approx(ends, rel=1e-7)


def test_one_star_cannot_stretch_the_interval_of_a_share():
    y, bound, y_hat, stars = clustered()
    y_hat[0] += 40
    resamples = Resamples(stars)
    values, intervals = share_intervals(resamples, y, bound, (y_hat - y[:, None]) ** 2)
    drawn = [
        (1 - np.sum(counts[resamples.member] * (y_hat[:, 0] - y) ** 2) / spread)
        / (1 - np.sum(counts[resamples.member] * bound) / spread)
        for counts in np.concatenate(list(resamples.counts()))
        for spread in [
            np.sum(counts[resamples.member] * (y - np.average(y, weights=counts[resamples.member])) ** 2)
        ]
    ]
    assert intervals[0].as_list() == pytest.approx(np.quantile(drawn, [0.025, 0.975]), rel=1e-9)
    assert intervals[0].lo < values[0] < intervals[0].hi


@pytest.mark.parametrize("n_stars", [60, 61])
def test_medians_are_those_of_plain_loops(n_stars):
    y, bound, _, stars = clustered(n_stars)
    bound[::9] = np.inf
    options = {"n_resamples": 150, "seed": 2}
    value, interval = median_r2(Resamples(stars, **options), y, bound)
    assert value == pytest.approx(np.median(1 - bound / y.var()))
    drawn = [
        np.median(1 - rows[:, 1] / rows[:, 0].var())
        for rows, _ in gathered(np.stack([y, bound], axis=1), stars, **options)
    ]
    assert interval.as_list() == pytest.approx(np.quantile(drawn, [0.025, 0.975]), rel=1e-9)


@pytest.mark.parametrize("n_stars", [1, 2, 3, 5])
def test_a_handful_of_stars_has_figures_or_none_and_no_crash(n_stars):
    y, stars = np.arange(n_stars, dtype=np.float64), np.arange(n_stars)
    few = Bounded(y=y, stars=stars, prior_aware=np.full(n_stars, 0.1), unbiased=np.full(n_stars, 0.2))
    told = binned_figures(few, {"snr": y}, runs=["a"], y_hat=y[:, None])["snr"]
    assert sum(told["n"]) == n_stars
    assert len(told["ceiling"]) == len(told["unbiased_median"]) == len(told["n"])
    assert median_r2(Resamples(stars[:1]), y[:1], few.unbiased[:1])[0] is None


def test_one_score_of_the_ceiling_is_never_told_without_the_truth():
    """Where the labels are constant, or the ceiling is not clear of 0, there is no share."""
    toy, k = LinearSurvey(50), 1
    flat = Bounded(y=np.ones(50), stars=np.arange(50), prior_aware=np.ones(50), unbiased=np.ones(50))
    (item,) = row_items(flat, ["x"], np.ones((50, 1)), [None])
    assert (item["r2"], item["share"], item["gap"], item["above"]) == (None, None, None, False)
    useless = Bounded(
        y=toy.labels[:, k], stars=np.arange(50), prior_aware=np.full(50, 9e3), unbiased=np.full(50, np.inf)
    )
    (item,) = row_items(useless, ["x"], np.zeros((50, 1)), [None])
    assert item["share"] is None
    assert item["gap"] is not None


def test_rows_that_see_the_error_have_a_score_and_no_share():
    toy, k = LinearSurvey(80), 1
    means, _ = toy.posterior()
    seen, unseen = row_items(toy.bounded(k), ["a", "b"], means[:, [k, k]], ["sees it", None])
    assert (seen["applicable"], seen["why"], seen["share"], seen["gap"]) == (False, "sees it", None, None)
    assert (unseen["applicable"], unseen["why"]) == (True, None)
    assert seen["r2"] == unseen["r2"]


def test_bins_hold_what_the_figures_of_their_rows_are():
    toy, k = LinearSurvey(120), 1
    means, _ = toy.posterior()
    bounded, snr = toy.bounded(k), 1 / toy.sigma.mean(axis=1)
    told = binned_figures(bounded, {"snr": snr, "mag": np.full(120, 21.5)}, runs=["a"], y_hat=means[:, [k]])
    assert told["mag"]["n"] == [120]
    whole = figures(bounded)
    assert told["mag"]["ceiling"] == [
        [whole["prior_aware_mean"]["value"], *whole["prior_aware_mean"]["interval"]]
    ]
    edges = told["snr"]["edges"]
    for number in range(4):
        rows = (snr >= edges[number] * (1 - 1e-5)) & (snr <= edges[number + 1] * (1 + 1e-5))
        rows &= ~((np.abs(snr / edges[number + 1] - 1) < 1e-5) & (number < 3))
        part = figures(bounded.where(rows))
        assert told["snr"]["n"][number] == rows.sum()
        assert told["snr"]["ceiling"][number][0] == part["prior_aware_mean"]["value"]
        assert told["snr"]["unbiased_median"][number] == part["unbiased_median"]["value"]
        (item,) = row_items(bounded.where(rows), ["a"], means[rows][:, [k]], [None])
        ends = [None, None] if item["share"] is None else item["share_interval"]
        assert told["snr"]["share"]["a"][number] == [item["share"], *ends]
    assert any(share[0] is not None for share in told["snr"]["share"]["a"])
