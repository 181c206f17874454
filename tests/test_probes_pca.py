"""Principal axes against scikit-learn's PCA."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cache.errors import ConfigError, ProbeError
from probes.base import ROWS_AT_ONCE
from probes.pca import principal_axes


def sample(n, d, *, dtype=np.float64):
    rng = np.random.default_rng(n + d)
    mixing = rng.standard_normal((d, d)) * np.geomspace(1, 30, d)
    return (rng.standard_normal((n, d)) @ mixing.T + rng.uniform(-100, 100, d)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "d", "k"), [(400, 12, 5), (13, 12, 12), (9, 20, 8), (2, 3, 1), (300, 1, 1), (9, 40, 8), (5, 16, 2)]
)
def test_axes_are_those_of_scikit_learn(n, d, k, dtype):
    X = sample(n, d, dtype=dtype)
    found = principal_axes(X, k)
    expected = PCA(k, svd_solver="full").fit(X.astype(np.float64))
    signs = np.sign((found.axes * expected.components_).sum(axis=1))
    np.testing.assert_allclose(found.mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.axes * signs[:, None], expected.components_, atol=1e-7)
    np.testing.assert_allclose(found.explained_variance, expected.explained_variance_, rtol=1e-9)
    ratio = found.explained_variance / found.total_variance
    np.testing.assert_allclose(ratio, expected.explained_variance_ratio_, rtol=1e-9)
    coordinates = expected.transform(X.astype(np.float64)) * signs
    assert np.abs(found.apply(X) - coordinates).max() < 1e-7 * coordinates.std()


@pytest.mark.parametrize("n", [50, 8, 4])
def test_axes_are_orthonormal_with_signs_of_their_own(n):
    X = sample(n, 10)
    X[:, 3] = 2.0
    X[:, 4] = X[:, 5]
    k = min(n - 1, 7)
    axes = principal_axes(X, k).axes
    np.testing.assert_allclose(axes @ axes.T, np.eye(k), atol=1e-12)
    assert (axes.max(axis=1) == np.abs(axes).max(axis=1)).all()
    np.testing.assert_allclose(axes[:, 3], 0.0, atol=1e-11)


@pytest.mark.parametrize(("n", "d"), [(100, 6), (6, 30)])
def test_the_same_rows_give_the_same_bits(n, d):
    X = sample(n, d)
    np.testing.assert_array_equal(principal_axes(X, 4).axes, principal_axes(X.copy(), 4).axes)


def test_rows_are_projected_in_slabs():
    X = sample(ROWS_AT_ONCE + 20, 3)
    found = principal_axes(X, 2)
    projected = found.apply(X)
    np.testing.assert_allclose(projected, (X - X.mean(axis=0)) @ found.axes.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(projected.var(axis=0, ddof=1), found.explained_variance, rtol=1e-10)


@pytest.mark.parametrize(("n", "d", "k", "most"), [(10, 4, 5, 4), (4, 9, 4, 3), (10, 4, 0, 4)])
def test_more_axes_than_there_can_be_are_refused(n, d, k, most):
    with pytest.raises(
        ConfigError, match=f"{k} principal components .* {n} rows of {d} features have 1 to {most}"
    ):
        principal_axes(sample(n, d), k)


def test_what_is_not_finite_or_has_other_columns_is_refused():
    X = sample(30, 4)
    found = principal_axes(X, 2)
    with pytest.raises(ProbeError, match="3 columns, the principal axes 4"):
        found.apply(X[:, :3])
    X[7, 1] = np.inf
    with pytest.raises(
        ProbeError, match=r"training features are NaN or inf in 1 of 30 rows \(first: \[7\]\)"
    ):
        principal_axes(X, 2)
    with pytest.raises(ProbeError, match="features are NaN or inf"):
        found.apply(X)
