"""One pass over the spectra: digests as documented, bad rows by name, and a memory that forgets what has changed."""

import hashlib
import json
import math
import os
import re
import struct
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5_fixtures import PFSSPEC, WRITERS, example, write_flat_layout, write_table_layout

from cache.errors import ConfigError, InputError, UnknownName
from extract import fingerprint as module
from extract import row_scan
from extract.fingerprint import check_unchanged, fingerprint
from extract.mask import mask_digest
from extract.row_checks import REASONS, check_rows
from extract.sidecar import file_identity, recall
from extract.slabs import SlabReader
from extract.spectra import SpectraFile, open_spectra

SHARED = Path(__file__).parents[2] / "shared"
NAN = bytes.fromhex("000000000000f87f")


def sha(data):
    return hashlib.sha256(data).digest()


def float_bytes(values):
    return b"".join(NAN if math.isnan(value) else struct.pack("<d", value) for value in values)


def slow_row_digest(flux, error, noisy, labels, name):
    noisy_bytes = b"" if noisy is None else float_bytes(noisy)
    label_bytes = float_bytes(labels) + name.encode()
    return sha(sha(float_bytes(flux)) + sha(float_bytes(error)) + sha(noisy_bytes) + sha(label_bytes))


def prints(path, *, remember=None, **kwargs):
    with open_spectra(path) as spectra:
        return fingerprint(spectra, remember=remember, **kwargs)


def two_files(folder, *, noisy=False, n_rows=(5, 3)):
    contents = [example(n, seed=n) for n in n_rows]
    for content in contents:
        if noisy:
            content.arrays["noisy"] = content.arrays["flux"] + 0.5
    paths = [write_table_layout(folder / f"{k}.h5", content) for k, content in enumerate(contents)]
    return contents, paths


@pytest.mark.parametrize("noisy", [False, True])
def test_the_digests_are_those_of_a_slow_loop(tmp_path, monkeypatch, noisy):
    monkeypatch.setattr(module, "SLAB_ROWS", 3)
    monkeypatch.setattr(row_scan, "READ_ROWS", 2)
    contents, paths = two_files(tmp_path, noisy=noisy)
    with open_spectra(paths) as spectra:
        found = fingerprint(spectra, remember=None)
        names = spectra.label_names
    rows, stars = [], []
    for content in contents:
        for k in range(content.n_rows):
            arrays = content.arrays
            stored = arrays["noisy"][k] if noisy else None
            labels = [float(content.labels[name][k]) for name in names]
            name = str(content.labels["id"][k])
            rows.append(slow_row_digest(arrays["flux"][k], arrays["error"][k], stored, labels, name))
            stars.append(int(hashlib.sha256(float_bytes(arrays["flux"][k])).hexdigest()[:16], 16))
    assert [bytes(row) for row in found.row_digests] == rows
    assert found.stars.tolist() == stars
    assert found.stars.dtype == np.uint64
    about = {
        "version": 1,
        "n_rows": 8,
        "wave": sha(float_bytes(contents[0].arrays["wave"])).hex(),
        "label_names": list(names),
        "has_noisy": noisy,
        "slabs": [sha(b"".join(rows[k : k + 3])).hex() for k in range(0, 8, 3)],
    }
    text = json.dumps(about, sort_keys=True, separators=(",", ":"))
    assert found.digest == hashlib.sha256(text.encode()).hexdigest()
    assert found.bad == {}
    assert found.kept.tolist() == list(range(8))
    assert found.kept.dtype == np.int64


def test_reading_slab_and_layout_of_the_file_change_nothing(tmp_path, monkeypatch):
    content = example(7)
    # float32 in the file is widened exactly; the order of label columns is kept by all layouts with one type
    content.labels = {name: content.labels[name] for name in ("N_He", "T_eff", "log_g")}
    for name in ("flux", "error"):
        content.arrays[name] = content.arrays[name].astype("f4").astype("f8")
    paths = [write(tmp_path / f"{name}.h5", content) for name, write in WRITERS.items()]
    content.arrays = {n: v if n == "wave" else v.astype(">f4") for n, v in content.arrays.items()}
    paths.append(write_table_layout(tmp_path / "f4.h5", content))
    digests = set()
    for read_rows in (1, 3, 256):
        monkeypatch.setattr(row_scan, "READ_ROWS", read_rows)
        digests |= {prints(path).digest for path in paths}
    assert len(digests) == 1
    split = example(7)
    split.labels = content.labels
    for part, rows in enumerate((slice(0, 2), slice(2, 7))):
        piece = example(7)
        piece.arrays = {n: v if n == "wave" else v[rows] for n, v in content.arrays.items()}
        piece.labels = {n: v[rows] for n, v in content.labels.items()}
        write_table_layout(tmp_path / f"part{part}.h5", piece)
    assert prints([tmp_path / "part0.h5", tmp_path / "part1.h5"]).digest in digests


