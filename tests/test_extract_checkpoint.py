"""Loading what is sound, naming what is not, and never running what a file holds."""

import fractions
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from encoder_fakes import DATA, GOLDEN, NO_GOLDEN, random_model, small_config

from cache.errors import CheckpointError, ConfigError, UnknownName
from extract.checkpoint import load_encoder, save_checkpoint, unused_note, weights_digest
from extract.model_yaml import config_from_yaml, read_yaml

SMALL, MU_LN = DATA / "small.ckpt", DATA / "mu_ln.ckpt"


def section(name="small"):
    return yaml.safe_load((DATA / f"{name}.yaml").read_text())["model"]


@pytest.fixture
def written(tmp_path):
    """Save any object with torch, return the path."""

    def write(content, name="x.ckpt"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def state():
    return torch.load(SMALL, weights_only=True)["state_dict"]


def test_with_its_yaml_nothing_is_assumed():
    model = load_encoder(SMALL, DATA / "small.yaml")
    assert model.assumed == ()
    assert model.config == small_config(num_layers=4, embed_dim=8, kernel_size=5)
    assert model.layers[-2:] == ("enc_pre_latent", "enc_last")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert (model.origin, model.unused_keys, model.error_profile) == ("checkpoint", (), None)


def test_a_2026_network_is_told_by_its_yaml():
    model = load_encoder(MU_LN, DATA / "mu_ln.yaml")
    assert model.assumed == ()
    assert (model.config.norm, model.config.error_mode, model.config.ending) == ("ln", "L0", "linear")
    assert (model.config.output_channels, model.config.sigma_kind) == (1, "none")


def test_without_a_yaml_the_tensors_tell_and_the_rest_is_listed():
    model = load_encoder(str(SMALL))
    assert model.config == small_config(num_layers=4, embed_dim=8, kernel_size=5, error_mode=None)
    assert list(model.assumptions) == ["dilation", "ending", "error_mode"]
    assert "dilation 1" in model.assumed[0]
    assert "ending 'softplus'" in model.assumed[1]
    assert "error mode not stated" in model.assumed[2]
    assert "pixel, L0, L2" in model.assumed[2]
    bare = load_encoder(MU_LN)
    assert bare.config.ending == "linear"
    assert "ending 'linear'" in bare.assumed[1]


def test_what_the_caller_states_is_not_assumed():
    model = load_encoder(SMALL, error_mode="L4", ending="linear", dilation=3)
    assert model.assumed == ()
    assert (model.config.error_mode, model.config.ending, model.config.dilation) == ("L4", "linear", 3)
    agreed = load_encoder(SMALL, DATA / "small.yaml", error_mode="pixel", ending="softplus", dilation=1)
    assert agreed.config == load_encoder(SMALL, DATA / "small.yaml").config


@pytest.mark.parametrize(
    ("config", "keywords", "message"),
    [
        ("small", {"error_mode": "L0"}, "error_mode .* is 'L0' for the caller, 'pixel' for the YAML"),
        ("small", {"ending": "linear"}, "ending .* is 'linear' for the caller, 'softplus' for the YAML"),
        ("small", {"dilation": 2}, "dilation is 2 for the caller, 1 for the YAML"),
        (None, {"error_mode": "L1"}, "error_channels .* is 3 for the caller, 1 for the tensors"),
        (None, {"error_mode": "none"}, "error_channels .* is 0 for the caller, 1 for the tensors"),
        (None, {"error_mode": "L9"}, "unknown error mode 'L9'; known: pixel, none"),
        (None, {"ending": "relu"}, "unknown ending 'relu'; known: softplus, linear"),
        (None, {"dilation": 0}, "dilation is 0"),
    ],
)
def test_an_override_that_contradicts_is_an_error(config, keywords, message):
    with pytest.raises(CheckpointError, match=message):
        load_encoder(SMALL, config and DATA / f"{config}.yaml", **keywords)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 5}, "num_layers is 5 for the YAML, 4 for the tensors"),
        ({"embed_dim": 16}, "embed_dim is 16 for the YAML, 8 for the tensors"),
        ({"kernel_size": 25}, "kernel_size is 25 for the YAML, 5 for the tensors"),
        ({"use_bn": False}, r"norm \(norm_type, use_bn\) is 'none' for the YAML, 'bn' for the tensors"),
        ({"norm_type": "ln"}, "norm .* is 'ln' for the YAML, 'bn' for the tensors"),
        ({"blindspot": False}, "blindspot is False for the YAML, True for the tensors"),
        ({"input_sigma": False}, r"error_channels \(input_sigma, .*\) is 0 for the YAML, 1 for the tensors"),
        ({"sigma_input_mode": "L1"}, "error_channels .* is 3 for the YAML, 1 for the tensors"),
        ({"output_channels": 1}, "output_channels .* is 1 for the YAML, 2 for the tensors"),
        ({"output_mode": "mu"}, r"output_channels \(output_mode\) is 1 for the YAML, 2 for the tensors"),
        ({"input_channels": 2}, "input_channels is 2 for the YAML, 1 for the tensors"),
        ({"num_layers": "4"}, "num_layers is '4' in the YAML's model section; expected a whole number"),
        ({"dilation": True}, "dilation is True in the YAML's model section; expected a whole number"),
        ({"input_sigma": "yes"}, "input_sigma is 'yes' in the YAML's model section; expected true or false"),
        ({"sigma_input_mode": "raw"}, "unknown error mode 'raw'; known: pixel"),
        ({"sigma_input_mode": None}, "unknown error mode 'None'; known: pixel"),
        ({"output_mode": "sigma"}, "unknown output_mode 'sigma'; known: mu, mu_sigma"),
        ({"norm_type": "gn"}, "norm .* is 'gn' for the YAML"),
        (
            {"sigma_input_mode": "L2", "sigma_input_bins": 8},
            "sigma_input_bins is 8; .*'L2' is known with 16 only",
        ),
        ({"sigma_input_mode": "L3", "sigma_input_lowpass": 901}, "sigma_input_lowpass is 901; .*501 only"),
    ],
)
def test_a_yaml_that_contradicts_the_tensors_is_named_with_both_values(changes, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(SMALL, {**section(), **changes})
    assert str(SMALL) in str(caught.value)


def test_all_contradictions_come_in_one_message():
    with pytest.raises(CheckpointError, match=r"num_layers is 9 .*; embed_dim is 48 .*; kernel_size is 25 "):
        load_encoder(SMALL, {**section(), "num_layers": 9, "embed_dim": 48, "kernel_size": 25})


@pytest.mark.parametrize(
    ("changes", "mode", "ending"),
    [
        ({}, "pixel", "softplus"),
        ({"sigma_input_mode": "L3"}, "L3", "linear"),
        ({"sigma_input_mode": "L2", "sigma_input_bins": 16}, "L2", "linear"),
        ({"sigma_input_mode": "L0", "sigma_input_bins": 8, "sigma_input_lowpass": 3}, "L0", "linear"),
        ({"norm_type": "bn"}, "pixel", "linear"),
        ({"output_mode": "mu_sigma"}, "pixel", "linear"),
        ({"name": "other", "huber_delta": 0.1, "future": None}, "pixel", "softplus"),
    ],
)
def test_error_mode_and_ending_come_from_the_yaml(changes, mode, ending):
    for config in ({**section(), **changes}, {"model": {**section(), **changes}, "train": {"ep": 1}}):
        model = load_encoder(SMALL, config)
        assert (model.config.error_mode, model.config.ending, model.assumed) == (mode, ending, ())


def test_keys_that_are_not_known_are_shown():
    model = load_encoder(SMALL, {**section(), "use_identity_residual": True})
    assert model.assumed == (
        "use_identity_residual True in the YAML's model section is not known here and was ignored",
    )


def test_a_yaml_may_leave_out_what_the_tensors_show():
    model = load_encoder(SMALL, {"num_layers": 4})
    assert model.config == load_encoder(SMALL, DATA / "small.yaml").config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {ep: 3}\n", "has no `model` section"),
        ("- 1\n", "has no `model` section"),
        ("model: blindspot\n", "has no `model` section"),
        ("", "has no `model` section"),
        ("model: {num_layers: 4\n", "not readable as YAML"),
        ("model: !!python/object/apply:os.getcwd []\n", "not readable as YAML"),
        (b"\xff\xfe\x00", "cannot read the model's YAML"),
    ],
)
def test_a_yaml_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=message):
        load_encoder(SMALL, path)
    with pytest.raises(CheckpointError, match=r"nowhere.yaml: cannot read"):
        load_encoder(SMALL, tmp_path / "nowhere.yaml")


