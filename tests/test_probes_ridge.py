"""The ridge path against scikit-learn's Ridge on standardised features."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.preprocessing import StandardScaler

from cache.errors import ConfigError, ProbeError
from probes import make_probe
from probes.base import ROWS_AT_ONCE
from probes.metrics import r2
from probes.moments import SLAB_ROWS, moments
from probes.ridge import EDGE_FLAG, path_from_moments, ridge_path, ridge_paths
from probes.ridge_solutions import SCORED_ROWS, path_r2, r2_of_blocks
from probes.scaling import column_scaling
from probes.shifted import ShiftedSystem

FEW = (0.001, 1.0, 1e4)
MANY = tuple(np.geomspace(1e-3, 1e7, 11))
CONDITION_PROMISED = 1e7


def sample(n, d, t=2, *, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * np.geomspace(0.01, 100, d) + rng.uniform(-5, 5, d)).astype(dtype)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    Y = Z @ rng.standard_normal((d, t)) + rng.standard_normal((n, t)) + [3.0, -50.0][:t]
    return X, Y


def plain_solution(X, Y, alpha):
    """scikit-learn, the coefficients brought back to the units of X."""
    scaler = StandardScaler().fit(X.astype(np.float64))
    fitted = PlainRidge(alpha=alpha, solver="svd").fit(scaler.transform(X.astype(np.float64)), Y)
    coef = np.atleast_2d(fitted.coef_) / scaler.scale_
    return coef, fitted.intercept_ - coef @ scaler.mean_


def condition(X, alpha):
    values = np.linalg.svd(StandardScaler().fit_transform(X.astype(np.float64)), compute_uv=False) ** 2
    lowest = values[-1] if len(X) > X.shape[1] else 0.0
    return (values[0] + alpha) / (lowest + alpha)


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("alphas", [FEW, MANY], ids=["few", "many"])
@pytest.mark.parametrize(("n", "d"), [(200, 7), (60, 60), (61, 60), (20, 90), (2, 3), (300, 1)])
def test_path_equals_scikit_learn(n, d, alphas, dtype):
    X, Y = sample(n, d, dtype=dtype)
    path = ridge_path(X, Y, alphas)
    assert path.coef.shape == (len(alphas), 2, d)
    assert path.intercept.shape == (len(alphas), 2)
    checked = 0
    for index, alpha in enumerate(alphas):
        coef, intercept = plain_solution(X, Y, alpha)
        if condition(X, alpha) > CONDITION_PROMISED:
            continue
        checked += 1
        scale = StandardScaler().fit(X.astype(np.float64)).scale_
        assert relative(path.coef[index] * scale, coef * scale) < 1e-8
        np.testing.assert_allclose(path.intercept[index], intercept, rtol=1e-8, atol=1e-8)
    assert checked >= 2


def badly_scaled(n, d, *, correlated, dtype, seed=0):
    """Columns with std from 1e-6 to 1e6 and means up to 1e4 std; five labels with means far from 0."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, d))
    if correlated:
        Z = Z @ (np.eye(d) * 0.1 + rng.standard_normal((d, d)) / np.sqrt(d)) + 3 * rng.standard_normal((n, 1))
    offsets = rng.choice([-1, 1], d) * 10 ** rng.uniform(-1, 4, d)
    X = ((Z + offsets) * 10 ** rng.uniform(-6, 6, d)).astype(dtype)
    Y = Z @ rng.standard_normal((d, 5)) + rng.standard_normal((n, 5)) + [0.0, 10.0, -1e3, 1e4, 5.0]
    return X, Y


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("alphas", [FEW, MANY], ids=["few", "many"])
@pytest.mark.parametrize(("n", "d"), [(600, 30), (41, 40), (40, 40), (25, 70), (1300, 8)])
def test_path_keeps_what_is_promised_for_badly_scaled_features(n, d, alphas, correlated, dtype):
    X, Y = badly_scaled(n, d, correlated=correlated, dtype=dtype)
    path = ridge_path(X, Y, alphas)
    Z = StandardScaler().fit_transform(X.astype(np.float64))
    Z -= Z.mean(axis=0)
    scale = column_scaling(X).scale
    y_hat = path.predict(X)
    for index, alpha in enumerate(alphas):
        promised = condition(X, alpha) <= CONDITION_PROMISED
        for solver in ("svd", "cholesky") if promised else ("svd",):
            expected = PlainRidge(alpha=alpha, solver=solver).fit(Z, Y)
            tolerance = 1e-8 if promised else 10 * condition(X, alpha) * np.finfo(np.float64).eps
            for k in range(5):
                assert relative(path.coef[index, k] * scale, expected.coef_[k]) < tolerance
            assert (np.abs(y_hat[index] - expected.predict(Z)) / Y.std(axis=0)).max() < 1e-8


