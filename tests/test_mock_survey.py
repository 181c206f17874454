"""Rows of the mock survey: the same bytes however they are made, labels, errors, and the three files."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from cache.errors import ConfigError, InputError
from extract.mock import instrument, survey

N_ROWS = 150  # more than one batch
WORDS_OF_SEED_7 = ["a36cda189693067a", "a0b6263d63d9a7e5"]  # the same on every machine
FLUX_OF_VERSION_1 = [
    [0.9182333, 0.8499864, 0.7888566, 0.7191995, 0.659154],
    [0.84273, 0.8068948, 0.7683059, 0.7282903, 0.6866925],
]
ERROR_OF_VERSION_1 = [
    [0.1237406, 0.1253956, 0.127127, 0.1334432, 0.1304211],
    [0.2453419, 0.2518314, 0.2581218, 0.2743711, 0.2702086],
]


@pytest.fixture(scope="module")
def whole():
    return survey.generate(np.arange(N_ROWS), seed=4)


@pytest.fixture(scope="module")
def one_magnitude():
    return survey.generate(np.arange(512), seed=4, mag=21.5)


def same(one, other):
    return all(one.labels[name].tobytes() == other.labels[name].tobytes() for name in one.labels) and (
        one.flux.tobytes() == other.flux.tobytes() and one.error.tobytes() == other.error.tobytes()
    )


def pick(spectra, rows):
    return survey.MockSpectra(
        wave=spectra.wave,
        flux=spectra.flux[rows],
        error=spectra.error[rows],
        labels={name: column[rows] for name, column in spectra.labels.items()},
    )


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_row_is_the_same_in_any_batch(whole, batch):
    last = {1: 12, 7: 70, 64: N_ROWS}[batch]  # every call makes a padded batch: few calls suffice
    for start in range(0, last, batch):
        rows = np.arange(start, min(start + batch, last))
        assert same(survey.generate(rows, seed=4), pick(whole, rows))


def test_a_row_is_the_same_in_any_order(whole):
    rows = np.random.default_rng(0).permutation(N_ROWS)
    assert same(survey.generate(rows, seed=4), pick(whole, rows))


def test_seed_and_row_change_the_star(whole):
    other = survey.generate(np.arange(8), seed=5)
    assert not np.isclose(other.labels["T_eff"], whole.labels["T_eff"][:8]).any()
    assert len(np.unique(whole.labels["T_eff"])) == N_ROWS
    np.testing.assert_array_equal(whole.labels["id"], np.arange(N_ROWS))


def test_random_words_are_philox_by_key_and_row():
    words = survey._random_words(np.array([0, 10**9]), 7)
    assert [f"{word:016x}" for word in words[:, 0]] == WORDS_OF_SEED_7


def test_numbers_of_version_1_stay(whole):
    """A change here means: raise MOCK_VERSION, and retrain what was trained on mock spectra."""
    assert survey.MOCK_VERSION == 1
    np.testing.assert_allclose(whole.flux[:2, 100::800], FLUX_OF_VERSION_1, rtol=2e-5)
    np.testing.assert_allclose(whole.error[:2, 100::800], ERROR_OF_VERSION_1, rtol=2e-5)


def test_everything_is_finite_and_positive(whole):
    for values in (whole.flux, whole.error):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values > 0).all()
    assert all(np.isfinite(column).all() for column in whole.labels.values())


def test_labels_fill_their_ranges_and_are_uncorrelated():
    labels, conditions = survey.draw_stars(np.arange(4000), seed=0, mag=survey.DEFAULT_MAG)
    names = (*survey.RANGES, "mag")
    for name, (low, high) in {**survey.RANGES, "mag": survey.DEFAULT_MAG}.items():
        scaled = (labels[name] - low) / (high - low)
        assert 0 <= scaled.min() < 0.01
        assert 0.99 < scaled.max() <= 1
        assert (
            np.abs(np.sort(scaled) - np.linspace(0, 1, 4000)).max() < 0.03
        )  # Kolmogorov-Smirnov, p of about 0.001
    columns = [labels[name] for name in names]
    columns += [np.log(values) for values in (conditions.throughput, conditions.continuum, conditions.oh)]
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 4 / np.sqrt(4000)
    scatter = [
        np.log(values).std() for values in (conditions.throughput, conditions.continuum, conditions.oh)
    ]
    np.testing.assert_allclose(scatter, list(instrument.CONDITION_SCATTER.values()), rtol=0.05)


def test_magnitude_does_not_touch_the_star(whole, one_magnitude):
    np.testing.assert_array_equal(one_magnitude.flux[:N_ROWS], whole.flux)
    assert (one_magnitude.labels["mag"] == 21.5).all()
    assert (one_magnitude.labels["redshift"] == 0).all()


def test_signal_to_noise_is_seven_at_21_5(one_magnitude):
    ratio = one_magnitude.flux / one_magnitude.error
    np.testing.assert_allclose(one_magnitude.labels["snr"], np.median(ratio, axis=1), rtol=1e-6)
    assert 6 < np.median(one_magnitude.labels["snr"]) < 8


def test_error_is_nearly_the_root_of_flux_plus_sky(one_magnitude):
    """In electrons and on an ordinary night the variance is a straight line in flux, pixel by pixel."""
    flux = one_magnitude.flux[:200]
    ordinary = instrument.Conditions(throughput=np.ones(200), continuum=np.ones(200), oh=np.ones(200))
    error = instrument.one_sigma(flux, np.full(200, 21.5), ordinary).astype(float)
    for pixel in (300, 1180, 2000, 3800):
        slope, sky = np.polyfit(flux[:, pixel].astype(float), error[:, pixel] ** 2, 1)
        assert slope > 0
        assert sky > 0
        np.testing.assert_allclose(error[:, pixel], np.sqrt(slope * flux[:, pixel] + sky), rtol=1e-4)


def test_error_equals_the_plain_formula():
    random = np.random.default_rng(2)
    flux = random.uniform(0.2, 1.0, (3, 4096)).astype(np.float32)
    night = instrument.Conditions(
        throughput=random.uniform(0.8, 1.2, 3),
        continuum=random.uniform(0.8, 1.2, 3),
        oh=random.uniform(0.5, 2, 3),
    )
    magnitude = np.array([20.5, 21.5, 22.5])
    error = instrument.one_sigma(flux, magnitude, night)
    for star in range(3):
        signal = (
            385.0
            * night.throughput[star]
            * 10 ** (-0.4 * (magnitude[star] - 21.5))
            * instrument.transmission()
        )
        sky = night.continuum[star] * instrument.sky_continuum() + night.oh[star] * instrument.sky_lines()
        plain = np.sqrt(signal * flux[star] + 385.0 * 1.6 * sky + 500.0) / signal
        np.testing.assert_allclose(error[star], plain, rtol=1e-5)


def test_error_is_largest_in_oh_lines_and_telluric_bands(one_magnitude):
    typical = np.median(one_magnitude.error, axis=0)
    grid = one_magnitude.wave
    for centre in (8827.1, 8399.2, 7605.0):
        assert typical[np.abs(grid - centre) < 4].max() > 2 * np.median(typical)


def test_fainter_is_noisier():
    errors = [survey.generate(np.arange(2), seed=0, mag=mag).error for mag in (20.5, 21.5, 22.5)]
    assert (errors[0] < errors[1]).all()
    assert (errors[1] < errors[2]).all()


@pytest.mark.parametrize("rows", [np.array([-1]), np.array([0.5]), np.zeros((2, 2), int), np.array([], int)])
def test_rows_must_be_integers(rows):
    with pytest.raises(ConfigError, match="expected integers >= 0"):
        survey.generate(rows, seed=0)


@pytest.mark.parametrize("mag", [5.0, 40.0, (22.0, 21.0), float("nan")])
def test_magnitudes_must_make_sense(mag):
    with pytest.raises(ConfigError, match="expected a number or"):
        survey.generate([0], seed=0, mag=mag)


def write(folder, **changes):
    """The files, and of each whether it was made or kept."""
    settings = {"n_train": 9, "n_val": 3, "n_test": 2, "seed": 4, "mag": (21.0, 22.0), **changes}
    before = {path: path.stat().st_ino for path in folder.glob("*/dataset.h5")}
    paths = survey.write_survey(folder, **settings)
    kept = {split: before.get(path) == path.stat().st_ino for split, path in paths.items()}
    return paths, {split: "kept" if is_kept else "made" for split, is_kept in kept.items()}


def test_files_hold_the_rows_of_their_split(tmp_path):
    paths, told = write(tmp_path)
    assert told == {"train": "made", "val": "made", "test": "made"}
    assert [path.relative_to(tmp_path).as_posix() for path in paths.values()] == [
        "train/dataset.h5",
        "val/dataset.h5",
        "test/dataset.h5",
    ]
    for split, path in paths.items():
        with h5py.File(path) as file:
            flux, error = (file[f"dataset/arrays/{name}/value"][:] for name in ("flux", "error"))
            table = file["dataset/params/table"][:]
            assert file.attrs["blindspot_mock"] == str(survey.MOCK_VERSION)
        rows = np.arange(len(flux)) + survey.FIRST_ROW[split]
        spectra = survey.generate(rows, seed=4, mag=(21.0, 22.0))
        np.testing.assert_array_equal(flux, spectra.flux.astype(float))
        np.testing.assert_array_equal(error[:, 1:-1], spectra.error[:, 1:-1].astype(float))
        assert np.isnan(error[:, [0, -1]]).all()
        np.testing.assert_array_equal(table["values_block_0"][:, 0], spectra.labels["T_eff"])
        np.testing.assert_array_equal(table["values_block_1"][:, 0], rows)


def test_slabs_do_not_show_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "SLAB", 4)
    finished = []
    paths, _ = write(tmp_path / "small", progress=finished.append)
    assert finished == [4, 4, 1, 3, 2]
    monkeypatch.undo()
    others, _ = write(tmp_path / "large")
    for split in paths:
        assert paths[split].read_bytes() == others[split].read_bytes()


def test_fresh_files_are_kept_and_others_made_again(tmp_path):
    paths, _ = write(tmp_path)
    before = {split: path.stat().st_mtime_ns for split, path in paths.items()}
    finished = []
    _, told = write(tmp_path, progress=finished.append)
    assert told == {"train": "kept", "val": "kept", "test": "kept"}
    assert before == {split: path.stat().st_mtime_ns for split, path in paths.items()}
    assert finished == [9, 3, 2]
    _, told = write(tmp_path, n_val=4)
    assert told == {"train": "kept", "val": "made", "test": "kept"}
    for change in ({"seed": 5}, {"mag": 21.0}):
        _, told = write(tmp_path, n_val=4, **change)
        assert set(told.values()) == {"made"}


def test_an_older_version_is_replaced(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(survey, "MOCK_VERSION", 2)
    _, told = write(tmp_path)
    assert set(told.values()) == {"made"}


def test_other_peoples_files_are_left_alone(tmp_path):
    foreign = tmp_path / "val" / "dataset.h5"
    foreign.parent.mkdir()
    with h5py.File(foreign, "w") as file:
        file["flux"] = np.ones(3)
    content = foreign.read_bytes()
    with pytest.raises(InputError, match=r"not a mock survey.*left untouched"):
        write(tmp_path)
    foreign.write_bytes(b"notes")
    with pytest.raises(InputError, match="found no HDF5 file"):
        write(tmp_path)
    assert content != foreign.read_bytes() == b"notes"
    assert not (tmp_path / "train").exists()


def test_nothing_is_left_of_a_broken_run(tmp_path, monkeypatch):
    def fail(*_args, **_keywords):
        raise RuntimeError("power cut")

    monkeypatch.setattr(survey, "edges_as_pfsspec", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        write(tmp_path)
    assert list((tmp_path / "train").iterdir()) == []


@pytest.mark.parametrize("size", [0, 10**9 + 1])
def test_sizes_must_keep_the_splits_apart(tmp_path, size):
    with pytest.raises(ConfigError, match="n_val is"):
        write(tmp_path, n_val=size)


def test_splits_do_not_overlap():
    starts = sorted(survey.FIRST_ROW.values())
    assert min(np.diff(starts)) >= survey.LARGEST_SPLIT


def test_importing_builds_no_table():
    script = (
        "from extract.mock import survey, growth, grid, instrument, molecules;"
        "tables = (growth.growth_table, grid.wave, instrument.transmission, molecules.band_template);"
        "assert not any(table.cache_info().currsize for table in tables)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
