"""Poolings of rows in any order against `pool` of the feature map in order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.errors import InputError, UnknownName
from extract.fast.row_pooling import FOLD, STRIP_ROWS, RowPooling
from extract.pooling import pool

JUNK = 1e20

pytestmark = pytest.mark.filterwarnings("ignore::extract.pooling.UnevenSegments")


def random_rows(rng, length, n_invalid, *, n_channels=3, b=2):
    """Rows (b, R, C) inside a wider buffer, all cells negative, the other rows huge; the cell of each row."""
    n_rows = length + n_invalid
    pixels = np.full(n_rows, -1)
    places = np.sort(rng.permutation(n_rows)[:length])
    pixels[places] = rng.permutation(length)
    none = np.setdiff1d(np.arange(n_rows), places)
    pixels[none] = rng.choice([-7, -1, length, length + 9], size=len(none))
    wide = np.full((b, n_rows + 5, n_channels), np.nan, dtype=np.float32)
    rows = wide[:, 2 : 2 + n_rows]
    rows[...] = -0.5 - np.abs(rng.standard_normal(rows.shape))
    rows[:, none] = rng.choice([-JUNK, JUNK], size=(b, len(none), n_channels))
    return rows, pixels


def feature_map(rows, pixels, length, direction):
    """The cells in order, (b, C, L') float64, index growing with wavelength."""
    ordered = np.empty((len(rows), length, rows.shape[2]))
    for row, pixel in enumerate(pixels):
        if 0 <= pixel < length:
            ordered[:, pixel] = rows[:, row]
    cells = ordered if direction == "forward" else ordered[:, ::-1]
    return torch.from_numpy(cells.transpose(0, 2, 1).copy())


def pooled(rows, pixels, length, poolings, *, direction):
    """Every pooling by RowPooling, written into strided parts of arrays full of NaN."""
    found = {}

    def store(name, width):
        found[name] = np.full((len(rows) + 2, width + 1), np.nan, dtype=np.float32)
        return found[name][1:-1, :width]

    for step in RowPooling(pixels, length, poolings, direction).prepare(rows, store):
        step()
    for name, values in found.items():
        assert np.isnan(values[[0, -1]]).all(), name
        assert np.isnan(values[:, -1]).all(), name
    return {name: values[1:-1, :-1] for name, values in found.items()}


def check(rows, pixels, length, poolings, *, direction):
    expected = {name: pool(feature_map(rows, pixels, length, direction), name) for name in poolings}
    found = pooled(rows, pixels, length, poolings, direction=direction)
    assert list(found) == list(poolings)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name].numpy(), rtol=2e-6, atol=0, err_msg=name)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 400),
    n_invalid=st.integers(0, 40),
    segments=st.lists(st.integers(1, 400), min_size=1, max_size=3),
    n_channels=st.sampled_from([1, 2, 3, 8]),
    direction=st.sampled_from(["forward", "backward"]),
    seed=st.integers(0, 2**16),
)
def test_rows_in_any_order(length, n_invalid, segments, n_channels, direction, seed):
    rows, pixels = random_rows(np.random.default_rng(seed), length, n_invalid, n_channels=n_channels)
    names = [f"seg_mean_K{min(k, length)}" for k in dict.fromkeys(segments)]
    check(rows, pixels, length, ["mean_max", *dict.fromkeys(names), "global_mean"], direction=direction)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(
    "length", [1, 2, 3, 4, 5, FOLD + 3, STRIP_ROWS - 1, STRIP_ROWS, STRIP_ROWS + 1, 2 * STRIP_ROWS]
)
def test_edges_of_strips_and_folds(length, direction):
    rng = np.random.default_rng(length)
    for n_invalid in (0, 1, 3, STRIP_ROWS):
        rows, pixels = random_rows(rng, length, n_invalid)
        check(rows, pixels, length, ["mean_max", "global_mean"], direction=direction)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("length", [1, 13, 37])
def test_every_number_of_segments(length, direction):
    rows, pixels = random_rows(np.random.default_rng(length), length, 5)
    check(rows, pixels, length, [f"seg_mean_K{k}" for k in range(1, length + 1)], direction=direction)


@pytest.mark.parametrize(
    "poolings", [("mean_max",), ("global_mean", "mean_max"), ("mean_max", "seg_mean_K4")]
)
def test_maxima_of_negative_cells_are_negative_whatever_the_other_rows_hold(poolings):
    rows, pixels = random_rows(np.random.default_rng(0), 21, 11)
    maxima = pooled(rows, pixels, 21, poolings, direction="forward")["mean_max"][:, 3:]
    assert (maxima < 0).all()
    assert (maxima > -JUNK).all()


def test_steps_run_again_pool_the_new_rows():
    rows, pixels = random_rows(np.random.default_rng(0), 50, 7)
    good, found = rows.copy(), {}
    steps = RowPooling(pixels, 50, ["mean_max", "seg_mean_K7"], "backward").prepare(
        rows, lambda name, width: found.setdefault(name, np.zeros((2, width), dtype=np.float32))
    )
    for values in (1e10, np.nan, None):
        rows[...] = good if values is None else values
        expected = feature_map(rows, pixels, 50, "backward")
        for step in steps:
            step()
    for name, values in found.items():
        np.testing.assert_allclose(values, pool(expected, name).numpy(), rtol=2e-6, atol=0)


def test_a_bad_spectrum_stays_alone():
    rows, pixels = random_rows(np.random.default_rng(0), 200, 7)
    expected = pool(feature_map(rows, pixels, 200, "forward"), "mean_max")
    rows[0] = np.nan
    found = pooled(rows, pixels, 200, ["mean_max"], direction="forward")["mean_max"]
    np.testing.assert_allclose(found[1], expected[1].numpy(), rtol=2e-6, atol=0)
    assert np.isnan(found[0]).all()


def test_what_cannot_be_pooled_is_refused():
    with pytest.raises(InputError, match="9 segments asked of a feature map of 8 cells"):
        RowPooling(np.arange(8), 8, ["seg_mean_K9"], "forward")
    with pytest.raises(UnknownName, match="unknown pooling 'median'"):
        RowPooling(np.arange(8), 8, ["median"], "forward")
