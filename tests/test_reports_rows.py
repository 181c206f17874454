"""Records become rows: one per record and label, none averaged, none lost."""

import itertools

import pandas as pd
import pytest
from reports_fakes import RANDOM_FAMILY, WEIGHTS, demo_records, finetuned, fresh, key_of, record

from reports.columns import COLUMNS, FINE_TUNED, FROZEN, IDENTITY
from reports.ordering import ordered
from reports.rows import SHORT, frame_of, rows_of, stores_of
from reports.settings import settings_frame, varying_columns
from reports.vocabulary import layer_rank, pooling_rank, role_of, unit_of


def one(*records, state=fresh):
    return rows_of(frame_of(records, state))


def test_what_a_run_is_stands_in_the_frame_as_tidy_frames_repeat_it():
    frame = frame_of([record(0.5)], fresh)
    assert [name for name in frame.columns if name in IDENTITY] == list(IDENTITY)
    assert {name: str(frame[name].dtype) for name in IDENTITY} == dict(IDENTITY)
    assert list(frame.columns) == list(COLUMNS)


def test_one_row_per_record_and_label():
    records = [
        record({"log_g": 0.5, "T_eff": 0.9}),
        record(failed="no", labels=["log_g", "M_H"]),
        record(0.1, seed=1),
    ]
    frame = frame_of(records, fresh)
    assert list(frame.columns) == list(COLUMNS)
    assert [(r["run_id"], r["label"]) for r in rows_of(frame)] == [
        (records[0].run_id, "log_g"),
        (records[0].run_id, "T_eff"),
        (records[1].run_id, "log_g"),
        (records[1].run_id, "M_H"),
        (records[2].run_id, "log_g"),
    ]


def test_scores_and_intervals_are_those_of_the_record():
    source = record({"log_g": 0.5, "T_eff": 0.9})
    for row in one(source):
        for split, metric in itertools.product(
            ("train", "val", "test"), ("r2", "rmse", "mae", "bias", "sigma_mad")
        ):
            assert row[f"{split}_{metric}"] == source.result["scores"][split][row["label"]][metric]
        for split, metric in itertools.product(("val", "test"), ("r2", "rmse", "mae")):
            ends = source.result["intervals"][split][row["label"]][metric]
            assert [row[f"{split}_{metric}_lo"], row[f"{split}_{metric}_hi"]] == ends
        assert (row["n_train"], row["n_val"], row["n_test"], row["d"]) == (2000, 500, 500, 384)


def test_an_interval_without_ends_is_missing():
    (row,) = one(record(0.5, half_width=None))
    assert row["test_r2"] == 0.5
    assert row["test_r2_lo"] is None
    assert row["test_r2_hi"] is None


def test_a_failed_record_keeps_its_error_and_has_no_scores():
    (row,) = one(record(failed="ProbeError: singular"))
    assert (row["status"], row["error"]) == ("failed", "ProbeError: singular")
    assert row["test_r2"] is None
    assert row["n_test"] is None


def test_other_kinds_are_not_rows():
    assert one(record(kind="audit")) == []
    assert list(frame_of([], fresh).columns) == list(COLUMNS)


def test_end_to_end_fits_are_rows_without_stores():
    rows = rows_of(frame_of([finetuned(), finetuned(frozen=False), record(0.5)], fresh))
    assert [row["training"] for row in rows] == [FROZEN, FINE_TUNED, ""]
    assert [row["state"] for row in rows] == ["no store named", "no store named", "fresh"]
    assert [row["published_test_r2"] for row in rows] == [0.6117, None, 0.5516]
    assert rows[0]["weights"] == WEIGHTS


def test_every_store_is_looked_up_with_the_digest_seen():
    source = record()
    asked = []

    def state(key, digest):
        asked.append((key, digest))
        return "fresh"

    one(source, state=state)
    assert asked == [(key, source.result["stores"][key]) for key in map(key_of, ("train", "val", "test"))]
    assert [split for split, _, _ in stores_of(source)] == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("states", "text"),
    [
        (("fresh", "fresh", "fresh"), "fresh"),
        (("missing", "fresh", "fresh"), "stale: 1 of 3 missing"),
        (("missing", "changed", "missing"), "stale: 2 of 3 missing, 1 of 3 changed"),
        (("forbidden", "missing", "fresh"), "stale: 1 of 3 missing, 1 of 3 forbidden"),
    ],
)
def test_the_worst_is_told_with_its_count(states, text):
    answers = dict(zip(map(key_of, ("train", "val", "test")), states, strict=True))
    assert one(record(), state=lambda key, _: answers[key])[0]["state"] == text


def test_a_record_without_stores_says_so():
    assert one(record(stores={}))[0]["state"] == "no store named"


def test_a_store_without_digest_says_so():
    source = record(failed="early")
    source.result.pop("stores")
    assert "=not recorded" in one(source)[0]["stores"]


@pytest.mark.parametrize(
    ("control", "layers", "role"),
    [
        ("none", ["enc_last"], "latent"),
        ("none", ["enc_last", "enc_0"], "latent"),
        ("none", ["input_flux"], "raw noisy flux"),
        ("none", ["input_error"], "error only"),
        ("none", ["enc_last", "input_error"], "latent + error only"),
        ("random_encoder", ["enc_last"], "random encoder"),
        ("random_encoder", ["input_flux"], "raw noisy flux"),
        ("random_encoder", ["denoised"], "denoised flux + random encoder"),
        ("shuffled_labels", ["input_flux"], "shuffled labels"),
        ("mean_predictor", [], "mean predictor"),
    ],
)
def test_roles(control, layers, role):
    assert role_of(control, layers) == role


