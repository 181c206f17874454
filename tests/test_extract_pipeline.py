"""Extraction end to end on tiny spectra: what is stored, that it does not depend on how, and what is refused."""

import dataclasses
import errno
import fcntl
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from hdf5_fixtures import write_flat_layout, write_table_layout
from survey_fakes import CHECKPOINT, LAYER, N_PIXELS, POOLING, YAML, request, stars

from cache import FeatureStore, Want, find
from cache.arrays import ArrayName
from cache.commits import commit_path
from cache.errors import (
    BlindspotError,
    Busy,
    CacheError,
    CheckpointError,
    ConfigError,
    Damaged,
    Incomplete,
    InputError,
    LeakError,
    NotExtracted,
    Stale,
    UnknownName,
)
from cache.header import chunk_path, last_run
from cache.removal import remove_folder
from cache.repair import repair
from cache.writer import StoreWriter
from extract import block_task, blocks, flow, pipeline, schedulers
from extract import prepare as prepare_module
from extract.checkpoint import load_encoder
from extract.error_input import channels
from extract.noise import standard_normal
from extract.pipeline import extract_features
from extract.plan import open_writer, row_table
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


def only(paths, split="test"):
    (path,) = paths[split]
    return FeatureStore.open(path)


def extract_one(data, folder, **changes):
    """The one store of a request for one split."""
    return only(extract_features(request(data, folder, **changes)))


@pytest.fixture(scope="module")
def spectra_file(survey):
    return survey / "test/dataset.h5"


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


# What is a hit, and of which family.


def provenance(data, folder, **changes):
    with prepare(request(data, folder, **changes)) as prepared:
        return prepared.plans["test"][0].provenance


def test_what_changes_key_and_family(spectra_file, tmp_path):
    from cache.provenance import family, store_key

    plain = provenance(spectra_file, tmp_path)
    mask = np.ones(N_PIXELS, dtype=bool)
    mask[::4] = False
    np.save(tmp_path / "mask.npy", mask)
    model = load_encoder(CHECKPOINT, YAML)
    with torch.no_grad():
        model.encoders[0].conv.weight[0, 0, 0] += 1e-3
    from extract.checkpoint import save_checkpoint

    save_checkpoint(model, tmp_path / "other.ckpt")
    for changes, same_family in (
        ({"seed": 1}, False),
        ({"noise": "none"}, False),
        ({"error_input": "zero"}, False),
        ({"mask": tmp_path / "mask.npy"}, False),
        ({"checkpoint": str(tmp_path / "other.ckpt"), "config_model": None}, False),
        ({"noise_level": 0.5}, True),
        ({"poolings": ("global_mean",)}, True),
    ):
        other = provenance(spectra_file, tmp_path, **changes)
        assert store_key(other) != store_key(plain), changes
        assert (family(other) == family(plain)) == same_family, changes


def test_how_it_is_computed_and_where_files_lie_is_not_in_the_key(spectra_file, tmp_path):
    first = extract_one(spectra_file, tmp_path)
    moved = tmp_path / "moved.h5"
    shutil.copyfile(spectra_file, moved)
    os.utime(moved, (1, 1))
    checkpoint = tmp_path / "renamed.ckpt"
    shutil.copyfile(CHECKPOINT, checkpoint)
    said = []
    again = extract_features(
        request(
            moved,
            tmp_path,
            checkpoint=str(checkpoint),
            micro_batch=3,
            slab_rows=2,
            block_rows=4,
            threads=2,
            scheduler="processes",
            jobs=2,
            digests=tmp_path / "other digests",
        ),
        say=said.append,
    )
    assert again["test"] == [first.path]
    assert said == [f"test: {first.path} is there and fresh"]


def test_aliases_of_a_layer_are_one_key(spectra_file, tmp_path):
    keys = {
        json.dumps(provenance(spectra_file, tmp_path, layers=(name,))["arrays"])
        for name in ("enc_last", "dec_input", "enc_4")
    }
    assert keys == {'[["enc_last/forward/seg_mean_K4", 32]]'}