@pytest.mark.parametrize("first", ["constant", "sorted"])
def test_a_first_slab_unlike_the_rest_costs_no_digits(first):
    X, Y = badly_scaled(4 * SLAB_ROWS, 6, correlated=True, dtype=np.float64)
    if first == "constant":
        X[:SLAB_ROWS] = X[0]
    else:
        order = np.argsort(Y[:, 0])
        X, Y = X[order], Y[order]
    path = ridge_path(X, Y, MANY)
    Z = StandardScaler().fit_transform(X)
    for index, alpha in enumerate(MANY):
        expected = PlainRidge(alpha=alpha, solver="svd").fit(Z, Y)
        assert relative(path.coef[index] * X.std(axis=0), expected.coef_) < 1e-8


@pytest.mark.parametrize("alphas", [FEW, MANY], ids=["few", "many"])
@pytest.mark.parametrize("n", [150, 12])
def test_duplicate_and_constant_columns(n, alphas):
    X, Y = sample(n, 8)
    X = np.concatenate([X, X[:, :3], np.full((n, 1), 4.2), np.zeros((n, 1))], axis=1)
    path = ridge_path(X, Y, alphas)
    np.testing.assert_array_equal(path.coef[:, :, -2:], 0.0)
    for index, alpha in enumerate(alphas):
        coef, intercept = plain_solution(X, Y, alpha)
        difference = path.predict(X)[index] - (X @ coef.T + intercept)
        assert np.abs(difference / Y.std(axis=0)).max() < 1e-8
        np.testing.assert_allclose(path.coef[index, :, :3], path.coef[index, :, 8:11], rtol=1e-5, atol=1e-9)


def assert_same_path(one, other):
    for name in ("alphas", "coef", "intercept"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("alphas", [FEW, MANY], ids=["few", "many"])
def test_sizes_and_labels_together_are_those_alone_to_the_last_bit(alphas):
    X, Y = badly_scaled(SLAB_ROWS + 90, 40, correlated=True, dtype=np.float32)
    sizes = [SLAB_ROWS + 90, 12, 40, SLAB_ROWS, 39, 300]
    for n, path in zip(sizes, ridge_paths(X, Y, alphas, sizes=sizes), strict=True):
        assert_same_path(path, ridge_path(X[:n], Y[:n], alphas))
        for k in (0, 3):
            alone = ridge_path(X[:n], Y[:n, k], alphas)
            np.testing.assert_array_equal(alone.coef[:, 0], path.coef[:, k])
            np.testing.assert_array_equal(alone.intercept[:, 0], path.intercept[:, k])


@pytest.mark.parametrize("sizes", [[], [1], [10, 31]])
def test_sizes_must_be_there(sizes):
    with pytest.raises(ConfigError, match="expected numbers of rows from 2 to 30"):
        ridge_paths(*sample(30, 2), FEW, sizes=sizes)


def in_blocks(X, Y, *edges):
    return [(X[a:b], Y[a:b]) for a, b in pairwise([0, *edges, len(X)])]


def test_a_stream_of_rows_gives_the_path_of_the_matrix():
    X, Y = badly_scaled(SLAB_ROWS + 90, 9, correlated=True, dtype=np.float32)
    sizes = [300, SLAB_ROWS + 90]
    for found in moments(in_blocks(X, Y, 7, 30, 513), sizes=sizes):
        assert_same_path(path_from_moments(found, MANY), ridge_path(X[: found.n], Y[: found.n], MANY))


def test_a_stream_may_be_shorter_than_wide():
    X, Y = badly_scaled(25, 70, correlated=False, dtype=np.float64)
    (found,) = moments([(X, Y)])
    scale = column_scaling(X).scale
    streamed = path_from_moments(found, MANY[3:]).coef * scale
    assert relative(streamed, ridge_path(X, Y, MANY[3:]).coef * scale) < 1e-8


def test_scores_of_a_stream_do_not_depend_on_how_it_is_cut():
    X, Y = badly_scaled(2 * SCORED_ROWS + 200, 3, correlated=True, dtype=np.float32)
    Y[:, 2] = 4.0
    paths = ridge_paths(X, Y, FEW, sizes=[50, 900])
    whole = r2_of_blocks(paths, [(X, Y)])
    for path, expected in zip(paths, whole, strict=True):
        np.testing.assert_array_equal(path_r2(path, X, Y), expected)
        (cut,) = r2_of_blocks([path], in_blocks(X, Y, 100, 101, 2100))
        np.testing.assert_array_equal(cut, expected)
        for k in range(5):
            plain = [r2(Y[:, k], y_hat[:, k]) for y_hat in path.predict(X)]
            np.testing.assert_allclose(expected[:, k], plain, rtol=1e-12)
    assert np.isnan(whole[0][:, 2]).all()


def test_scores_of_what_is_not_finite_are_refused():
    X, Y = sample(30, 2)
    path = ridge_path(X, Y, FEW)
    with pytest.raises(ProbeError, match="not finite"):
        path_r2(path, X, np.where(Y[3] == Y, np.inf, Y))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "no rows"),
        ([((9, 3), (9, 2))], "rows have 3 features and 2 labels, the path has 2 and 2"),
        ([((9, 2), (9, 1))], "rows have 2 features and 1 labels, the path has 2 and 2"),
    ],
)
def test_scores_need_the_rows_of_the_path(shapes, message):
    path = ridge_path(*sample(30, 2), FEW)
    with pytest.raises(ProbeError, match=message):
        r2_of_blocks([path], [(np.ones(x), np.ones(y)) for x, y in shapes])


