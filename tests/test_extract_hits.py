"""Which stores a request finds, which it makes anew, and which family they are of."""

import json
import os
import shutil

import numpy as np
import torch
from survey_fakes import CHECKPOINT, LAYER, N_PIXELS, POOLING, YAML, extract_one, provenance, request

from cache import Want, find
from cache.commits import commit_path
from cache.writer import StoreWriter
from extract import flow
from extract.checkpoint import load_encoder
from extract.pipeline import extract_features


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