def test_only_missing_arrays_are_computed_and_find_joins_them(spectra_file, tmp_path, monkeypatch):
    first = extract_one(spectra_file, tmp_path)
    wider = {"poolings": (POOLING, "global_mean"), "directions": ("forward", "backward")}
    computed = []
    original = flow.commit
    monkeypatch.setattr(
        flow,
        "commit",
        lambda task, block: (
            computed.extend(a.path for _, target in block.free for a in target.arrays)
            or original(task, block)
        ),
    )
    paths = extract_features(request(spectra_file, tmp_path, **wider))["test"]
    assert paths[0] == first.path
    assert sorted(computed) == [
        f"{LAYER}/backward/global_mean", f"{LAYER}/backward/{POOLING}", f"{LAYER}/forward/global_mean"
    ]  # fmt: skip
    arrays = ((LAYER, "concat", POOLING), (LAYER, "mean", "global_mean"))
    view = find(tmp_path / "features", "test", Want(arrays=arrays))
    assert len(view.stores) == 2
    both = view.features(LAYER, POOLING, "concat")
    np.testing.assert_array_equal(both[:, :32], first.features(LAYER, POOLING))
    whole = extract_one(spectra_file, tmp_path / "whole", **wider)
    np.testing.assert_array_equal(both, whole.features(LAYER, POOLING, "concat"))
    computed.clear()
    assert sorted(extract_features(request(spectra_file, tmp_path, **wider))["test"]) == sorted(paths)
    assert computed == []


def test_a_begun_store_with_arrays_nobody_asks_for_is_left_alone(spectra_file, tmp_path):
    wide = extract_one(spectra_file, tmp_path, poolings=(POOLING, "global_mean"), block_rows=8)
    commit_path(wide.path, 1).unlink()
    narrow = extract_one(spectra_file, tmp_path, block_rows=8)
    assert narrow.path != wide.path
    assert StoreWriter.open(wide.path).pending() == [1]


def test_a_store_of_another_format_does_not_stop_a_new_extraction(spectra_file, tmp_path):
    from store_fakes import edit_header

    first = extract_one(spectra_file, tmp_path)
    edit_header(first.path, sealed=True, schema=999)
    second = extract_one(spectra_file, tmp_path, poolings=("global_mean",))
    assert second.path != first.path


def test_free_blocks_are_computed_while_another_process_holds_one(spectra_file, tmp_path, monkeypatch):
    reference = extract_one(spectra_file, tmp_path / "alone", block_rows=5)
    path = extract_one(spectra_file, tmp_path, block_rows=5).path
    for block in range(4):
        commit_path(path, block).unlink()
    descriptor = os.open(path / ".commit/000000.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    waited, said = [], []

    def the_holder_dies(_seconds):
        waited.append(StoreWriter.open(path).pending())
        if len(waited) == 2:
            os.close(descriptor)

    monkeypatch.setattr(
        pipeline, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=the_holder_dies)
    )
    extract_features(request(spectra_file, tmp_path, block_rows=5), say=said.append)
    assert waited == [[0], [0]]
    assert ["another process is computing block 0" in line for line in said[-3:]] == [True, False, False]
    assert sum("another process" in line for line in said) == 1
    assert FeatureStore.open(path).digest() == reference.digest()
    assert not list(path.glob(".commit/*.lock"))