def test_a_configuration_without_weights():
    assert config_from_yaml(DATA / "small.yaml") == small_config(num_layers=4, embed_dim=8, kernel_size=5)
    ln = config_from_yaml(section("mu_ln"))
    assert (ln.norm, ln.error_mode, ln.output_channels, ln.ending) == ("ln", "L0", 1, "linear")
    plain = config_from_yaml({**section(), "blindspot": False, "input_sigma": False, "use_bn": False})
    assert (plain.output_channels, plain.error_mode, plain.norm, plain.ending) == (
        1,
        "none",
        "none",
        "linear",
    )
    with pytest.raises(ConfigError, match="does not say embed_dim, kernel_size, norm"):
        config_from_yaml({"num_layers": 4, "input_sigma": True})
    with pytest.raises(UnknownName, match="unknown norm 'gn'; known: bn, ln, none"):
        config_from_yaml({**section(), "norm_type": "gn"})
    assert read_yaml(section()).remarks == {}


def test_every_way_to_hold_the_tensors_gives_the_same_network(state, written):
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    expected = weights_digest(load_encoder(SMALL))
    for content in (state, bare, {"state_dict": state}, {"state_dict": bare, "epoch": 3}):
        assert weights_digest(load_encoder(written(content))) == expected
    path = written(bare)
    torch.save(bare, path, _use_new_zipfile_serialization=False)
    assert weights_digest(load_encoder(path)) == expected


