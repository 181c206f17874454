"""End-to-end training: the same as cached heads where the encoder is frozen, and what it refuses, keeps and resumes."""

import csv
import shutil

import h5py
import numpy as np
import pytest
import torch
from finetune_fakes import CutOff, cut_off_after, settings
from survey_fakes import CHECKPOINT, LAYER, POOLING, YAML, request, write_survey

from cache import FeatureStore
from cache.errors import CheckpointError, ConfigError, Damaged, InputError, LeakError, ProbeError, UnknownName
from cache.records import read_arrays, read_predictions, read_record
from extract.checkpoint import load_encoder, weights_digest
from extract.pipeline import extract_features
from extract.prepare import prepare
from extract.training.encoder_features import EncoderFeatures, FeatureChoice
from extract.training.finetune_data import TrainingBatch, load_splits
from extract.training.finetune_fit import all_features, make_module
from extract.training.finetune_order import FinetuneData
from extract.training.finetune_request import machine_of, recipe_of, request_of
from extract.training.finetune_rows import choose_rows
from extract.training.finetune_run import finetune
from probes.mlp import MLP

EVERY = {"train": None, "val": None, "test": None}


def opened(asked):
    """A module before training, its data, and what closes the files."""
    recipe, machine = recipe_of(asked), machine_of(asked)
    context = prepare(request_of(asked))
    prepared = context.__enter__()
    splits = load_splits(prepared, recipe.labels, choose_rows(prepared, recipe.labels, EVERY).rows)
    data = FinetuneData(prepared, splits, recipe, n_workers=0)
    return make_module(prepared, data, recipe, machine), data, context


def stores(survey, folder, **changes):
    paths = extract_features(request(survey, folder, **changes))
    return {split: [FeatureStore.open(path) for path in found] for split, found in paths.items()}


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_label_of_one_value_is_refused_before_training(tmp_path, split):
    folder = write_survey(tmp_path / "survey")
    with h5py.File(folder / split / "dataset.h5", "r+") as file:
        table = file["dataset/params/table"]
        rows = table[...]
        rows["values_block_0"][:, 1] = 3.0
        table[...] = rows
    with pytest.raises(ProbeError, match=f"'log_g' has one value in all of {split}"):
        finetune(settings(folder, tmp_path))


def test_another_seed_of_the_head_leaves_the_noise(survey, tmp_path):
    """So that repeats over seeds are scored on the same test spectra, and pair with cached rows."""
    one, other = (request_of(settings(survey, tmp_path, seed=seed)) for seed in (0, 5))
    assert one.seed == other.seed == 0
    assert request_of(settings(survey, tmp_path, noise_seed=5)).seed == 5


@pytest.mark.parametrize("engine", ["fast", "plain"])
@pytest.mark.parametrize("direction", ["forward", "backward", "mean", "concat"])
def test_features_of_the_frozen_module_are_those_of_the_store(survey, tmp_path, engine, direction):
    module, data, context = opened(settings(survey, tmp_path, engine=engine, direction=direction))
    found = stores(survey, tmp_path, directions=("forward", "backward"), draws=2)
    for split, per_draw in found.items():
        for draw, store in enumerate(per_draw):
            ours = all_features(module.features, data, split, draw=draw)
            np.testing.assert_allclose(ours, store.features(LAYER, POOLING, direction), atol=1e-5)
    context.__exit__(None, None, None)


@pytest.mark.parametrize(
    "changes",
    [{"noise": "none"}, {"noise_level": 0.5, "seed": 7}, {"error_input": "shuffled"}, {"mask": True}],
)
def test_what_the_network_is_fed_is_what_the_store_was_made_from(survey, tmp_path, changes):
    if "mask" in changes:
        changes = {"mask": tmp_path / "mask.npy"}
        np.save(changes["mask"], np.arange(256) % 5 > 0)
    asked = {"noise_seed" if name == "seed" else name: value for name, value in changes.items()}
    module, data, context = opened(settings(survey, tmp_path, **asked))
    for split, (store, *_) in stores(survey, tmp_path, **changes).items():
        ours = all_features(module.features, data, split)
        np.testing.assert_allclose(ours, store.features(LAYER, POOLING), atol=1e-5)
    context.__exit__(None, None, None)


