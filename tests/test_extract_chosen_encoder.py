import numpy as np
import pytest
from survey_fakes import CHECKPOINT, N_PIXELS, request

from cache.errors import CheckpointError, ConfigError
from extract.chosen_encoder import (
    check_train_there,
    is_random,
    load_named,
    load_profile,
    mask_ratio,
)


def test_a_checkpoint_with_its_yaml_states_everything(tmp_path):
    model = load_named(request("x.h5", tmp_path))
    assert model.assumed == ()
    assert model.origin == "checkpoint"
    assert model.config.error_mode == "pixel"
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_what_nobody_states_is_assumed_or_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"takes 1 error channel.*--config-model, or say --error-mode"):
        load_named(request("x.h5", tmp_path, config_model=None))
    said = {"config_model": None, "error_mode": "pixel"}
    assert load_named(request("x.h5", tmp_path, **said)).assumed != ()
    denoised = {**said, "layers": ("denoised",)}
    with pytest.raises(ConfigError, match="denoised flux needs the ending"):
        load_named(request("x.h5", tmp_path, **denoised))
    assert load_named(request("x.h5", tmp_path, ending="softplus", **denoised)).config.ending == "softplus"
    with pytest.raises(CheckpointError, match="error_mode"):
        load_named(request("x.h5", tmp_path, error_mode="L0"))


def test_mask_ratio_of_the_yaml(tmp_path):
    path = tmp_path / "m.yaml"
    for text, ratio in (
        ("mask: {mask_ratio: 0.85}", 0.85),
        ("mask: {}", 1),
        ("mask: null", 1),
        ("", 1),
        ("[]", 1),
    ):
        path.write_text(text)
        assert mask_ratio(request("x.h5", tmp_path, config_model=path)) == ratio
    assert mask_ratio(request("x.h5", tmp_path, config_model=None)) == 1
    for bad in ("0", "1.5", "half", "null"):
        path.write_text(f"mask: {{mask_ratio: {bad}}}")
        with pytest.raises(ConfigError, match=r"m\.yaml: mask_ratio is .*above 0, up to 1"):
            mask_ratio(request("x.h5", tmp_path, config_model=path))


def test_profiles(tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, np.ones(N_PIXELS, dtype=np.float32))
    assert load_profile(path).dtype == np.float64
    model = load_named(request("x.h5", tmp_path, config_model=None, error_mode="L4", profile=path))
    assert model.error_profile.shape == (N_PIXELS,)
    for content in (np.ones((2, 2)), np.array([1, np.nan])):
        np.save(path, content)
        with pytest.raises(ConfigError, match=r"p\.npy: expected finite numbers, one per pixel"):
            load_profile(path)
    path.write_bytes(b"nothing")
    for bad in (path, tmp_path / "absent.npy"):
        with pytest.raises(ConfigError, match=r"--profile .*expected a \.npy file"):
            load_profile(bad)


@pytest.mark.parametrize("name", ["random:", "random:x", "random:-1", "random:1.5", "random:00", "random:07"])
def test_random_seeds_are_whole_numbers(tmp_path, name):
    assert is_random(name)
    with pytest.raises(ConfigError, match="expected random:SEED with a whole number"):
        load_named(request("x.h5", tmp_path, checkpoint=name))
    assert not is_random("run/random.ckpt")


def test_without_train_it_is_refused(tmp_path):
    asked = request("x.h5", tmp_path, checkpoint="random:0")
    with pytest.raises(ConfigError, match="calibrated on train spectra, and this run has no train split"):
        check_train_there(asked)


@pytest.mark.parametrize(
    ("checkpoint", "told"),
    [
        (
            "shiped",
            "shiped: no such file; expected .* shipped, shipped:reference, random:SEED .*mean 'shipped'",
        ),
        ("shipped:ref", "did you mean 'shipped:reference'"),
        ("Random:7", "did you mean 'random:7'"),
        ("random:x", "expected random:SEED with a whole number"),
        ("{folder}/smal.ckpt", "smal.ckpt: no such file; expected .*did you mean 'small.ckpt'"),
        ("{folder}", "is a folder; expected a checkpoint file"),
        ("{folder}/zzz", r"random:0\)$"),
    ],
)
def test_a_checkpoint_that_is_no_file_and_no_known_name(checkpoint, told, tmp_path):
    asked = request("x.h5", tmp_path, checkpoint=checkpoint.format(folder=CHECKPOINT.parent))
    with pytest.raises((CheckpointError, ConfigError), match=told):
        load_named(asked)


@pytest.mark.parametrize("flag", [{"dilation": 2}, {"error_mode": "L0"}, {"ending": "linear"}])
def test_flags_that_contradict_the_yaml_of_a_random_encoder_are_refused(tmp_path, flag):
    asked = request("x.h5", tmp_path, checkpoint="random:0", **flag)
    with pytest.raises(ConfigError, match="drop the flag"):
        load_named(asked)
