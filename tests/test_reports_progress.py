"""Training progress: every epoch, beside the published ones and apart from them."""

import numpy as np
import pytest
from reports_fakes import history, record, source_of

from reports.progress_table import progress_tables
from reports.published import PUBLISHED, UNFINISHED
from reports.vocabulary import unit_of

OURS = ("train_loss", "train_rmse", "val_loss", "val_rmse", "val_mae", "val_r2")


def tables(source, arrays, label="log_g"):
    return progress_tables(source_of([source], {source.run_id: arrays}), label)


def test_columns_are_those_of_the_document():
    (table,) = tables(record(head="mlp_1"), history(5))
    assert [c.title for c in table.columns][:7] == [
        "epoch",
        "train loss [dex^2]",
        "train RMSE [dex]",
        "val loss [dex^2]",
        "val RMSE [dex]",
        "val MAE [dex]",
        "val R2",
    ]


def test_a_short_run_is_shown_whole():
    arrays = history(8)
    (table,) = tables(record(head="mlp_1", layer="enc_3"), arrays)
    assert [row["epoch"] for row in table.rows] == list(range(8))
    for name in OURS:
        assert [row[name] for row in table.rows] == arrays[f"history_{name}"].tolist()


def test_a_long_run_is_thinned_on_the_page_and_whole_in_the_csv():
    (table,) = tables(record(head="mlp_1", layer="enc_3"), history(63))
    shown = [row["epoch"] for row in table.rows]
    assert shown == sorted({0, 1, 2, 3, 4, *range(0, 63, 5), 63 // 2, 62})
    assert f"{len(shown)} of 63 epochs are shown; the CSV beside this file has all of them." in table.notes
    assert table.tidy["epoch"].tolist() == list(range(63))
    assert table.tidy["learning_rate"].tolist() == [1e-3] * 63


def test_the_best_epoch_is_bold():
    (table,) = tables(record(head="mlp_1"), history(63))
    ((index, key),) = table.emphasis
    assert (table.rows[index]["epoch"], key) == (31, "val_r2")


def test_published_epochs_stand_in_their_own_columns():
    (table,) = tables(record(head="mlp_1"), history(3))
    by_epoch = {row["epoch"]: row for row in table.rows}
    assert sorted(by_epoch) == [0, 1, 2, 3, 4, 47]
    for score in PUBLISHED:
        if score.source == UNFINISHED:
            assert by_epoch[score.epoch][f"published_{score.split}_{score.metric}"] == score.value
    assert by_epoch[47]["published_val_r2"] == 0.5979
    assert by_epoch[47].get("val_r2") is None
    assert by_epoch[0]["val_r2"] == history(3)["history_val_r2"][0]
    assert any("never test" in note for note in table.notes)


@pytest.mark.parametrize(
    "changed",
    [{"layer": "enc_last"}, {"head": "mlp_2"}, {"direction": "concat"}, {"control": "shuffled_labels"}],
)
def test_other_questions_have_no_published_epochs(changed):
    (table,) = tables(record(**{"head": "mlp_1", **changed}), history(3))
    assert not [c for c in table.columns if "published" in c.heading]
    assert not any("Published" in note for note in table.notes)


@pytest.mark.parametrize("label", ["log_g", "T_eff"])
def test_a_joint_fit_shows_the_curve_of_the_label(label):
    source = record({"log_g": 0.5, "T_eff": 0.9}, head="mlp_1", layer="enc_3")
    arrays = history(6, n_labels=2)
    (table,) = tables(source, arrays, label)
    column = ["log_g", "T_eff"].index(label)
    assert [row["val_mae"] for row in table.rows] == arrays["history_val_mae"][:, column].tolist()
    assert f"val MAE [{unit_of(label)}]" in [c.title for c in table.columns]
    best = int(np.argmax(arrays["history_val_r2"].mean(axis=1)))
    assert table.emphasis == {(best, "val_r2")}


def test_without_a_validation_split_its_columns_are_empty():
    arrays = {name: curve for name, curve in history(4).items() if "val" not in name}
    (table,) = tables(record(head="mlp_1", layer="enc_3"), arrays)
    assert [row["val_r2"] for row in table.rows] == [None] * 4
    assert not table.emphasis


def test_records_without_a_curve_have_no_table():
    assert tables(record(), {}) == ()
    assert tables(record(), {"alpha": np.ones(3)}) == ()


def test_mock_runs_say_so():
    (mock,) = tables(record(head="mlp_1"), history(2))
    (real,) = tables(record(head="mlp_1", data_kind="real"), history(2))
    assert any("not BOSZ results" in note for note in mock.notes)
    assert not any("not BOSZ results" in note for note in real.notes)
