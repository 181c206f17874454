"""Tables side by side: every record under its head or label, none hidden behind another."""

from reports_fakes import demo_records, fresh, record

from reports.pivots import heads_table, labels_table
from reports.rows import frame_of
from reports.table import Estimate


def heads(*records, label="log_g"):
    return heads_table(frame_of(records, fresh), label)


def scores_in(table):
    """Every score shown, whatever its place."""
    return sorted(
        estimate.value
        for row in table.rows
        for cell in row.values()
        if isinstance(cell, tuple)
        for estimate in cell
        if isinstance(estimate, Estimate)
    )


def named(table, heading):
    (column,) = [c for c in table.columns if c.heading == heading]
    return [row.get(column.key) for row in table.rows]


def test_every_head_has_its_column():
    table = heads(record(0.5), record(0.6, head="lightgbm"), record(0.1, layer="enc_last", head="ols"))
    assert [row["layer"] for row in table.rows] == ["enc_pre_latent", "enc_last"]
    assert [cell and cell[0].value for cell in named(table, "ols")] == [None, 0.1]
    assert [cell and cell[0].value for cell in named(table, "ridge")] == [0.5, None]
    assert [cell and cell[0].value for cell in named(table, "lightgbm")] == [0.6, None]


def test_no_score_of_a_label_is_lost():
    records = [*demo_records(), record(0.33, seed=1), record(0.34, group="x"), record(0.35, train_size=100)]
    frame = frame_of(records, fresh)
    table = heads_table(frame, "log_g")
    of_label = frame[(frame["label"] == "log_g") & (frame["role"] != "mean predictor")]
    assert scores_in(table) == sorted(of_label["test_r2"])
    assert scores_in(labels_table(frame)) == sorted(frame["test_r2"])
    assert len(labels_table(frame).tidy) == len(frame)


def test_heads_with_several_settings_get_several_columns():
    table = heads(record(0.5), record(0.6, params={"alpha": 10.0}), record(0.4, head="ols"))
    assert [c.heading for c in table.columns if "ridge" in c.heading][:2] == [
        "ridge (alpha=0.001)",
        "ridge (alpha=10.0)",
    ]
    assert len(table.rows) == 1


def test_seeds_of_a_head_get_several_columns():
    table = heads(record(0.5, head="mlp_1"), record(0.6, head="mlp_1", seed=1), record(0.4, seed=None))
    assert named(table, "mlp_1 (seed=0)")[0][0].value == 0.5
    assert named(table, "mlp_1 (seed=1)")[0][0].value == 0.6
    (note,) = [note for note in table.notes if note.startswith("All rows")]
    assert "seed none (ridge), 0 (mlp_1), 1 (mlp_1)" in note


def test_train_sizes_get_several_rows():
    table = heads(record(0.5), record(0.4, train_size=100), record(0.6, head="ols", train_size=100))
    assert named(table, "train size") == ["100", "all"]
    assert [cell and cell[0].value for cell in named(table, "ols")] == [0.6, None]


def test_records_that_answer_the_same_share_a_cell():
    table = heads(record(0.5, group="a"), record(0.6, group="b"))
    assert len(table.rows) == 1
    assert sorted(estimate.value for estimate in named(table, "ridge")[0]) == [0.5, 0.6]


def test_bold_is_the_clear_best_of_a_line():
    table = heads(
        record(0.5),
        record(0.6, head="lightgbm"),
        record(0.5, layer="enc_last"),
        record(0.52, layer="enc_last", head="lightgbm"),
    )
    ((index, key),) = table.emphasis
    assert table.rows[index]["layer"] == "enc_pre_latent"
    assert table.rows[index][key][0].value == 0.6


def test_the_best_head_of_a_control_is_not_bold():
    for control in ("random_encoder", "shuffled_labels"):
        table = heads(record(0.1, control=control), record(0.6, control=control, head="ols"))
        assert len(table.rows) == 1
        assert table.emphasis == frozenset()


def test_two_records_of_the_best_head_are_not_bold():
    table = heads(record(0.6, group="a"), record(0.2, group="b"), record(0.1, head="ols"))
    assert not table.emphasis


def test_a_failure_stands_in_its_cell():
    table = heads(record(0.5), record(failed="ProbeError: no"), record(failed="again", head="ols"))
    assert named(table, "ols") == [("failed",)]
    table = heads(record(0.5, group="a"), record(failed="no"))
    assert "failed" in named(table, "ridge")[0]


def test_labels_share_a_line_however_they_were_fitted():
    together = labels_table(frame_of([record({"log_g": 0.5, "T_eff": 0.9})], fresh))
    apart = labels_table(frame_of([record({"log_g": 0.5}), record({"T_eff": 0.9})], fresh))
    for table in (together, apart):
        assert len(table.rows) == 1
        assert named(table, "log_g")[0][0].value == 0.5
        assert named(table, "T_eff")[0][0].value == 0.9


def test_published_numbers_stand_under_their_head_or_label():
    where = {"layer": "enc_last", "pooling": "global_mean", "head": "lightgbm"}
    alone = [record({"log_g": 0.2}, **where), record({"T_eff": 0.9}, **where)]
    table = labels_table(frame_of(alone, fresh))
    assert named(table, "log_g: published, real BOSZ/PFS data, test R2") == [0.2830]
    assert named(table, "T_eff: published, real BOSZ/PFS data, test R2") == [0.9775]
    together = labels_table(frame_of([record({"log_g": 0.2, "T_eff": 0.9}, **where)], fresh))
    assert not [c for c in together.columns if "published" in c.heading]
    table = heads(record(0.2), record(0.3, head="mlp_1"), record(0.3, head="ols"))
    assert named(table, "ridge: published, real BOSZ/PFS data, test R2") == [0.5516]
    assert named(table, "mlp_1: published, real BOSZ/PFS data, test R2") == [0.6117]
    assert not [c for c in table.columns if c.heading.startswith("ols: published")]


def test_a_label_may_have_any_name():
    table = labels_table(frame_of([record({"d": 0.3, "layer": 0.4})], fresh))
    assert table.rows[0]["layer"] == "enc_pre_latent"
    assert table.rows[0]["d"] == "384"
    assert scores_in(table) == [0.3, 0.4]


def test_no_rows_give_no_table():
    assert heads(record(0.0, head="mean", control="mean_predictor")).rows == ()