@pytest.mark.parametrize(
    ("prefix", "made_of"),
    [
        ("module.", "bare names"),
        ("_orig_mod.", "bare names"),
        ("module._orig_mod.", "bare names"),
        ("module.model.", "'model.'"),
        ("model.module.", "'model.'"),
        ("model._orig_mod.", "'model.'"),
        ("module._orig_mod.model._orig_mod.module.", "'model.'"),
    ],
)
def test_what_wrappers_add_to_names_is_taken_off_and_said(prefix, made_of, state, written):
    outer = prefix.partition("model.")[0] if "model." in prefix else prefix
    wrapped = {name.replace("model.", prefix, 1): tensor for name, tensor in state.items()}
    wrapped[f"{outer}sigma_profile"] = torch.ones(64)
    if "model." in prefix:
        wrapped[f"{outer}loss.weight"] = torch.ones(2)
    for content in (wrapped, {"state_dict": wrapped}):
        model = load_encoder(written(content), DATA / "small.yaml")
        assert weights_digest(model) == weights_digest(load_encoder(SMALL))
        (note,) = model.assumed
        assert note.startswith(f"the tensors under {prefix!r} are the network")
        assert note.endswith(f"make of {made_of}")
        assert model.unused_keys == (("loss.weight",) if "model." in prefix else ())
        assert model.error_profile.shape == (64,)


def test_the_usual_prefix_goes_before_wrapped_ones(state, written):
    other = {name.replace("model.", "module.", 1): tensor + 1 for name, tensor in state.items()}
    model = load_encoder(written({"state_dict": {**other, **state}}), DATA / "small.yaml")
    assert weights_digest(model) == weights_digest(load_encoder(SMALL))
    assert model.assumed == ()
    assert set(model.unused_keys) == set(other)


@pytest.mark.parametrize("nested", [True, False])
def test_a_network_under_another_name_is_shown_and_the_advice_renames_it(nested, state, tmp_path):
    path = tmp_path / "x.ckpt"
    ema = {name.replace("model.", "ema_model.", 1): tensor for name, tensor in state.items()}
    ema["sigma_profile"] = torch.ones(64)
    torch.save({"state_dict": ema, "hyper_parameters": {"dilation": 3}} if nested else ema, path)
    told = (
        r"x\.ckpt: a blind-spot network stands under 'ema_model\.'; .* first names are ema_model\.encoders\.0"
    )
    with pytest.raises(CheckpointError, match=told) as caught:
        load_encoder(path)
    advice = str(caught.value).split("rename its tensors, with\n")[1].removesuffix("and use the new file.")
    subprocess.run([sys.executable, "-c", advice], check=True)
    renamed = load_encoder(tmp_path / "x.renamed.ckpt")
    assert weights_digest(renamed) == weights_digest(load_encoder(SMALL))
    assert renamed.config.dilation == (3 if nested else 1)
    assert renamed.error_profile.shape == (64,)