def test_a_matrix_that_rounding_made_indefinite_is_solved_by_its_eigenvalues():
    A = np.array([[1.0, 1.0 + 1e-14], [1.0 + 1e-14, 1.0]])
    (solved,) = ShiftedSystem(A, cut=2).solve([np.array([1.0, 1.0])], np.array([1e-15]))
    np.testing.assert_allclose(solved, [[0.5, 0.5]], rtol=1e-9)


def test_few_and_many_alphas_agree():
    X, Y = sample(80, 12)
    few = ridge_path(X, Y, MANY[2:4])
    many = ridge_path(X, Y, MANY)
    np.testing.assert_allclose(few.coef, many.coef[2:4], rtol=1e-9)


def test_rows_are_walked_through_in_slabs():
    X, Y = sample(ROWS_AT_ONCE + 300, 4)
    found = ridge_path(X, Y, [10.0])
    coef, intercept = plain_solution(X, Y, 10.0)
    np.testing.assert_allclose(found.coef[0], coef, rtol=1e-9)
    np.testing.assert_allclose(found.predict(X)[0], X @ coef.T + intercept, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.001, 100.0])
def test_shuffling_rows_changes_nothing(alpha):
    X, Y = sample(500, 20)
    order = np.random.default_rng(1).permutation(len(X))
    plain = ridge_path(X, Y, [alpha])
    shuffled = ridge_path(X[order], Y[order], [alpha])
    assert relative(shuffled.coef, plain.coef) < 1e-10
    assert relative(shuffled.predict(X), plain.predict(X)) < 1e-10


def test_one_label_may_be_a_vector():
    X, Y = sample(50, 3)
    one = ridge_path(X, Y[:, 0], FEW)
    assert one.coef.shape == (3, 1, 3)
    np.testing.assert_allclose(one.coef[:, 0], ridge_path(X, Y, FEW).coef[:, 0], rtol=1e-10)


def test_far_offsets_do_not_cost_digits():
    X, Y = sample(300, 5)
    far = X + 1e6
    assert relative(ridge_path(far, Y, [1.0]).coef, ridge_path(X, Y, [1.0]).coef) < 1e-8