def test_three_writers_together_make_one_store(spectra_file, tmp_path, monkeypatch):
    reference = extract_one(spectra_file, tmp_path / "alone", block_rows=5)
    monkeypatch.setattr("extract.pipeline.WAIT_SECONDS", 0.01)
    with ThreadPoolExecutor(3) as pool:
        asked = request(spectra_file, tmp_path, block_rows=5)
        runs = [pool.submit(extract_features, asked) for _ in range(3)]
        paths = {run.result()["test"][0] for run in runs}
    assert len(paths) == 1
    assert FeatureStore.open(paths.pop()).digest() == reference.digest()
    assert [p.name for p in (tmp_path / "features/test").iterdir()] == [reference.path.name]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_parts_in_any_order_equal_one_run(spectra_file, tmp_path, order, monkeypatch):
    reference = extract_one(spectra_file, tmp_path / "alone", block_rows=5)

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    said = []
    for index in order:
        asked = request(spectra_file, tmp_path, block_rows=5, part=f"{index}/3")
        path = extract_features(asked, say=said.append)["test"][0]
    assert sum("of other parts are missing" in line for line in said) == 2
    assert FeatureStore.open(path).digest() == reference.digest()


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_parts_that_do_not_exist_are_refused(spectra_file, tmp_path, part):
    with pytest.raises(ConfigError, match="say i/n with 1 <= i <= n"):
        request(spectra_file, tmp_path, part=part)