def test_no_more_rows_are_in_memory_than_said(tmp_path, monkeypatch):
    monkeypatch.setattr(row_scan, "READ_ROWS", 4)
    read = []
    original = SpectraFile._array

    def recording(self, rows, name, out):
        read.append(original(self, rows, name, out))
        return read[-1]

    monkeypatch.setattr(SpectraFile, "_array", recording)
    _, paths = two_files(tmp_path, n_rows=(10, 7))
    prints(paths)
    assert sorted({len(rows) for rows in read}) == [2, 3, 4]
    assert sum(len(rows) for rows in read) == 2 * 17  # flux and error, each once


@pytest.mark.parametrize("kind", ["flux", "error", "noisy", "wave", "log_g", "id", "order", "renamed"])
def test_every_value_counts(tmp_path, kind):
    def write(content):
        return write_table_layout(tmp_path / "a.h5", content)

    content = example()
    content.arrays["noisy"] = content.arrays["flux"].copy()
    before = prints(write(content))
    if kind in ("flux", "error", "noisy"):
        content.arrays[kind][4, 5] = np.nextafter(content.arrays[kind][4, 5], 1)
    elif kind == "wave":
        content.arrays["wave"][3] += 1e-9
    elif kind in ("log_g", "id"):
        content.labels[kind][4] += 1
    elif kind == "order":
        content.arrays["flux"] = content.arrays["flux"][::-1]
    else:
        content.labels = {name.replace("log_g", "logg"): values for name, values in content.labels.items()}
    after = prints(write(content))
    assert after.digest != before.digest
    changed = np.flatnonzero((after.row_digests != before.row_digests).any(axis=1)).tolist()
    assert changed == {"wave": [], "renamed": [], "order": list(range(6))}.get(kind, [4])
    assert (after.stars[4] != before.stars[4]) == (kind in ("flux", "order"))


def test_every_nan_is_the_same(tmp_path):
    content = example()
    first = prints(write_table_layout(tmp_path / "a.h5", content)).digest
    content.arrays["error"][0, 0] = np.array([0x7FF8_0000_0000_1234], dtype="u8").view("f8")[0]
    content.labels["N_He"] = -content.labels["N_He"]
    assert prints(write_table_layout(tmp_path / "b.h5", content)).digest == first


def test_one_star_has_one_number_in_every_file(tmp_path):
    content = example()
    content.arrays["flux"][3] = content.arrays["flux"][1]
    stars = prints(write_table_layout(tmp_path / "a.h5", content)).stars
    assert stars[3] == stars[1]
    assert len(set(stars.tolist())) == 5


FAULTS = {
    "flux_not_finite": ("flux", np.s_[2, 7], np.nan),
    "error_not_finite": ("error", np.s_[2, 7], np.inf),
    "error_not_positive": ("error", np.s_[2, 7], 0.0),
    "all_zero": ("flux", np.s_[2, :], 0.0),
    "stored_mask": ("mask", np.s_[2, 7], 1),
    "flux_scale": ("flux", np.s_[2, 7], 2e6),
    "noisy_not_finite": ("noisy", np.s_[2, 7], -np.inf),
}


def spoiled(reason, n_rows=6):
    content = example(n_rows)
    content.arrays["noisy"] = content.arrays["flux"].copy()
    content.arrays["mask"] = np.zeros(content.arrays["flux"].shape, dtype=np.int64)
    name, where, value = FAULTS[reason]
    content.arrays[name][where] = value
    return content


def test_the_input_digest_is_of_slabs_of_4096_rows():
    """A contract: with other slabs no store would be a hit."""
    assert module.SLAB_ROWS == 4096


def test_every_reason_is_tested():
    assert set(FAULTS) == set(REASONS)


