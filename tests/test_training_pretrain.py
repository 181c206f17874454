"""The pretraining loop: it learns, it repeats, it resumes to the bit, and its encoder is read back."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch

from cache.canonical import read_sealed
from cache.commandline import main
from cache.errors import CheckpointError, ConfigError, Damaged, UnknownName
from extract.checkpoint import load_encoder, save_checkpoint, weights_digest
from extract.denoise import denoise
from extract.training import command, pretrain
from extract.training.feeding import AheadFeeder
from extract.training.half import halved
from extract.training.initialise import MU
from extract.training.losses import denoised, predict
from extract.training.pretrain import Pretrained, Watch, calibrate, learning_rate, thread_limit
from extract.training.recipe import Recipe
from extract.training.reconstruction import reconstruction, signal_to_noise
from extract.training.stars import FIRST_ROW, Feeder
from extract.training.upstream_yaml import upstream_sections

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = Recipe(
    num_layers=3,
    embed_dim=4,
    kernel_size=5,
    norm="bn",
    ending="linear",
    error_mode="pixel",
    loss="E2",
    huber_delta=0.03,
    lam_neg=1.0,
    steps=20,
    batch_size=4,
    lr=5e-3,
    output_lr_factor=5.0,
    warmup_steps=4,
    clip_norm=1.0,
    calibration_stars=8,
    precision="fp32",
    mag_lo=20.5,
    mag_hi=22.5,
    noise_level=1.0,
    seed=1,
)


class Interrupted(Exception):
    pass


def watch(folder, *, stop_at=None, every=5):
    done = 0

    def advance(steps):
        nonlocal done
        done += steps
        if done == stop_at:
            raise Interrupted

    return Watch(
        snapshot=folder / "snapshot.pt",
        snapshot_every=every,
        report_every=10,
        val_stars=4,
        report=lambda _: None,
        advance=advance,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = pretrain.pretrain(TINY, watch(folder))
    torch.set_num_threads(threads)
    return found


def test_twenty_steps_lower_the_loss(trained):
    losses = [entry["loss"] for entry in trained.history if "loss" in entry]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert trained.history[-1]["calibrated"]
    assert not trained.model.training


def test_one_seed_gives_one_network_and_another_another(trained, tmp_path):
    (tmp_path / "again").mkdir()
    again = pretrain.pretrain(TINY, watch(tmp_path / "again"))
    assert weights_digest(again.model) == weights_digest(trained.model)
    short = dataclasses.replace(TINY, steps=2)
    digests = {
        weights_digest(
            pretrain.pretrain(dataclasses.replace(short, seed=seed), watch(tmp_path / f"seed{seed}")).model
        )
        for seed in (1, 2)
    }
    assert len(digests) == 2


@pytest.mark.parametrize("stop_at", [3, 13])
def test_an_interrupted_run_ends_in_the_same_bits(trained, tmp_path, stop_at):
    with pytest.raises(Interrupted):
        pretrain.pretrain(TINY, watch(tmp_path, stop_at=stop_at))
    assert (tmp_path / "snapshot.pt").exists() == (stop_at > 5)
    resumed = pretrain.pretrain(TINY, watch(tmp_path))
    assert weights_digest(resumed.model) == weights_digest(trained.model)
    without_time = [
        [{k: v for k, v in entry.items() if k != "seconds"} for entry in run.history]
        for run in (resumed, trained)
    ]
    assert without_time[0] == without_time[1]


def test_a_snapshot_of_another_recipe_names_the_settings_that_differ(tmp_path):
    with pytest.raises(Interrupted):
        pretrain.pretrain(TINY, watch(tmp_path, stop_at=3, every=1))
    other = dataclasses.replace(TINY, lr=1e-4, loss="E1")
    with pytest.raises(ConfigError, match=r"(?s)loss: 'E2' there, 'E1' asked for.*lr: 0.005 there, 0.0001"):
        pretrain.pretrain(other, watch(tmp_path))
    (tmp_path / "snapshot.pt").write_bytes(b"cut short")
    with pytest.raises(Damaged, match="remove it to begin anew"):
        pretrain.pretrain(TINY, watch(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "T1", "ending": "softplus"},
        {"loss": "M1", "error_mode": "none", "norm": "ln"},
        {"loss": "E1", "error_mode": "L5"},
        {"loss": "T1", "error_mode": "L1", "precision": "bf16"},
    ],
)
def test_every_kind_of_network_trains_and_is_read_back_with_its_yaml(tmp_path, changes):
    settings = {**TINY.to_json(), **changes, "steps": 2, "out": str(tmp_path), "val_stars": 4}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    assert main("extract", {"pretrain": command.VERB}, ["pretrain", *flags]) == 0
    checkpoint = tmp_path / "encoder.ckpt"
    loaded = load_encoder(checkpoint, tmp_path / "encoder.yaml")
    bare = {
        name: tensor
        for name, tensor in torch.load(checkpoint, weights_only=True)["state_dict"].items()
        if name.startswith("model.")
    }
    assert set(bare) == {f"model.{name}" for name in loaded.state_dict()}
    recipe = Recipe(**{field.name: settings[field.name] for field in dataclasses.fields(Recipe)})
    assert loaded.config == recipe.model_config()
    record = read_sealed(tmp_path / "encoder.json")
    assert record["weights"] == weights_digest(loaded)
    assert record["recipe"] == recipe.to_json()
    assert set(record["result"]) == {"val_snr_denoised", "val_snr_mu", "val_snr_noisy"}
    assert (loaded.error_profile is not None) == (recipe.error_mode == "L5")
    assert not (tmp_path / "snapshot.pt").exists()


def test_the_command_keeps_a_finished_encoder_and_refuses_to_replace_it(tmp_path, capsys):
    settings = {**TINY.to_json(), "steps": 1, "out": str(tmp_path), "val_stars": 2}
    flags = ["pretrain", *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items())]
    verbs = {"pretrain": command.VERB}
    assert main("extract", verbs, flags) == 0
    made = (tmp_path / "encoder.ckpt").stat().st_mtime_ns
    assert "val S/N denoised" in capsys.readouterr().out
    assert main("extract", verbs, flags) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (tmp_path / "encoder.ckpt").stat().st_mtime_ns == made
    assert main("extract", verbs, [*flags, "--seed=9"]) == 2
    assert "seed: 1 there, 9 asked for" in capsys.readouterr().err
    replaced = load_encoder(tmp_path / "encoder.ckpt")
    replaced.encoders[0].conv.bias.add_(1.0)
    save_checkpoint(replaced, tmp_path / "encoder.ckpt")
    assert main("extract", verbs, flags) == 2
    assert "encoder.json tells of" in capsys.readouterr().err


def test_reconstruction_equals_a_loop_over_stars(trained):
    stars = TINY.stars("pretrain-val").make(0, 5)
    ratios = {"denoised": [], "mu": [], "noisy": []}
    for i in range(5):
        one = stars.rows(i, i + 1)
        prediction = predict(trained.model(one.x), "log_sigma")
        best = denoised(prediction, one.noisy, one.error)
        torch.testing.assert_close(
            best, denoise(trained.model, one.x, one.noisy, one.error), atol=1e-6, rtol=0
        )
        for name, estimate in (("denoised", best), ("mu", prediction.mu), ("noisy", one.noisy)):
            x, y = one.flux[0].double().numpy(), estimate[0].detach().double().numpy()
            ratios[name].append(np.sqrt((x**2).sum()) / np.sqrt(((x - y) ** 2).sum()))
    found = dataclasses.asdict(reconstruction(trained.model, stars))
    for name, values in ratios.items():
        assert found[name] == pytest.approx(np.median(values), rel=1e-5)


def test_signal_to_noise_of_a_known_case():
    flux = torch.full((2, 100), 0.5)
    estimate = flux + torch.tensor([[0.05], [-0.1]])
    torch.testing.assert_close(
        signal_to_noise(flux, estimate), torch.tensor([10.0, 5.0], dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_a_batch_does_not_depend_on_what_was_asked_before():
    stars = TINY.stars("pretrain")
    feeder = Feeder(stars, batch_size=100)
    late, early = feeder.batch(7), feeder.batch(0)
    for found, first in ((late, 700), (early, 0)):
        expected = stars.make(first, 100)
        for field in dataclasses.fields(found):
            assert torch.equal(getattr(found, field.name), getattr(expected, field.name)), field.name


def test_stars_of_training_and_validation_are_none_of_a_survey_that_mock_writes():
    from extract.mock.survey import FIRST_ROW as SURVEY_ROWS
    from extract.mock.survey import LARGEST_SPLIT

    end = max(SURVEY_ROWS.values()) + LARGEST_SPLIT
    assert end <= FIRST_ROW["pretrain"] < FIRST_ROW["pretrain-val"]
    flux = TINY.stars("pretrain").make(0, 2).flux
    assert not torch.equal(flux, TINY.stars("pretrain-val").make(0, 2).flux)
    assert flux.median().item() == pytest.approx(MU, abs=0.01)


def test_noise_level_reaches_noise_and_error():
    full = TINY.stars("pretrain").make(0, 3)
    half = dataclasses.replace(TINY, noise_level=0.5).stars("pretrain").make(0, 3)
    torch.testing.assert_close(half.error, 0.5 * full.error)
    torch.testing.assert_close(half.noisy - half.flux, 0.5 * (full.noisy - full.flux), atol=1e-6, rtol=0)
    assert torch.equal(half.x[:, 1], half.error)


def test_calibration_replaces_running_statistics_by_plain_means(trained):
    recipe = dataclasses.replace(TINY, calibration_stars=64)
    calibrate(trained.model, recipe)
    found = trained.model.encoders[0].bn
    feeder = Feeder(recipe.stars("pretrain"), batch_size=32)
    means, variances = [], []
    for number in range(2):
        x = feeder.batch(number).x
        both = torch.cat([x, x.flip(-1)])
        block = trained.model.encoders[0]
        with torch.no_grad():
            out = block.conv(torch.nn.functional.pad(both, block.padding))
        means.append(out.mean(dim=(0, 2)))
        variances.append(out.var(dim=(0, 2)))
    torch.testing.assert_close(found.running_mean, torch.stack(means).mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.running_var, torch.stack(variances).mean(0), atol=1e-5, rtol=1e-4)
    assert found.momentum == 0.1
    calibrate(trained.model, TINY)


def test_learning_rate_warms_up_and_falls_to_its_end():
    recipe = dataclasses.replace(TINY, steps=100, warmup_steps=10, lr=1.0)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(pretrain.LAST_LR)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "loss", lambda *_, **__: torch.tensor(float("nan")))
    with pytest.raises(ConfigError, match="the loss is nan at step 0; lower --lr"):
        pretrain.pretrain(TINY, watch(tmp_path))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"precision": "fp16"}, UnknownName, "fp32, bf16"),
        ({"ending": "softplus", "error_mode": "L0"}, ConfigError, "use ending 'linear'"),
        ({"steps": 0}, ConfigError, "steps is 0"),
        ({"loss": "T9"}, UnknownName, "T1, E1, E2, M1"),
        ({"num_layers": 1}, ConfigError, "num_layers is 1"),
    ],
)
def test_recipes_that_cannot_be_trained_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(TINY, **changes).check()


def test_threads_below_one_are_refused():
    with pytest.raises(ConfigError, match="threads is 0"):
        thread_limit(0)


def test_yaml_has_the_sections_of_the_group():
    sections = upstream_sections(TINY)
    assert list(sections) == ["model", "train", "loss", "opt", "data", "mask", "noise", "project"]
    assert sections["loss"]["name"] == "E2"


# Stars made ahead, other devices, half the bytes.


@pytest.mark.parametrize("error_mode", ["pixel", "L5"])
def test_stars_made_ahead_are_the_same_stars(error_mode):
    stars = dataclasses.replace(TINY, error_mode=error_mode).stars("pretrain")
    plain = Feeder(stars, batch_size=100)
    with AheadFeeder(stars, batch_size=100, n_forks=2) as ahead:
        for number in (0, 1, 4, 5):
            one, other = plain.batch(number), ahead.batch(number)
            for name, tensor in vars(one).items():
                assert torch.equal(tensor, getattr(other, name)), name


def test_a_network_does_not_depend_on_who_makes_the_stars(trained, tmp_path):
    forked = pretrain.pretrain(TINY, dataclasses.replace(watch(tmp_path), n_forks=1))
    assert weights_digest(forked.model) == weights_digest(trained.model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_as_the_processor_does(trained, tmp_path):
    found = pretrain.pretrain(TINY, dataclasses.replace(watch(tmp_path), device="cuda"))
    for here, there in zip(found.history, trained.history, strict=True):
        assert here["val_snr_denoised"] == pytest.approx(there["val_snr_denoised"], rel=0.05)


def test_half_the_bytes_are_read_back_as_the_rounded_network(trained, tmp_path):
    model = copy.deepcopy(trained.model)
    with pytest.raises(CheckpointError, match="16 bits cannot hold its values"):
        save_checkpoint(model, tmp_path / "not_rounded.ckpt", half=True)
    rounded = halved(Pretrained(model=model, history=trained.history), TINY, 4)
    save_checkpoint(rounded.model, tmp_path / "half.ckpt", half=True)
    save_checkpoint(rounded.model, tmp_path / "whole.ckpt")
    assert (tmp_path / "half.ckpt").stat().st_size < (tmp_path / "whole.ckpt").stat().st_size
    assert weights_digest(load_encoder(tmp_path / "half.ckpt")) == weights_digest(rounded.model)
    assert rounded.history[:-1] == trained.history
    before, after = (history["val_snr_denoised"] for history in rounded.history[-2:])
    assert after == pytest.approx(before, rel=0.01)
