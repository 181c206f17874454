"""The pieces of end-to-end training: attention, batches, order, the group's YAML, the record and its comparison."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from finetune_fakes import settings
from survey_fakes import CHECKPOINT, LAYER, POOLING, YAML, request

from cache.commandline import main
from cache.errors import CheckpointError, ConfigError
from cache.records import read_predictions, read_record, read_records
from extract.chosen_encoder import SHIPPED_FILES, SHIPPED_FOLDER
from extract.cli import VERBS
from extract.model_yaml import config_from_yaml
from extract.noise import standard_normal
from extract.pooling import pool
from extract.training.attention import AttentionPooling, attention_heads
from extract.training.finetune_command import FinetuneSettings
from extract.training.finetune_data import BatchMaker, ahead, load_splits
from extract.training.finetune_order import EpochBatches
from extract.training.finetune_record import HELD_OUT
from extract.training.finetune_request import recipe_of, request_of
from extract.training.finetune_rows import choose_rows
from extract.training.finetune_run import finetune
from extract.training.finetune_yaml import check_model, settings_from
from probes import scoring
from probes.compare_command import CompareSettings
from probes.compare_command import run as compare

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "configs/logg_from_encoder.yaml"


@pytest.mark.parametrize(("n_cells", "n_heads"), [(16, 8), (13, 4), (5, 1)])
def test_attention_starts_near_segment_means_in_their_order(n_cells, n_heads):
    feature_map = torch.randn(3, 6, n_cells, generator=torch.Generator().manual_seed(0))
    attention = AttentionPooling(6, n_cells, n_heads)
    weights = attention.weights(feature_map)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, n_heads))
    with torch.no_grad():
        attention.bias.clamp_(max=0.0)[attention.bias < 0] = -1e4  # nothing outside
    torch.testing.assert_close(attention(feature_map), pool(feature_map, f"seg_mean_K{n_heads}"))


def test_attention_is_a_weighted_mean_cell_by_cell():
    generator = torch.Generator().manual_seed(1)
    feature_map = torch.randn(2, 3, 5, generator=generator)
    attention = AttentionPooling(3, 5, 2)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_(generator=generator)
    found = attention(feature_map).detach()
    for row in range(2):
        for head in range(2):
            scores = [
                float(attention.query[head].detach() @ feature_map[row, :, cell]) / 3**0.5
                + float(attention.bias[head, cell].detach())
                for cell in range(5)
            ]
            weights = np.exp(scores) / np.exp(scores).sum()
            mean = sum(w * feature_map[row, :, cell].numpy() for cell, w in enumerate(weights))
            np.testing.assert_allclose(found[row, 3 * head : 3 * head + 3], mean, rtol=1e-5)
    assert (
        attention_heads("attention_K12"),
        attention_heads("seg_mean_K8"),
        attention_heads("attention_K0"),
    ) == (12, None, None)


def test_noise_is_fresh_in_every_epoch_and_keyed(survey, tmp_path):
    from extract.prepare import prepare

    asked = settings(survey, tmp_path, noise_level=0.5, noise_seed=4)
    recipe = recipe_of(asked)
    with prepare(request_of(asked)) as prepared:
        source = load_splits(prepared, recipe.labels, choose_rows(prepared, recipe.labels, {}).rows)["train"]
        maker, order = BatchMaker(prepared, source), EpochBatches(recipe, source)
        for epoch in (2, 0):
            for places, draw in order.places(epoch):
                batch = maker.make(places, draw)
                rows = source.spectra.rows[places]
                z = standard_normal(seed=4, split="train", rows=rows, draw=epoch, n_pixels=256)
                expected = source.spectra.flux[places] + z * source.spectra.error[places]
                np.testing.assert_array_equal(batch.x[:, 0], expected)
                np.testing.assert_array_equal(batch.x[:, 1], source.spectra.error[places])
                np.testing.assert_array_equal(batch.y, source.y[places])


class Source:
    """So many stars, each once."""

    def __init__(self, n):
        self.stars = np.random.default_rng(0).permutation(n).astype(np.uint64)

    def __len__(self):
        return len(self.stars)


@pytest.mark.parametrize("draws", ["fresh", "1", "3"])
def test_every_epoch_visits_every_star_once_in_an_order_of_its_own(survey, tmp_path, draws):
    recipe = recipe_of(settings(survey, tmp_path, train_draws=draws))
    order = EpochBatches(recipe, Source(37))
    epochs = [order.places(epoch) for epoch in range(5)]
    assert [len(batches) for batches in epochs] == [3] * 5 == [order.n_batches] * 5
    for epoch, batches in enumerate(epochs):
        assert sorted(np.concatenate([places for places, _ in batches])) == list(range(37))
        assert {draw for _, draw in batches} == {epoch if draws == "fresh" else epoch % int(draws)}
        alone = EpochBatches(recipe, Source(37)).places(epoch)  # as a resumed training asks
        for (one, _), (other, _) in zip(batches, alone, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(epochs[0][0][0], epochs[1][0][0])


def test_processes_share_each_batch_and_make_equally_many_steps(survey, tmp_path):
    order = EpochBatches(recipe_of(settings(survey, tmp_path)), Source(33))
    whole = order.places(0)
    shares = [order.places(0, rank=rank, world=2) for rank in range(2)]
    assert [len(share) for share in shares] == [2, 2]  # the batch of one row is left out
    for (places, _), *parts in zip(whole, *shares, strict=False):
        assert sorted(places) == sorted(np.concatenate([part for part, _ in parts]))


@pytest.mark.parametrize("n_threads", [0, 1, 3])
def test_work_ahead_keeps_the_order(n_threads):
    assert list(ahead(lambda k: k * k, range(20), n_threads=n_threads)) == [k * k for k in range(20)]
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda k: 1 // (5 - k), range(20), n_threads=n_threads))


def test_the_groups_sections_become_settings():
    content = yaml.safe_load(YAML.read_text()) | {
        "logg_head": {"encoder_layer": "enc_last", "hidden_dim": 64},
        "opt": {"type": "AdamW", "lr": 0.002, "lr_sch": "plateau", "factor": 0.8, "patience": 50},
        "loss": {"name": "MSE"},
        "labels": ["T_eff"],
        "encoder-lr": 1e-5,
    }
    found = settings_from(content, YAML)
    assert found["model"]["embed_dim"] == 8
    expected = {
        "encoder_layer": "enc_last",
        "hidden_dim": 64,
        "lr": 0.002,
        "plateau_factor": 0.8,
        "plateau_patience": 50,
        "max_epochs": 10000,
        "workers": 24,
        "num_samples": 100000,
        "noise_level": 1,
        "mask_ratio": 1,
        "train": "TRAIN/dataset.h5",
        "test": "TEST/dataset.h5",
        "labels": ["T_eff"],
        "encoder_lr": 1e-5,
        "project": "blindspot",
    }
    assert expected.items() <= found.items()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"train": {"epochz": 3}}, "unknown key train.epochz; known: batch_size"),
        ({"loss": {"name": "T1"}}, "loss.name is 'T1'; done here: mse"),
        ({"opt": {"lr_sch": "cosine"}}, "opt.lr_sch is 'cosine'"),
        ({"train": {"lr": 1e-3}, "opt": {"lr": 1e-2}}, "says lr twice: 0.001 and 0.01"),
        ({"logg_head": 3}, "section 'logg_head' is 3"),
    ],
)
def test_yaml_that_means_something_else_is_refused(content, told):
    with pytest.raises(ConfigError, match=told):
        settings_from(content, Path("x.yaml"))


def test_printed_settings_are_read_back(tmp_path, capsys):
    argv = [
        "finetune",
        "--config",
        str(DOCUMENT),
        "--labels",
        "T_eff,log_g",
        "--no-freeze-encoder",
        "--print-config",
    ]
    assert main("extract", VERBS, argv) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert main("extract", VERBS, ["finetune", "--config", str(printed), "--print-config"]) == 0
    assert capsys.readouterr().out == printed.read_text()
    assert yaml.safe_load(printed.read_text())["model"] == yaml.safe_load(DOCUMENT.read_text())["model"]
    printed.write_text("bogus: 1\n")
    assert main("extract", VERBS, ["finetune", "--config", str(printed)]) == 2
    assert "unknown settings ['bogus']" in capsys.readouterr().err


def test_the_model_section_must_describe_the_checkpoint():
    from extract.checkpoint import load_encoder

    found = load_encoder(CHECKPOINT, YAML).config
    told = {"num_layers": 4, "embed_dim": 8, "kernel_size": 5, "input_sigma": True}
    check_model(told, found, "x.ckpt")
    for wrong in ({"kernel_size": 25}, {"input_sigma": False}, {"sigma_input_mode": "L0"}, {"dilation": 2}):
        with pytest.raises(CheckpointError, match="is not the encoder that the YAML describes"):
            check_model(told | wrong, found, "x.ckpt")


@pytest.mark.parametrize(
    ("kept", "stated"), [({"sigma_input_mode": "L0"}, None), ({"lr": 0.1}, "pixel"), (None, "pixel")]
)
def test_the_error_mode_of_the_model_section_gives_way_to_that_of_hyper_parameters(kept, stated, tmp_path):
    """The section's, where it names none, is the default of the group's code."""
    content = torch.load(CHECKPOINT, weights_only=True)
    content.pop("hyper_parameters", None)
    torch.save(content if kept is None else {**content, "hyper_parameters": kept}, tmp_path / "x.ckpt")
    asked = settings(tmp_path, tmp_path, config_model=None, encoder_ckpt=str(tmp_path / "x.ckpt"))
    files = {split: str(tmp_path / f"{split}.h5") for split in ("train", "val", "test")}
    told = {"num_layers": 4, "embed_dim": 8, "kernel_size": 5}
    request = request_of(asked.model_copy(update={"data": None, **files, "model": told}))
    assert request.error_mode == stated


def test_the_default_settings_are_the_documents():
    plain, document = (
        FinetuneSettings(),
        FinetuneSettings(**settings_from(yaml.safe_load(DOCUMENT.read_text()), DOCUMENT)),
    )
    assert plain.model_copy(update={"model": document.model}) == document


def test_the_example_of_the_help_names_an_encoder_that_its_yaml_describes():
    words = FinetuneSettings.__doc__.partition("Example: ")[2].split()
    config, checkpoint = (words[words.index(flag) + 1] for flag in ("--config", "--encoder-ckpt"))
    model = settings_from(yaml.safe_load((ROOT / config).read_text()), DOCUMENT)["model"]
    shipped = SHIPPED_FOLDER / f"{SHIPPED_FILES[checkpoint]}.yaml"
    check_model(model, config_from_yaml(shipped), checkpoint)


def test_records_pair_with_those_of_cached_probes(survey, tmp_path):
    from cache.selection import select
    from extract.pipeline import extract_features
    from probes.features import FeaturePart
    from probes.runner import run_probe, store_result
    from probes.spec import ProbeRequest

    name = finetune(settings(survey, tmp_path, max_epochs=2))
    selection = select(tmp_path / "features", extract_features(request(survey, tmp_path)), encoder="small")
    views = {split: selection.views(split, ((LAYER, "forward", POOLING),)) for split in selection.splits}
    asked = ProbeRequest(
        features=(FeaturePart(layer=LAYER, pooling=POOLING),),
        head="mlp_1",
        labels=("log_g",),
        params={"max_epochs": 2},
    )
    cached = store_result(tmp_path / "results", run_probe(asked, views))
    ours, theirs = (read_record(tmp_path / "results", each) for each in (name, cached))
    assert set(theirs.spec) - set(ours.spec) == {"family", "stores"}
    assert set(ours.result) - set(theirs.result) == {"encoder_after"}
    assert set(theirs.result) <= set(ours.result)
    assert (
        ours.result["intervals"]["test"]["log_g"].keys() == theirs.result["intervals"]["test"]["log_g"].keys()
    )
    one, other = (read_predictions(tmp_path / "results", each) for each in (name, cached))
    assert list(one) == list(other)
    for column in set(one) - {"y_hat"}:
        np.testing.assert_array_equal(one[column], other[column])
    compare(CompareSettings(results=tmp_path / "results"))
    (compared,) = [r for r in read_records(tmp_path / "results") if r.kind == "comparison"]
    assert sorted(compared.result["runs"]) == sorted([name, cached])


def test_names_that_records_share_with_probes():
    assert HELD_OUT == scoring.HELD_OUT


def small(tmp_path):
    """The document's YAML for the tiny network, and the flags that every command line of the tests needs."""
    content = yaml.safe_load(DOCUMENT.read_text())
    content["model"] |= {"num_layers": 4, "embed_dim": 8, "kernel_size": 5}
    content["logg_head"] |= {"pooling": POOLING}
    path = tmp_path / "logg.yaml"
    path.write_text(yaml.safe_dump(content))
    folders = [
        f"--{name}={tmp_path / name}" for name in ("out", "results", "features", "encoders", "digests")
    ]
    return [
        "finetune",
        "--config",
        str(path),
        "--encoder-ckpt",
        str(CHECKPOINT),
        "--max-epochs",
        "2",
        *folders,
    ]


