"""Random encoders: calibrated once, the same for all who ask, and nobody else's."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from survey_fakes import N_PIXELS, request

from cache.errors import CheckpointError, ConfigError
from extract import random_encoder as module
from extract.batches import make_batch, read_batches
from extract.checkpoint import load_encoder, save_checkpoint, weights_digest
from extract.chosen_encoder import load_named
from extract.fed_error import TRUE_ERROR
from extract.fingerprint import fingerprint
from extract.pipeline import extract_features
from extract.random_encoder import random_encoder
from extract.spectra import open_spectra
from extract.weights_file import OURS, read_weights


@pytest.fixture(scope="module")
def train(survey):
    with open_spectra(survey / "train/dataset.h5") as spectra:
        yield spectra, fingerprint(spectra, remember=None)


def make_random(train, folder, *, seed=0, mask=None, profile=None, **changes):
    asked = request("x.h5", folder, checkpoint=f"random:{seed}", **changes)
    template = load_named(asked)
    template.error_profile = profile
    return random_encoder(template, asked, train=train[0], fingerprint=train[1], mask=mask)


def test_a_random_encoder_is_calibrated_on_train(train, tmp_path):
    model, path = make_random(train, tmp_path)
    again = load_encoder(path)
    assert weights_digest(again) == weights_digest(model)
    assert (again.origin, again.assumed) == ("random:0", ())
    asked = request("x.h5", tmp_path, micro_batch=40)
    (group,) = read_batches(*train[:1], train[1].kept, train[1], asked, TRUE_ERROR)
    batch = make_batch(
        group,
        split="train",
        draw=0,
        mask=None,
        error_mode="pixel",
        profile=None,
        config=asked,
        fed=TRUE_ERROR,
    )
    with torch.no_grad():
        both = torch.cat([batch.x, batch.x.flip(-1)])
        mean = model.encoders[0].conv(torch.nn.functional.pad(both, (4, 0))).mean(dim=(0, 2))
    torch.testing.assert_close(model.encoders[0].bn.running_mean, mean, atol=1e-5, rtol=1e-5)
    assert not model.encoders[0].bn.training


def test_a_random_encoder_depends_on_seed_profile_and_mask_and_not_on_the_run(train, tmp_path):
    first, path = make_random(train, tmp_path)
    torch.manual_seed(12345)  # the seed of the request is the only one that counts
    same = [
        make_random(train, tmp_path / "a", micro_batch=3, slab_rows=5),
        make_random(train, tmp_path / "b", noise="none", seed=0),
        make_random(train, tmp_path / "c", noise_level=3.0, error_input="zero"),
    ]
    for model, other in same:
        assert other.name == path.name
        assert weights_digest(model) == weights_digest(first)
    mask = np.arange(N_PIXELS) % 2 == 0
    others = [
        make_random(train, tmp_path, seed=1),
        make_random(train, tmp_path, mask=mask),
        make_random(train, tmp_path, profile=np.ones(N_PIXELS)),
    ]
    assert len({path, *(other for _, other in others)}) == 4
    assert weights_digest(others[1][0]) != weights_digest(first)


def test_a_saved_random_encoder_is_found_again(train, tmp_path):
    model, path = make_random(train, tmp_path)
    before = path.stat().st_mtime_ns
    again, same = make_random(train, tmp_path)
    assert (same, path.stat().st_mtime_ns) == (path, before)
    assert weights_digest(again) == weights_digest(model)


def test_rows_that_were_dropped_make_another_encoder(train, tmp_path):
    """Only where they are among those that calibrate; names of old files stay."""
    _, path = make_random(train, tmp_path)
    assert "rows" not in module._identity(load_encoder(path), 0, *train, None)
    spectra, known = train
    without = [np.delete(known.kept, gone) for gone in ([3], [5], [3, 5])]
    found = [make_random((spectra, replace(known, kept=kept)), tmp_path) for kept in without]
    assert len({path, *(other for _, other in found)}) == 4
    assert len({weights_digest(model) for model, _ in found}) == 3


def test_rows_dropped_after_those_that_calibrate_change_nothing(train, tmp_path, monkeypatch):
    assert module.CALIBRATION_ROWS == 1024
    monkeypatch.setattr(module, "CALIBRATION_ROWS", 8)
    _, path = make_random(train, tmp_path)
    late = replace(train[1], kept=np.delete(train[1].kept, [8, 20]))
    assert make_random((train[0], late), tmp_path)[1] == path


def test_a_file_of_another_random_encoder_is_refused(train, tmp_path):
    """Whatever it differs in: it stands under a name that is not its own."""
    _, path = make_random(train, tmp_path)
    mask = np.arange(N_PIXELS) % 2 == 0
    for k, other in enumerate(({"seed": 1}, {"mask": mask}, {"profile": np.ones(N_PIXELS)})):
        _, found = make_random(train, tmp_path / f"{k}", **other)
        path.write_bytes(found.read_bytes())
        with pytest.raises(
            CheckpointError, match=r"expected random:0 .*it was renamed or replaced: take it away"
        ):
            make_random(train, tmp_path)


def test_a_file_that_says_nothing_of_its_identity_is_told_by_seed_and_architecture(train, tmp_path):
    model, path = make_random(train, tmp_path)
    save_checkpoint(model, path)
    assert weights_digest(make_random(train, tmp_path)[0]) == weights_digest(model)
    model.origin = "random:1"
    save_checkpoint(model, path)
    with pytest.raises(CheckpointError, match="random:1 of another"):
        make_random(train, tmp_path)


def test_other_weights_than_were_calibrated_are_refused(train, tmp_path):
    """By whatever name the file is asked for, also when its archive is whole."""
    model, path = make_random(train, tmp_path)
    ours = dict(read_weights(path).ours)
    model.requires_grad_(requires_grad=False)
    model.encoders[0].bn.running_mean += 1e-3
    save_checkpoint(model, path, extra={OURS: ours})
    with pytest.raises(
        CheckpointError, match=r"it says that it was written with [0-9a-f]{16}; it was altered"
    ):
        load_encoder(path)


def test_the_first_of_several_processors_decides(train, tmp_path, monkeypatch):
    """Each calibrates to other bits, at the same time; all go on with one of them."""
    together, number = threading.Barrier(3), iter(range(3))
    real = module._calibrate

    def otherwise(model, *args, **kwargs):
        real(model, *args, **kwargs)
        with torch.no_grad():
            model.encoders[0].bn.running_mean += 1e-3 * next(number)
        together.wait()

    monkeypatch.setattr(module, "_calibrate", otherwise)
    found = []

    def ask():
        found.append(make_random(train, tmp_path))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (path,) = {path for _, path in found}
    assert {weights_digest(model) for model, _ in found} == {weights_digest(load_encoder(path))}


def test_parts_do_not_calibrate_each_for_itself(survey, tmp_path):
    asked = {"checkpoint": "random:3", "poolings": ("global_mean",)}
    command = "python -m extract run --data d --part 2/3 --checkpoint random:3"
    part = request(survey, tmp_path, part="2/3", command=command, **asked)
    with pytest.raises(
        ConfigError,
        match=r"is not there.*before the parts: python -m extract run --data d --checkpoint random:3 --dry-run",
    ):
        extract_features(part)
    assert not (tmp_path / "features").exists()
    extract_features(request(survey, tmp_path / "alone", part="1/1", **asked))
    (tmp_path / "alone/encoders").rename(tmp_path / "encoders")
    extract_features(part)
