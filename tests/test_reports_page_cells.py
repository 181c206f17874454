"""Cells sort by the number they show, and bars keep to their scale."""

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.page_cells import SCALE, ZERO, cell_view, interval_bar
from reports.table import Column, Estimate

NUMBER = Column(key="test_r2", heading="test R2")
TEXT = Column(key="head", heading="head", align="left")


@pytest.mark.parametrize(
    ("cell", "sort"),
    [
        (0.25, "0.25"),
        (384, "384"),
        (-3, "-3"),
        (Estimate(0.123456789, 0.1, 0.2), "0.1234568"),
        ((Estimate(0.5), Estimate(0.7)), "0.5"),
        ("8000/1000/2000", "8000"),
        ("-0.446 [0.417, 0.476], p below 0.001", "-0.446"),
        ("failed", ""),
        (None, ""),
        ("", ""),
        ((), ""),
    ],
)
def test_numbers_sort_by_the_first_number(cell, sort):
    assert cell_view(cell, NUMBER).sort == sort
    assert cell_view(cell, TEXT).sort == ""


@given(st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=2, max_size=5))
def test_order_by_sort_key_is_order_by_value(values):
    keys = [float(cell_view(Estimate(value), NUMBER).sort) for value in values]
    for one, other, first, second in zip(values, values[1:], keys, keys[1:], strict=False):
        assert (one < other) <= (first <= second)


def test_every_answer_of_a_cell_keeps_its_record():
    cell = cell_view((Estimate(0.5), None, "failed"), NUMBER, runs=("a", "b", "c"))
    assert [(part.text, part.run, part.failed) for part in cell.parts] == [
        ("0.500", "a", False),
        ("-", "b", False),
        ("failed", "c", True),
    ]


def test_an_empty_cell_has_no_answer():
    assert cell_view(None, NUMBER).parts == ()
    assert cell_view("", TEXT).parts == ()


@given(st.tuples(*[st.floats(-1e6, 1e6) | st.floats(-0.5, 1.2)] * 3))
def test_bars_stay_on_their_scale_and_mark_what_lies_beyond(ends):
    low, value, high = sorted(ends)
    bar = interval_bar(Estimate(value, low, high))
    assert 0 <= bar.low <= bar.low + bar.width <= 100.1
    assert bar.under == (low < SCALE[0])
    assert bar.over == (high > SCALE[1])
    assert (bar.value is None) == (not SCALE[0] <= value <= SCALE[1])
    if bar.value is not None:
        assert bar.low - 0.1 <= bar.value <= bar.low + bar.width + 0.1


@given(st.floats(-0.25, 1), st.floats(-0.25, 1))
def test_a_score_below_0_lies_left_of_0_and_higher_scores_lie_farther_right(one, other):
    first, second = (interval_bar(Estimate(value, value, value)).value for value in (one, other))
    if abs(one - other) > 0.002:
        assert (first < second) == (one < other)
    if abs(one) > 0.002:
        assert (first < ZERO) == (one < 0)


def test_the_line_at_0_and_its_label_are_in_one_place():
    assert f"left: {ZERO:g}%" in resources.files("reports").joinpath("templates/page.css").read_text()


def test_no_interval_no_bar():
    assert interval_bar(Estimate(0.5)) is None
    assert interval_bar(0.5) is None
    assert cell_view(Estimate(0.5, 0.4, 0.6), Column(key="rmse", heading="RMSE")).parts[0].bar is None
