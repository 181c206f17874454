"""The published numbers: complete, apart from ours, and equal to their sources where those are at hand."""

import re
from pathlib import Path

import pytest

from reports.published import FINISHED, PUBLISHED, UNFINISHED, final_score, published

SHARED = Path(__file__).parents[2] / "shared"
needs_sources = pytest.mark.skipif(
    not SHARED.exists(), reason="the source documents are not beside this checkout"
)


def test_no_number_stands_twice_under_one_source():
    keys = [(p.label, p.layer, p.pooling, p.head, p.split, p.metric, p.epoch, p.source) for p in PUBLISHED]
    assert len(keys) == len(set(keys)) == 6 * 4 + 10 + 4 + 4 * 6 + 2


def test_validation_and_test_scores_stay_apart():
    scores = published("log_g", layer="enc_pre_latent", pooling="seg_mean_K8", head="mlp_1")
    assert final_score(scores, "test", "r2") == 0.6117
    assert final_score(scores, "val", "r2") == 0.5979
    assert not [p for p in scores if p.source == UNFINISHED and p.split == "test"]


def test_progress_is_not_a_result():
    progress = [p for p in PUBLISHED if p.source == UNFINISHED]
    assert progress
    assert final_score(progress, "val", "r2") is None
    assert {p.epoch for p in progress} == {0, 1, 2, 3, 4}
    assert [p.epoch for p in PUBLISHED if p.source == FINISHED and p.split == "val"] == [47]


def test_losses_are_squares_of_their_rmse():
    by_key = {(p.epoch, p.split, p.metric): p.value for p in PUBLISHED if p.source == UNFINISHED}
    for (epoch, split, metric), value in by_key.items():
        if metric == "loss":
            assert by_key[epoch, split, "rmse"] ** 2 == pytest.approx(value, rel=0.01)


def test_unknown_configurations_have_none():
    assert published("log_g", layer="enc_3", pooling="seg_mean_K8", head="ridge") == ()
    assert final_score((), "test", "r2") is None


@needs_sources
def test_ridge_table_equals_its_source():
    lines = re.findall(
        r"\| (enc_\w+) \| (\w+) \| \d+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|",
        (SHARED / "REFERENCE.md").read_text(),
    )
    assert len(lines) == 6
    for layer, pooling, *values in lines:
        scores = published("log_g", layer=layer, pooling=pooling, head="ridge")
        asked = (("train", "r2"), ("test", "r2"), ("test", "mae"), ("test", "rmse"))
        assert [final_score(scores, split, metric) for split, metric in asked] == [
            float(value) for value in values
        ]


@needs_sources
def test_epochs_equal_table_6_3_of_the_report():
    text = (SHARED / "source_report.md").read_text().split("## 6.3")[1]
    lines = re.findall(r"^\| (\d) \|(.*)\|$", text, flags=re.MULTILINE)[:4]
    assert [int(epoch) for epoch, _ in lines] == [0, 1, 2, 3]
    for epoch, rest in lines:
        values = [float(value.strip(" *")) for value in rest.split("|")]
        ours = [p.value for p in PUBLISHED if p.source == UNFINISHED and p.epoch == int(epoch)]
        assert [round(value, 3) for value in ours] == values
