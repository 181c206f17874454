"""Labels of every layout read alike; no pickle but a list of strings is admitted."""

import json
import pickle
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5_fixtures import WRITERS, example, pickled_strings, write_flat_layout, write_table_layout
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import InputError
from extract.pickled_names import pickled_names
from extract.spectra import open_spectra

SHARED = Path(__file__).parents[2] / "shared"
NUMERIC = ("T_eff", "log_g", "N_He", "exp_count")


@pytest.mark.parametrize("layout", [*WRITERS, "data_columns"])
def test_every_layout_gives_the_same_labels_and_ids(tmp_path, layout):
    content = example()
    if layout == "data_columns":
        path = write_table_layout(tmp_path / "a.h5", content, data_columns=True)
    else:
        path = WRITERS[layout](tmp_path / "a.h5", content)
    with open_spectra(path) as spectra:
        assert set(spectra.label_names) == set(NUMERIC)
        for name in (*NUMERIC, "id"):
            np.testing.assert_array_equal(spectra.labels(name), content.labels[name].astype("f8"))
            assert spectra.labels(name).dtype == np.float64
        assert spectra.stored_ids(slice(None)) == [str(value) for value in content.labels["id"]]
        some = spectra.label_rows(slice(1, 4))
        for k, name in enumerate(spectra.label_names):
            np.testing.assert_array_equal(some[:, k], content.labels[name][1:4].astype("f8"))


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        (np.array([b"a1", b"\xc3\xa9", b"c"]), ["a1", "é", "c"]),
        (np.array([1.0, 2.5, 3.0]), ["1", "2.5", "3"]),
        (np.array([7, 8, 9], dtype=np.int64), ["7", "8", "9"]),
    ],
)
def test_ids_are_shown_as_text(tmp_path, ids, shown):
    content = example(3)
    content.labels["id"] = ids
    with open_spectra(write_table_layout(tmp_path / "a.h5", content)) as spectra:
        assert spectra.stored_ids(slice(None)) == shown


def test_flat_ids_may_be_strings_of_any_length(tmp_path):
    content = example(3)
    content.labels["id"] = np.array(["a", "bcd", ""], dtype=h5py.string_dtype())
    with open_spectra(write_flat_layout(tmp_path / "a.h5", content)) as spectra:
        assert spectra.stored_ids(slice(None)) == ["a", "bcd", ""]
        assert "id" not in spectra.label_names


@pytest.mark.parametrize("layout", WRITERS)
def test_a_file_without_labels_opens(tmp_path, layout):
    content = example()
    content.labels.clear()
    path = tmp_path / "a.h5"
    (write_flat_layout if layout == "flat" else write_table_layout)(path, content)
    if layout == "fixed":  # an empty group, as an interrupted writer leaves it
        with h5py.File(path, "a") as file:
            file.create_group("dataset/params")
    with open_spectra(path) as spectra:
        assert spectra.label_names == ()
        assert spectra.stored_ids(slice(None)) == [None] * 6
        assert spectra.label_rows(slice(0, 6)).shape == (6, 0)


def test_the_golden_file_has_the_labels_its_writer_says():
    if not (SHARED / "golden").is_dir():
        pytest.skip("needs ../shared/golden")
    told = json.loads((SHARED / "golden" / "pfsspec_small.json").read_text())
    with open_spectra(SHARED / "golden" / "pfsspec_small.h5") as spectra:
        assert spectra.n_spectra == told["n_rows"]
        numeric = {*spectra.label_names, "id"}
        assert numeric == set(told["columns"]) - {"interp_param"}
        for row, content in told["rows"].items():
            for name in numeric:
                value = content["params"][name]
                expected = np.nan if value is None else float(value)
                np.testing.assert_array_equal(spectra.labels(name)[int(row)], expected)
            flux, _ = spectra.read(slice(int(row), int(row) + 1))
            for pixel, value in content["flux"].items():
                assert flux[0, int(pixel)] == value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), unique=True))
def test_pickled_names_reads_what_pickle_writes(names):
    assert pickled_names(pickle.dumps(names, protocol=0), "here") == tuple(names)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\\"), max_size=8)))
def test_pickled_names_reads_what_the_fixtures_write(names):
    assert pickled_names(pickled_strings(names), "here") == tuple(names)


@given(st.binary(max_size=40))
def test_pickled_names_never_does_anything_but_read_or_refuse(data):
    try:
        names = pickled_names(b"(lp0\n" + data, "here")
    except InputError:
        return
    assert pickle.loads(b"(lp0\n" + data) == list(names)


@pytest.mark.parametrize("data", [b"(S'a'\nS\"b\"\nl.", b"(lp0\nS'a'\np1\naS'b'\np2\na."])
def test_pickled_names_reads_the_older_spelling(data):
    assert pickled_names(data, "here") == ("a", "b") == tuple(pickle.loads(data))


class Trap:
    def __reduce__(self):
        return (sys.exit, (3,))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda trap: trap, lambda trap: ["T_eff", trap]])