def test_several_wrapped_networks_are_not_chosen_among(state, written):
    both = {
        name.replace("model.", prefix, 1): tensor
        for name, tensor in state.items()
        for prefix in ("module.", "_orig_mod.")
    }
    with pytest.raises(CheckpointError, match=r"stands under '_orig_mod\.' and under 'module\.'; expected"):
        load_encoder(written({"state_dict": both}))


def test_a_state_dict_under_another_key_is_shown_and_the_advice_moves_it(state, tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"model": state, "epoch": 3}, path)
    with pytest.raises(
        CheckpointError, match=r"keys: model, epoch.* There are tensors under 'model'"
    ) as caught:
        load_encoder(path)
    subprocess.run([sys.executable, "-c", str(caught.value).split("with\n")[1]], check=True)
    assert weights_digest(load_encoder(tmp_path / "x.renamed.ckpt")) == weights_digest(load_encoder(SMALL))


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("kept", "fields", "assumed"),
    [
        ({"dilation": 2, "num_layers": 4, "lr": 0.1}, {"dilation": 2}, ["ending", "error_mode"]),
        (
            {"sigma_input_mode": "L3", "input_sigma": True},
            {"error_mode": "L3", "ending": "linear"},
            ["dilation"],
        ),
        ({"norm_type": None, "use_bn": True}, {"ending": "linear", "norm": "bn"}, ["dilation", "error_mode"]),
        ({"input_sigma": True, "dilation": None}, {}, ["dilation", "ending", "error_mode"]),
        ({"model": "text", "lr": [1], 3: 4}, {}, ["dilation", "ending", "error_mode"]),
    ],
)
def test_hyper_parameters_fill_what_no_yaml_tells(nested, kept, fields, assumed, state, written):
    kept = {"model": kept, "opt": {"lr": 1}} if nested else kept
    path = written({"state_dict": state, "hyper_parameters": kept})
    model = load_encoder(path)
    assert {name: getattr(model.config, name) for name in fields} == fields
    assert list(model.assumptions) == assumed


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("kept", "config", "keywords", "message"),
    [
        ({"dilation": 2}, "small", {}, "dilation is 1 for the YAML, 2 for {}"),
        ({"dilation": 2}, None, {"dilation": 3}, "dilation is 3 for the caller, 2 for {}"),
        ({"num_layers": 5}, None, {}, "num_layers is 5 for {}, 4 for the tensors"),
        (
            {"sigma_input_mode": "L3"},
            None,
            {"error_mode": "L0"},
            "error_mode .* is 'L0' for the caller, 'L3' for {}",
        ),
        ({"input_sigma": False}, None, {}, "error_channels .* is 0 for {}, 1 for the tensors"),
        ({"norm_type": "ln"}, None, {}, "norm .* is 'ln' for {}, 'bn' for the tensors"),
        ({"dilation": "2"}, None, {}, "dilation is '2' in {}; expected a whole number"),
        ({"use_bn": 1}, None, {}, "use_bn is 1 in {}; expected true or false"),
        ({"sigma_input_mode": "L9"}, None, {}, "unknown error mode 'L9'"),
    ],
)
def test_hyper_parameters_that_contradict_are_named(nested, kept, config, keywords, message, state, written):
    path = written({"state_dict": state, "hyper_parameters": {"model": kept} if nested else kept})
    source = "the checkpoint's hyper_parameters" + (r" \(section model\)" if nested else "")
    with pytest.raises(CheckpointError, match=message.format(source)) as caught:
        load_encoder(path, config and DATA / f"{config}.yaml", **keywords)
    assert str(path) in str(caught.value)
    if "unknown" not in message:
        assert "where the hyper_parameters are not true, write the checkpoint without them" in str(
            caught.value
        )


def test_the_two_places_of_hyper_parameters_are_held_against_one_another(state, written):
    path = written({"state_dict": state, "hyper_parameters": {"dilation": 2, "model": {"dilation": 3}}})
    with pytest.raises(
        CheckpointError, match=r"dilation is 3 for .*\(section model\), 2 for the checkpoint's hyper_p"
    ):
        load_encoder(path)


