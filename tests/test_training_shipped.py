"""The shipped encoders: the three files of each belong together, and it denoises."""

from pathlib import Path

import pytest
import torch

from cache.canonical import read_sealed
from extract.checkpoint import load_encoder, weights_digest
from extract.training.command import PretrainSettings
from extract.training.recipe import Recipe
from extract.training.reconstruction import reconstruction

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "extract" / "shipped"
MOST_BYTES = {"mock_small": 2_000_000, "mock_reference": 8_000_000}
RECIPES = {"mock_small": "pretrain.yaml", "mock_reference": "pretrain_reference.yaml"}
MEAN_STAR = 25  # reconstruction S/N of the mean star


@pytest.fixture(scope="module", params=list(MOST_BYTES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def record(name):
    return read_sealed(SHIPPED / f"{name}.json")


@pytest.fixture(scope="module")
def encoder(name):
    return load_encoder(SHIPPED / f"{name}.ckpt", SHIPPED / f"{name}.yaml")


def test_weights_yaml_and_record_are_of_one_network(name, encoder, record):
    assert weights_digest(encoder) == record["weights"]
    assert encoder.config == Recipe(**record["recipe"]).model_config()
    assert encoder.assumed == ()
    assert load_encoder(SHIPPED / f"{name}.ckpt").config == encoder.config
    assert (SHIPPED / f"{name}.ckpt").stat().st_size < MOST_BYTES[name]


def test_the_reference_encoder_has_the_size_of_the_groups():
    parameters = load_encoder(SHIPPED / "mock_reference.ckpt").parameters()
    assert sum(parameter.numel() for parameter in parameters) == 1_889_670


def test_the_recipe_is_the_recorded_one(name, record):
    settings = PretrainSettings.parse(["--config", str(ROOT / "configs" / RECIPES[name])], prog="test")
    assert settings.recipe().to_json() == record["recipe"]
    assert (settings.threads, settings.val_stars) == (record["threads"], record["val_stars"])


def test_it_denoises_stars_that_it_has_never_seen(encoder, record):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = reconstruction(encoder, Recipe(**record["recipe"]).stars("pretrain-val").make(0, 48))
    torch.set_num_threads(threads)
    assert found.denoised > 3 * MEAN_STAR
    assert 4 < found.noisy < 8


def test_the_document_states_the_recorded_numbers(record):
    document = (ROOT / "docs" / "pretraining.md").read_text(encoding="utf-8")
    for name in ("denoised", "mu", "noisy"):
        assert f"{record['result'][f'val_snr_{name}']:.1f}" in document
    assert f"{record['parameters']:,}" in document