def test_a_pickle_with_a_global_is_refused_by_its_name(protocol, wrap):
    with pytest.raises(InputError, match=r"file.h5.*global 'sys\.exit'.*nothing was unpickled"):
        pickled_names(pickle.dumps(wrap(Trap()), protocol=protocol), "file.h5")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"(lp0\n",
        b"(lp0\n.x",
        b"N.",
        b"I1\n.",
        b"(lp0\nI1\na.",
        b"(lp0\nVa\n.",
        b"(lp0\na.",
        b"Va\n.",
        b"(dp0\n.",
        b"(lp0\n(lp1\na.",
        b"(lp0\nVa\np1\nag1\na.",
        b"(lp0\nS'a\\x41'\na.",
        b"(lp0\nSa\na.",
        b"(lp0\nV\\uZZ\na.",
        pickle.dumps(["a"], protocol=2),
    ],
)
def test_anything_but_a_list_of_strings_is_refused(data):
    with pytest.raises(InputError, match="somewhere"):
        pickled_names(data, "somewhere")


def test_a_hostile_file_is_refused_on_opening(tmp_path):
    kinds = {"values_block_0_kind": pickle.dumps(Trap(), protocol=0)}
    path = write_table_layout(tmp_path / "a.h5", kinds=kinds)
    with pytest.raises(InputError, match=rf"{re.escape(str(path))}.*values_block_0_kind.*'sys\.exit'"):
        open_spectra(path)


def _edit(path, change):
    with h5py.File(path, "a") as file:
        change(file)
    return path


@pytest.mark.parametrize(
    ("layout", "change", "match"),
    [
        (
            "table",
            lambda f: f["dataset/params/table"].attrs.pop("values_block_0_kind"),
            "no attribute 'values_block_0_",
        ),
        ("table", lambda f: f["dataset/params/table"].attrs.create("values_block_0_kind", 3), "no attribute"),
        (
            "table",
            lambda f: f.move("dataset/params/table", "dataset/params/what"),
            r"\['what'\].*expected a pandas",
        ),
        ("fixed", lambda f: f.__delitem__("dataset/params/axis1"), "lacks 'axis1'"),
        ("fixed", lambda f: f.__delitem__("dataset/params/block0_values"), "lacks 'block0_values'"),
        (
            "fixed",
            lambda f: _replace(f, "dataset/params/block0_values", np.zeros((6, 9))),
            "9 columns wide, but 3",
        ),
        ("fixed", lambda f: _replace(f, "dataset/params/block0_values", np.zeros((5, 3))), r"shape \(5, 3\)"),
        (
            "fixed",
            lambda f: _replace(f, "dataset/params/block0_items", np.arange(3)),
            "column names as strings",
        ),
        ("flat", lambda f: _replace(f, "log_g", np.zeros(5)), "'log_g' has 5 rows, flux has 6"),
        ("flat", lambda f: f.move("log_g", "log g"), "label 'log g'.*rename"),
        ("flat", lambda f: f.move("log_g", "..."), r"label '\.\.\.'"),
        ("table", lambda f: _replace(f, "dataset/params", np.zeros(6)), "is a data set, expected a group"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, layout, change, match):
    path = _edit(WRITERS[layout](tmp_path / "a.h5"), change)
    with pytest.raises(InputError, match=match) as caught:
        open_spectra(path)
    assert str(path) in str(caught.value)


def _replace(file, key, values):
    del file[key]
    file[key] = values


def test_names_given_twice_or_for_another_width_are_refused(tmp_path):
    for names, match in ((["a", "a", "b"], "'a' twice"), (["a"], "3 columns wide, but 1 names")):
        kinds = {"values_block_0_kind": pickled_strings(names)}
        with pytest.raises(InputError, match=match):
            open_spectra(write_table_layout(tmp_path / "a.h5", kinds=kinds))


def test_a_vector_column_is_refused(tmp_path):
    path = write_table_layout(tmp_path / "a.h5")
    table = np.zeros(6, dtype=[("index", "<i8"), ("log_g", "<f8", (2,))])
    _edit(path, lambda file: _replace(file, "dataset/params/table", table))
    with pytest.raises(InputError, match=r"'log_g' has shape \(2,\) per row"):
        open_spectra(path)


@pytest.mark.parametrize(("n_labels", "relation"), [(5, "shorter"), (7, "longer")])
@pytest.mark.parametrize("layout", ["table", "fixed"])
def test_params_of_another_length_than_the_arrays_are_refused(tmp_path, n_labels, relation, layout):
    content = example(6)
    content.labels = example(n_labels).labels
    path = tmp_path / "a.h5"
    WRITERS[layout](path, content)
    if layout == "fixed":
        _edit(path, lambda file: _replace(file, "dataset/params/axis1", np.zeros(n_labels, dtype="i8")))
    with pytest.raises(
        InputError, match=f"params table has {n_labels} rows, {relation} than the arrays with 6"
    ):
        open_spectra(path)


def test_flat_data_sets_that_are_no_labels_are_passed_over(tmp_path):
    def add(file):
        file["wave_edges"] = np.zeros(65)
        file["cube"] = np.zeros((6, 2))
        file["scalar"] = 3.0
        file.create_group("about")

    path = _edit(write_flat_layout(tmp_path / "a.h5"), add)
    with open_spectra(path) as spectra:
        assert set(spectra.label_names) == set(NUMERIC)
