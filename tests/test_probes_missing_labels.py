"""Labels that some stars lack: refused, or these stars take no part; other labels go on either way."""

import numpy as np
import pytest
from commands import probes
from probes_fakes import LAYER, POOLING, make_views
from small_survey import N, flags, survey_store

from cache.errors import MissingLabel
from cache.records import read_predictions, read_records
from probes.comparable import comparable
from probes.features import FeaturePart
from probes.groups import group_key
from probes.runner import run_group, run_probe
from probes.spec import ProbeRequest, spec_of
from reports.comparable import comparable_rows
from reports.rows import frame_of

PARTS = (FeaturePart(layer=LAYER, pooling=POOLING),)
SETTINGS = [
    {},
    {"control": "shuffled_labels"},
    {"control": "mean_predictor"},
    {"params": {"alpha": "val"}},
    {"train_size": 30, "seed": 3},
    {"pca": 3},
]


def ask(labels=("log_g",), **options):
    return ProbeRequest(features=PARTS, head="ridge", labels=labels, **options)


def with_gaps(label="log_g", splits=("train", "val", "test"), value=np.nan):
    """Views of which every fourth row lacks a label."""
    views = make_views()
    for split in splits:
        (view,) = views[split]
        view.stored[label] = np.where(np.arange(len(view.rows)) % 4 == 1, value, view.stored[label])
    return views


def without_gaps():
    """The same views without those rows."""
    views = make_views()
    for (view,) in views.values():
        kept = np.arange(len(view.rows)) % 4 != 1
        view.X, view.stars, view.rows = view.X[kept], view.stars[kept], view.rows[kept]
        view.stored = {name: values[kept] for name, values in view.stored.items()}
    return views


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_dropping_rows_is_as_if_they_were_not_in_the_file(settings, value):
    dropped = run_probe(ask(missing_labels="drop", **settings), with_gaps(value=value))
    plain = run_probe(ask(**settings), without_gaps())
    assert dropped.result["status"] == "ok"
    told = dropped.result.pop("kept")
    assert {split: kept["n"] for split, kept in told.items()} == {"val": 30, "test": 30}
    assert dropped.result == plain.result
    for name in ("row", "star", "y", "y_hat"):
        np.testing.assert_array_equal(dropped.predictions[name], plain.predictions[name])


def test_a_joint_fit_leaves_out_rows_without_any_of_its_labels():
    views = with_gaps()
    view = views["test"][0]
    view.stored["T_eff"] = np.where(view.rows < 2, np.nan, view.stored["T_eff"])
    outcome = run_probe(ask(("log_g", "T_eff"), missing_labels="drop"), views)
    assert outcome.result["n"]["test"] == 29  # of 40 ten lack log_g, among them row 1; row 0 lacks T_eff
    alone = run_probe(ask(("T_eff",), missing_labels="drop"), views)
    assert alone.result["n"]["test"] == 38


def test_labels_of_one_sweep_each_keep_their_own_rows():
    views = with_gaps()
    requests = [ask((label,), missing_labels="drop") for label in ("log_g", "T_eff")]
    assert len({group_key(request) for request in requests}) == 2
    n = {
        request.labels: outcome.result["n"]["test"]
        for request in requests
        for _, outcome in run_group([request], views)
    }
    assert n == {("log_g",): 30, ("T_eff",): 40}


def test_names_of_records_are_as_before_unless_rows_may_be_left_out():
    views = make_views()
    assert "missing_labels" not in spec_of(ask(), views)
    assert spec_of(ask(missing_labels="drop"), views) == {**spec_of(ask(), views), "missing_labels": "drop"}


@pytest.mark.parametrize("left", [0, 1])
def test_too_few_stars_with_a_label_are_refused(left):
    views = make_views()
    (view,) = views["val"]
    view.stored["log_g"] = np.where(view.rows < left, view.stored["log_g"], np.nan)
    with pytest.raises(MissingLabel, match=rf"log_g: finite in {left} of 40 rows of split 'val', at least 2"):
        run_probe(ask(missing_labels="drop"), views)


