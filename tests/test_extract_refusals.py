"""Requests that cannot be met, random encoders as controls, and stores that are damaged."""

import numpy as np
import pytest
import torch
from hdf5_fixtures import write_table_layout
from survey_fakes import LAYER, N_PIXELS, POOLING, YAML, extract_one, provenance, request, stars

from cache import FeatureStore, Want, find
from cache.arrays import ArrayName
from cache.errors import (
    CheckpointError,
    ConfigError,
    Damaged,
    InputError,
    NotExtracted,
    UnknownName,
)
from cache.header import chunk_path
from cache.repair import repair
from extract.pipeline import extract_features


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
