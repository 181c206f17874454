"""Moments in one pass: against numpy, however the rows are ordered, cut into blocks or asked for."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.errors import ConfigError, ProbeError
from probes.moments import SLAB_ROWS, moments
from probes.scaling import column_scaling

FIELDS = ("mean", "scatter", "label_mean", "cross")


def sample(n=3 * SLAB_ROWS + 70, d=5, t=3, *, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((n, d)) * np.geomspace(1e-6, 1e6, d) + 3.0).astype(dtype)
    return X, X @ rng.standard_normal((d, t)) + rng.standard_normal((n, t))


def assert_same_bits(one, other):
    assert one.n == other.n
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def cut(X, Y, places):
    edges = [0, *sorted(places), len(X)]
    return [(X[a:b], Y[a:b]) for a, b in pairwise(edges)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [2, SLAB_ROWS, SLAB_ROWS + 1, 3 * SLAB_ROWS + 70])
def test_moments_are_those_of_numpy(n, dtype):
    X, Y = sample(n, dtype=dtype)
    (found,) = moments([(X, Y)])
    X = X.astype(np.float64)
    centred = X - X.mean(axis=0)
    sizes = np.sqrt((centred**2).sum(axis=0))
    np.testing.assert_allclose(found.mean, X.mean(axis=0), rtol=1e-13, atol=1e-13 * sizes.max())
    assert np.abs((found.scatter - centred.T @ centred) / np.outer(sizes, sizes)).max() < 1e-13
    np.testing.assert_array_equal(found.scatter, found.scatter.T)
    np.testing.assert_allclose(found.label_mean, Y.mean(axis=0), rtol=1e-12)
    label_sizes = np.sqrt(((Y - Y.mean(axis=0)) ** 2).sum(axis=0))
    expected = (Y - Y.mean(axis=0)).T @ centred
    assert np.abs((found.cross - expected) / np.outer(label_sizes, sizes)).max() < 1e-13


@settings(max_examples=25, deadline=None)
@given(
    places=st.lists(st.integers(0, 1100), max_size=6),
    sizes=st.lists(st.integers(2, 1100) | st.just(SLAB_ROWS), min_size=1, max_size=4),
)
def test_no_bit_depends_on_blocks_or_on_other_sizes(places, sizes):
    X, Y = sample(1100, d=3)
    found = list(moments(cut(X, Y, places), sizes=sizes))
    assert [one.n for one in found] == sorted(set(sizes))
    for one in found:
        (alone,) = moments([(X[: one.n], Y[: one.n])])
        assert_same_bits(one, alone)


def test_no_bit_depends_on_the_labels_beside_it():
    X, Y = sample(d=17)
    (together,) = moments([(X, Y)])
    for k in range(Y.shape[1]):
        (alone,) = moments([(X, Y[:, [k]])])
        np.testing.assert_array_equal(alone.scatter, together.scatter)
        np.testing.assert_array_equal(alone.cross[0], together.cross[k])
        assert alone.label_mean[0] == together.label_mean[k]


def drifting(n, d, drift):
    """Rows sorted by a label that all columns follow, the first slab constant, far from the rest."""
    rng = np.random.default_rng(2)
    course = np.linspace(-1, 1, n)[:, None]
    X = rng.standard_normal((n, d)) + drift * course
    X[:SLAB_ROWS] = -drift
    return X + 1e4 * X.std(axis=0), course + 0.1 * rng.standard_normal((n, 1)) + 1e4


@pytest.mark.parametrize("drift", [0.0, 1.0, 1e3])
def test_order_of_rows_costs_no_digits(drift):
    X, Y = drifting(4 * SLAB_ROWS, 4, drift)
    (found,) = moments([(X, Y)])
    exact = X.astype(np.longdouble)
    centred = exact - exact.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=0))
    error = np.abs((found.scatter - centred.T @ centred) / np.outer(scale, scale)).max()
    two_passes = column_scaling(X).apply(X) * column_scaling(X).scale
    plain = np.abs((two_passes.T @ two_passes - centred.T @ centred) / np.outer(scale, scale)).max()
    assert error < max(2 * plain, 1e-14)
    labels = Y.astype(np.longdouble) - Y.astype(np.longdouble).mean(axis=0)
    expected = labels.T @ centred
    assert np.abs((found.cross - expected) / (scale * np.sqrt((labels**2).sum()))).max() < 1e-14


@pytest.mark.parametrize("n", [3, SLAB_ROWS, 5 * SLAB_ROWS + 9])
def test_scaling_is_that_of_two_passes(n):
    X, Y = sample(n)
    X[:, 1], X[:, 2] = 4.2, 0.0
    X[:, 3] = 1e6 + np.arange(n) % 2
    (found,) = moments([(X, Y)])
    expected = column_scaling(X)
    np.testing.assert_allclose(found.scaling().mean, expected.mean, rtol=1e-13, atol=1e-9)
    np.testing.assert_allclose(found.scaling().scale, expected.scale, rtol=1e-12)
    assert (
        found.scaling().constant.tolist() == expected.constant.tolist() == [False, True, True, False, False]
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("places", [[], [100, 590]])
def test_rows_that_are_not_finite_are_named(bad, places):
    X, Y = sample()
    X[600, 1] = bad
    with pytest.raises(
        ProbeError, match=r"features are NaN or inf in 1 of rows 512 to 1023 \(first: \[600\]\)"
    ):
        list(moments(cut(X, Y, places)))
    X, Y = sample()
    Y[[3, 4], 2] = bad, -bad
    with pytest.raises(ProbeError, match=r"labels are NaN or inf in 2 of rows 0 to 511 \(first: \[3, 4\]\)"):
        list(moments(cut(X, Y, places)))


def test_rows_beyond_the_sizes_are_not_read():
    X, Y = sample()
    expected = list(moments([(X[:600], Y[:600])]))
    X[600:] = np.nan
    (found,) = moments([(X, Y)], sizes=[600])
    assert_same_bits(found, expected[0])


def test_numbers_beyond_all_measure_are_refused():
    X, Y = sample(10)
    X[:, 0] = 1e308
    with pytest.raises(ProbeError, match="features of rows 0 to 9 are so large"):
        list(moments([(X, Y)]))


@pytest.mark.parametrize(
    ("blocks", "sizes", "message"),
    [
        ([], None, "0 rows came, at least 2"),
        ([(5, 2, 1)], [6], "5 rows came, at least 6"),
        ([(1, 2, 1)], None, "1 rows came, at least 2"),
        (
            [(5, 2, 1), (5, 3, 1)],
            None,
            r"features \(5, 3\) and labels \(5, 1\); expected \(5, 2\) and \(5, 1\)",
        ),
        ([(5, 2, 1), (5, 2, 2)], None, r"labels \(5, 2\); expected \(5, 2\) and \(5, 1\)"),
    ],
)
def test_streams_that_do_not_fit_are_refused(blocks, sizes, message):
    arrays = [(np.ones((n, d)), np.ones((n, t))) for n, d, t in blocks]
    with pytest.raises(ProbeError, match=message):
        list(moments(arrays, sizes=sizes))


def test_blocks_are_matrices():
    with pytest.raises(
        ProbeError, match=r"features \(5,\) and labels \(5, 1\); expected \(5, 0\) and \(5, 0\): matrices"
    ):
        list(moments([(np.ones(5), np.ones((5, 1)))]))


def test_a_stream_is_not_kept():
    n_blocks, shape = 40, (1000, 20)
    blocks = ((np.ones(shape, dtype=np.float32), np.ones((1000, 1))) for _ in range(n_blocks))
    tracemalloc.start()
    (found,) = moments(blocks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.n == n_blocks * shape[0]
    assert peak < 5 * 8 * SLAB_ROWS * shape[1] < n_blocks * shape[0] * shape[1] * 4 / 5


@pytest.mark.parametrize("sizes", [[], [1], [-3, 10]])
def test_sizes_must_be_numbers_of_rows(sizes):
    with pytest.raises(ConfigError, match="at least 2 each"):
        list(moments([sample(20)], sizes=sizes))