@pytest.mark.parametrize("n_draws", [1, 3])
@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_the_learning_curve_is_that_of_the_cached_head(survey, tmp_path, n_draws, scaling):
    asked = settings(
        survey,
        tmp_path,
        train_draws=str(n_draws),
        max_epochs=12,
        dropout=0.3,
        label_scaling=scaling,
        seed=3,
        noise_seed=3,
    )
    name = finetune(asked)
    found = stores(survey, tmp_path, draws=n_draws, seed=3)

    def arrays(split, n):
        return (
            np.concatenate([store.features(LAYER, POOLING) for store in found[split][:n]]),
            np.concatenate([store.labels("log_g") for store in found[split][:n]]),
        )

    X, y = arrays("train", n_draws)
    X_val, y_val = arrays("val", 1)
    head = MLP(
        (16,),
        dropout=0.3,
        max_epochs=12,
        batch_size=16,
        learning_rate=1e-2,
        label_scaling=scaling,
        seed=3,
        augment="draw_per_epoch" if n_draws > 1 else "none",
    )
    stars = np.concatenate([store.stars for store in found["train"]])
    head.fit(X, y, X_val=X_val, y_val=y_val, groups=stars)
    curve = read_arrays(tmp_path / "results", name)
    assert sorted(curve) == sorted(head.arrays_)
    for column, values in head.arrays_.items():
        np.testing.assert_allclose(curve[column], values, rtol=2e-4, atol=2e-4, err_msg=column)
    assert read_record(tmp_path / "results", name).result["chosen"] == head.chosen_
    held_out = read_predictions(tmp_path / "results", name)
    test = held_out["split"] == "test"
    np.testing.assert_allclose(held_out["y_hat"][test], head.predict(arrays("test", 1)[0]), atol=2e-3)


def test_a_frozen_encoder_is_untouched_to_the_bit(survey, tmp_path):
    before = load_encoder(CHECKPOINT, YAML)
    finetune(settings(survey, tmp_path))
    (folder,) = (tmp_path / "finetune").iterdir()
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in before.state_dict().items():
        assert torch.equal(state[f"features.encoder.{name}"], tensor), name
    assert not (folder / "encoder.ckpt").exists()


@pytest.mark.parametrize("norm", ["batch", "stored"])
def test_a_learning_encoder_changes_up_to_its_layer(survey, tmp_path, norm):
    before = load_encoder(CHECKPOINT, YAML)
    name = finetune(settings(survey, tmp_path, freeze_encoder=False, encoder_norm=norm))
    (folder,) = (tmp_path / "finetune").iterdir()
    after = load_encoder(folder / "encoder.ckpt")
    record = read_record(tmp_path / "results", name)
    assert record.result["weights"] == weights_digest(before)
    assert record.result["encoder_after"] == weights_digest(after) != weights_digest(before)
    depth, old = before.config.num_layers, before.state_dict()
    for key, tensor in after.state_dict().items():
        learns = key.startswith(tuple(f"encoders.{k}." for k in range(depth)))
        counted = norm == "batch" or not key.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(tensor, old[key]) != (learns and counted), key


def test_a_fine_tuned_encoder_can_be_extracted_from(survey, tmp_path):
    name = finetune(settings(survey, tmp_path, freeze_encoder=False))
    (folder,) = (tmp_path / "finetune").iterdir()
    asked = request(survey, tmp_path, checkpoint=str(folder / "encoder.ckpt"), config_model=None)
    (store,) = extract_features(asked)["test"]
    told = FeatureStore.open(store).provenance["encoder"]["weights"]
    assert told == read_record(tmp_path / "results", name).result["encoder_after"]


