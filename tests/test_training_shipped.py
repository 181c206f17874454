"""The shipped small encoder: its three files belong together, and it denoises."""

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
MOST_BYTES = 2_000_000  # issue 2, item 10


@pytest.fixture(scope="module")
def record():
    return read_sealed(SHIPPED / "mock_small.json")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(SHIPPED / "mock_small.ckpt", SHIPPED / "mock_small.yaml")


def test_weights_yaml_and_record_are_of_one_network(encoder, record):
    assert weights_digest(encoder) == record["weights"]
    assert encoder.config == Recipe(**record["recipe"]).model_config()
    assert encoder.assumed == ()
    assert load_encoder(SHIPPED / "mock_small.ckpt").config == encoder.config
    assert (SHIPPED / "mock_small.ckpt").stat().st_size < MOST_BYTES


def test_make_pretrain_follows_the_recorded_recipe(record):
    settings = PretrainSettings.parse(["--config", str(ROOT / "configs" / "pretrain.yaml")], prog="test")
    assert settings.recipe().to_json() == record["recipe"]
    assert (settings.threads, settings.val_stars) == (record["threads"], record["val_stars"])


def test_it_denoises_stars_that_it_has_never_seen(encoder, record):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = reconstruction(encoder, Recipe(**record["recipe"]).stars("pretrain-val").make(0, 64))
    torch.set_num_threads(threads)
    # the mean star alone would reach 25
    assert found.denoised > 3 * 25
    assert 4 < found.noisy < 8


def test_the_document_states_the_recorded_numbers(record):
    document = (ROOT / "docs" / "pretraining.md").read_text(encoding="utf-8")
    for name in ("denoised", "mu", "noisy"):
        assert f"{record['result'][f'val_snr_{name}']:.1f}" in document
    assert f"{record['parameters']:,}" in document