@pytest.mark.parametrize("reason", FAULTS)
@pytest.mark.parametrize("layout", ["table", "flat"])
def test_a_bad_row_is_refused_or_dropped_by_its_reason(tmp_path, reason, layout):
    path = WRITERS[layout](tmp_path / "a.h5", spoiled(reason))
    with pytest.raises(InputError) as caught:
        prints(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "1 of 6 spectra cannot be used:"
    assert lines[1].startswith(f"  {reason}: 1 rows, first row 2 (row 2 of {path}); {REASONS[reason]}")
    assert "--on-bad-rows drop" in lines[-1]
    dropped = prints(path, policy="drop")
    assert {name: rows.tolist() for name, rows in dropped.bad.items()} == {reason: [2]}
    assert dropped.kept.tolist() == [0, 1, 3, 4, 5]
    assert dropped.row_digests.shape == (6, 32)


@pytest.mark.parametrize("reason", FAULTS)
def test_pixels_that_the_mask_leaves_out_are_not_looked_at(tmp_path, reason):
    path = write_table_layout(tmp_path / "a.h5", spoiled(reason))
    mask = np.arange(64) != 7
    if reason == "all_zero":
        assert list(prints(path, mask=mask, policy="drop").bad) == [reason]
        return
    assert prints(path, mask=mask).bad == {}
    assert prints(path, mask=mask).digest == prints(path, policy="drop").digest
    assert list(prints(path, mask=np.arange(64) == 7, policy="drop").bad) == [reason]


@pytest.mark.parametrize(
    ("pixel", "value", "bad"),
    [(0, np.nan, []), (63, np.nan, []), (1, np.nan, ["error_not_finite"]), (0, np.inf, ["error_not_finite"])],
)
def test_only_nan_at_the_very_edges_is_repaired(tmp_path, pixel, value, bad):
    content = example(edge_nan=False)
    content.arrays["error"][4, pixel] = value
    assert list(prints(write_table_layout(tmp_path / "a.h5", content), policy="drop").bad) == bad


@pytest.mark.parametrize(
    ("pixel", "value", "error", "bad"),
    [
        (0, np.nan, np.nan, []),
        (63, np.nan, np.nan, []),
        (0, np.nan, 0.1, ["noisy_not_finite"]),
        (0, np.inf, np.nan, ["noisy_not_finite"]),
        (1, np.nan, 0.1, ["noisy_not_finite"]),
    ],
)
def test_edges_of_a_stored_draw_are_repaired_where_the_error_is_unknown(tmp_path, pixel, value, error, bad):
    content = example(edge_nan=False)
    content.arrays["noisy"] = content.arrays["flux"].copy()
    content.arrays["noisy"][4, pixel] = value
    content.arrays["error"][4, pixel] = error
    path = write_table_layout(tmp_path / "a.h5", content)
    for remember in (None, tmp_path / "digests", tmp_path / "digests"):  # scanned, remembered, recalled
        found = prints(path, policy="drop", noise="stored", remember=remember)
        assert list(found.bad) == bad
        for mode in ("draw", "none"):
            known = prints(path, noise=mode, remember=remember)
            assert (known.bad, known.digest) == ({}, found.digest)


def test_scans_that_knew_no_repair_of_a_stored_draw_are_made_again(tmp_path, scans, monkeypatch):
    _, plain = two_files(tmp_path, n_rows=(5,))
    (tmp_path / "with").mkdir()
    _, noisy = two_files(tmp_path / "with", noisy=True, n_rows=(5,))
    about = module.about_scan
    monkeypatch.setattr(
        module,
        "about_scan",
        lambda *a: {name: value for name, value in about(*a).items() if name != "noisy_edges"},
    )
    for paths in (plain, noisy):
        prints(paths, remember=tmp_path / "digests")
    monkeypatch.undo()
    monkeypatch.setattr(module, "scan_rows", lambda *a: scans.append(a[1].stop) or row_scan.scan_rows(*a))
    scans.clear()
    prints(plain, remember=tmp_path / "digests")
    assert scans == []
    prints(noisy, remember=tmp_path / "digests")
    assert scans == [5]


def test_the_checks_equal_a_slow_loop():
    rng = np.random.default_rng(0)
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0, 1.0, 1e7, 1e-9])
    flux = rng.choice(values, (400, 3), p=[0.03, 0.03, 0.03, 0.35, 0.05, 0.11, 0.05, 0.35])
    error = rng.choice(values, (400, 3), p=[0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.1, 0.1])
    found = check_rows(flux, error, noisy=error, stored_mask=flux == 0, mask=np.array([True, False, True]))
    seen = set()
    for k in range(400):
        f, e = [flux[k, 0], flux[k, 2]], [error[k, 0], error[k, 2]]
        finite = all(map(math.isfinite, f))
        zero = all(value == 0 for value in f)
        mean = sum(map(abs, f)) / 2
        expected = {
            "flux_not_finite": not finite,
            "error_not_finite": not all(map(math.isfinite, e)),
            "all_zero": zero,
            "stored_mask": 0.0 in f,
            "flux_scale": finite and not zero and (max(map(abs, f)) > 1e6 or mean < 1e-6),
            "noisy_not_finite": not all(map(math.isfinite, e)),
        }
        if not any(map(math.isnan, e)):  # beside a NaN, which is refused anyway, the sign is not looked at
            expected["error_not_positive"] = min(e) <= 0
        for reason, is_bad in expected.items():
            assert found[reason][k] == is_bad, (reason, f, e)
            seen |= {reason} if is_bad else set()
    assert seen == set(REASONS)


