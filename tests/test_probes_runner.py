"""One probe from request to record, and back from the saved head to predictions."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from probes_fakes import LAYER, N_FEATURES, POOLING, make_view, make_views, predict_view

from cache.canonical import canonical_json
from cache.errors import (
    ConfigError,
    Damaged,
    LeakError,
    NotExtracted,
    ProbeError,
    SchemaVersion,
    UnknownName,
)
from cache.records import read_arrays, read_predictions, read_record, run_id
from probes import make_probe, metrics
from probes.features import FeaturePart
from probes.persistence import HEAD_FILE, load_head, save_head
from probes.runner import head_folder, run_probe, store_result
from probes.spec import ProbeRequest, checked_spec

PARTS = (FeaturePart(layer=LAYER, pooling=POOLING),)
SPEC_FIELDS = {
    "noise_mode",
    "inputs",
    "head", "params", "probe_version", "labels", "features", "family", "stores", "draws", "noise_levels",
    "train_size", "seed", "error_input", "control", "selection", "data_kind", "cross", "group",
}  # fmt: skip
RESULT_FIELDS = {
    "status", "error", "d", "n", "n_rows", "scores", "intervals", "interval_method", "chosen", "flags",
    "weights", "architecture", "model", "stores",
}  # fmt: skip


def ask(head="ridge", labels=("log_g",), **options):
    return ProbeRequest(features=PARTS, head=head, labels=labels, **options)


QUICK_MLP = {"max_epochs": 4, "hidden": (8,), "threads": 1}


# --- spec ---


def test_spec_is_complete_json():
    spec = checked_spec(ask("lightgbm", seed=3), make_views())
    assert set(spec) == SPEC_FIELDS
    assert json.loads(canonical_json(spec)) == spec
    assert spec["params"]["num_leaves"] == 31
    assert spec["params"]["seed"] == spec["seed"] == 3
    assert spec["features"] == {
        "parts": [{"layer": LAYER, "pooling": POOLING, "direction": "forward"}],
        "pca": None,
        "segments": None,
    }
    assert spec["draws"] == {"train": [0], "val": [0], "test": [0]}
    assert spec["noise_levels"] == {"train": 1.0, "val": 1.0, "test": 1.0}
    assert (spec["control"], spec["selection"], spec["data_kind"]) == ("none", "fixed", "mock")
    assert [len(keys) for keys in spec["stores"].values()] == [1, 1, 1]
    assert spec["noise_mode"] == "draw"
    assert set(spec["inputs"]) == {"train", "val", "test"}


def test_defaults_and_the_same_values_given_are_one_spec():
    views = make_views()
    assert checked_spec(ask(), views) == checked_spec(ask(params={"alpha": 0.001}), views)
    assert checked_spec(ask(), views) != checked_spec(ask(params={"alpha": 0.01}), views)


NAMED = [
    ("ac4d31375e6fba3d78f99e3b947d626cf1ae19871cce7451bbbd95b3099f8839", {}),
    (
        "a93ff86d70411fcaed1920374f64875e396e25fdf8eb5bb43c7453d01dc0efad",
        {"head": "ols", "labels": ("log_g", "T_eff"), "seed": 3, "train_size": 20},
    ),
    (
        "c7beedc19653e26da6a6dc7df80c7a47ad2c35d78bec7e18c86c57dbf93758f5",
        {"control": "shuffled_labels"},
    ),
]
"""Names that records had before there were PCA, segments and mixed layers."""


@pytest.mark.parametrize(("name", "options"), NAMED)
def test_new_choices_leave_the_names_of_records_alone(name, options):
    assert run_id("probe", checked_spec(ask(**options), make_views())) == name


def test_a_precision_is_told_where_it_is_not_fp32():
    assert checked_spec(ask(), make_views(precision="bf16"))["precision"] == "bf16"


def test_spec_reads_no_features():
    views = make_views()
    for members in views.values():
        members[0].features = None
    checked_spec(ask(), views)


def test_random_encoders_are_a_control_by_their_origin():
    views = make_views(origin="random:0")
    assert checked_spec(ask(), views)["control"] == "random_encoder"
    assert checked_spec(ask(control="shuffled_labels"), views)["control"] == "shuffled_labels"


def test_data_kind_is_mock_as_soon_as_one_split_is():
    views = make_views()
    for members in views.values():
        members[0].provenance["data_kind"] = "real"
    assert checked_spec(ask(), views)["data_kind"] == "real"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "lasso"}, "unknown head 'lasso'"),
        ({"control": "random_encoder"}, "unknown control 'random_encoder'; known: none, shuffled_labels"),
        ({"head": "mean"}, "'mean' is a baseline"),
        ({"labels": ()}, "name one or several"),
        ({"labels": ("log_g", "log_g")}, "each once"),
        ({"train_size": 1}, "train_size is 1"),
        ({"train_size": 81}, "train_size is 81, train has 80 stars"),
        ({"params": {"alpha": -1}}, "alphas are"),
        ({"cross": ("family",)}, "unknown crossing"),
    ],
)
def test_requests_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        run_probe(ask(**options), make_views())
    with pytest.raises(ConfigError, match="no features"):
        run_probe(ProbeRequest(features=(), head="ols", labels=("log_g",)), make_views())


# --- result ---


def test_result_is_complete_and_scores_are_the_metrics():
    views = make_views()
    outcome = run_probe(ask(labels=("log_g", "T_eff")), views, about={"encoder": "small"})
    result = outcome.result
    assert set(result) == RESULT_FIELDS
    assert json.loads(canonical_json(result)) == result
    assert (result["status"], result["error"], result["d"]) == ("ok", None, N_FEATURES)
    assert result["n"] == result["n_rows"] == {"train": 80, "val": 40, "test": 40}
    head = make_probe("ridge").fit(views["train"][0].X, views["train"][0].stored["T_eff"])
    test = views["test"][0]
    expected = metrics.scores(test.stored["T_eff"], head.predict(test.X))
    assert result["scores"]["test"]["T_eff"] == pytest.approx(expected, rel=1e-9)
    assert set(result["scores"]) == {"train", "val", "test"}
    assert set(result["intervals"]) == {"val", "test"}
    lo, hi = result["intervals"]["test"]["log_g"]["r2"]
    assert lo < result["scores"]["test"]["log_g"]["r2"] < hi
    assert result["weights"] == "ab" * 32
    assert len(result["stores"]) == 3
    assert outcome.run["encoder"] == "small"
    assert set(outcome.run["seconds"]) == {"load", "fit", "score"}


def test_result_is_deterministic():
    request = ask("mlp_1", params=QUICK_MLP)
    first, second = run_probe(request, make_views()), run_probe(request, make_views())
    assert first.result == second.result
    assert first.spec == second.spec


def test_predictions_hold_val_and_test_row_by_row():
    views = make_views()
    outcome = run_probe(ask(labels=("T_eff",)), views)
    columns = outcome.predictions
    assert set(columns) == {"row", "star", "split", "draw", "y", "y_hat", "log_g", "T_eff", "mag"}
    assert columns["split"].tolist() == ["val"] * 40 + ["test"] * 40
    test = columns["split"] == "test"
    np.testing.assert_array_equal(columns["star"][test], views["test"][0].stars)
    np.testing.assert_array_equal(columns["y"][test], views["test"][0].stored["T_eff"])
    score = metrics.r2(columns["y"][test], columns["y_hat"][test])
    assert score == outcome.result["scores"]["test"]["T_eff"]["r2"]


def test_val_may_be_absent_when_nothing_is_chosen():
    views = make_views()
    del views["val"]
    result = run_probe(ask(), views).result
    assert set(result["scores"]) == {"train", "test"}
    assert set(result["intervals"]) == {"test"}
    failed = run_probe(ask("mlp_1", params=QUICK_MLP), views).result
    assert failed["status"] == "failed"
    assert "there is none: give one" in failed["error"]


def test_what_was_chosen_is_told_by_label():
    views = make_views()
    ridge = run_probe(ask(labels=("log_g", "T_eff"), params={"alpha": "val"}), views)
    assert set(ridge.result["chosen"]["alpha"]) == {"log_g", "T_eff"}
    assert ridge.spec["selection"] == "val_r2"
    assert set(ridge.arrays) == {"alpha", "val_r2"}
    mlp = run_probe(ask("mlp_1", params=QUICK_MLP), views)
    assert isinstance(mlp.result["chosen"]["best_epoch"], int)
    assert "history_val_r2" in mlp.arrays


def test_training_sizes_count_stars():
    views = make_views()
    views["train"].append(make_view("train", 80, draw=1))
    outcome = run_probe(ask(train_size=20), views)
    assert outcome.result["n"]["train"] == 20
    assert outcome.result["n_rows"]["train"] == 40
    assert outcome.spec["draws"]["train"] == [0, 1]


# --- controls and flags ---


@pytest.mark.parametrize("head", ["ols", "ridge", "lightgbm", "mlp_1", "mlp_2"])
def test_shuffled_labels_score_nothing(head):
    params = {
        "lightgbm": {"n_trees": 20, "threads": 1},
        "mlp_1": {**QUICK_MLP, "learning_rate": 0.05},
        "mlp_2": {**QUICK_MLP, "hidden": (8, 8), "max_epochs": 8, "learning_rate": 0.05},
    }.get(head, {})
    views = make_views(n_train=300, n_test=200)
    plain = run_probe(ask(head, params=params), views).result
    control = run_probe(ask(head, params=params, control="shuffled_labels"), views).result
    assert plain["scores"]["test"]["log_g"]["r2"] > 0.3
    assert control["scores"]["test"]["log_g"]["r2"] < 0.05
    assert control["intervals"]["test"]["log_g"]["r2"][0] <= 0
    assert control["flags"] == [f for f in control["flags"] if "control scores" not in f]


def test_a_forced_leak_makes_the_control_score():
    """Stars shared by train and test carry one wrong label on both sides: memorising it is seen."""
    views = make_views(n_train=60)
    views["test"] = [make_view("test", 60, first_star=0)]
    views["test"][0].X = views["train"][0].X
    asked = {"params": {"min_child": 1, "n_trees": 200, "threads": 1}, "control": "shuffled_labels"}
    with pytest.raises(LeakError, match="--allow-leak"):
        run_probe(ask("lightgbm", **asked), views)
    outcome = run_probe(ask("lightgbm", **asked, allow_leak=True), views)
    assert outcome.spec["allow_leak"] is True
    assert outcome.result["scores"]["test"]["log_g"]["r2"] > 0.5
    assert outcome.result["flags"] == [
        "LEAK FORCED: 60 stars stand in both train and test",
        "control scores above zero (log_g)",
        "squared error carried by few stars: n_eff 2.7 of 60 (log_g)",
    ]


def test_leave_to_leak_alone_changes_no_result_but_the_name():
    plain, forced = run_probe(ask(), make_views()), run_probe(ask(allow_leak=True), make_views())
    assert "allow_leak" not in plain.spec
    assert forced.spec == plain.spec | {"allow_leak": True}
    assert forced.result == plain.result


def test_mean_predictor_is_the_floor():
    outcome = run_probe(ask("mlp_1", params=QUICK_MLP, control="mean_predictor"), make_views())
    assert outcome.spec["head"] == "mean"
    assert outcome.spec["params"] == {}
    assert outcome.result["scores"]["train"]["log_g"]["r2"] == pytest.approx(0, abs=1e-12)
    same = run_probe(ask("ridge", control="mean_predictor"), make_views())
    assert same.spec == outcome.spec


def test_choice_at_the_edge_and_undefined_scores_are_flagged():
    views = make_views()
    views["test"][0].stored["mag"][:] = 21.5
    edge = {"alpha": "val", "alpha_min": 1e6, "alpha_max": 1e7, "n_alphas": 2}
    outcome = run_probe(ask(labels=("log_g", "mag"), params=edge), views)
    assert "alpha at the edge of the grid (log_g)" in outcome.result["flags"]
    assert "r2 not defined (mag): one value in all of test" in outcome.result["flags"]
    assert outcome.result["intervals"]["test"]["mag"]["r2"] == [None, None]


def test_negative_train_score_is_flagged(monkeypatch):
    monkeypatch.setattr("probes.linear.LinearHead._predict", lambda _, X: 1e6 + 0 * X[:, :1].astype(float))
    assert run_probe(ask(), make_views()).result["flags"] == [
        "train r2 negative (log_g)",
        "predictions far outside the labels of train (log_g): 40 rows of test",
    ]


def test_what_a_head_cannot_fit_is_a_failed_record():
    views = make_views()
    views["train"][0].X[3, 2] = np.nan
    outcome = run_probe(ask(), views)
    assert outcome.result["status"] == "failed"
    assert "training features are NaN or inf in 1 of 80 rows" in outcome.result["error"]
    assert (outcome.predictions, outcome.arrays, outcome.head) == ({}, {}, None)
    assert set(outcome.result) == RESULT_FIELDS


def test_faults_of_ours_pass(monkeypatch):
    def broken(*_, **__):
        raise TypeError("ours")

    monkeypatch.setattr("probes.runner.fit_together", broken)
    with pytest.raises(TypeError, match="ours"):
        run_probe(ask(), make_views())


# --- storing, loading, predicting ---

STORED = {
    "ridge": {},
    "lightgbm": {"n_trees": 5, "threads": 1},
    "mlp_2": {**QUICK_MLP, "hidden": (8, 4)},
}


@pytest.mark.parametrize("head", STORED)
def test_stored_heads_predict_stores_without_labels(head, tmp_path):
    outcome = run_probe(ask(head, labels=("log_g", "T_eff"), params=STORED[head]), make_views())
    run_id = store_result(tmp_path, outcome)
    assert store_result(tmp_path, outcome) == run_id
    record = read_record(tmp_path, run_id)
    assert (record.spec, record.result) == (outcome.spec, outcome.result)
    assert set(read_arrays(tmp_path, run_id)) == set(outcome.arrays)
    stored = read_predictions(tmp_path, run_id)
    unlabelled = make_view("test")
    unlabelled.stored.clear()
    columns = predict_view(head_folder(tmp_path, run_id), unlabelled)
    assert list(columns) == ["row", "star", "split", "draw", "y_hat_log_g", "y_hat_T_eff"]
    np.testing.assert_array_equal(columns["y_hat_T_eff"], stored["y_hat_T_eff"][stored["split"] == "test"])
    assert [p.name for p in (tmp_path / "heads").iterdir()] == [run_id]


def test_a_single_label_is_predicted_as_a_column(tmp_path):
    run_id = store_result(tmp_path, run_probe(ask(), make_views()))
    assert predict_view(head_folder(tmp_path, run_id), make_view("val"))["y_hat"].shape == (40,)


def test_failed_outcomes_are_stored_without_a_head(tmp_path):
    views = make_views()
    views["train"][0].X[0, 0] = np.inf
    run_id = store_result(tmp_path, run_probe(ask(), views))
    assert read_record(tmp_path, run_id).result["status"] == "failed"
    with pytest.raises(NotExtracted, match="no fitted head"):
        predict_view(head_folder(tmp_path, run_id), make_view("test"))


def test_heads_are_not_applied_to_other_features(tmp_path):
    folder = head_folder(tmp_path, store_result(tmp_path, run_probe(ask(), make_views())))
    with pytest.raises(
        ProbeError, match=r"in\n  error_input: 'true' in training, 'zero' in these features\nsay --cross"
    ):
        predict_view(folder, make_view("test", error_input="zero"))
    with pytest.raises(ProbeError, match=r"fitted at noise level 1\.0, these features have 0\.5"):
        predict_view(folder, make_view("test", level=0.5))
    predict_view(folder, make_view("test", level=0.5), cross=("noise-level",))
    with pytest.raises(UnknownName, match="unknown crossing"):
        predict_view(folder, make_view("test"), cross=("families",))


def saved(folder):
    X = np.random.default_rng(0).standard_normal((20, 3))
    head = make_probe("ols").fit(X, X[:, 0])
    save_head(folder, head, name="ols", use={})
    return head


def test_saving_again_replaces_the_folder(tmp_path):
    saved(tmp_path / "head")
    (tmp_path / "head" / "stray").touch()
    saved(tmp_path / "head")
    assert sorted(p.name for p in (tmp_path / "head").iterdir()) == [HEAD_FILE, "weights.npz"]
    assert [p.name for p in tmp_path.iterdir()] == ["head"]


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("probes.persistence.publish_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saved(tmp_path / "head")
    assert list(tmp_path.iterdir()) == []


def test_damaged_heads_are_refused(tmp_path):
    folder = tmp_path / "head"
    saved(folder)
    weights = folder / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(Damaged, match="differs from what was saved"):
        load_head(folder)
    weights.unlink()
    with pytest.raises(Damaged, match=r"weights\.npz: missing"):
        load_head(folder)
    text = (folder / HEAD_FILE).read_text()
    (folder / HEAD_FILE).write_text(text.replace('"n_features":3', '"n_features":4'))
    with pytest.raises(Damaged, match="altered"):
        load_head(folder)
    shutil.rmtree(folder)
    with pytest.raises(NotExtracted, match="no fitted head"):
        load_head(folder)


def reseal(folder, **changes):
    from cache.atomic import publish_json
    from cache.canonical import read_sealed

    publish_json(folder / HEAD_FILE, {**read_sealed(folder / HEAD_FILE), **changes})


def test_other_formats_foreign_names_and_shapes_are_refused(tmp_path):
    folder = tmp_path / "head"
    saved(folder)
    reseal(folder, n_features=4)
    with pytest.raises(Damaged, match=r"coef has shape \(1, 3\), expected \(1, 4\)"):
        load_head(folder)
    reseal(folder, files={"../weights.npz": "00"})
    with pytest.raises(Damaged, match="not a file name of ours"):
        load_head(folder)
    reseal(folder, schema_version=99)
    with pytest.raises(SchemaVersion, match="head format 99"):
        load_head(folder)


def test_heavy_libraries_are_imported_on_demand():
    """`python -m probes --help` must not wait for torch."""
    code = (
        "import sys, probes, probes.runner, probes.predict, probes.statistics;"
        "heavy = {'torch', 'lightgbm', 'sklearn', 'pyarrow'} & set(sys.modules);"
        "probes.make_probe('ridge'); later = {'torch', 'lightgbm'} & set(sys.modules);"
        "print(sorted(heavy), sorted(later))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