@pytest.mark.parametrize(
    ("changes", "epoch"),
    [
        ({}, 0),
        ({}, 5),
        ({"freeze_encoder": False}, 2),
        ({"pooling": "attention_K4", "direction": "concat", "train_draws": "2"}, 2),
    ],
)
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(survey, tmp_path, monkeypatch, changes, epoch):
    changes = {"max_epochs": 6, "dropout": 0.2, "plateau_patience": 1, **changes}
    whole = finetune(settings(survey, tmp_path / "whole", **changes))
    with monkeypatch.context() as patch:
        cut_off_after(patch, epoch)
        with pytest.raises(CutOff):
            finetune(settings(survey, tmp_path / "cut", **changes))
    assert not (tmp_path / "cut/results").exists()
    assert finetune(settings(survey, tmp_path / "cut", **changes)) == whole
    one, other = (read_record(tmp_path / where / "results", whole) for where in ("whole", "cut"))
    assert one.result == other.result
    for read in (read_arrays, read_predictions):
        one, other = (read(tmp_path / where / "results", whole) for where in ("whole", "cut"))
        assert sorted(one) == sorted(other)
        for column, values in one.items():
            np.testing.assert_array_equal(values, other[column], err_msg=column)


def test_the_logs_of_a_resumed_training_stand_beside_the_first(survey, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        cut_off_after(patch, 1)
        with pytest.raises(CutOff):
            finetune(settings(survey, tmp_path, logger=("csv",)))
    finetune(settings(survey, tmp_path, logger=("csv",)))
    logs = sorted((tmp_path / "finetune").rglob("metrics.csv"))
    assert [path.parent.name for path in logs] == ["version_0", "version_1"]
    tables = [csv.DictReader(path.read_text().splitlines()) for path in logs]
    epochs = [[float(row["epoch"]) for row in table] for table in tables]
    assert epochs == [[0, 1], [2, 3]]


def test_a_broken_state_is_told(survey, tmp_path, monkeypatch):
    cut_off_after(monkeypatch, 1)
    with pytest.raises(CutOff):
        finetune(settings(survey, tmp_path))
    (folder,) = (tmp_path / "finetune").iterdir()
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:1000])
    with pytest.raises(Damaged, match="not a whole training state"):
        finetune(settings(survey, tmp_path))


def test_what_is_on_record_is_not_trained_again_unless_asked(survey, tmp_path, capsys):
    name = finetune(settings(survey, tmp_path))
    first = read_record(tmp_path / "results", name)
    shutil.rmtree(tmp_path / "finetune")
    assert finetune(settings(survey, tmp_path, threads=2, out=tmp_path / "elsewhere")) == name
    assert "is on record" in capsys.readouterr().out
    assert not (tmp_path / "elsewhere").exists()
    assert finetune(settings(survey, tmp_path, refit=True)) == name
    again = read_record(tmp_path / "results", name)
    assert (again.result, again.run["time"] >= first.run["time"]) == (first.result, True)


@pytest.mark.parametrize("alias", ["pool_3", "dec_input"])
def test_an_alias_of_the_layer_names_the_same_record(survey, tmp_path, capsys, alias):
    layer = {"pool_3": "enc_pre_latent", "dec_input": "enc_last"}[alias]
    name = finetune(settings(survey, tmp_path, encoder_layer=layer, max_epochs=1))
    assert finetune(settings(survey, tmp_path, encoder_layer=alias, max_epochs=1)) == name
    assert "is on record" in capsys.readouterr().out
    (part,) = read_record(tmp_path / "results", name).spec["features"]["parts"]
    assert part["layer"] == layer


def test_training_stops_when_val_r2_has_stalled(survey, tmp_path):
    name = finetune(settings(survey, tmp_path, max_epochs=60, patience=2, lr=0.3))
    curve = read_arrays(tmp_path / "results", name)
    best = int(np.argmax(curve["history_val_r2"]))
    assert len(curve["history_epoch"]) == best + 3 < 60
    assert read_record(tmp_path / "results", name).result["chosen"] == {"best_epoch": best}