def test_rows_are_counted_over_all_files_and_named_in_their_own(tmp_path):
    contents, paths = two_files(tmp_path, n_rows=(5, 9))
    contents[0].arrays["flux"][[1, 3]] = 0
    contents[1].arrays["flux"][2:] = np.nan
    for content, path in zip(contents, paths, strict=True):
        write_table_layout(path, content)
    with pytest.raises(InputError, match=r"^9 of 14 spectra") as caught:
        prints(paths)
    assert f"all_zero: 2 rows, first row 1 (row 1 of {paths[0]}), row 3 (row 3 of {paths[0]});" in str(
        caught.value
    )
    assert re.search(
        rf"flux_not_finite: 7 rows, first row 7 \(row 2 of {paths[1]}\), .*, \.\.\.; flux", str(caught.value)
    )
    dropped = prints(paths, policy="drop")
    assert dropped.kept.tolist() == [0, 2, 4, 5, 6]
    assert dropped.bad["flux_not_finite"].tolist() == list(range(7, 14))


@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_nothing_left_is_refused(tmp_path, policy):
    content = example()
    content.arrays["flux"][:] = 0
    with pytest.raises(InputError, match="6 of 6 spectra cannot be used") as caught:
        prints(write_table_layout(tmp_path / "a.h5", content), policy=policy)
    assert str(caught.value).endswith("none is left; mend the files")


def test_policy_and_mask_are_checked(tmp_path):
    path = write_table_layout(tmp_path / "a.h5")
    with pytest.raises(UnknownName, match="'skip'; known: fail, drop"):
        prints(path, policy="skip")
    for mask in (np.ones(63, bool), np.ones(64)):
        with pytest.raises(InputError, match=r"expected booleans of shape \(64,\)"):
            prints(path, mask=mask)


def same(one, other):
    assert one.digest == other.digest
    np.testing.assert_array_equal(one.row_digests, other.row_digests)
    np.testing.assert_array_equal(one.stars, other.stars)
    np.testing.assert_array_equal(one.kept, other.kept)
    assert {k: v.tolist() for k, v in one.bad.items()} == {k: v.tolist() for k, v in other.bad.items()}


@pytest.fixture
def scans(monkeypatch):
    """How many rows were really scanned, file by file."""
    counts = []
    original = module.scan_rows

    def counting(spectra, rows, mask, progress):
        counts.append(rows.stop - rows.start)
        return original(spectra, rows, mask, progress)

    monkeypatch.setattr(module, "scan_rows", counting)
    return counts


def test_what_was_found_is_remembered(tmp_path, scans):
    contents, paths = two_files(tmp_path)
    contents[1].arrays["flux"][1] = 0
    write_table_layout(paths[1], contents[1])
    remember = tmp_path / "digests"
    fresh = prints(paths, policy="drop")
    told = []
    first = prints(paths, remember=remember, policy="drop", progress=told.append)
    assert sum(told) == 8
    again = prints(paths, remember=remember, policy="drop", progress=told.append)
    assert sum(told) == 16
    same(fresh, first)
    same(fresh, again)
    assert scans == [5, 3] * 2
    with pytest.raises(InputError, match="1 of 8 spectra"):
        prints(paths, remember=remember)
    # in another order and alone each file is known too
    assert (
        prints(paths[::-1], remember=remember, policy="drop").digest
        == prints(paths[::-1], policy="drop").digest
    )
    prints(paths[0], remember=remember)
    assert scans == [5, 3] * 2 + [3, 5]


def test_each_mask_is_remembered_by_itself(tmp_path, scans):
    path = write_table_layout(tmp_path / "a.h5", spoiled("flux_scale"))
    mask = np.arange(64) != 7
    for _ in range(2):
        assert list(prints(path, remember=tmp_path, policy="drop").bad) == ["flux_scale"]
        assert prints(path, remember=tmp_path, mask=mask).bad == {}
    assert scans == [6, 6]