@pytest.mark.parametrize("flag", ["--freeze-encoder", "--no-freeze-encoder"])
def test_the_documents_command_lines(survey, tmp_path, capsys, flag):
    argv = [*small(tmp_path), flag, "--data", str(survey), "--device", "cpu"]
    assert main("extract", VERBS, argv) == 0, capsys.readouterr().err
    (record,) = read_records(tmp_path / "results")
    assert record.spec["params"]["freeze_encoder"] == (flag == "--freeze-encoder")
    assert "log_g: val R2" in capsys.readouterr().out
    (metrics,) = (tmp_path / "out").rglob("metrics.csv")
    header = metrics.read_text().splitlines()[0]
    assert {"val/r2", "val/rmse", "val/mae", "val/loss", "train/loss", "train/rmse"} <= set(header.split(","))


def test_other_logs_are_written_without_an_account(survey, tmp_path):
    for package in ("wandb", "tensorboard"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'blindspot-probes[train]'")
    flags = (
        "--freeze-encoder",
        "--wandb",
        "--logger",
        "csv,tensorboard",
        "--data",
        str(survey),
        "--device",
        "cpu",
    )
    command = [sys.executable, "-m", "extract", *small(tmp_path), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    for pattern in ("offline-run-*/*.wandb", "events.out.tfevents.*", "metrics.csv"):
        assert list((tmp_path / "out").rglob(pattern)), pattern


def test_a_package_that_is_not_installed_is_named(survey, tmp_path, monkeypatch):
    from extract.training import finetune_command

    monkeypatch.setattr(finetune_command, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"extract finetune needs lightning, .*pip install"):
        finetune_command.run(settings(survey, tmp_path))
    with pytest.raises(ConfigError, match="--wandb needs wandb"):
        finetune(settings(survey, tmp_path, wandb=True))


def test_help_of_extract_imports_no_lightning():
    code = (
        "import sys; from extract.cli import VERBS; [verb.load() for verb in VERBS.values()]; "
        "print('lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
