"""Sorting finds what numpy's set functions find."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.stars import count_stars, stars_in_both

few_stars = st.lists(st.integers(0, 5) | st.integers(2**63, 2**64 - 1), max_size=12).map(
    lambda values: np.array(values, dtype=np.uint64)
)


@given(one=few_stars, other=few_stars)
def test_as_the_set_functions_of_numpy(one: np.ndarray, other: np.ndarray) -> None:
    assert count_stars(one) == np.unique(one).size
    both = stars_in_both(one, other)
    assert both.dtype == np.uint64
    assert both.tolist() == np.intersect1d(one, other).tolist()


@pytest.mark.parametrize("dtype", [np.uint64, np.int64])
def test_rows_stay_in_their_order(dtype: type) -> None:
    rows = np.array([3, 1, 3, 2], dtype=dtype)
    assert (count_stars(rows), stars_in_both(rows, rows[:2]).tolist()) == (3, [1, 3])
    assert rows.tolist() == [3, 1, 3, 2]
