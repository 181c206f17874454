"""Encoders and data files go by the names that runs noted; digests tell apart what is called the same."""

import dataclasses

from reports_fakes import FAMILY, RANDOM_FAMILY, WEIGHTS, documents_of, fresh, record, source_of

from reports.comparable import comparable_rows
from reports.drawn import heads_apart
from reports.names import Names
from reports.rows import frame_of, rows_of
from reports.settings import settings_frame
from reports.tables import controls_table, layers_table

OTHER = "77" * 32
OLD, NEW = ("a1" * 32, "b2" * 32)


def inputs_of(test, train="c3" * 32):
    return {"train": [train], "val": ["d4" * 32], "test": [test]}


def files_of(folder):
    return {split: f"{folder}/{split}/dataset.h5" for split in ("train", "val", "test")}


def named(name, *, family=FAMILY, test=None, folder=None, r2=0.5, **changed):
    run = {"encoder": name} | ({} if folder is None else {"files": files_of(folder)})
    more = {} if test is None else {"inputs": inputs_of(test)}
    return record(r2, family=family, run=run, **more, **changed)


def frame(*records):
    return frame_of(records, fresh)


def cells(table, key):
    return [row[key] for row in table.rows]


def headings(table):
    return [column.heading for column in table.columns]


def test_encoders_that_differ_have_a_column_in_the_place_of_the_family():
    table = layers_table(frame(named("small"), named("shipped", family=RANDOM_FAMILY)), "log_g")
    assert sorted(cells(table, "encoder_text")) == ["shipped (77777777)", "small (3e3e3e3e)"]
    assert "encoder" in headings(table)
    assert "family" not in headings(table)


def test_two_encoders_of_one_name_stay_told_apart():
    table = layers_table(frame(named("small"), named("small", family=RANDOM_FAMILY)), "log_g")
    assert sorted(cells(table, "encoder_text")) == ["small (3e3e3e3e)", "small (77777777)"]


def test_one_encoder_is_named_by_a_footnote_and_families_of_it_by_their_digest():
    table = layers_table(frame(named("small"), named("small", pooling="mean_max")), "log_g")
    assert "encoder" not in headings(table)
    assert any(note.startswith("From encoder small (3e3e3e3e), family") for note in table.notes)
    two = [named("small"), named("small", family="ab" * 32)]
    two[1].result["weights"] = WEIGHTS
    assert sorted(cells(layers_table(frame(*two), "log_g"), "family_text")) == ["ab" * 6, FAMILY[:12]]


def test_an_encoder_without_a_name_is_told_by_its_weights():
    for run in ({}, {"encoder": "unknown"}):
        (row,) = rows_of(frame(record(0.5, run=run)))
        assert row["encoder"] == "weights 3e3e3e3e"


def test_names_do_not_depend_on_the_order_of_records_and_one_name_stands_for_equal_weights():
    records = [
        named("small"),
        named("a copy of small", pooling="mean_max"),
        record(0.4, pooling="global_mean"),
    ]
    for order in (records, records[::-1]):
        assert {row["encoder"] for row in rows_of(frame(*order))} == {"a copy of small (3e3e3e3e)"}
    again = [*records, dataclasses.replace(named("small", seed=4), run={"encoder": "small", "time": "2031"})]
    assert {row["encoder"] for row in rows_of(frame(*again))} == {"a copy of small (3e3e3e3e)"}


def test_a_folder_of_splits_stands_for_its_files():
    names = Names([named("small", test=OLD, folder="mag215")])
    assert names.file([OLD]) == "mag215/test/dataset.h5"
    assert names.files(inputs_of(OLD)) == "mag215"
    assert names.file([NEW]) == ""
    assert names.files(inputs_of(NEW)) == "train mag215/train/dataset.h5, val mag215/val/dataset.h5"


def test_data_files_are_told_apart_by_name_and_else_by_digest():
    day, night = named("small", test=OLD, folder="day"), named("small", test=NEW, folder="night")
    night.spec["inputs"] = {"train": ["e5" * 32], "val": ["f6" * 32], "test": [NEW]}
    corrected = named("small", test=NEW, folder="day")
    unnamed = named("small", test="09" * 32)
    unnamed.spec["inputs"] = {"train": ["0a" * 32], "test": ["09" * 32]}

    def texts(*records):
        return sorted(cells(layers_table(frame(*records), "log_g"), "inputs_text"))

    assert texts(day, night) == ["day", "night"]
    assert texts(day, corrected) == ["day (test a1a1a1a1)", "day (test b2b2b2b2)"]
    assert texts(day, unnamed) == ["day", f"train {'0a' * 6}, test {'09' * 6}"]


def test_the_footnote_names_data_files_that_are_the_same_for_all_rows():
    table = layers_table(frame(named("small", test=OLD, folder="day")), "log_g")
    assert any(
        f"data files day (train {'c3' * 6}, val {'d4' * 6}, test {OLD[:12]})" in n for n in table.notes
    )


def test_train_files_that_differ_are_told_where_test_is_the_same():
    records = [named("small", test=OLD, folder="day", pooling=p) for p in ("mean_max", "global_mean")]
    records[1].spec["inputs"] = inputs_of(OLD, train="e5" * 32)
    shown = settings_frame(frame(*records))
    assert sorted(shown["inputs_text"]) == ["day (train c3c3c3c3)", "day (train e5e5e5e5)"]


def test_sentences_and_legends_name_encoders():
    rows = frame(named("small", r2=0.3), named("shipped", family=RANDOM_FAMILY, r2=0.8))
    names = [row["name"] for group in comparable_rows(rows) for row in group]
    assert any(name.endswith("encoder shipped (77777777)") for name in names)
    assert "encoder shipped (77777777)" in " ".join(controls_table(rows, "log_g").lead)
    assert heads_apart(rows_of(settings_frame(rows)))[1] == "ridge, encoder shipped (77777777)"


def test_what_does_not_see_the_encoder_is_not_put_down_to_one():
    table = controls_table(
        frame(named("small"), named("shipped", family=RANDOM_FAMILY), named("small", layer="input_flux")),
        "log_g",
    )
    by_role = {(row["role"], row["layer"]): row["encoder_text"] for row in table.rows}
    assert by_role["raw noisy flux", "input_flux"] is None


def test_documents_are_the_same_whoever_ran_them_when():
    records = [named("small", test=OLD, folder="day"), named("shipped", family=RANDOM_FAMILY, test=OLD)]
    later = [dataclasses.replace(item, run={**item.run, "time": "2031"}) for item in records[::-1]]
    assert documents_of(records) == documents_of(later)


def test_a_source_names_what_its_records_name():
    assert source_of([named("small")]).names.encoder(WEIGHTS) == "small (3e3e3e3e)"
