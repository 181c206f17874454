"""Tables along an axis: every record in its cell, lines only where there is something to compare."""

import pytest
from reports_fakes import RANDOM_FAMILY, finetuned, fresh, record
from reports_other_fakes import comparison, paired_by, with_predictions

from reports.axes import AXES, axis_table
from reports.comparisons import NOT_COMPARED, comparisons_of
from reports.pivots import score_key
from reports.rows import frame_of
from reports.table import Estimate


def table(name, *records, paired=NOT_COMPARED, state=fresh):
    return axis_table(frame_of(records, state), "log_g", name, paired)


def names(made):
    return [c.key.removeprefix("test R2 ") for c in made.columns if c.key.startswith("test R2 ")]


def values(made):
    """Every score by line and column, with the number of records of the cell."""
    return [
        [tuple(one.value for one in row.get(score_key(name), ())) for name in names(made)]
        for row in made.rows
    ]


def levels(train, test):
    return {"noise_levels": {"train": train, "val": train, "test": test}}


def test_sizes_stand_from_small_to_all():
    made = table(
        "sizes",
        record(0.5),
        record(0.2, train_size=100),
        record(0.3, train_size=1000),
        record(0.9, layer="enc_0"),  # one size alone says nothing here
    )
    assert names(made) == ["100 stars", "1000 stars", "all"]
    assert values(made) == [[(0.2,), (0.3,), (0.5,)]]
    assert not any("train size" in note for note in made.notes)


def test_noise_levels_cross_train_and_test():
    made = table(
        "noise",
        record(0.5),
        record(0.9, **levels(0.0, 0.0)),
        record(-2.0, **levels(0.0, 1.0), cross=["noise-level"]),
        record(0.7, **levels(1.0, 0.0), cross=["noise-level"]),
    )
    assert [row["noise_level_train"] for row in made.rows] == [0.0, 1.0]
    assert values(made) == [[(0.9,), (-2.0,)], [(0.7,), (0.5,)]]
    assert {(i, key.removeprefix("test R2 test noise level ")) for i, key in made.emphasis} == {
        (0, "0"),
        (1, "1"),
    }


def test_draws_are_counted():
    made = table("draws", record(0.5), record(0.6, draws={"train": [0, 1, 2, 3], "val": [0], "test": [0]}))
    assert names(made) == ["1 draw", "4 draws"]
    assert values(made) == [[(0.5,), (0.6,)]]
    assert AXES["draws"].value({"draws_train": "fresh"}) == "fresh noise"


def test_pca_dimensions_end_in_all_features():
    features = {"parts": record().spec["features"]["parts"], "segments": None}
    made = table(
        "pca",
        record(0.5),
        record(0.1, features={**features, "pca": 16}),
        record(0.3, features={**features, "pca": 64}),
    )
    assert names(made) == ["16 axes", "64 axes", "all features"]


def test_the_grid_marks_none_of_its_cells():
    made = table(
        "grid",
        record(0.2, pooling="global_mean"),
        record(0.5),
        record(0.3, layer="enc_last", pooling="global_mean"),
        record(0.4, layer="enc_last"),
        record(0.9, layer="input_flux", pooling="none"),
    )
    assert names(made) == ["global_mean", "seg_mean_K8"]
    assert [row["layer"] for row in made.rows] == ["enc_pre_latent", "enc_last"]
    assert made.emphasis == frozenset()
    assert made.notes[0].startswith("Nothing is bold")
    control = {"control": "random_encoder", "family": RANDOM_FAMILY}
    made = table("grid", record(0.2), record(0.5, **control), record(0.1, pooling="global_mean", **control))
    assert [row["role"] for row in made.rows] == ["latent", "random encoder"]
    assert made.emphasis == frozenset()
    same = [record(0.5, group="a"), record(0.1, group="b")]
    assert table("grid", *same).emphasis == frozenset()


def test_the_gain_along_a_line_is_paired():
    records = with_predictions(record(0.5), record(0.48, train_size=1000))
    paired = comparisons_of([*records, comparison(*records)])
    made = table("sizes", *records, paired=paired)
    (line,) = made.rows
    assert line["gain"] == "0.020 [0.010, 0.030], p below 0.001"
    assert made.emphasis == {(0, score_key("all"))}
    assert table("sizes", *records).emphasis == frozenset()


def test_several_records_of_a_cell_are_all_shown_and_none_is_bold():
    made = table("sizes", record(0.9, group="a"), record(0.8, group="b"), record(0.1, train_size=10))
    assert sorted(values(made)[0][1]) == [0.8, 0.9]
    assert made.emphasis == frozenset()


def test_stale_cells_are_marked_where_a_line_is_not_all_stale():
    gone = record(0.2, train_size=100, stores={"train": ["ab" * 32], "val": [], "test": []})
    made = table("sizes", record(0.5), gone, state=lambda key, _: "missing" if key == "ab" * 32 else "fresh")
    (line,) = made.rows
    assert line[score_key("100 stars")][0].mark == "stale"
    assert line[score_key("all")] == (Estimate(0.5, 0.5 - 0.03, 0.5 + 0.03),)
    assert "stores" in [column.heading for column in made.columns]


@pytest.mark.parametrize("name", [name for name in AXES if name != "grid"])
def test_an_axis_without_two_values_gives_no_table(name):
    assert table(name, record(0.5), record(0.4, layer="enc_last")) is None
    assert table(name) is None


def test_failures_and_end_to_end_fits_have_their_place():
    made = table("sizes", record(0.5), record(failed="no luck", train_size=100))
    assert made.rows[0][score_key("100 stars")] == ("failed",)
    made = table("grid", finetuned(0.6), record(0.5, head="mlp_1"))
    assert [row["training_text"] for row in made.rows] == ["end to end, encoder frozen", "on stored features"]


@pytest.mark.parametrize(("n_eff", "few"), [(7.2, True), (12.0, False)])
def test_a_gain_that_few_stars_carry_says_so(n_eff, few):
    ends = with_predictions(record(0.65), record(0.19, train_size=250))
    compared = paired_by(ends, [(0.46, 0.14, 0.79, 0.0002)], n_eff=[n_eff])
    (row,) = table("sizes", *ends, paired=comparisons_of([*ends, compared])).rows
    assert row["gain"].startswith("0.460 [0.140, 0.790], p below 0.001")
    assert row["gain"].endswith(", carried by few stars") == few
