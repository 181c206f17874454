"""Tables in a terminal: nothing too wide, rows still told apart, what is left out counted."""

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_other_fakes import of_all_kinds

from reports.generate import build_tables
from reports.render_terminal import GAP, terminal
from reports.table import Column, Estimate, Table

NAMES = (
    Column(key="row", heading="row", align="left"),
    Column(key="settings", heading="settings", align="left"),
    Column(key="encoder", heading="encoder", align="left"),
)
NUMBERS = (
    Column(key="r2", heading="test R2 (95 % interval)"),
    Column(key="other", heading="val R2 (95 % interval)"),
    Column(key="n", heading="n"),
    Column(key="flags", heading="flags", align="left"),
)
words = st.lists(st.text("abc_=", min_size=1, max_size=12), min_size=1, max_size=3).map(" ".join)
scores = st.floats(-1, 1).map(lambda value: Estimate(value, value - 0.05, value + 0.05))
rows = st.fixed_dictionaries(
    {
        "row": words,
        "settings": words,
        "encoder": words,
        "r2": scores | scores.map(lambda one: (one, one)) | st.none(),
        "other": scores | st.none(),
        "n": st.integers(0, 10**6),
        "flags": words | st.none(),
    }
)


def table_of(lines, *, lead=(), emphasis=frozenset()):
    return Table(
        title="a table",
        lead=lead,
        columns=(*NAMES, *NUMBERS),
        rows=tuple(lines),
        notes=("one", "two"),
        tidy=pd.DataFrame(),
        emphasis=emphasis,
    )


def body(text):
    """The lines of the rows, without headings and what stands around them."""
    lines = text.splitlines()
    rule = next(i for i, line in enumerate(lines) if line and set(line) <= {"-", " "})
    return lines[rule + 1 : lines.index("", rule)]


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(rows, min_size=1, max_size=12), width=st.integers(80, 200))
def test_lines_fit_and_rows_that_differ_look_different(lines, width):
    text = terminal(table_of(lines), width=width, most_rows=20)
    assert all(len(line) <= width for line in text.splitlines())
    assert f"({len(lines)} of {len(lines)} rows; without" in text
    named = {(line["row"], line["settings"], line["encoder"]) for line in lines}
    if len(named) == len(lines):
        assert len(set(body(terminal(table_of(lines), width=400, most_rows=20)))) == len(lines)


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(rows, min_size=2, max_size=12), most=st.integers(1, 12))
def test_of_a_long_table_the_rows_with_the_largest_first_scores_are_shown(lines, most):
    lines = [line | {"r2": Estimate(index / 100), "other": None} for index, line in enumerate(lines)]
    text = terminal(table_of(lines), width=400, most_rows=most)
    values = [float(re.search(r"\b0\.\d{3}\b", line)[0]) for line in body(text)]
    ranked = [index / 100 for index in range(len(lines))]
    if most < len(lines):
        assert values == ranked[::-1][:most]
        assert f"({most} of {len(lines)} rows, best first;" in text
    else:
        assert values == ranked


def test_of_a_long_table_without_scores_the_first_rows_are_shown_and_not_called_best():
    text = terminal(table_of([{"row": f"epoch {i}", "n": i} for i in range(5)]), width=120, most_rows=2)
    assert [line.split() for line in body(text)] == [["epoch", "0", "0"], ["epoch", "1", "1"]]
    assert "(2 of 5 rows; without" in text


def test_columns_that_say_the_same_are_told_once_and_empty_ones_not_at_all():
    same = {"settings": "alpha=1", "encoder": "shipped", "n": 7, "flags": None, "other": None}
    text = terminal(
        table_of([{"row": name, "r2": Estimate(0.5, 0.4, 0.6), **same} for name in ("one", "two")]),
        width=120,
        most_rows=9,
    )
    assert "In all these rows: settings alpha=1; encoder shipped; n 7." in text
    assert body(text) == [f"one{GAP}0.500 [0.400, 0.600]", f"two{GAP}0.500 [0.400, 0.600]"]
    assert "(2 of 2 rows; without 2 of 7 columns and 2 notes)" in text


def test_a_name_that_is_not_needed_gives_way_before_a_score():
    lines = [
        {
            "row": name,
            "settings": f"alpha={name}",
            "encoder": f"a long name of an encoder {name[0]}",
            "r2": Estimate(0.5, 0.4, 0.6),
            "other": Estimate(0.3, 0.2, 0.4),
            "n": len(name),
            "flags": "",
        }
        for name in ("one", "three")
    ]
    text = terminal(table_of(lines), width=70, most_rows=9)
    assert "encoder" not in text
    assert "0.300 [0.200, 0.400]" in text


def test_what_is_best_is_marked_where_it_stands_after_the_cut():
    lines = [
        {"row": name, "r2": Estimate(value)} for name, value in (("low", 0.1), ("best", 0.9), ("next", 0.5))
    ]
    text = terminal(table_of(lines, emphasis=frozenset({(1, "r2")})), width=120, most_rows=2)
    assert [line.split() for line in body(text)] == [["best", "0.900", "*"], ["next", "0.500"]]


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb\tc", "\x07", "\u202e"])
def test_no_text_of_a_file_steers_the_terminal(hostile):
    lines = [{"row": f"{hostile}{i}", "r2": Estimate(0.5), "flags": hostile} for i in range(2)]
    text = terminal(table_of(lines, lead=(hostile,)), width=120, most_rows=9)
    assert all(mark.isprintable() or mark == "\n" for mark in text)
    assert len(body(text)) == 2


def test_every_table_of_every_kind_fits():
    documents = build_tables(of_all_kinds())
    for tables in documents.values():
        for table in tables:
            for width in (80, 120, 200):
                text = terminal(table, width=width, most_rows=16)
                assert max(map(len, text.splitlines())) <= width
                assert len(body(text)) >= min(16, len(table.rows))