def test_a_probe_on_some_rows_is_never_compared_with_one_on_all(tmp_path):
    """Neither in pairs nor in tables."""
    for split in N:
        survey_store(tmp_path / "f", split)
    argv = flags(tmp_path / "f", tmp_path / "r", "--heads", "ridge,ols", "--labels", "log_g")
    assert probes("run", *argv) == 0
    drop = ("--missing-labels", "drop")
    assert probes("run", *argv[:-1], "log_g+gap,gap", *drop) == 0
    records = read_records(tmp_path / "r")
    (log_g, *more), gap = (
        [rows for rows in comparable_rows(frame_of(records, lambda *_: "fresh")) if rows[0]["label"] == label]
        for label in ("log_g", "gap")
    )
    assert [len(log_g), [len(rows) for rows in more]] == [2, [2]]
    assert {row["fitted_labels"] for row in more[0]} == {"log_g gap"}
    assert [{row["n_rows_test"] for row in rows} for rows in gap] == [{N["test"] - 1}]
    for found in comparable(records, lambda name: read_predictions(tmp_path / "r", name)):
        assert len({record.result["n"]["test"] for record in found.records}) == 1


def test_a_label_with_gaps_stops_no_other_label(tmp_path, capsys):
    for split in N:
        survey_store(tmp_path / "f", split)
    argv = flags(tmp_path / "f", tmp_path / "r", "--labels", "gap,log_g")
    assert probes("run", *argv) == 2
    told = capsys.readouterr().out
    assert "[1/2] enc_pre_latent/forward/seg_mean_K2 ridge gap: failed: label 'gap' is missing" in told
    assert "--missing-labels drop (make: MISSING=drop)" in told
    assert "[2/2] enc_pre_latent/forward/seg_mean_K2 ridge log_g: test R2 0.9" in told
    by_label = {record.spec["labels"][0]: record.result["status"] for record in read_records(tmp_path / "r")}
    assert by_label == {"gap": "failed", "log_g": "ok"}


def test_a_label_with_gaps_is_probed_by_run_and_sweep_to_the_same_bits(tmp_path, capsys):
    """With all of the controls that there are."""
    for split in N:
        survey_store(tmp_path / "f", split)
    results = {}
    for verb in ("run", "sweep"):
        argv = flags(tmp_path / "f", tmp_path / verb, "--labels", "gap", "--controls", "default")
        assert probes(verb, *argv, "--missing-labels", "drop") == 0
        results[verb] = {record.run_id: record.result for record in read_records(tmp_path / verb)}
    assert results["run"] == results["sweep"]
    assert {result["n"]["train"] for result in results["run"].values()} == {N["train"] - 1}
    assert "ridge gap (rows that have it): " in capsys.readouterr().out


def test_a_sweep_tells_extraction_that_values_may_lack(capsys):
    argv = ("sweep", "--print-extract", "--labels", "a+b", "--missing-labels", "drop")
    assert probes(*argv) == 0
    assert capsys.readouterr().out.strip().endswith("--need-labels a,b --missing-labels drop")


@pytest.mark.parametrize("verb", ["run", "sweep"])
def test_where_no_row_lacks_the_label_it_is_the_same_probe(verb, tmp_path, capsys):
    for split in N:
        survey_store(tmp_path / "f", split)
    argv = flags(tmp_path / "f", tmp_path / "r", "--labels", "log_g,T_eff")
    assert probes(verb, *argv) == 0
    names = {record.run_id for record in read_records(tmp_path / "r")}
    capsys.readouterr()
    assert probes(verb, *argv, "--missing-labels", "drop") == 0
    assert "on record" in capsys.readouterr().out
    assert {record.run_id for record in read_records(tmp_path / "r")} == names
