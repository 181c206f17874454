"""The published check: each value beside ours of the same split, judged by intervals, mock never."""

from collections import Counter

import numpy as np
import pytest
from reports_fakes import finetuned, history, record, source_of

from reports.published import PUBLISHED, UNFINISHED
from reports.published_agreement import AGREES, CANNOT_TELL, DIFFERS, NOT_COMPARABLE, half_width
from reports.published_check import published_table

N = {"train": 100_000, "val": 1000, "test": 1000}


def real(r2, **changed):
    """A record like the published Ridge runs: real data, 100k stars of train, 1000 of test."""
    made = record(r2, data_kind="real", **changed)
    made.result.update(n=dict(N), n_rows=dict(N))
    return made


def lines(*records, arrays=None, label="log_g"):
    table = published_table(source_of(list(records), arrays), label)
    return {(row["layer"], row["pooling"], row["head"], row["quantity"]): row for row in table.rows}, table


def line_of(found, quantity="test R2", layer="enc_pre_latent", pooling="seg_mean_K8", head="ridge"):
    return found[layer, pooling, head, quantity]


@pytest.mark.parametrize(
    ("ours", "verdict"), [(0.5516, AGREES), (0.58, AGREES), (0.65, DIFFERS), (0.4, DIFFERS)]
)
def test_the_interval_of_the_difference_decides(ours, verdict):
    found, table = lines(real(ours))
    line = line_of(found)
    assert line["verdict"] == verdict
    assert line["difference"].value == pytest.approx(ours - 0.5516)
    width = np.hypot(0.03, half_width("r2", 0.5516, 1000))
    assert line["difference"].high - line["difference"].value == pytest.approx(width)
    counts = Counter(row["verdict"] for row in table.rows)
    told = ((counts[name], name) for name in (AGREES, DIFFERS, CANNOT_TELL, NOT_COMPARABLE))
    assert table.lead == (f"{'; '.join(f'{n} {name}' for n, name in told)}.",)


@pytest.mark.parametrize(
    ("ours", "width", "verdict"),
    [(0.55, 0.09, AGREES), (0.55, 0.1, CANNOT_TELL), (0.2, 0.4, CANNOT_TELL), (-0.2, 0.4, DIFFERS)],
)
def test_a_lack_of_power_is_no_agreement(ours, width, verdict):
    found, _ = lines(real(ours, half_width=width))
    assert line_of(found)["verdict"] == verdict


def test_every_value_of_the_label_has_a_line():
    found, _ = lines(real(0.5))
    wanted = [
        p
        for p in PUBLISHED
        if p.label == "log_g" and (p.source != UNFINISHED or (p.split, p.metric) == ("val", "r2"))
    ]
    assert len(wanted) == 6 * 4 + 2 + 4 + 4
    assert len(published_table(source_of([real(0.5)]), "log_g").rows) == len(wanted)
    assert line_of(found, layer="enc_last")["why"] == "no record of ours with these features and head"
    assert line_of(found, layer="enc_last")["difference"] is None


def test_mock_numbers_are_never_compared():
    found, _ = lines(record(0.5516))
    for line in found.values():
        assert line["verdict"] == NOT_COMPARABLE
        assert line["difference"] is None
    assert line_of(found)["why"].startswith("mock data")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"direction": "concat"}, "direction concat, published one stream"),
        ({"params": {"alpha": 10.0}}, "alpha 10.0, published 0.001"),
        ({"error_input": "zero"}, "error input zero"),
        ({"noise_levels": {"train": 1.0, "val": 1.0, "test": 0.5}}, "noise level 0.5, published 1"),
        ({"noise_mode": "none"}, "noise none"),
        ({"failed": "no luck"}, "our fit failed: no luck"),
    ],
)
def test_what_is_another_question_is_not_comparable_and_says_why(changed, why):
    source = record(0.5, data_kind="real", **changed)
    if "failed" not in changed:
        source.result.update(n=dict(N))
    found, _ = lines(source)
    assert line_of(found)["verdict"] == NOT_COMPARABLE
    assert line_of(found)["why"] == why


def test_other_sizes_and_widths_are_not_comparable():
    small = real(0.5)
    small.result.update(n={"train": 8000, "val": 1000, "test": 1000}, d=192)
    found, _ = lines(small)
    assert line_of(found)["why"] == "192 features, published 384; 8000 train stars, published 100000"
    assert line_of(found)["difference"] is not None


def test_the_nearest_of_several_records_is_shown_and_comparable_ones_win():
    far = real(0.5, params={"alpha": 10.0}, error_input="zero")
    near = real(0.52, params={"alpha": 10.0})
    found, _ = lines(far, near)
    assert line_of(found)["run"] == near.run_id[:12]
    both = published_table(source_of([far, real(0.5), real(0.51, direction="backward")]), "log_g")
    tested = [
        row
        for row in both.rows
        if row["head"] == "ridge" and row["quantity"] == "test R2" and row["verdict"] != NOT_COMPARABLE
    ]
    assert len(tested) == 2


def test_cached_draws_are_not_fresh_noise():
    found, _ = lines(real(0.6, head="mlp_1"))
    assert line_of(found, head="mlp_1")["why"] == "cached noise draws, published fresh noise in every batch"
    ours = finetuned(0.6, data_kind="real")
    ours.result.update(n=dict(N))
    found, _ = lines(ours)
    assert line_of(found, head="mlp_1")["verdict"] == AGREES
    tuned = finetuned(0.6, data_kind="real", frozen=False)
    tuned.result.update(n=dict(N))
    found, _ = lines(tuned)
    assert line_of(found, head="mlp_1")["why"] == "encoder fine-tuned, published frozen"


def test_epochs_stand_beside_the_same_epoch_of_val():
    ours = finetuned(0.6, data_kind="real")
    ours.result.update(n=dict(N))
    arrays = history(2)
    arrays["history_val_r2"] = np.array([0.334, 0.7])
    found, _ = lines(ours, arrays={ours.run_id: arrays})
    assert line_of(found, "val R2 at epoch 0", head="mlp_1")["verdict"] == AGREES
    assert line_of(found, "val R2 at epoch 1", head="mlp_1")["verdict"] == DIFFERS
    assert line_of(found, "val R2 at epoch 2", head="mlp_1")["why"] == "ours has no val r2 at epoch 2"


def test_labels_that_nobody_published_have_no_table():
    assert published_table(source_of([record({"mag": 0.5})]), "mag") is None
    assert published_table(source_of([record(layer="enc_3")]), "log_g") is None


def test_half_widths_are_those_of_simulated_test_sets():
    rng = np.random.default_rng(0)
    n, sets = 1000, 4000
    y = rng.uniform(0, 1, (sets, n))
    error = rng.normal(0, np.sqrt(0.45 / 12), (sets, n))
    r2 = 1 - (error**2).mean(axis=1) / y.var(axis=1)
    rmse, mae = np.sqrt((error**2).mean(axis=1)), np.abs(error).mean(axis=1)
    for metric, scores in (("r2", r2), ("rmse", rmse), ("mae", mae)):
        assert half_width(metric, scores.mean(), n) == pytest.approx(1.96 * scores.std(), rel=0.05)
    assert half_width("r2", 0.5516, 1000) == pytest.approx(0.046, abs=0.001)  # what the group quotes