def test_several_parts_are_named_in_order():
    parts = [
        {"layer": "enc_last", "direction": "forward", "pooling": "mean_max"},
        {"layer": "enc_0", "direction": "forward", "pooling": "global_mean"},
    ]
    (row,) = one(record(parts=parts))
    assert (row["layer"], row["direction"], row["pooling"]) == (
        "enc_last + enc_0",
        "forward",
        "mean_max + global_mean",
    )


def test_published_only_beside_the_same_question():
    def beside(**changed):
        return one(record(**changed))[0]["published_test_r2"]

    assert beside() == 0.5516
    assert beside(direction="backward") == 0.5516
    for changed in (
        {"direction": "concat"},
        {"direction": "mean"},
        {"head": "lightgbm"},
        {"layer": "enc_3"},
        {"pooling": "seg_mean_K16"},
        {"control": "shuffled_labels"},
        {"control": "random_encoder", "family": RANDOM_FAMILY},
        {"error_input": "zero"},
        {"noise_levels": {"train": 1.0, "val": 1.0, "test": 0.5}},
        {"features": {"parts": [], "pca": 64, "segments": None}},
        {"train_size": 1000},
    ):
        assert beside(**changed) is None, changed


def test_flags_go_with_their_label():
    source = record({"log_g": 0.5, "T_eff": 0.9}, flags=("alpha at an end (log_g)", "few stars"))
    assert [row["flags"] for row in one(source)] == ["alpha at an end (log_g), few stars", "few stars"]


def test_units():
    assert [unit_of(name) for name in ("log_g", "T_eff", "M_H", "a_M", "C_M")] == [
        "dex",
        "K",
        "dex",
        "dex",
        "dex",
    ]
    assert unit_of("shoe_size") == "unit of the label"


def test_layers_and_poolings_sort_by_depth_and_size():
    layers = [
        "enc_0",
        "enc_1",
        "pool_1",
        "enc_2",
        "enc_10",
        "enc_pre_latent",
        "enc_last",
        "input_flux",
        "unheard_of",
    ]
    assert sorted(set(layers), key=layer_rank) == layers
    poolings = ["none", "global_mean", "mean_max", "other", "seg_mean_K8", "seg_mean_K16", "seg_mean_K128"]
    assert sorted(set(poolings), key=pooling_rank) == poolings


def test_order_does_not_depend_on_the_order_of_records():
    records = [
        *demo_records(),
        record(0.5, seed=None),
        record(0.5, train_size=100),
        record(0.5, train_size=1000),
    ]
    expected = ordered(frame_of(records, fresh))
    for shift in (1, 7, 20):
        pd.testing.assert_frame_equal(ordered(frame_of(records[shift:] + records[:shift], fresh)), expected)


def test_choices_among_features_are_rows_of_their_own_in_order():
    parts = [{"layer": "enc_last", "direction": "forward", "pooling": "seg_mean_K8"}]
    chosen = [(None, None), (16, None), (None, [7]), (128, None), (None, [0, 3]), (64, [0])]
    records = [record(features={"parts": parts, "pca": k, "segments": s}) for k, s in chosen]
    frame = ordered(frame_of(records, fresh))
    assert [(row["segments"], row["pca"]) for row in rows_of(frame)] == [
        ("", "16"), ("", "128"), ("", ""), ("[0]", "64"), ("[0, 3]", ""), ("[7]", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("joined", "shown"),
    [("0", "0"), ("0+1", "0+1"), ("0+1+2+3", "0-3"), ("0+2+3", "0+2+3"), ("fresh", "fresh")],
)
def test_successive_draws_are_shown_as_a_range(joined, shown):
    frame = frame_of([record(0.5)], fresh)
    text = settings_frame(frame.assign(draws_train=joined, draws_val="", draws_test=""))["draws_text"]
    assert list(text) == [shown]


def test_error_inputs_are_shown_by_their_kind_where_that_tells_them_apart():
    feds = ["true", "shuffled:version=1,seed=0", "from-noisy:" + "ab" * 8, "from-noisy:" + "cd" * 8]
    frame = frame_of([record(0.5, seed=k) for k in range(len(feds))], fresh)
    shown = settings_frame(frame.assign(error_input=feds))
    assert list(shown["error_input_text"]) == [
        "true",
        "shuffled",
        f"from-noisy:{('ab' * 8)[:SHORT]}",
        f"from-noisy:{('cd' * 8)[:SHORT]}",
    ]


def test_a_family_that_the_error_input_tells_has_no_column():
    frame = frame_of([record(0.5), record(0.5, seed=1), record(0.5, seed=2)], fresh)
    varied = frame.assign(error_input=["true", "zero", "zero"], family=["a" * 64, "b" * 64, "b" * 64])
    assert "family_text" not in {c.key for c in varying_columns(settings_frame(varied))}
    varied["family"] = ["a" * 64, "b" * 64, "c" * 64]
    varied["seed"] = 0
    assert "family_text" in {c.key for c in varying_columns(settings_frame(varied))}