@pytest.mark.parametrize("change", ["mtime", "content", "inode", "noisy"])
def test_a_changed_file_is_read_again(tmp_path, scans, change):
    contents, paths = two_files(tmp_path)
    prints(paths, remember=tmp_path)
    status = paths[1].stat()
    if change == "mtime":
        os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "content":
        with h5py.File(paths[1], "a") as file:
            file[PFSSPEC["flux"]][0, 0] += 1
        os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    elif change == "inode":
        data = paths[1].read_bytes()
        (tmp_path / "copy").write_bytes(data)
        os.utime(tmp_path / "copy", ns=(status.st_atime_ns, status.st_mtime_ns))
        (tmp_path / "copy").rename(paths[1])
    else:
        for content, path in zip(contents, paths, strict=True):
            content.arrays["noisy"] = content.arrays["flux"]
            write_table_layout(path, content)
    same(prints(paths, remember=tmp_path), prints(paths))
    expected = [5, 3, 5, 3] if change == "noisy" else [5, 3, 3]
    assert scans[: len(expected)] == expected


def test_a_damaged_memory_is_not_believed(tmp_path, scans):
    path = write_table_layout(tmp_path / "a.h5")
    remember = tmp_path / "digests"
    fresh = prints(path, remember=remember)
    (sidecar,) = remember.iterdir()
    good = sidecar.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", good[:40], good[:-1], good + b"\0"]
    for place in rng.integers(0, len(good), 40):
        flipped = bytearray(good)
        flipped[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    for content in damaged:
        sidecar.write_bytes(content)
        same(prints(path, remember=remember), fresh)
        assert sidecar.read_bytes() == good
    assert len(scans) == 1 + len(damaged)
    about = {"file": str(path), "mask": None, "label_names": [], "has_noisy": False}
    assert recall(remember, about, file_identity(path.stat())) is None


def test_a_memory_that_cannot_be_written_says_so_before_anything_is_read(tmp_path, monkeypatch):
    path = write_table_layout(tmp_path / "a.h5")
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "scan_rows", None)
    with pytest.raises(ConfigError, match="cannot be remembered"):
        prints(path, remember=tmp_path / "file")


def test_a_file_that_changes_during_the_pass_is_refused(tmp_path):
    path = write_table_layout(tmp_path / "a.h5")
    with pytest.raises(InputError, match="changed while it was read"):
        prints(path, remember=tmp_path / "digests", progress=lambda _: os.utime(path, ns=(1, 1)))
    assert not (tmp_path / "digests").exists()


def test_rows_are_checked_again_as_they_are_read(tmp_path):
    contents, paths = two_files(tmp_path, noisy=True)
    with open_spectra(paths) as spectra:
        known = fingerprint(spectra, remember=None)
        raw = SlabReader(spectra, 4).read((3, 7))
        check_unchanged(spectra, raw, known)
        slab = raw.slab
        flux = np.concatenate([content.arrays["flux"] for content in contents])
        np.testing.assert_array_equal(slab.flux, flux[3:7])
        np.testing.assert_array_equal(slab.noisy, flux[3:7] + 0.5)
        np.testing.assert_array_equal(slab.repaired_error(), spectra.read(slice(3, 7))[1])
    with h5py.File(paths[1], "a") as file:
        file[PFSSPEC["error"]][1, 3] += 1e-3
    with open_spectra(paths) as spectra:
        reader = SlabReader(spectra, 6)
        check_unchanged(spectra, reader.read((0, 6)), known)
        with pytest.raises(
            InputError, match=rf"^{re.escape(str(paths[1]))}: row 1 \(row 6 of all\) is not what it was"
        ):
            check_unchanged(spectra, reader.read((3, 8)), known)


def test_the_digest_of_a_fixed_file_stays(tmp_path):
    n = np.arange(1, 13, dtype="f8")
    content = example(3, 4)
    content.arrays = {
        "wave": np.array([8e3, 8001, 8002, 8003]),
        "flux": n.reshape(3, 4),
        "error": n.reshape(3, 4) / 8,
    }
    content.labels = {"log_g": np.array([1.0, np.nan, 3.0])}
    found = prints(write_flat_layout(tmp_path / "a.h5", content))
    assert found.digest == "269c4f2649664694cde96c309770a0322b1d76e13ad1899a37ef6732f5502360"
    assert f"{found.stars[0]:016x}" == hashlib.sha256(n[:4].astype("<f8").tobytes()).hexdigest()[:16]


def test_the_golden_file_is_good():
    path = SHARED / "golden" / "pfsspec_small.h5"
    if not path.is_file():
        pytest.skip("needs ../shared/golden")
    found = prints(path)
    assert len(found.kept) == 64
    assert len(set(found.stars.tolist())) == 64
    assert mask_digest(None) is None
    same(found, replace(found))
