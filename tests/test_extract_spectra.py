"""Spectra of one or several files read alike in any slabs; unusable files are refused with what to do."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5_fixtures import (
    PFSSPEC,
    WRITERS,
    example,
    keep_outside,
    link_outside,
    make_virtual,
    write_flat_layout,
    write_table_layout,
)

from cache.errors import ConfigError, InputError, UnknownName
from extract.spectra import open_spectra

SHARED = Path(__file__).parents[2] / "shared"


def repaired(error):
    """The slow twin of the edge repair."""
    result = error.copy()
    for row in result:
        if np.isnan(row[0]):
            row[0] = row[1]
        if np.isnan(row[-1]):
            row[-1] = row[-2]
    return result


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4"])
def test_read_gives_flux_as_stored_and_error_with_its_edges_repaired(tmp_path, layout, dtype):
    content = example()
    for name in ("flux", "error"):
        content.arrays[name] = content.arrays[name].astype(dtype)
    with open_spectra(WRITERS[layout](tmp_path / "a.h5", content)) as spectra:
        flux, error = spectra.read(slice(None))
        np.testing.assert_array_equal(flux, content.arrays["flux"])
        np.testing.assert_array_equal(error, repaired(content.arrays["error"]))
        assert flux.dtype == error.dtype == spectra.wave.dtype == np.dtype("<f8")
        np.testing.assert_array_equal(spectra.wave, content.arrays["wave"])
        np.testing.assert_array_equal(spectra.stored(slice(0, 6)).error, content.arrays["error"])
        assert not spectra.has_noisy
        assert spectra.stored(slice(0, 6)).noisy is None
        assert spectra.stored_mask(slice(0, 6)) is None
        assert spectra.data_kind == "real"


def test_the_edges_are_repaired_by_the_neighbour_alone(tmp_path):
    content = example(4, edge_nan=False)
    error = content.arrays["error"]
    error[0, 0], error[1, -1], error[2, 5], error[3, 0] = np.nan, np.nan, np.nan, np.inf
    with open_spectra(write_table_layout(tmp_path / "a.h5", content)) as spectra:
        _, found = spectra.read(slice(0, 4))
    assert found[0, 0] == error[0, 1]
    assert found[1, -1] == error[1, -2]
    assert np.isnan(found[2, 5])
    assert found[3, 0] == np.inf


def three_files(folder, **kwargs):
    contents = [example(n, seed=n, **kwargs) for n in (3, 1, 5)]
    return contents, [WRITERS["table"](folder / f"{k}.h5", content) for k, content in enumerate(contents)]


def test_several_files_are_one_list_of_rows_in_any_slabs(tmp_path):
    contents, paths = three_files(tmp_path)
    flux = np.concatenate([content.arrays["flux"] for content in contents])
    error = repaired(np.concatenate([content.arrays["error"] for content in contents]))
    log_g = np.concatenate([content.labels["log_g"] for content in contents])
    with open_spectra(paths) as spectra:
        assert spectra.n_spectra == 9
        assert spectra.files == tuple(paths)
        assert spectra.first_rows == (0, 3, 4)
        assert [spectra.locate(row) for row in (0, 2, 3, 4, 8)] == [
            (paths[0], 0),
            (paths[0], 2),
            (paths[1], 0),
            (paths[2], 0),
            (paths[2], 4),
        ]
        for start in range(10):
            for stop in range(10):
                found = spectra.read(slice(start, stop))
                np.testing.assert_array_equal(found[0], flux[start:stop])
                np.testing.assert_array_equal(found[1], error[start:stop])
        np.testing.assert_array_equal(spectra.labels("log_g"), log_g)
        np.testing.assert_array_equal(
            spectra.label_rows(slice(2, 6))[:, spectra.label_names.index("log_g")], log_g[2:6]
        )
        assert spectra.stored_ids(slice(None)) == [str(100 + k) for n in (3, 1, 5) for k in range(n)]


def test_labels_are_read_in_slabs(tmp_path, monkeypatch):
    contents, paths = three_files(tmp_path)
    monkeypatch.setattr("extract.spectra.LABEL_ROWS", 2)
    with open_spectra(paths) as spectra:
        np.testing.assert_array_equal(
            spectra.labels("T_eff"), np.concatenate([content.labels["T_eff"] for content in contents])
        )
        assert spectra.stored_ids(slice(None)) == [str(100 + k) for n in (3, 1, 5) for k in range(n)]


def test_an_index_lists_files_relative_to_itself(tmp_path):
    _, paths = three_files(tmp_path)
    (tmp_path / "lists").mkdir()
    index = tmp_path / "lists" / "shard_index.txt"
    index.write_text(f"# shards\n\n../0.h5\n  ../1.h5  \n{paths[2]}\n")
    with open_spectra(index) as listed, open_spectra([str(path) for path in paths]) as named:
        assert listed.n_spectra == named.n_spectra == 9
        np.testing.assert_array_equal(listed.read(slice(0, 9))[0], named.read(slice(0, 9))[0])
    with pytest.raises(InputError, match=r"0\.h5: named twice; its rows would count double"):
        open_spectra([index, paths[0]])


def test_an_index_may_begin_with_a_byte_order_mark(tmp_path):
    three_files(tmp_path)
    index = tmp_path / "shard_index.txt"
    index.write_bytes(b"\xef\xbb\xbf0.h5\r\n1.h5\r\n")
    with open_spectra(index) as spectra:
        assert [path.name for path in spectra.files] == ["0.h5", "1.h5"]


@pytest.mark.parametrize("again", ["0.h5", "./0.h5", "link.h5"])
def test_a_file_that_an_index_lists_twice_is_refused_by_line(tmp_path, again):
    three_files(tmp_path)
    (tmp_path / "link.h5").symlink_to("0.h5")
    index = tmp_path / "shard_index.txt"
    index.write_text(f"# shards\n0.h5\n\n1.h5\n{again}\n")
    with pytest.raises(
        InputError, match=rf"line 5 lists '{again}', the file of line 2; its rows would count twice"
    ):
        open_spectra(index)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("\n# nothing\n", "lists no file"),
        ("a.h5\n", "lists .*a.h5', which does not exist; paths are relative"),
    ],
)
def test_an_index_without_files_is_refused(tmp_path, text, match):
    index = tmp_path / "shard_index.txt"
    index.write_text(text)
    with pytest.raises(InputError, match=match):
        open_spectra(index)


def test_what_is_no_hdf5_file_is_refused(tmp_path):
    text = tmp_path / "a.h5"
    text.write_text("wave flux error")
    cut = write_table_layout(tmp_path / "cut.h5", example(200))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    binary = tmp_path / "index.txt"
    binary.write_bytes(b"\xff\xfe")
    for path, match in (
        (tmp_path, "is a folder.*name the file inside"),
        (tmp_path / "none.h5", "does not exist"),
        (tmp_path / "none.txt", "cannot be read as a list"),
        (binary, "cannot be read as a list"),
        (text, "is not an HDF5 file"),
        (cut, "cannot be opened as HDF5.*cut short"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            open_spectra(path)
        assert str(path) in str(caught.value)
    with pytest.raises(InputError, match="no data file was named"):
        open_spectra([])


def test_stored_noise_needs_every_file(tmp_path):
    contents, paths = three_files(tmp_path)
    for content, path in zip(contents[:2], paths[:2], strict=True):
        content.arrays["noisy"] = content.arrays["flux"] + 1
        write_table_layout(path, content)
    with open_spectra(paths[:2]) as spectra:
        assert spectra.has_noisy
        expected = np.concatenate([content.arrays["noisy"] for content in contents[:2]])
        np.testing.assert_array_equal(spectra.noisy(slice(1, 4)), expected[1:4])
        np.testing.assert_array_equal(spectra.stored(slice(1, 4)).noisy, expected[1:4])
    with open_spectra(paths) as spectra:
        assert not spectra.has_noisy
        with pytest.raises(InputError, match=rf"^{re.escape(str(paths[2]))}: no stored noise draw"):
            spectra.noisy(slice(0, 1))


def test_stored_masks_are_read_where_there_are_any(tmp_path):
    contents, paths = three_files(tmp_path)
    mask = np.zeros((3, 64), dtype=np.int64)
    mask[1, 7] = 4
    contents[0].arrays["mask"] = mask
    write_table_layout(paths[0], contents[0])
    with open_spectra(paths) as spectra:
        found = spectra.stored_mask(slice(0, 9))
        assert np.argwhere(found).tolist() == [[1, 7]]


def test_a_list_with_one_mock_file_is_mock(tmp_path):
    mock = [write_table_layout(tmp_path / f"{k}.h5", attributes={"blindspot_mock": 1}) for k in range(2)]
    real = write_table_layout(tmp_path / "real.h5")
    for paths, kind in ((mock, "mock"), ([*mock, real], "mock"), ([real], "real")):
        with open_spectra(paths) as spectra:
            assert spectra.data_kind == kind


def test_unknown_labels_list_the_known_and_steps_are_refused(tmp_path):
    content = example()
    with open_spectra(write_table_layout(tmp_path / "a.h5", content)) as spectra:
        for name in ("logg", "interp_param"):
            with pytest.raises(UnknownName, match=f"'{name}'; known: T_eff, log_g, N_He, exp_count"):
                spectra.labels(name)
        with pytest.raises(ConfigError, match="without a step"):
            spectra.read(slice(0, 6, 2))
    content.labels.clear()
    with open_spectra(write_table_layout(tmp_path / "b.h5", content)) as spectra:
        for name in ("log_g", "id"):
            with pytest.raises(UnknownName, match="no labels"):
                spectra.labels(name)


def test_files_must_have_one_grid_and_the_same_labels(tmp_path):
    first = write_table_layout(tmp_path / "first.h5")
    content = example()
    content.arrays["wave"] = content.arrays["wave"] + 1
    other_grid = write_table_layout(tmp_path / "grid.h5", content)
    with pytest.raises(
        InputError, match=rf"^{re.escape(str(other_grid))}: wave differs from that of .*first"
    ):
        open_spectra([first, other_grid])
    content = example()
    del content.labels["log_g"]
    content.labels["T_eff"] = np.array([b"hot"] * 6)  # as text it is no label either
    fewer = write_table_layout(tmp_path / "fewer.h5", content)
    for paths in ([first, fewer], [fewer, first]):
        with pytest.raises(InputError, match=rf"^{re.escape(str(fewer))}: lacks the numeric labels .*log_g"):
            open_spectra(paths)


def _changed(**arrays):
    def change(content):
        for name, how in arrays.items():
            if how is None:
                del content.arrays[name]
            else:
                content.arrays[name] = how(content.arrays.get(name, content.arrays["flux"]))

    return change


def _with(index, value):
    def how(values):
        values = values.copy()
        values[index] = value
        return values

    return how


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            _changed(wave=lambda w: w[::-1]),
            r"not strictly increasing: pixel 0 has 8849\.8, pixel 1 has .*\(63 such",
        ),
        (_changed(wave=_with(3, 7100.2)), "not strictly increasing: pixel 2"),
        (
            _changed(wave=lambda w: w / 10),
            "710.02 to 884.98, expected Angstrom; it looks like nm, multiply by 10$",
        ),
        (
            _changed(wave=lambda w: w / 1e4),
            "expected Angstrom; it looks like micrometres, multiply by 10000$",
        ),
        (
            _changed(wave=np.log10),
            r"from 3\.85\d* to 3\.94\d*, .* like log10 of Angstrom, write 10\*\*wave \(7100 to 8850\); or, if it",
        ),
        (_changed(wave=np.log), r"the natural logarithm of Angstrom, write exp\(wave\) \(7100 to 8850\)"),
        (_changed(wave=lambda w: w - 7200), "wavelengths are positive"),
        (_changed(wave=_with(9, np.nan)), "not finite at 1 pixels, first 9"),
        (_changed(wave=lambda w: w[:-1]), r"shape \(63,\), expected .* of the 64 pixels"),
        (_changed(wave=lambda w: w.astype(complex)), "complex128 of shape"),
        (_changed(error=lambda e: e[:, :-1]), r"error.* has shape \(6, 63\), flux has \(6, 64\)"),
        (_changed(error=lambda e: e[:5]), r"error.* has shape \(5, 64\)"),
        (_changed(noisy=lambda f: f[:5]), r"noisy.* has shape \(5, 64\)"),
        (_changed(mask=lambda f: np.zeros((len(f), 3), int)), r"mask.* has shape \(6, 3\)"),
        (_changed(mask=lambda f: f), "mask.* has dtype float64, expected integers"),
        (_changed(flux=lambda f: f[0]), r"has shape \(64,\), expected \(spectra, pixels\)"),
        (_changed(flux=lambda f: f[:0], error=lambda e: e[:0]), "no spectra"),
        (_changed(flux=lambda f: f.astype(int)), "has dtype int64, expected float32 or float64"),
        (_changed(flux=lambda f: f.astype(complex)), "has dtype complex128"),
        (_changed(error=lambda e: np.ones(e.shape, int)), "error.* has dtype int64"),
        (_changed(wave=None), "lacks '(spectrumdataset/)?wave'; expected the pfsspec.*or the flat"),
        (_changed(flux=None), "lacks '(dataset/arrays/)?flux(/value)?'"),
        (
            _changed(error=None, flux=None),
            "'dataset/arrays/flux/value', 'dataset/arrays/error/value', 'spectrumd",
        ),
    ],
)
@pytest.mark.parametrize("layout", ["table", "flat"])
def test_arrays_that_do_not_fit_are_refused(tmp_path, layout, change, match):
    content = example()
    if layout == "flat":
        content.labels.clear()
    change(content)
    path = WRITERS[layout](tmp_path / "a.h5", content)
    with pytest.raises(InputError, match=match) as caught:
        open_spectra(path)
    assert str(caught.value).startswith(str(path))
    with h5py.File(path, "a"):
        pass  # closed again after the refusal


def test_a_group_in_the_place_of_an_array_is_refused(tmp_path):
    path = write_flat_layout(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.create_group("noisy")
    with pytest.raises(InputError, match="noisy is a group, expected a data set"):
        open_spectra(path)


@pytest.mark.parametrize("key", [*list(PFSSPEC.values())[:2], "spectrumdataset/wave", "dataset/params/table"])
@pytest.mark.parametrize(
    ("hide", "match"),
    [
        (keep_outside, r"keeps its data in .*raw', outside the file"),
        (make_virtual, "is a virtual data set"),
        (link_outside, "is a link to another file .*linked.h5"),
    ],
)
def test_data_outside_the_file_are_refused(tmp_path, hide, match, key):
    path = write_table_layout(tmp_path / "a.h5")
    hide(path, key)
    with pytest.raises(InputError, match=match) as caught:
        open_spectra(path)
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


def test_a_group_linked_from_another_file_is_refused(tmp_path):
    for key in ("dataset/params", "dataset/arrays", "dataset"):
        path = write_table_layout(tmp_path / "a.h5")
        link_outside(path, key)
        with pytest.raises(InputError, match=f"/{key} is a link to another file"):
            open_spectra(path)


def test_soft_links_are_followed_inside_the_file_only(tmp_path):
    path = write_table_layout(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.move("dataset/arrays/flux", "moved")
        file["dataset/arrays/flux"] = h5py.SoftLink("/moved")
        file.move("dataset/arrays/error/value", "dataset/arrays/error/there")
        file["dataset/arrays/error/value"] = h5py.SoftLink("./there")
    with open_spectra(path) as spectra:
        np.testing.assert_array_equal(spectra.read(slice(0, 6))[0], example().arrays["flux"])
    link_outside(path, "moved")
    with pytest.raises(InputError, match="/moved is a link to another file"):
        open_spectra(path)
    with h5py.File(path, "a") as file:
        del file["moved"]
        file["moved"] = h5py.SoftLink("/dataset/arrays/flux")
    with pytest.raises(InputError, match="too many soft links"):
        open_spectra(path)
    with h5py.File(path, "a") as file:
        del file["moved"]
    with pytest.raises(InputError, match="lacks 'dataset/arrays/flux/value'"):
        open_spectra(path)


def test_a_damaged_chunk_is_reported_with_file_and_rows(tmp_path):
    path = tmp_path / "a.h5"
    content = example()
    flux = content.arrays.pop("flux")
    write_table_layout(path, content)
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset(
            PFSSPEC["flux"], data=flux, chunks=(6, 64), compression="gzip", fletcher32=True
        )
        chunk = dataset.id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    raw[chunk.byte_offset + 20] ^= 255
    path.write_bytes(raw)
    with (
        open_spectra(path) as spectra,
        pytest.raises(InputError, match=r"flux/value cannot be read at rows 2 to 4 .*copy it again"),
    ):
        spectra.read(slice(2, 4))


def test_the_golden_file_opens():
    path = SHARED / "golden" / "pfsspec_small.h5"
    if not path.is_file():
        pytest.skip("needs ../shared/golden")
    with open_spectra(path) as spectra:
        assert (spectra.n_spectra, spectra.wave.size, spectra.has_noisy) == (64, 4096, False)
        flux, error = spectra.read(slice(0, 64))
        assert np.isfinite(flux).all()
        assert np.isfinite(error).all()
        np.testing.assert_array_equal(error[:, 0], error[:, 1])
        np.testing.assert_array_equal(error[:, -1], error[:, -2])
        assert not spectra.stored_mask(slice(0, 64)).any()
