"""Numbers that mark what is missing are known by their value and by how far they lie from all others."""

import numpy as np
import pytest

from cache.label_markers import MARKERS, marked, told

NEGATIVE = -0.3 + 1.1 * np.random.default_rng(0).random(50)
"""Values as a_M has them."""


def places(values):
    return {one.value: one.places.tolist() for one in marked(np.asarray(values, dtype=np.float64))}


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_marker_is_found_where_it_stands(marker, dtype):
    values = NEGATIVE.copy()
    with np.errstate(over="ignore"):
        values[[3, 40]] = dtype(marker)
    if np.isfinite(values).all():
        assert places(values) == {marker: [3, 40]}
        values[3] = np.nan
        assert places(values) == {marker: [40]}


def test_several_markers_are_told_together():
    values = np.concatenate([NEGATIVE, [-999.0, 99.0, -9999.0, -999.0]])
    assert places(values) == {-9999.0: [52], -999.0: [50, 53], 99.0: [51]}
    text = told(values, np.arange(54) + 100)
    assert (
        "is -9999 in 1 of 54 rows (first rows: [152]) and -999 in 2 of 54 rows (first rows: [150, 153])"
        in text
    )
    assert f"all other values lie between {NEGATIVE.min():g} and {NEGATIVE.max():g}" in text
    assert "Write NaN there; --missing-labels drop" in text


@pytest.mark.parametrize(("lo", "hi"), [(3000, 8000), (1, 1500), (0, 1e6)])
@pytest.mark.parametrize("marker", [-99.0, -999.0])
def test_a_negative_marker_among_numbers_that_are_never_negative_is_one_however_wide_they_lie(lo, hi, marker):
    assert places([*np.linspace(lo, hi, 20), marker]) == {marker: [20]}


@pytest.mark.parametrize(
    "values",
    [
        NEGATIVE,
        np.full(9, np.nan),
        np.array([]),
        np.array([np.inf, -np.inf, 1.0]),
        np.linspace(3500, 9999, 30),  # a temperature of 9999 K among others
        np.r_[9999.0, np.linspace(4000, 40000, 30)],
        np.r_[9999.0, np.linspace(4000, 8000, 30)],  # nearer to the others than these to one another
        np.arange(1.0, 100),  # numbers of visits
        np.arange(-999.0, 1000),
        np.geomspace(1e32, 1e36, 20),  # luminosities in erg/s
        np.array([0.0, 1.0] * 4),
    ],
)
def test_values_are_left_alone(values):
    assert marked(values) == ()
    assert told(values, np.arange(len(values))) is None


def test_a_marker_beside_one_other_value_or_alone_is_found():
    assert places([0.2, -999, 0.2]) == {-999.0: [1]}
    assert places([-999.0] * 3) == {-999.0: [0, 1, 2]}
    assert "there is no other value" in told(np.full(3, -999.0), np.arange(3))


def test_other_numbers_far_off_are_no_markers():
    assert places([*NEGATIVE, -1000.0]) == {}


def test_order_and_number_of_the_others_change_nothing():
    rng = np.random.default_rng(1)
    for _ in range(20):
        values = rng.permutation(np.concatenate([rng.normal(size=rng.integers(2, 200)), [-999.0] * 3]))
        assert places(values) == {-999.0: np.flatnonzero(values == -999).tolist()}