def test_alpha_below_rounding_is_still_solved():
    X, Y = sample(100, 4)
    X = np.concatenate([X, X], axis=1)
    path = ridge_path(X, Y, [1e-30])
    expected = make_probe("ols").fit(X, Y).predict(X)
    np.testing.assert_allclose(path.predict(X)[0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alphas", [[], [[1.0]], [-1.0], [np.inf], [np.nan]])
def test_penalties_must_be_numbers(alphas):
    X, Y = sample(10, 2)
    with pytest.raises(ConfigError, match="finite numbers >= 0"):
        ridge_path(X, Y, alphas)


def test_non_finite_features_are_refused():
    X, Y = sample(10, 2)
    X[4, 1] = np.nan
    with pytest.raises(
        ProbeError, match=r"training features are NaN or inf in 1 of 10 rows \(first: \[4\]\)"
    ):
        ridge_path(X, Y, FEW)


# --- the estimator ---


def test_default_is_the_published_setting():
    assert make_probe("ridge").alpha == 0.001
    assert make_probe("ridge").selection_rule() == "fixed"


def test_estimator_is_the_path():
    X, Y = sample(90, 5)
    head = make_probe("ridge", alpha=3.0).fit(X, Y)
    coef, intercept = plain_solution(X, Y, 3.0)
    np.testing.assert_allclose(head.coef_, coef, rtol=1e-9)
    np.testing.assert_allclose(head.intercept_, intercept, rtol=1e-9)


def noisy_sample(n=60, d=30, *, seed):
    """One label that needs a large alpha and one that needs a small one."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    weights = np.random.default_rng(7).standard_normal((d, 2))
    return X, X @ weights + rng.standard_normal((n, 2)) * [20.0, 0.01]


def test_alpha_is_chosen_for_each_label_as_a_loop_would():
    X, Y = noisy_sample(seed=0)
    X_val, Y_val = noisy_sample(200, seed=1)
    head = make_probe("ridge", alpha="val", n_alphas=11).fit(X, Y, X_val=X_val, y_val=Y_val)
    grid = np.geomspace(1e-3, 1e7, 11)
    for label in range(2):
        tried = []
        for alpha in grid:
            coef, intercept = plain_solution(X, Y[:, label], alpha)
            tried.append(r2(Y_val[:, label], X_val @ coef[0] + intercept[0]))
        np.testing.assert_allclose(head.arrays_["val_r2"][:, label], tried, rtol=1e-6)
        assert head.chosen_["alpha"][label] == pytest.approx(grid[np.argmax(tried)])
    assert head.chosen_["alpha"][0] > head.chosen_["alpha"][1]
    np.testing.assert_allclose(head.arrays_["alpha"], grid)


def test_choice_at_the_edge_of_the_grid_is_flagged():
    X, Y = noisy_sample(seed=0)
    X_val, Y_val = noisy_sample(200, seed=1)
    wide = make_probe("ridge", alpha="val").fit(X, Y[:, 0], X_val=X_val, y_val=Y_val[:, 0])
    assert wide.flags_ == []
    assert wide.arrays_["val_r2"].shape == wide.arrays_["alpha"].shape == (21,)
    narrow = make_probe("ridge", alpha="val", alpha_max=1.0, n_alphas=4)
    assert narrow.fit(X, Y[:, 0], X_val=X_val, y_val=Y_val[:, 0]).flags_ == [(EDGE_FLAG, 0)]


def test_path_r2_is_the_metric():
    X, Y = sample(40, 3)
    path = ridge_path(X, Y, FEW)
    assert path_r2(path, X, Y)[1, 1] == r2(Y[:, 1], path.predict(X)[1][:, 1])


# --- ordinary least squares ---


@pytest.mark.parametrize(("n", "d"), [(200, 6), (3000, 5), (15, 40), (30, 30)])
def test_ols_equals_the_pseudo_inverse(n, d):
    X, Y = sample(n, d)
    head = make_probe("ols").fit(X, Y)
    Z = StandardScaler().fit_transform(X)
    Z -= Z.mean(axis=0)
    weights = np.linalg.pinv(Z, rcond=1e-10) @ (Y - Y.mean(axis=0))
    assert relative(head.coef_ * X.std(axis=0), weights.T) < 1e-8
    np.testing.assert_allclose(head.predict(X), Z @ weights + Y.mean(axis=0), rtol=1e-7, atol=1e-7)


def test_ols_equals_scikit_learn():
    X, Y = sample(200, 6)
    expected = LinearRegression().fit(X, Y)
    assert relative(make_probe("ols").fit(X, Y).coef_, expected.coef_) < 1e-10


def test_ols_shares_the_weight_of_dependent_columns():
    X, Y = sample(100, 3)
    both = make_probe("ols").fit(np.concatenate([X, X], axis=1), Y)
    once = make_probe("ols").fit(X, Y)
    np.testing.assert_allclose(both.coef_[:, :3], once.coef_ / 2, rtol=1e-9)
    np.testing.assert_allclose(both.coef_[:, 3:], once.coef_ / 2, rtol=1e-9)


@pytest.mark.parametrize("n", [120, 10])
def test_ols_is_ridge_at_alpha_zero(n):
    X, Y = sample(n, 20)
    zero = make_probe("ridge", alpha=0.0).fit(X, Y)
    np.testing.assert_allclose(make_probe("ols").fit(X, Y).coef_, zero.coef_, rtol=1e-6)


def test_column_scaling_is_the_standard_scalers():
    X, _ = sample(ROWS_AT_ONCE + 10, 3)
    X[:, 1] = 1e3
    found, expected = column_scaling(X), StandardScaler().fit(X)
    np.testing.assert_allclose(found.mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.scale, expected.scale_, rtol=1e-12)
    assert found.constant.tolist() == [False, True, False]
