"""The memory of blocks, told before anything is computed."""

import itertools

import pytest
from survey_fakes import request

from extract import estimate
from extract.block_memory import available_bytes, held_bytes, memory_lines
from extract.estimate import estimate as estimated
from extract.pipeline import extract_features
from extract.prepare import prepare


def told(*args, **changes):
    with prepare(request(*args, **changes)) as prepared:
        return estimated(prepared, "x")


@pytest.mark.parametrize(
    ("draws", "block_rows", "scheduler"), list(itertools.product((1, 3), (2, 16), ("local", "processes")))
)
def test_it_is_that_of_the_features_of_three_blocks_of_all_draws(
    survey, tmp_path, draws, block_rows, scheduler
):
    asked = {"draws": draws, "block_rows": block_rows, "layers": ("input_flux",), "poolings": ("none",)}
    found = told(survey / "test/dataset.h5", tmp_path, scheduler=scheduler, jobs=2, **asked)
    processes = 2 if scheduler == "processes" else 1
    assert found.memory == 4 * draws * 256 * block_rows * min(16 // block_rows, 3 * processes)
    assert found.to_json()["memory"] == found.memory


def test_a_store_that_is_there_takes_none(survey, tmp_path):
    extract_features(request(survey / "test/dataset.h5", tmp_path))
    found = told(survey / "test/dataset.h5", tmp_path)
    assert found.memory == 0
    assert not any("in memory" in line for line in found.lines())


def test_too_much_is_told_with_what_to_do(survey, tmp_path, monkeypatch):
    assert available_bytes() > 0
    assert not any(line.startswith("note:") for line in told(survey / "test/dataset.h5", tmp_path).lines())
    monkeypatch.setattr(estimate, "available_bytes", lambda: 10)
    lines = list(told(survey / "test/dataset.h5", tmp_path).lines())
    assert any("10 bytes of memory are left" in line and "--block-rows" in line for line in lines)
    assert memory_lines(held_bytes(0, blocks=3, processes=1), 0) == []
