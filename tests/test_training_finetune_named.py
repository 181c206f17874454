"""End-to-end trainings: what their records are called by, and states on disk that are not of one training."""

import contextlib
import shutil

import pytest
import torch
from finetune_fakes import CutOff, cut_off_after, settings
from survey_fakes import CHECKPOINT, LAYER, POOLING, YAML
from test_training_finetune import opened

from cache.errors import Busy, ConfigError, Damaged
from cache.locks import exclusive
from cache.records import read_record
from extract.checkpoint import load_encoder
from extract.prepare import prepare
from extract.training import finetune_module
from extract.training.encoder_features import EncoderFeatures, FeatureChoice
from extract.training.finetune_module import STATE, EndToEnd
from extract.training.finetune_record import spec_of
from extract.training.finetune_request import machine_of, recipe_of, request_of
from extract.training.finetune_run import finetune


def test_a_random_encoder_that_learns_is_no_untrained_one(survey, tmp_path):
    asked = {"encoder_ckpt": "random:0", "freeze_encoder": False, "max_epochs": 1}
    record = read_record(tmp_path / "results", finetune(settings(survey, tmp_path, **asked)))
    assert (record.spec["control"], record.spec["encoder"]["origin"]) == ("none", "random:0")
    (written,) = (tmp_path / "finetune").glob("*/encoder.ckpt")
    assert load_encoder(written).origin == "checkpoint"


def test_several_processes_name_another_record(survey, tmp_path):
    """Each drops units of its own, so that it is another training."""
    one, two = (settings(survey, tmp_path, processes=n) for n in (1, 2))
    with prepare(request_of(one)) as prepared:
        specs = [
            spec_of(prepared, recipe_of(asked), {}, n_processes=machine_of(asked).n_processes)
            for asked in (one, two)
        ]
    assert specs[1].pop("params") == {**specs[0].pop("params"), "processes": 2}
    assert specs[0] == specs[1]


@pytest.mark.parametrize("noise", ["none", "stored"])
def test_draws_of_noise_that_is_not_drawn_are_refused(survey, tmp_path, noise):
    """The order of rows would be another one, and the record has the same name."""
    with pytest.raises(ConfigError, match=f"--noise {noise} has one realisation; --train-draws 3 makes no"):
        recipe_of(settings(survey, tmp_path, noise=noise, train_draws="3"))
    assert recipe_of(settings(survey, tmp_path, noise=noise, train_draws="1")).train_draws == 1


def test_every_process_goes_on_dropping_its_own_units(survey, tmp_path, monkeypatch):
    module, _, context = opened(settings(survey, tmp_path, dropout=0.5))
    with contextlib.ExitStack() as files:
        files.push(context)
        ranks = []
        for rank in (0, 1):
            monkeypatch.setattr(EndToEnd, "global_rank", rank)
            module.configure_optimizers()
            module.on_train_start()
            module._drawn(3 + rank)
            ranks.append(module._masks.state())
        monkeypatch.setattr(finetune_module, "of_every_process", lambda _: ranks)
        checkpoint = {}
        module.on_save_checkpoint(checkpoint)
        assert ranks[0] != ranks[1]
        for rank in (0, 1):
            monkeypatch.setattr(EndToEnd, "global_rank", rank)
            module.on_load_checkpoint(checkpoint)
            module.on_train_start()
            assert module._masks.state() == ranks[rank]
        del checkpoint[STATE]["masks_of_others"]  # a state of before
        monkeypatch.setattr(EndToEnd, "global_rank", 0)
        module.on_load_checkpoint(checkpoint)
        module.on_train_start()
        assert module._masks.state() == ranks[0]


def test_best_weights_of_another_epoch_than_the_curve_chooses_are_refused(survey, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        cut_off_after(patch, 0)
        with pytest.raises(CutOff):
            finetune(settings(survey, tmp_path))
    (folder,) = (tmp_path / "finetune").iterdir()
    shutil.copyfile(folder / "best.ckpt", tmp_path / "older.ckpt")
    record = read_record(tmp_path / "results", finetune(settings(survey, tmp_path)))
    assert record.result["chosen"]["best_epoch"] > 0
    shutil.copyfile(tmp_path / "older.ckpt", folder / "best.ckpt")
    shutil.rmtree(tmp_path / "results")
    with pytest.raises(
        Damaged, match=r"best.ckpt: holds epoch 0 .* this one chooses epoch [123] of 4; remove"
    ):
        finetune(settings(survey, tmp_path))
    assert not (tmp_path / "results").exists()


def test_two_commands_do_not_train_in_one_folder(survey, tmp_path):
    name = finetune(settings(survey, tmp_path, max_epochs=1))
    assert [path.name for path in (tmp_path / "finetune").iterdir()] == [name[:16]]
    with (
        exclusive(tmp_path / "finetune" / f"{name[:16]}.lock", what="this training"),
        pytest.raises(Busy, match=r"lock: process \d+ on .* is computing this training; wait for it"),
    ):
        finetune(settings(survey, tmp_path, max_epochs=1, refit=True))
    assert (tmp_path / "finetune" / name[:16] / "best.ckpt").exists()


def test_attention_is_made_where_the_encoder_is():
    """On a GPU the encoder is there already when the first spectrum comes; `meta` stands for another device."""
    choice = FeatureChoice(layer=LAYER, pooling=POOLING.replace("seg_mean", "attention"), direction="concat")
    made = EncoderFeatures(
        load_encoder(CHECKPOINT, YAML).to("meta"), choice, frozen=True, engine="fast", n_threads=1
    )
    made.make_attention(torch.ones(1, made.encoder.config.n_inputs, 256))
    assert len(made.attention) == 2