def test_several_labels_share_a_head(survey, tmp_path):
    name = finetune(
        settings(survey, tmp_path, labels=("T_eff", "log_g"), architecture="mlp_2", hidden_dim=(12,))
    )
    record = read_record(tmp_path / "results", name)
    assert record.spec["params"]["hidden"] == [12, 3]
    assert set(record.result["scores"]["test"]) == {"T_eff", "log_g"}
    assert {"y_T_eff", "y_hat_log_g"} <= set(read_predictions(tmp_path / "results", name))
    assert read_arrays(tmp_path / "results", name)["history_val_r2"].shape == (4, 2)


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"labels": ("M_H",)}, UnknownName, "unknown label of the train file .* 'M_H'; known: T_eff, log_g"),
        ({"labels": ("snr",)}, InputError, "label snr is NaN or infinite in 40 of 40 rows of train"),
        ({"labels": ("log_g", "log_g")}, ConfigError, "each once"),
        ({"encoder_layer": "enc_99"}, UnknownName, "unknown layer 'enc_99'"),
        ({"pooling": "attention_8"}, UnknownName, "known: global_mean, .*attention_K<number>"),
        ({"pooling": "attention_K99"}, Exception, "99 segments asked of a feature map"),
        ({"precision": "64-true"}, UnknownName, "32-true, bf16-mixed"),
        ({"architecture": "mlp_3"}, UnknownName, "mlp_1, mlp_2"),
        ({"hidden_dim": (8, 4)}, ConfigError, "mlp_1 has 1 hidden"),
        ({"lr": 0.0}, ConfigError, "lr 0.0: out of range"),
        ({"train_draws": "few"}, ConfigError, "fresh, or a number"),
        ({"mask_ratio": 0.8}, ConfigError, "--mask FILE.npy"),
        (
            {"model": {"num_layers": 9, "embed_dim": 48, "kernel_size": 25}},
            CheckpointError,
            "num_layers is 9 in the YAML",
        ),
        ({"encoder_ckpt": "nowhere.ckpt"}, CheckpointError, "nowhere.ckpt"),
        ({"config_model": None}, ConfigError, "nothing states what they hold"),
        ({"data": None}, ConfigError, "no data of train, val, test"),
        ({"train": "a.h5"}, ConfigError, "either --data, or"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_training(survey, tmp_path, changes, kind, told):
    with pytest.raises(kind, match=told):
        finetune(settings(survey, tmp_path, **changes))
    assert not (tmp_path / "finetune").exists()


def test_a_strategy_that_lightning_does_not_know_is_told(survey, tmp_path):
    with pytest.raises(ConfigError, match="--strategy nonsense on 1 cpu: Lightning says"):
        finetune(settings(survey, tmp_path, strategy="nonsense"))


def test_a_star_in_two_splits_is_refused(tmp_path):
    folder = write_survey(tmp_path / "survey")
    with (
        h5py.File(folder / "train/dataset.h5") as source,
        h5py.File(folder / "test/dataset.h5", "r+") as target,
    ):
        target["dataset/arrays/flux/value"][3] = source["dataset/arrays/flux/value"][5]
    with pytest.raises(LeakError, match="1 stars stand in both"):
        finetune(settings(folder, tmp_path))


def test_batches_without_labels_or_noise_level_are_refused(survey, tmp_path):
    module, data, context = opened(settings(survey, tmp_path, noise_level=0.5))
    (batch, *_) = data.in_order("val")
    assert batch.noise_level == 0.5
    assert module.checked(batch).shape == (12, 1)
    for y in (None, batch.y[:3], batch.y[:, [0, 0]]):
        with pytest.raises(ProbeError, match="expected log_g for each"):
            module.training_step(TrainingBatch(batch.x, y, 0.5), 0)
    with pytest.raises(ProbeError, match="not finite in 12 of 12"):
        module.training_step(TrainingBatch(batch.x, batch.y * np.nan, 0.5), 0)
    for level in (None, 1.0):
        with pytest.raises(ProbeError, match=r"asked for 0\.5; pass the level on"):
            module.training_step(TrainingBatch(batch.x, batch.y, level), 0)
    context.__exit__(None, None, None)


def test_only_the_first_rows_of_train_and_test(survey, tmp_path):
    name = finetune(settings(survey, tmp_path, num_samples=20, num_test_samples=5))
    record = read_record(tmp_path / "results", name)
    assert record.result["n_rows"] == {"train": 20, "val": 12, "test": 5}
    assert (record.spec["train_size"], record.spec["test_size"]) == (20, 5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("engine", ["fast", "plain"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_gpu_trains_as_the_processor_does(survey, tmp_path, frozen, engine):
    """Without dropout, whose units are drawn on the device. Adam enlarges the rounding of small gradients: learning
    encoders differ by 0.002 from run to run on one GPU."""
    asked = {"freeze_encoder": frozen, "engine": engine, "dropout": 0.0, "direction": "concat"}
    (tmp_path / "cpu").mkdir()
    within = 2e-3 if frozen else 2e-2
    name = finetune(settings(survey, tmp_path / "cpu", **asked))
    assert finetune(settings(survey, tmp_path / "cuda", device="cuda", **asked)) == name
    here, there = (read_arrays(tmp_path / where / "results", name) for where in ("cuda", "cpu"))
    for column, values in there.items():
        np.testing.assert_allclose(here[column], values, rtol=within, atol=within, err_msg=column)
    if frozen:  # else two epochs of nearly the same val R2 can change places, and the chosen one is scored
        here, there = (read_predictions(tmp_path / where / "results", name) for where in ("cuda", "cpu"))
        np.testing.assert_allclose(here["y_hat"], there["y_hat"], atol=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_training_on_a_gpu_that_was_cut_off_goes_on_to_the_same_curve(survey, tmp_path, monkeypatch):
    changes = {"max_epochs": 6, "dropout": 0.2, "device": "cuda", "freeze_encoder": False}
    whole = finetune(settings(survey, tmp_path / "whole", **changes))
    with monkeypatch.context() as patch:
        cut_off_after(patch, 2)
        with pytest.raises(CutOff):
            finetune(settings(survey, tmp_path / "cut", **changes))
    assert finetune(settings(survey, tmp_path / "cut", **changes)) == whole
    one, other = (read_arrays(tmp_path / where / "results", whole) for where in ("whole", "cut"))
    for column, values in one.items():
        np.testing.assert_allclose(values, other[column], rtol=2e-2, atol=2e-2, err_msg=column)


def test_a_random_encoder_is_a_control(survey, tmp_path):
    name = finetune(settings(survey, tmp_path, encoder_ckpt="random:0"))
    record = read_record(tmp_path / "results", name)
    assert (record.spec["control"], record.spec["encoder"]["origin"]) == ("random_encoder", "random:0")


def test_an_encoder_in_training_mode_learns_and_a_frozen_one_stays_in_eval():
    encoder = load_encoder(CHECKPOINT, YAML)
    for frozen in (True, False):
        features = EncoderFeatures(
            encoder,
            FeatureChoice(layer="enc_1", pooling="mean_max", direction="forward"),
            frozen=frozen,
            engine="plain",
            n_threads=1,
        ).train()
        assert encoder.training != frozen
        x = torch.rand(3, 2, 64)
        assert features(x).requires_grad != frozen
        assert len(features.used_blocks()) == 2
    with pytest.raises(UnknownName, match="unknown direction 'up'"):
        _ = FeatureChoice(layer="enc_1", pooling="mean_max", direction="up").streams
