"""Which test set reports answer for: what was corrected in place gives way to its correction, and others are told."""

import itertools

import pytest
from reports_fakes import fresh, record, source_of

from reports.comparable import ranked_sets
from reports.drawn import main_rows
from reports.page_answers import best_answer, certainty_answer, field_of
from reports.rows import frame_of
from reports.tables import controls_table

OLD, NEW = "a1" * 32, "b2" * 32
POOLINGS = ("mean_max", "global_mean", "seg_mean_K4")


def on(digest, *, time, folder="day", r2=0.5, **changed):
    inputs = {"train": ["c3" * 32], "val": ["d4" * 32], "test": [digest]}
    files = {} if folder is None else {"files": {"test": f"{folder}/test/dataset.h5"}}
    return record(r2, inputs=inputs, run={"time": time, **files}, **changed)


def many_old(**changed):
    return [on(OLD, time="2026-11-01", pooling=name, **changed) for name in POOLINGS]


def corrected(**changed):
    return [*many_old(**changed), on(NEW, time="2026-11-02", r2=0.7, **changed)]


def shown(records):
    frame = frame_of(records, fresh)
    (first,) = {row["input_test"] for row in ranked_sets(frame)[0]}
    (drawn,) = {row["input_test"] for row in main_rows(frame, "log_g")}
    assert drawn == first
    return first


def card(records):
    source = source_of(records)
    return best_answer(field_of(source.frame, "log_g"), source.paired).sentences


def test_a_correction_in_place_is_answered_for_though_fewer_rows_rest_on_it():
    for records in itertools.permutations(corrected()):
        assert shown(records) == NEW


@pytest.mark.parametrize("folder", [None, "other"])
def test_elsewhere_the_most_rows_decide(folder):
    assert shown([*many_old(), on(NEW, time="2026-11-02", folder=folder)]) == OLD


def test_equally_many_rows_leave_it_to_the_newest():
    records = [on(OLD, time="2026-11-01"), on(NEW, time="2026-11-02", folder="other")]
    assert shown(records) == NEW
    turned = [on(OLD, time="2026-11-02"), on(NEW, time="2026-11-01", folder="other")]
    assert shown(turned) == OLD


def test_real_data_and_the_noise_level_come_before_what_is_new():
    mock = on(NEW, time="2026-11-02")
    assert shown([*many_old(data_kind="real"), mock]) == OLD
    louder = on(NEW, time="2026-11-02", noise_levels=dict.fromkeys(("train", "val", "test"), 2.0))
    assert shown([*many_old(), louder]) == OLD


def test_a_new_file_on_which_nothing_was_scored_replaces_nothing():
    failed = on(NEW, time="2026-11-02", failed="singular")
    assert shown([*many_old(), failed]) == OLD


def test_ages_hold_the_order_of_times_and_nothing_else_of_them():
    frame = frame_of(corrected(), fresh)
    assert sorted(frame["age_test"]) == [0, 1, 1, 1]
    assert "time" not in frame.columns


def test_the_first_card_names_the_other_test_set_and_that_both_come_from_one_path():
    assert card(corrected())[-1] == (
        "Another test set is on record: file day/test/dataset.h5 (a1a1a1a1), 500 rows, R2 of its best 0.500; both "
        "files are called so, and its records are older than those shown."
    )
    assert card([*many_old(), on(NEW, time="2026-11-02", folder="other")])[-1] == (
        "Another test set is on record: file other/test/dataset.h5 (b2b2b2b2), 500 rows, R2 of its best 0.500."
    )
    unnamed = [*many_old(folder=None), on(NEW, time="2026-11-02", folder=None)]
    assert "file b2b2b2b2, 500 rows" in card(unnamed)[-1]


def test_what_differs_but_the_file_is_told_and_many_are_counted():
    levels = [
        on(OLD, time="2026-11-01", noise_levels=dict.fromkeys(("train", "val", "test"), level))
        for level in (1.0, 1.5, 2.0, 3.0)
    ]
    told = card(levels)
    assert [text.partition("noise level ")[2][:3] for text in told[-3:-1]] == ["1.5", "2, "]
    assert told[-1] == "1 more test set is in the tables."


def test_one_test_set_is_not_spoken_of():
    assert not any("test set" in text for text in card(many_old()))
    source = source_of(corrected())
    sentences = certainty_answer(field_of(source.frame, "log_g"), source.paired).sentences
    assert not any("test set" in text for text in sentences)


def test_the_controls_table_begins_with_the_set_that_the_page_answers_for():
    table = controls_table(frame_of(corrected(), fresh), "log_g")
    assert [row["input_test"] for row in table.rows] == [NEW, OLD, OLD, OLD]
    assert "0.700" in table.lead[0]
