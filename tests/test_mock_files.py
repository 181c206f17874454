"""The pfsspec layout that the mock survey writes."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from cache.errors import InputError
from extract.mock.files import edges_as_pfsspec, pfsspec_writer, table_blocks, write_pfsspec

SHARED = Path(__file__).parents[2] / "shared"
GOLDEN = SHARED / "golden" / "pfsspec_small.h5"
WAVE = np.linspace(7100, 8850, 32)


def arrays(n_rows):
    random = np.random.default_rng(n_rows)
    params = {
        "id": np.arange(n_rows),
        "T_eff": random.uniform(3750, 6000, n_rows),
        "fiberid": np.full(n_rows, np.nan),
        "exp_count": np.full(n_rows, 12),
        "interp_param": np.array([b"ab", b""] * n_rows)[:n_rows],
    }
    return random.random((n_rows, 32)), random.random((n_rows, 32)), params


def columns_of(file):
    """A plain reader of the table: {name: values}."""
    table = file["dataset/params/table"]
    found = {"index": table["index"]}
    for block in (name for name in table.dtype.names if name.startswith("values_block")):
        names = pickle.loads(table.attrs[f"{block}_kind"].tobytes())  # our own file
        found |= {name: table[block][:, position] for position, name in enumerate(names)}
    return found


def test_what_was_written_is_read_back(tmp_path):
    flux, error, params = arrays(70)
    path = write_pfsspec(
        tmp_path / "a.h5", WAVE, flux=flux, error=error, params=params, attributes={"note": "x"}
    )
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["spectrumdataset/wave"][:], WAVE)
        np.testing.assert_array_equal(file["dataset/arrays/flux/value"][:], flux)
        np.testing.assert_array_equal(file["dataset/arrays/error/value"][:], error)
        assert file["dataset/arrays/flux/value"].dtype == "<f8"
        assert file["dataset/arrays/flux/value"].compression is None
        assert file.attrs["note"] == "x"
        found = columns_of(file)
    np.testing.assert_array_equal(found.pop("index"), np.arange(70))
    assert set(found) == set(params)
    for name, column in params.items():
        np.testing.assert_array_equal(found[name], column)


def test_slabs_of_any_size_make_the_same_file(tmp_path):
    flux, error, params = arrays(70)
    whole = write_pfsspec(tmp_path / "whole.h5", WAVE, flux=flux, error=error, params=params)
    for size in (1, 33):
        path = tmp_path / f"{size}.h5"
        with pfsspec_writer(path, WAVE, n_rows=70) as writer:
            for start in range(0, 70, size):
                rows = slice(start, start + size)
                slab = {name: column[rows] for name, column in params.items()}
                writer.append(flux[rows], error[rows], params=slab)
        with h5py.File(whole) as one, h5py.File(path) as other:
            for name in ("dataset/params/table", "dataset/arrays/flux/value", "dataset/arrays/error/value"):
                assert one[name][:].tobytes() == other[name][:].tobytes()


def test_a_short_file_is_not_published(tmp_path):
    flux, error, params = arrays(4)
    with (
        pytest.raises(InputError, match="4 rows were appended, 5 were announced"),
        pfsspec_writer(tmp_path / "a.h5", WAVE, n_rows=5) as writer,
    ):
        writer.append(flux, error, params=params)
    assert list(tmp_path.iterdir()) == []


def test_slabs_must_fit(tmp_path):
    flux, error, params = arrays(4)
    with pfsspec_writer(tmp_path / "a.h5", WAVE, n_rows=6) as writer:
        writer.append(flux, error, params=params)
        with pytest.raises(InputError, match="rows 4 to 8 of 6"):
            writer.append(flux, error, params=params)
        with pytest.raises(InputError, match="expected"):
            writer.append(
                flux[:2], error[:2, :5], params={name: column[:2] for name, column in params.items()}
            )
        with pytest.raises(InputError, match="columns and lengths"):
            writer.append(flux[:2], error[:2], params=params)
        with pytest.raises(InputError, match="columns and lengths"):
            writer.append(flux[:2], error[:2], params={"id": np.arange(2)})
        writer.append(flux[:2], error[:2], params={name: column[:2] for name, column in params.items()})


@pytest.mark.parametrize(("n_rows", "wave"), [(0, WAVE), (3, WAVE[None])])
def test_a_file_needs_rows_and_a_grid(tmp_path, n_rows, wave):
    with (
        pytest.raises(InputError, match="expected >= 1 rows on a 1-d grid"),
        pfsspec_writer(tmp_path / "a.h5", wave, n_rows=n_rows),
    ):
        pass


def test_only_tables_of_numbers_and_byte_strings():
    with pytest.raises(InputError, match="column 'name' is <U1"):
        table_blocks({"name": np.array(["a"])})
    blocks = table_blocks({"s": np.array([b"abc"]), "f": np.ones(1, np.float32), "u": np.ones(1, np.uint8)})
    assert [(block.field, block.columns, block.dtype.str, block.kind) for block in blocks] == [
        ("values_block_0", ("f",), "<f8", "float64"),
        ("values_block_1", ("u",), "<i8", "int64"),
        ("values_block_2", ("s",), "|S3", "bytes24"),
    ]


def test_edges_become_nan_in_a_copy():
    error = np.ones((2, 5), np.float32)
    np.testing.assert_array_equal(np.isnan(edges_as_pfsspec(error)), [[True, False, False, False, True]] * 2)
    assert (error == 1).all()


def test_pickles_are_protocol_0_text(tmp_path):
    flux, error, params = arrays(3)
    path = write_pfsspec(tmp_path / "a.h5", WAVE, flux=flux, error=error, params=params)
    with h5py.File(path) as file:
        kind = file["dataset/params/table"].attrs["values_block_0_kind"]
    assert kind == b"(lp0\nVT_eff\np1\naVfiberid\np2\na."


@pytest.mark.skipif(not GOLDEN.exists(), reason="no golden pfsspec file beside this checkout")
def test_rewriting_the_golden_file_gives_the_same_table_and_attributes(tmp_path):
    with h5py.File(GOLDEN) as golden:
        found = columns_of(golden)
        found.pop("index")
        order = pickle.loads(golden["dataset/params"].attrs["non_index_axes"].tobytes())[0][1]
        path = write_pfsspec(
            tmp_path / "again.h5",
            golden["spectrumdataset/wave"][:],
            flux=golden["dataset/arrays/flux/value"][:],
            error=golden["dataset/arrays/error/value"][:],
            params={name: found[name] for name in order},
        )
        with h5py.File(path) as again:
            for name in ("dataset/arrays/flux/value", "dataset/arrays/error/value", "dataset/params/table"):
                assert again[name].dtype == golden[name].dtype
                assert again[name][:].tobytes() == golden[name][:].tobytes()
            for name in ("dataset/params", "dataset/params/table"):
                assert set(again[name].attrs) == set(golden[name].attrs)
                for attribute, value in golden[name].attrs.items():
                    assert again[name].attrs[attribute] == value, (name, attribute)