def test_what_does_not_fit_on_the_disk_is_not_begun(spectra_file, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(ConfigError, match=r"the disk has 100 bytes left; make room"):
        extract_features(request(spectra_file, tmp_path))
    assert not (tmp_path / "features").exists()


def test_a_full_disk_keeps_what_is_committed(spectra_file, tmp_path, monkeypatch):
    reference = extract_one(spectra_file, tmp_path / "alone", block_rows=5)
    resource = pytest.importorskip("resource", reason="limits of file sizes are of Unix")
    original, limits = flow.commit, resource.getrlimit(resource.RLIMIT_FSIZE)

    def full_from_the_second_block_on(task, block):
        if block.rows[0] >= 10:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        return original(task, block)

    monkeypatch.setattr(flow, "commit", full_from_the_second_block_on)
    try:
        with pytest.raises(CacheError, match=r"block 2 could not be written .*run the same command"):
            extract_one(spectra_file, tmp_path, block_rows=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    path = tmp_path / "features/test" / reference.path.name
    assert StoreWriter.open(path).pending() == [2, 3]
    assert {p.name for p in path.glob("*/*/*/features/c/*")} == {"0", "1"}
    assert not [p for p in path.rglob("*") if p.name.endswith((".lock", ".partial")) or ".tmp" in p.name]
    monkeypatch.undo()
    assert extract_one(spectra_file, tmp_path, block_rows=5).digest() == reference.digest()


def interrupted_by(monkeypatch, what):
    """Let `what` happen once, when the second block is about to be committed."""
    original, happened = flow.commit, []

    def commit(task, block):
        if block.rows[0] and not happened:
            happened.append(what())
        return original(task, block)

    monkeypatch.setattr(flow, "commit", commit)


def test_a_running_extraction_keeps_its_store_from_removal_and_repair(spectra_file, tmp_path, monkeypatch):
    def others():
        (path,) = (tmp_path / "features/test").iterdir()
        for act in (remove_folder, repair):
            with pytest.raises(Busy, match="a running extraction works in it"):
                act(path)

    interrupted_by(monkeypatch, others)
    extract_one(spectra_file, tmp_path, block_rows=5).verify()


def test_a_store_begun_anew_with_other_blocks_gets_no_rows_of_ours(spectra_file, tmp_path, monkeypatch):
    """Somebody removed it by hand and began it again: rows 5 to 9 must not become its rows 4 to 7."""

    def begin_anew():
        (path,) = (tmp_path / "features/test").iterdir()
        shutil.rmtree(path)
        with prepare(request(spectra_file, tmp_path)) as prepared:
            rows = row_table(prepared.spectra["test"], prepared.fingerprints["test"])
            open_writer(tmp_path / "features", prepared.plans["test"][0], rows, 4)

    interrupted_by(monkeypatch, begin_anew)
    with pytest.raises(BlindspotError):
        extract_one(spectra_file, tmp_path, block_rows=5)
    (path,) = (tmp_path / "features/test").iterdir()
    assert 1 in StoreWriter.open(path).pending()
    monkeypatch.undo()
    finished = extract_one(spectra_file, tmp_path)
    whole = extract_one(spectra_file, tmp_path / "alone", block_rows=4)
    assert finished.digest() == whole.digest()


def test_two_extractions_computing_otherwise_do_not_mix(spectra_file, tmp_path, monkeypatch):
    def the_other():
        monkeypatch.undo()
        with pytest.raises(Stale, match=r"micro_batch.*--mixed"):
            extract_one(spectra_file, tmp_path, block_rows=5, micro_batch=2)

    interrupted_by(monkeypatch, the_other)
    extract_one(spectra_file, tmp_path, block_rows=5, micro_batch=4).verify()


def test_parts_computing_otherwise_do_not_mix(spectra_file, tmp_path):
    extract_features(request(spectra_file, tmp_path, block_rows=5, part="1/2", micro_batch=2))
    with pytest.raises(Stale, match=r"micro_batch.*--mixed"):
        extract_features(request(spectra_file, tmp_path, block_rows=5, part="2/2", micro_batch=4))
    said = []
    asked = request(spectra_file, tmp_path, block_rows=5, part="2/2", micro_batch=4, mixed=True)
    extract_features(asked, say=said.append)
    assert [line for line in said if line.startswith("mixed, as asked: ")]


def test_the_command_in_the_note_finishes_what_a_part_began(spectra_file, tmp_path):
    command = "python -m extract run --data x.h5 --part 1/2 --out y"
    asked = request(spectra_file, tmp_path, block_rows=5, part="1/2", command=command)
    path = extract_features(asked)["test"][0]
    with pytest.raises(
        Incomplete, match=r"finish with: python -m extract run --data x\.h5 --out \S*features$"
    ):
        FeatureStore.open(path)


def test_a_file_changed_behind_its_remembered_digest_is_read_anew_by_the_next_run(spectra_file, tmp_path):
    path = tmp_path / "x.h5"
    shutil.copyfile(spectra_file, path)
    extract_one(path, tmp_path)
    before = path.stat()
    with h5py.File(path, "r+") as file:
        file["dataset/arrays/flux/value"][3] *= 1.5
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    asked = request(path, tmp_path, poolings=("global_mean",))
    with pytest.raises(InputError, match="run the command again"):
        extract_features(asked)
    assert (
        only(extract_features(asked)).digest()
        == extract_one(path, tmp_path / "alone", poolings=("global_mean",)).digest()
    )


def test_a_copy_without_hidden_folders_is_filled_again(spectra_file, tmp_path):
    store = extract_one(spectra_file, tmp_path)
    for name in (".commit", ".runs"):
        shutil.rmtree(store.path / name)
    assert extract_one(spectra_file, tmp_path).digest() == store.digest()


def test_a_killed_worker_is_told_with_what_to_do(spectra_file, tmp_path, monkeypatch):
    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            raise BrokenProcessPool

    monkeypatch.setattr(schedulers, "ProcessPoolExecutor", lambda workers, _, **__: Broken(workers))
    with pytest.raises(CacheError, match=r"a worker process was killed.*--micro-batch"):
        extract_one(spectra_file, tmp_path, scheduler="processes", jobs=2, block_rows=5)


def test_a_file_replaced_while_it_is_open_is_not_remembered_as_the_new_one(
    spectra_file, tmp_path, monkeypatch
):
    """The content of the old file must never pass for that of the new one."""
    path, other = tmp_path / "x.h5", tmp_path / "other.h5"
    for copy in (path, other):
        shutil.copyfile(spectra_file, copy)
    with h5py.File(other, "r+") as file:
        file["dataset/arrays/flux/value"][3] *= 1.5
    real = prepare_module.open_spectra

    def open_then_replace(paths):
        opened = real(paths)
        if other.exists():
            other.replace(path)
        return opened

    monkeypatch.setattr(prepare_module, "open_spectra", open_then_replace)
    with pytest.raises(InputError, match="run the command again"):
        extract_one(path, tmp_path)
    store = extract_one(path, tmp_path)
    alone = extract_one(path, tmp_path / "alone")
    assert store.digest() == alone.digest()
    assert store.key != extract_one(spectra_file, tmp_path).key


def test_a_block_committed_meanwhile_is_not_computed_again(spectra_file, tmp_path):
    asked = request(spectra_file, tmp_path)
    store = only(extract_features(asked))
    with prepare(asked) as prepared:
        plan = prepared.plans["test"][0]
        task = block_task.BlockTask(
            config=asked,
            split="test",
            files=(spectra_file,),
            fingerprint=prepared.fingerprints["test"],
            fed=prepared.fed["test"],
            mask=None,
            model=prepared.model,
            weights="",
            device="cpu",
            targets=(block_task.Target(store.path, store.header, plan.draw, store.arrays),),
        )
        assert blocks.compute_block(task, 0) == block_task.BlockDone()


def test_going_on_with_other_settings_needs_mixed(spectra_file, tmp_path):
    store = extract_one(spectra_file, tmp_path, block_rows=8)
    commit_path(store.path, 1).unlink()
    changed = request(spectra_file, tmp_path, micro_batch=4)
    with pytest.raises(Stale, match=r"micro_batch.*--mixed"):
        extract_features(changed)
    mixed = only(extract_features(dataclasses.replace(changed, mixed=True)))
    assert mixed.path == store.path
    assert mixed.header.block_rows == 8


def test_weights_that_change_are_never_committed(spectra_file, tmp_path, monkeypatch):
    original = flow.commit

    def spoil(task, block):
        with torch.no_grad():
            task.model.encoders[0].conv.weight.add_(1)
        return original(task, block)

    monkeypatch.setattr(flow, "commit", spoil)
    with pytest.raises(CheckpointError, match="changed during the run; this is a bug, nothing was committed"):
        extract_features(request(spectra_file, tmp_path))
    store = StoreWriter.open(next((tmp_path / "features/test").iterdir()))
    assert store.pending() == [0]


# What is refused, and before anything is written.


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"layers": ("enc_9",)}, UnknownName, "unknown layer 'enc_9'; known: enc_0"),
        ({"poolings": ("seg_mean",)}, UnknownName, "unknown pooling 'seg_mean'"),
        ({"poolings": ("none",)}, ConfigError, "give no array; pooling 'none' is for input_flux"),
        ({"poolings": ("seg_mean_K33",)}, InputError, "33 segments asked of a feature map of 32 cells"),
        ({"checkpoint": "absent.ckpt"}, CheckpointError, r"absent\.ckpt: no such file; expected"),
        ({"config_model": None}, ConfigError, "nothing states what they hold.*--error-mode"),
        (
            {"config_model": None, "error_mode": "pixel", "layers": ("denoised",)},
            ConfigError,
            "denoised flux needs the ending .*--ending softplus",
        ),
        ({"config_model": None, "error_mode": "L4"}, InputError, "'L4' needs the mean error per pixel"),
        ({"config_model": None, "error_mode": "L2"}, InputError, "'L2' on 256 pixels"),
        ({"device": "cuda"}, ConfigError, "--device cuda: this machine has no usable CUDA device"),
    ],
)
def test_requests_that_cannot_be_met_write_nothing(
    spectra_file, tmp_path, monkeypatch, changes, error, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(error, match=message):
        extract_features(request(spectra_file, tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


def test_denoised_of_spectra_too_short_for_the_whole_network(tmp_path):
    path = write_table_layout(tmp_path / "short.h5", stars(2, 0, n_pixels=6))
    with pytest.raises(InputError, match="too short: 3 pools need at least 8"):
        extract_features(request(path, tmp_path, layers=("denoised",), poolings=("none",)))
    assert not (tmp_path / "features").exists()


def test_a_network_trained_under_a_mask_needs_it(spectra_file, tmp_path):
    yaml = tmp_path / "masked.yaml"
    yaml.write_text(YAML.read_text().replace("mask_ratio: 1", "mask_ratio: 0.85"))
    with pytest.raises(ConfigError, match=r"masked\.yaml: mask_ratio is 0\.85.*--mask FILE\.npy"):
        extract_features(request(spectra_file, tmp_path, config_model=yaml))
    mask = np.arange(N_PIXELS) % 7 != 0
    np.save(tmp_path / "mask.npy", mask)
    changes = {"layers": (LAYER, "input_flux"), "poolings": ("global_mean", "none")}
    masked = extract_one(spectra_file, tmp_path, config_model=yaml, mask=tmp_path / "mask.npy", **changes)
    assert masked.features("input_flux", "none").shape == (16, mask.sum())
    plain = extract_one(spectra_file, tmp_path, **changes)
    np.testing.assert_array_equal(  # the noise of a pixel does not depend on the mask
        masked.features("input_flux", "none"), plain.features("input_flux", "none")[:, mask]
    )
    wave = masked.coordinates(LAYER, "global_mean")
    assert wave["wave_lo"][0] == stars(1, 0).arrays["wave"][mask][0]


def test_splits_on_two_wavelength_grids_are_refused(survey, tmp_path):
    other = write_table_layout(tmp_path / "o.h5", stars(3, 8, n_pixels=260))
    data = {"train": (survey / "train/dataset.h5",), "test": (other,)}
    with pytest.raises(ConfigError, match=r"o\.h5: the wavelengths of test are not those of .*separate runs"):
        extract_features(request(data, tmp_path))


# Random encoders as controls.


def test_a_random_encoder_needs_train_and_is_reproducible(survey, spectra_file, tmp_path):
    asked = {"checkpoint": "random:3", "poolings": ("global_mean",)}
    with pytest.raises(ConfigError, match=r"random:3 is calibrated on train spectra.*random-\.\.\.\.ckpt"):
        extract_features(request(spectra_file, tmp_path, **asked))
    assert not (tmp_path / "features").exists()
    said = []
    paths = extract_features(request(survey, tmp_path, **asked), say=said.append)
    stores = {split: FeatureStore.open(path) for split, (path,) in paths.items()}
    assert {store.provenance["encoder"]["origin"] for store in stores.values()} == {"random:3"}
    assert len({store.family for store in stores.values()}) == 1
    assert stores["test"].about["encoder"] == "random:3"
    (saved,) = (tmp_path / "encoders").iterdir()
    assert said[0] == f"random encoder {saved}"
    again = extract_features(request(survey, tmp_path / "again", **asked))
    assert [path.name for path in again["test"]] == [path.name for path in paths["test"]]
    assert (tmp_path / "again/encoders" / saved.name).read_bytes() == saved.read_bytes()
    by_path = extract_features(
        request(spectra_file, tmp_path, checkpoint=str(saved), config_model=None, poolings=("global_mean",))
    )
    assert by_path["test"] == paths["test"]
    other = provenance(survey, tmp_path, **{**asked, "checkpoint": "random:4"})
    assert other["encoder"]["weights"] != stores["test"].provenance["encoder"]["weights"]
    features = stores["train"].features(LAYER, "global_mean")
    assert np.isfinite(features).all()
    assert features.std(axis=0).max() > 1e-3


def test_what_is_damaged_is_refused_by_name_after_extraction(spectra_file, tmp_path):
    store = extract_one(spectra_file, tmp_path, block_rows=5)
    arrays = ((LAYER, "forward", POOLING),)
    name = ArrayName(*arrays[0])
    chunk = chunk_path(store.path, name, 1)
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\x00")
    with pytest.raises(Damaged, match="c/1/0"):
        find(tmp_path / "features", "test", Want(arrays=arrays))
    with pytest.raises(NotExtracted, match="python -m extract run"):
        find(tmp_path / "features", "val", Want(arrays=arrays))


def test_a_finished_store_that_is_damaged_is_no_hit(survey, tmp_path):
    """Asking again for what is there finds the damage, and says how to mend it."""
    asked = request(survey / "test" / "dataset.h5", tmp_path)
    (path,) = extract_features(asked)["test"]
    chunk = next(path.rglob("features/c/0/0"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(Damaged, match="python -m cache repair"):
        extract_features(asked)
    assert repair(path).blocks == (0,)
    assert extract_features(asked)["test"] == [path]
    FeatureStore.open(path).verify()
