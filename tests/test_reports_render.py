"""Renderers: aligned, escaped, and in CSV nothing rounded."""

import csv
import io
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import few_records, fresh, record

from reports.pivots import labels_table
from reports.render_csv import frame_csv
from reports.render_markdown import estimate_text, markdown, number_text
from reports.rows import frame_of
from reports.table import Column, Estimate, Table
from reports.tables import layers_table

COLUMNS = (Column(key="name", heading="name", align="left"), Column(key="x", heading="x", unit="K", digits=1))


def table(*rows, **changed):
    return Table(
        **{"title": "T", "columns": COLUMNS, "rows": rows, "notes": (), "tidy": pd.DataFrame(), **changed}
    )


def grid(text):
    """Cells of every line of a Markdown table, unescaped pipes as borders."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_a_small_table_to_the_letter():
    text = markdown(
        [
            table(
                {"name": "a", "x": Estimate(1.25, 1.0, 2.0)},
                {"name": "long name", "x": None},
                lead=("It is so.",),
                notes=("n counts stars.",),
                emphasis=frozenset({(0, "x")}),
            )
        ]
    )
    assert text == (
        "### T\n\nIt is so.\n\n"
        "| name      |              x [K] |\n"
        "| --------- | -----------------: |\n"
        "| a         | **1.2 [1.0, 2.0]** |\n"
        "| long name |                  - |\n\n"
        "- n counts stars.\n"
    )


@settings(deadline=None, max_examples=40)
@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_stays_in_its_cell(name, x):
    lines = markdown([table({"name": name, "x": x})]).splitlines()[2:]
    assert len({len(line) for line in lines}) == 1
    header, _, body = grid("\n".join(lines))
    assert len(header) == len(body) == 2
    assert "<" not in body[0]


def test_labels_and_errors_cannot_become_html_or_rows():
    text = markdown(
        [table({"name": "<script>|x\n| y | `z` *b*", "x": "failed: a|b"}, title="<b>", notes=("<i>",))]
    )
    assert "<" not in text
    assert len(grid(text)) == 3


def test_long_errors_are_cut_on_the_page():
    (_, _, body) = grid(markdown([table({"name": "e" * 1000, "x": 1})]))
    assert body[0] == "e" * 157 + "..."


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.55161, "0.552"), (-0.0001, "0.000"), (-1.0, "-1.000"), (-3.2e9, "-3.200e+09"), (0.0, "0.000")],
)
def test_numbers(value, text):
    assert number_text(value, 3) == text


def test_estimates_without_ends_stand_alone():
    assert estimate_text(Estimate(0.5), 2) == "0.50"
    assert estimate_text(Estimate(0.5, 0.4, 0.6), 2) == "0.50 [0.40, 0.60]"


def test_several_records_in_one_cell_are_all_shown():
    text = markdown([table({"name": "a", "x": (Estimate(1.0), "failed: no", Estimate(2.0))})])
    assert "1.0; failed: no; 2.0" in text


def test_csv_has_one_header_and_full_precision():
    frame = frame_of(few_records(), fresh)
    third = 1 / 3
    records = [record({"log_g": third}), record({"log_g": np.nextafter(third, 1)}, seed=1)]
    text = frame_csv(layers_table(frame_of(records, fresh), "log_g").tidy)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {float(row["test_r2"]) for row in rows} == {third, float(np.nextafter(third, 1))}
    assert {
        "test_rmse_dex",
        "test_mae_dex",
        "test_mae_lo_dex",
        "published_test_rmse_dex",
        "test_r2_lo",
    } <= set(rows[0])
    kelvin = frame_csv(layers_table(frame, "T_eff").tidy)
    assert "test_rmse_K" in kelvin.splitlines()[0]
    assert not re.search(r"(^|,)test_rmse(,|$)", kelvin.splitlines()[0])


def test_csv_of_several_labels_names_the_unit_by_row():
    text = frame_csv(labels_table(frame_of(few_records(), fresh)).tidy)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {(row["label"], row["unit"]) for row in rows} == {("log_g", "dex"), ("T_eff", "K")}
    assert "test_rmse_in_unit" in rows[0]


def test_csv_keeps_whole_errors_and_whole_counts():
    frame = frame_of([record(0.5), record(failed="a, b\n" + "e" * 300)], fresh)
    rows = list(csv.DictReader(io.StringIO(frame_csv(layers_table(frame, "log_g").tidy))))
    failed, ok = sorted(rows, key=lambda row: row["status"])
    assert failed["error"] == "a, b\n" + "e" * 300
    assert failed["n_test"] == ""
    assert ok["n_test"] == "500"


def test_csv_of_an_empty_table_is_its_header():
    frame = frame_of([record(layer="input_flux")], fresh)
    assert len(frame_csv(layers_table(frame, "log_g").tidy).splitlines()) == 1


def test_dimensionless_labels_have_no_suffix():
    text = frame_csv(layers_table(frame_of([record({"redshift": 0.1})], fresh), "redshift").tidy)
    assert "test_rmse," in text
    text = frame_csv(layers_table(frame_of([record({"shoe": 0.1})], fresh), "shoe").tidy)
    assert "test_rmse_unit_of_the_label," in text
