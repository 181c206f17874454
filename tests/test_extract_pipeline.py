"""Extraction end to end on tiny spectra: what is stored, that it does not depend on how, and what is refused."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from hdf5_fixtures import write_flat_layout, write_table_layout
from survey_fakes import (
    CHECKPOINT,
    LAYER,
    N_PIXELS,
    POOLING,
    YAML,
    extract_one,
    only,
    request,
    stars,
)

from cache import FeatureStore, Want, find
from cache.arrays import ArrayName
from cache.commits import commit_path
from cache.errors import (
    ConfigError,
    InputError,
    LeakError,
)
from cache.header import chunk_path, last_run
from cache.writer import StoreWriter
from extract import flow, pipeline
from extract.checkpoint import load_encoder
from extract.error_input import channels
from extract.noise import standard_normal
from extract.pipeline import extract_features
from extract.pooling import pool
from extract.prepare import prepare

EVERYTHING = {
    "layers": (LAYER, "pool_1", "input_flux"),
    "poolings": (POOLING,),
    "directions": ("forward", "backward"),
    "draws": 2,
}


def chunk_bytes(folder):
    """Every feature chunk of every store by name: what must be the same bit for bit."""
    return {
        path.relative_to(folder / "features").as_posix(): path.read_bytes()
        for path in sorted((folder / "features").rglob("features/c/*/*"))
    }


@pytest.fixture(scope="module")
def reference(spectra_file, tmp_path_factory):
    """One run in one go: 16 rows in 4 blocks of 5 rows, micro-batches of 4."""
    folder = tmp_path_factory.mktemp("reference")
    extract_features(request(spectra_file, folder, block_rows=5, micro_batch=4, **EVERYTHING))
    return folder


# The same bits, however the work is cut.


@pytest.mark.parametrize("slab_rows", [1, 7, 64])
def test_slabs_of_reading_change_no_bit(reference, spectra_file, tmp_path, slab_rows):
    changes = {**EVERYTHING, "block_rows": 5, "micro_batch": 4, "slab_rows": slab_rows}
    extract_features(request(spectra_file, tmp_path, **changes))
    assert chunk_bytes(tmp_path) == chunk_bytes(reference)
    assert len(chunk_bytes(tmp_path)) == 2 * 4 * (2 * 2 + 1)  # draws, blocks, arrays


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_going_on_after_an_interruption_changes_no_bit(
    reference, spectra_file, tmp_path, monkeypatch, stop_after
):
    asked = request(spectra_file, tmp_path, block_rows=5, micro_batch=4, **EVERYTHING)
    original, done = flow.commit, []

    def interrupted(task, block):
        if len(done) == stop_after:
            raise KeyboardInterrupt
        done.append(block.number)
        return original(task, block)

    monkeypatch.setattr(flow, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract_features(asked)
    monkeypatch.undo()
    store = next((tmp_path / "features/test").iterdir())
    assert last_run(store)["command"] == asked.command  # an unfinished store names what finishes it
    said = []
    extract_features(asked, say=said.append)
    assert chunk_bytes(tmp_path) == chunk_bytes(reference)
    assert not any("fresh" in line for line in said)


@pytest.mark.parametrize("lost", [(0,), (3,), (1, 2)])
def test_lost_commit_records_are_made_again_with_the_same_bits(reference, spectra_file, tmp_path, lost):
    shutil.copytree(reference, tmp_path, dirs_exist_ok=True)
    for store in (tmp_path / "features/test").iterdir():
        for block in lost:
            commit_path(store, block).unlink()
            chunk_path(store, ArrayName(LAYER, "forward", POOLING), block).unlink()
    extract_features(request(spectra_file, tmp_path, block_rows=5, micro_batch=4, **EVERYTHING))
    assert chunk_bytes(tmp_path) == chunk_bytes(reference)


def test_two_processes_change_no_bit(reference, spectra_file, tmp_path):
    changes = {**EVERYTHING, "block_rows": 5, "micro_batch": 4, "scheduler": "processes", "jobs": 2}
    paths = extract_features(request(spectra_file, tmp_path, **changes))
    assert chunk_bytes(tmp_path) == chunk_bytes(reference)
    digests = [FeatureStore.open(path).digest() for path in paths["test"]]
    twins = [FeatureStore.open(reference / "features/test" / path.name).digest() for path in paths["test"]]
    assert digests == twins


def test_a_file_that_changes_meanwhile_stops_every_worker(spectra_file, tmp_path):
    moved, other = tmp_path / "moved.h5", tmp_path / "other.h5"
    for path in (moved, other):
        shutil.copyfile(spectra_file, path)
    with h5py.File(other, "r+") as file:
        file["dataset/arrays/flux/value"][9, 7] = 1.5
    asked = request(moved, tmp_path, scheduler="processes", jobs=2, block_rows=5)
    with prepare(asked) as prepared:
        other.replace(moved)
        with pytest.raises(InputError, match=r"row 9 .*the file changed meanwhile"):
            pipeline._run_split(prepared, "test", lambda _: None, {})
    store = StoreWriter.open(next((tmp_path / "features/test").iterdir()))
    assert 1 in store.pending()  # rows 5 to 9


def test_micro_batch_and_block_rows_agree_to_rounding(reference, spectra_file, tmp_path):
    store = extract_one(spectra_file, tmp_path, micro_batch=16, block_rows=16)
    twin = find(reference / "features", "test", Want(arrays=((LAYER, "forward", POOLING),)))
    np.testing.assert_allclose(
        store.features(LAYER, POOLING), twin.features(LAYER, POOLING), atol=1e-5, rtol=0
    )


def test_features_equal_a_plain_loop_over_spectra(reference, spectra_file):
    model = load_encoder(CHECKPOINT, YAML)
    with h5py.File(spectra_file) as file:
        flux, error = (file[f"dataset/arrays/{name}/value"][()] for name in ("flux", "error"))
    for row, draw in ((0, 0), (11, 1)):
        sigma = error[row].copy()
        sigma[0], sigma[-1] = sigma[1], sigma[-2]
        sigma = sigma.astype(np.float32)
        rows = np.array([row])
        z = standard_normal(seed=0, split="test", rows=rows, draw=draw, n_pixels=N_PIXELS)[0]
        noisy = np.maximum(flux[row], 0).astype(np.float32) + z * sigma
        x = channels("pixel", noisy[None], sigma[None])
        for direction in ("forward", "backward"):
            for layer in (LAYER, "pool_1"):
                with torch.no_grad():
                    activation = model.encode(x, (layer,), direction)[layer]
                for pooling in EVERYTHING["poolings"]:
                    want = Want(arrays=((layer, direction, pooling),), draw=draw)
                    view = find(reference / "features", "test", want)
                    np.testing.assert_allclose(
                        view.features(layer, pooling, direction)[row],
                        pool(activation, pooling)[0].numpy(),
                        atol=1e-5,
                        rtol=0,
                    )
        view = find(
            reference / "features", "test", Want(arrays=(("input_flux", "forward", POOLING),), draw=draw)
        )
        np.testing.assert_allclose(
            view.features("input_flux", POOLING)[row], noisy.reshape(4, -1).mean(axis=1), atol=1e-6
        )


# What a store says of its rows.


def test_rows_stars_ids_and_labels_are_those_of_the_file(reference, spectra_file):
    store = FeatureStore.open(next((reference / "features/test").iterdir()))
    made = stars(16, 2)
    assert store.rows.tolist() == list(range(16))
    assert store.ids == [str(k) for k in range(16)]
    assert len(set(store.stars.tolist())) == 16
    assert store.label_names == ("T_eff", "log_g", "mag", "snr")
    np.testing.assert_array_equal(store.labels("log_g"), made.labels["log_g"])
    assert np.isnan(store.labels("snr")).all()
    assert store.provenance["data_kind"] == "real"
    assert store.about["encoder"] == "small"
    assert store.about["files"] == [str(spectra_file)]


def test_a_file_without_labels_extracts(tmp_path):
    content = stars(5, 9)
    content.labels.clear()
    store = extract_one(write_flat_layout(tmp_path / "plain.h5", content), tmp_path)
    assert store.label_names == ()
    assert store.ids == ["0", "1", "2", "3", "4"]
    assert store.features(LAYER, POOLING).shape == (5, 32)


def test_files_in_a_list_are_one_row_axis(survey, tmp_path):
    files = (survey / "val/dataset.h5", survey / "test/dataset.h5")
    joined = only(extract_features(request({"test": files}, tmp_path, noise="none")))
    index = tmp_path / "shard_index.txt"
    index.write_text("".join(f"{file}\n" for file in files))
    assert extract_features(request({"test": (index,)}, tmp_path, noise="none"))["test"] == [joined.path]
    assert joined.rows.tolist() == list(range(28))
    one = extract_one(files[1], tmp_path / "one", noise="none")
    np.testing.assert_allclose(
        joined.features(LAYER, POOLING)[12:], one.features(LAYER, POOLING), atol=1e-5, rtol=0
    )


def test_mock_files_are_marked(tmp_path):
    path = write_table_layout(tmp_path / "m.h5", stars(3, 1), attributes={"blindspot_mock": "1"})
    assert extract_one(path, tmp_path).provenance["data_kind"] == "mock"


@pytest.mark.parametrize(("attributes", "n_notes"), [({"blindspot_mock": "1"}, 0), ({}, 1)])
def test_the_shipped_encoder_on_other_data_is_told(tmp_path, attributes, n_notes):
    path = write_table_layout(tmp_path / "m.h5", stars(3, 1), attributes=attributes)
    said: list[str] = []
    asked = request(
        {"test": (path,)}, tmp_path, checkpoint="shipped", config_model=None, poolings=("global_mean",)
    )
    with prepare(asked, say=said.append):
        pass
    assert len([line for line in said if "was trained on mock spectra alone" in line]) == n_notes


# Bad rows, leaks.


def faulty(path, *, first_id=0):
    content = stars(8, 5, first_id=first_id)
    content.arrays["flux"][2] = 0
    content.arrays["flux"][5, 30] = np.nan
    content.arrays["error"][5, 40] = -1
    return write_table_layout(path, content), content


def test_bad_rows_are_refused_before_anything_is_written(tmp_path):
    path, _ = faulty(tmp_path / "bad.h5")
    with pytest.raises(InputError, match=r"2 of 8 spectra cannot be used(?s:.*)--on-bad-rows drop"):
        extract_features(request(path, tmp_path))
    assert not (tmp_path / "features").exists()


def test_dropped_rows_are_recorded(tmp_path):
    path, content = faulty(tmp_path / "bad.h5")
    store = extract_one(path, tmp_path, on_bad_rows="drop", block_rows=4)
    assert store.rows.tolist() == [0, 1, 3, 4, 6, 7]
    assert store.provenance["rows"]["n"] == 6
    assert store.provenance["rows"]["selection"] != "all"
    assert store.about["bad_rows"] == {
        "flux_not_finite": [5], "error_not_positive": [5], "all_zero": [2]
    }  # fmt: skip
    np.testing.assert_array_equal(store.labels("log_g"), content.labels["log_g"][store.rows])
    fine = stars(8, 5)
    whole = extract_one(write_table_layout(tmp_path / "fine.h5", fine), tmp_path / "fine")
    np.testing.assert_allclose(  # noise belongs to the row, not to its place among those kept
        store.features(LAYER, POOLING), whole.features(LAYER, POOLING)[store.rows], atol=1e-5, rtol=0
    )


def test_splits_that_both_number_from_0_are_accepted(survey, tmp_path):
    paths = extract_features(request(survey, tmp_path, poolings=("global_mean",)))
    stores = {split: FeatureStore.open(path) for split, (path,) in paths.items()}
    assert [store.rows[0] for store in stores.values()] == [0, 0, 0]
    assert [store.ids[0] for store in stores.values()] == ["0", "0", "0"]
    assert len({store.family for store in stores.values()}) == 1
    assert len({store.key for store in stores.values()}) == 3


def test_the_same_star_under_another_id_is_refused(tmp_path):
    one, other = stars(6, 1), stars(4, 2, first_id=500)
    other.arrays["flux"][3] = one.arrays["flux"][4]
    data = {
        "train": (write_table_layout(tmp_path / "train.h5", one),),
        "test": (write_table_layout(tmp_path / "test.h5", other),),
    }
    message = r"1 stars stand in both train and test .*\(row in train, row in test\): \[\(4, 3\)\]"
    with pytest.raises(LeakError, match=message):
        extract_features(request(data, tmp_path))
    assert not (tmp_path / "features").exists()


# Noise.


@pytest.fixture(scope="module")
def with_noise(tmp_path_factory):
    content = stars(4, 3)
    content.arrays["flux"][1, 100:120] = -0.25
    content.arrays["noisy"] = content.arrays["flux"] + 0.5
    return write_table_layout(tmp_path_factory.mktemp("noisy") / "n.h5", content), content


PIXELS = {"layers": ("input_flux", "input_error", "clean_flux"), "poolings": ("none",)}


def test_stored_noise_and_none(with_noise, tmp_path):
    path, content = with_noise
    stored = extract_one(path, tmp_path, noise="stored", **PIXELS)
    np.testing.assert_array_equal(
        stored.features("input_flux", "none"), content.arrays["noisy"].astype(np.float32)
    )
    none = extract_one(path, tmp_path, noise="none", **PIXELS)
    clipped = np.maximum(content.arrays["flux"], 0).astype(np.float32)
    for store in (stored, none):
        np.testing.assert_array_equal(store.features("clean_flux", "none"), clipped)
        assert store.provenance["noise"]["draw"] is None
    np.testing.assert_array_equal(none.features("input_flux", "none"), clipped)
    assert stored.family != none.family
    assert (
        find(tmp_path / "features", "test", Want(arrays=PIXEL_ARRAYS, family=none.family[:9])).split == "test"
    )


PIXEL_ARRAYS = tuple((layer, "forward", "none") for layer in PIXELS["layers"])


def test_a_stored_draw_whose_edges_are_unknown_is_used(tmp_path):
    """noisy = flux + N error is NaN where the error is: at the first and the last pixel."""
    content = stars(20, 0)
    arrays = content.arrays
    arrays["noisy"] = arrays["flux"] + arrays["error"]
    assert np.isnan(arrays["noisy"][:, [0, -1]]).all()
    path = write_flat_layout(tmp_path / "edges.h5", content)
    stored = extract_one(path, tmp_path, noise="stored", **PIXELS).features("input_flux", "none")
    expected = arrays["noisy"].astype(np.float32)
    expected[:, [0, -1]] = expected[:, [1, -2]]
    np.testing.assert_array_equal(stored, expected)
    assert np.isfinite(
        extract_one(path, tmp_path, noise="draw", **PIXELS).features("input_flux", "none")
    ).all()


def test_stored_noise_must_be_in_the_file(spectra_file, tmp_path):
    with pytest.raises(ConfigError, match="--noise stored, but the test file holds no noisy"):
        extract_features(request(spectra_file, tmp_path, noise="stored"))
    assert not (tmp_path / "features").exists()


def test_pseudo_layers_are_the_numbers_made_by_hand(with_noise, tmp_path):
    path, content = with_noise
    store = extract_one(path, tmp_path, noise_level=0.5, error_input="zero", **PIXELS)
    error = content.arrays["error"].copy()
    error[:, 0], error[:, -1] = error[:, 1], error[:, -2]
    error = error.astype(np.float32) * np.float32(0.5)
    clean = np.maximum(content.arrays["flux"], 0).astype(np.float32)
    z = standard_normal(seed=0, split="test", rows=np.arange(4), draw=0, n_pixels=N_PIXELS)
    np.testing.assert_array_equal(store.features("input_error", "none"), error)
    np.testing.assert_array_equal(store.features("clean_flux", "none"), clean)
    np.testing.assert_array_equal(store.features("input_flux", "none"), clean + z * error)
    coordinates = store.coordinates("input_flux", "none")
    np.testing.assert_array_equal(coordinates["wave_lo"], content.arrays["wave"])
    np.testing.assert_array_equal(coordinates["wave_hi"], content.arrays["wave"])
    assert (coordinates["statistic"] == 2).all()


def test_denoised_is_the_posterior_mean(with_noise, tmp_path):
    path, _ = with_noise
    names = ("denoised", "input_flux", "input_error")
    store = extract_one(path, tmp_path, layers=names, poolings=("none",))
    denoised, noisy, error = (store.features(name, "none").astype(np.float64) for name in names)
    model = load_encoder(CHECKPOINT, YAML)
    x = channels("pixel", noisy.astype(np.float32), error.astype(np.float32))
    with torch.no_grad():
        mu, sigma = model(x).double().numpy().transpose(1, 0, 2)
    expected = (sigma**2 * noisy + error**2 * mu) / (sigma**2 + error**2)
    np.testing.assert_allclose(denoised, expected, atol=1e-5)


def test_draws_are_stores_of_one_family(spectra_file, tmp_path):
    paths = extract_features(request(spectra_file, tmp_path, draws=3))["test"]
    stores = [FeatureStore.open(path) for path in paths]
    assert [store.provenance["noise"]["draw"] for store in stores] == [0, 1, 2]
    assert len({store.family for store in stores}) == 1
    values = [store.features(LAYER, POOLING) for store in stores]
    assert np.abs(values[0] - values[1]).max() > 1e-3
    alone = extract_one(spectra_file, tmp_path / "alone")
    np.testing.assert_array_equal(alone.features(LAYER, POOLING), values[0])
    said = []
    assert extract_features(request(spectra_file, tmp_path, draws=2), say=said.append)["test"] == paths[:2]
    assert said == [f"test: {path} is there and fresh" for path in paths[:2]]