def test_copies_that_callbacks_keep_are_listed_and_scores_are_not(state, written):
    kept = {
        "EMA{'decay': 0.99}": {"shadow": dict(state), "decay": 0.99},
        "Averaged": {"shadow_params": list(state.values())},
        "ModelCheckpoint{'monitor': 'val.loss'}": {"best_model_score": torch.tensor(0.1), "best": None},
    }
    model = load_encoder(written({"state_dict": state, "callbacks": kept}))
    numbers = sum(tensor.ndim > 0 for tensor in state.values())
    note = unused_note("x.ckpt", model.unused_keys)
    assert (
        f"not used: callbacks/Averaged/shadow_params ({numbers}), callbacks/EMA/shadow ({numbers}); the"
        in note
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(state, written, dtype):
    cast = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    model = load_encoder(written({"state_dict": cast}))
    for name, value in model.state_dict().items():
        assert value.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        if value.is_floating_point():
            torch.testing.assert_close(value, cast["model." + name].float(), rtol=0, atol=0)


def test_other_names_are_listed_and_the_profile_is_kept(state, written):
    profile = torch.linspace(1, 2, 64)
    beside = {"loss.weight": torch.ones(2), "noise_estimator.conv.bias": torch.ones(1), "note": "text"}
    for stored in (profile, profile[None], profile.reshape(1, 1, 64)):
        model = load_encoder(written({"state_dict": {**state, **beside, "sigma_profile": stored}}))
        assert model.unused_keys == ("loss.weight", "noise_estimator.conv.bias", "note")
        assert model.error_profile.dtype == np.float64
        np.testing.assert_array_equal(model.error_profile, profile.numpy())
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    assert load_encoder(written({**bare, "sigma_profile": profile})).error_profile.shape == (64,)
    for wrong, message in ((torch.ones(2, 64), r"is \(2, 64\)"), ([1.0], "is list")):
        with pytest.raises(CheckpointError, match=f"'sigma_profile' {message}; expected one error per pixel"):
            load_encoder(written({"state_dict": {**state, "sigma_profile": wrong}}))


def test_all_misfits_are_named_in_one_error(state, written):
    broken = dict(state)
    del broken["model.encoders.2.conv.bias"], broken["model.decoders_b.1.bn.weight"]
    broken["model.encoders.9000x.conv.bias"] = torch.ones(8)
    broken["model.head.weight"] = torch.ones(3)
    broken["model.encoders.3.conv.weight"] = torch.ones(8, 8, 7)
    broken["model.encoders.4.conv.weight"] = torch.ones(8, 8, 5, dtype=torch.int64)
    broken["model.encoders.1.conv.bias"] = torch.full((8,), torch.nan)
    with pytest.raises(CheckpointError, match=r"x\.ckpt: 7 tensor\(s\) do not fit") as caught:
        load_encoder(written({"state_dict": broken}))
    for part in (
        "missing: encoders.2.conv.bias",
        "missing: decoders_b.1.bn.weight",
        "unexpected: encoders.9000x.conv.bias",
        "unexpected: head.weight",
        "shape of encoders.3.conv.weight: (8, 8, 7), expected (8, 8, 5)",
        "dtype of encoders.4.conv.weight: torch.int64, expected torch.float32",
        "not finite: encoders.1.conv.bias",
    ):
        assert part in str(caught.value)


def test_unprefixed_names_are_as_strict(state, written):
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    with pytest.raises(CheckpointError, match=r"unexpected: head\.weight"):
        load_encoder(written({**bare, "head.weight": torch.ones(1)}))
    with pytest.raises(CheckpointError, match=r"expected tensors only .* found epoch \(int\)"):
        load_encoder(written({**bare, "epoch": 3}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no tensors"),
        ({"state_dict": {}, "epoch": 1}, r"holds no tensors \(keys: state_dict, epoch\)"),
        ({"epoch": 1}, "holds no tensors"),
        ([1, 2], "holds a list"),
        (torch.ones(3), "holds a Tensor"),
        ({"state_dict": {"model.fc.weight": torch.ones(3)}}, "'encoders.0.conv.weight' is missing"),
    ],
)
def test_a_file_of_something_else_is_refused(written, content, message):
    with pytest.raises(CheckpointError, match=message):
        load_encoder(written(content))


def test_shapes_that_describe_no_network_are_refused(state, written):
    flat = {**state, "model.encoders.0.conv.weight": torch.ones(8, 2)}
    with pytest.raises(CheckpointError, match=r"has shape \(8, 2\); expected 3 dimensions"):
        load_encoder(written({"state_dict": flat}))
    channels = {**state, "model.encoders.0.conv.weight": torch.ones(8, 6, 5)}
    with pytest.raises(CheckpointError, match="5 error channels; the known error modes have 0, 1 or 3"):
        load_encoder(written({"state_dict": channels}))


def test_a_file_that_is_missing_empty_or_no_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere.ckpt: no such checkpoint file"):
        load_encoder(tmp_path / "nowhere.ckpt")
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        load_encoder(tmp_path)
    whole = SMALL.read_bytes()
    contents = {
        "text": b"hello, world\n",
        "cut": whole[:20000],
        "json": b'{"a": 1}',
        "zip": b"PK\x03\x04" + b"\0" * 50,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name}: not a PyTorch checkpoint, or cut short"):
            load_encoder(tmp_path / name)
    (tmp_path / "empty.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"empty.ckpt: the file is empty"):
        load_encoder(tmp_path / "empty.ckpt")


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CheckpointError, match=r"cannot be read .*Permission denied"):
        load_encoder(SMALL)


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_are_refused_named_and_the_recipe_works(state, tmp_path, zipped):
    path = tmp_path / "unsafe.ckpt"
    content = {"state_dict": state, "hyper_parameters": {"ratio": fractions.Fraction(1, 3), "path": path}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"fractions\.Fraction") as caught:
        load_encoder(path)
    message = str(caught.value)
    assert "could run code" in message
    if zipped:
        assert "pathlib" in message  # all of them, where torch can list them
    recipe = message.split("convert it, once, with\n")[1].removesuffix("and use the new file.")
    subprocess.run([sys.executable, "-c", recipe], check=True)
    assert weights_digest(load_encoder(tmp_path / "unsafe.tensors.ckpt")) == weights_digest(
        load_encoder(SMALL)
    )


def test_nothing_in_a_file_is_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",))

    torch.save({"state_dict": {"model.x": torch.ones(1)}, "callbacks": Malicious()}, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match=r"builtins\.exec"):
        load_encoder(tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"error_mode": "L1", "error_channels": 3, "dilation": 2, "ending": "linear"},
        {"norm": "ln", "blindspot": False, "ending": "linear"},
        {"norm": "none", "error_mode": "none", "error_channels": 0, "output_channels": 1, "num_layers": 2},
    ],
)
def test_a_saved_network_needs_no_yaml(tmp_path, changes):
    model = random_model(small_config(**changes)).float()
    model.error_profile = np.linspace(1.0, 2.0, 5)
    model.origin = "random:7"
    save_checkpoint(model, tmp_path / "new" / "a.ckpt", extra={"epoch": 12, "note": {"loss": [0.5]}})
    read = load_encoder(tmp_path / "new" / "a.ckpt")
    assert read.config == model.config
    assert (read.assumed, read.origin, read.unused_keys) == ((), "random:7", ())
    np.testing.assert_array_equal(read.error_profile, model.error_profile)
    assert weights_digest(read) == weights_digest(model)
    raw = torch.load(tmp_path / "new" / "a.ckpt", weights_only=True)
    assert (raw["epoch"], raw["note"], raw["global_step"]) == (12, {"loss": [0.5]}, 0)
    assert {"model.encoders.0.conv.weight", "sigma_profile"} < set(raw["state_dict"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.ckpt"]
    save_checkpoint(model, tmp_path / "b.ckpt", extra={"epoch": 12, "note": {"loss": [0.5]}})
    assert (tmp_path / "b.ckpt").read_bytes() == (tmp_path / "new" / "a.ckpt").read_bytes()


def test_saving_does_not_turn_an_assumption_into_a_statement(tmp_path):
    model = load_encoder(SMALL)
    save_checkpoint(model, tmp_path / "a.ckpt", extra={"blindspot_probes": {"origin": "random:0"}})
    read = load_encoder(tmp_path / "a.ckpt")
    assert read.assumptions == model.assumptions
    assert read.origin == "random:0"
    with_yaml = load_encoder(tmp_path / "a.ckpt", DATA / "small.yaml")
    assert with_yaml.config == load_encoder(SMALL, DATA / "small.yaml").config


def test_a_files_own_remarks_are_checked(tmp_path, state, written):
    model = load_encoder(SMALL, DATA / "small.yaml")
    save_checkpoint(model, tmp_path / "a.ckpt")
    with pytest.raises(
        CheckpointError, match="'linear' for the YAML, 'softplus' for the checkpoint's own remarks"
    ):
        load_encoder(tmp_path / "a.ckpt", {**section(), "norm_type": "bn"})
    for ours, message in (
        ({"origin": "elsewhere"}, "origin 'elsewhere'; expected 'checkpoint' or 'random:SEED'"),
        ({"config": {"depth": 3}}, "holds the configuration .*'depth': 3.*not written by this tool"),
        ({"config": 3}, "not written by this tool"),
        ("text", "'blindspot_probes' holds 'text'; expected a mapping"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_encoder(written({"state_dict": state, "blindspot_probes": ours}))


def test_an_even_kernel_is_remarked_upon(tmp_path):
    save_checkpoint(random_model(small_config(kernel_size=4)), tmp_path / "a.ckpt")
    assert "kernel_size 4 is even" in load_encoder(tmp_path / "a.ckpt").assumed[0]


def test_the_digest_sees_every_change():
    model = random_model(small_config())
    digests = {weights_digest(model)}
    state = model.state_dict()
    for name in (
        "encoders.0.conv.weight",
        "nin_layers.2.bn.running_var",
        "encoders.1.bn.num_batches_tracked",
    ):
        state[name].view(-1)[0] += 1
        digests.add(weights_digest(model))
    digests.add(weights_digest(model.float()))
    digests.add(weights_digest(random_model(small_config(norm="none")).float()))
    assert len(digests) == 6
    assert weights_digest(random_model(small_config())) in digests


def test_using_a_network_does_not_change_its_digest():
    model = load_encoder(SMALL, DATA / "small.yaml")
    before = weights_digest(model)
    model(torch.rand(2, 2, 64))
    assert weights_digest(model) == before


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=NO_GOLDEN)
def test_the_reference_checkpoint_loads_with_and_without_its_yaml(tmp_path):
    stated, bare = load_encoder(GOLDEN / "ref.ckpt", GOLDEN / "ref.yaml"), load_encoder(GOLDEN / "ref.ckpt")
    assert weights_digest(stated) == weights_digest(bare)
    assert stated.config == small_config(num_layers=9, embed_dim=48, kernel_size=25)
    assert sum(parameter.numel() for parameter in stated.parameters()) == 1_889_670
    lines = [line.split("\t") for line in (GOLDEN / "state_dict_keys.txt").read_text().splitlines()[1:]]
    found = [[name, str(tuple(value.shape)), str(value.dtype)] for name, value in stated.state_dict().items()]
    assert found == lines
    shutil.copy(GOLDEN / "ref.ckpt", tmp_path / "copy.ckpt")
    assert weights_digest(load_encoder(tmp_path / "copy.ckpt")) == weights_digest(bare)


def test_a_flipped_bit_anywhere_in_a_tensor_is_refused(tmp_path):
    path = tmp_path / "x.ckpt"
    shutil.copyfile(SMALL, path)
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if "/data/" in m.filename]
        contents = [archive.read(m) for m in members]
    whole = path.read_bytes()
    for content in contents[:3]:
        damaged = bytearray(whole)
        damaged[whole.index(content) + len(content) // 2] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(
            CheckpointError, match=r"damaged since it was written \(Bad CRC-32.*copy it again"
        ):
            load_encoder(path)


def test_archives_without_sums_and_files_of_the_older_format_load(state, tmp_path):
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    assert weights_digest(load_encoder(path)) == weights_digest(load_encoder(SMALL))
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        torch.save({"state_dict": state}, path)
    finally:
        torch.serialization.set_crc32_options(compute_crc32=True)
    with zipfile.ZipFile(path) as archive:
        assert not any(member.CRC for member in archive.infolist())
    assert weights_digest(load_encoder(path)) == weights_digest(load_encoder(SMALL))
