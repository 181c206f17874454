"""`python -m probes run` and `predict` on small stores, from flags to records."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import probes
from pyarrow import parquet
from small_survey import N, flags, survey_store
from store_fakes import FORWARD

from cache import FeatureStore
from cache.header import chunk_path
from cache.records import read_predictions, read_records, record_path
from cache.selection import select, write_selection
from probes.stores import StoreChoice


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    for split in N:
        survey_store(root, split)
    survey_store(root, "train", noise={"draw": 1})
    return root


def test_a_probe_becomes_a_record_predictions_and_a_head(features, tmp_path, capsys):
    assert (
        probes("run", *flags(features, tmp_path, "--labels", "log_g,log_g+T_eff", "--heads", "ridge,ols"))
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("[1/4] enc_pre_latent/forward/seg_mean_K2 ridge log_g: test R2 0.9")
    assert lines[3].count("test R2") == 2
    records = read_records(tmp_path)
    assert len(records) == 4
    joint = next(r for r in records if r.spec["labels"] == ["log_g", "T_eff"] and r.spec["head"] == "ols")
    assert joint.result["scores"]["test"]["log_g"]["r2"] > 0.95
    assert joint.result["n"] == N
    assert joint.spec["draws"] == {"train": [0], "val": [0], "test": [0]}
    assert joint.spec["data_kind"] == "mock"
    assert joint.run["encoder"] == "tiny"
    columns = read_predictions(tmp_path, joint.run_id)
    assert {"row", "star", "split", "draw", "y_log_g", "y_hat_log_g", "y_hat_T_eff", "gap"} <= set(columns)
    assert len(columns["row"]) == N["val"] + N["test"]
    test = columns["split"] == "test"
    residual = columns["y_hat_log_g"][test] - columns["y_log_g"][test]
    assert joint.result["scores"]["test"]["log_g"]["rmse"] == pytest.approx(np.sqrt((residual**2).mean()))


def test_what_is_on_record_is_not_fitted_again_until_its_store_changes(features, tmp_path, capsys):
    own = tmp_path / "features"
    for split in N:
        survey_store(own, split)
    argv = flags(own, tmp_path / "results")
    assert probes("run", *argv) == 0
    (first,) = read_records(tmp_path / "results")
    capsys.readouterr()
    assert probes("run", *argv) == 0
    assert capsys.readouterr().out.endswith("(on record)\n")
    assert probes("run", *argv, "--refit") == 0
    assert "(on record)" not in capsys.readouterr().out
    (again,) = read_records(tmp_path / "results")
    assert (again.run_id, again.result) == (first.run_id, first.result)


def test_an_alias_of_a_layer_names_the_same_record(features, tmp_path, capsys):
    """With 3 layers pool_2 is enc_pre_latent; --check looks at no store and passes it as well."""
    flags = ("--features", features, "--results", tmp_path, "--poolings", FORWARD.pooling)
    for layers in (
        ("--layers", FORWARD.layer),
        ("--layers", "pool_2"),
        ("--layers", f"pool_2,{FORWARD.layer}"),
    ):
        assert probes("run", *flags, *layers, "--check") == 0
        assert probes("run", *flags, *layers, "--controls", "none") == 0
    (record,) = read_records(tmp_path)
    assert record.spec["features"]["parts"][0]["layer"] == FORWARD.layer
    assert capsys.readouterr().out.count("on record") == 2
    assert probes("run", *flags, "--layers", "dec_input") == 2
    assert "for layers enc_last, poolings" in capsys.readouterr().err


def test_a_probe_that_fails_is_recorded_and_the_status_is_2(tmp_path, capsys):
    """A label with gaps cannot be fitted; what is on record as failed is told again."""
    for split in N:
        survey_store(tmp_path / "features", split)
    argv = flags(tmp_path / "features", tmp_path / "results", "--labels", "log_g,gap")
    for _ in range(2):
        assert probes("run", *argv) == 2
        lines = capsys.readouterr().out.splitlines()
        assert "test R2" in lines[0]
        assert "label 'gap' is missing" in lines[1]
    records = read_records(tmp_path / "results")
    assert {r.spec["labels"][0]: r.result["status"] for r in records} == {"log_g": "ok", "gap": "failed"}


def test_controls_and_draws(features, tmp_path, capsys):
    argv = flags(features, tmp_path, "--controls", "none,shuffled_labels,mean_predictor", "--draws", 2)
    assert probes("run", *argv, "--directions", "concat") == 0
    by_control = {record.spec["control"]: record for record in read_records(tmp_path)}
    plain = by_control["none"]
    assert plain.spec["draws"]["train"] == [0, 1]
    assert (plain.result["n"]["train"], plain.result["n_rows"]["train"]) == (60, 120)
    assert plain.result["d"] == 8
    r2 = {name: record.result["scores"]["test"]["log_g"]["r2"] for name, record in by_control.items()}
    assert r2["none"] > 0.9
    assert r2["shuffled_labels"] < 0.3
    assert r2["mean_predictor"] <= 0
    assert "(shuffled labels)" in capsys.readouterr().out


def test_a_selection_names_the_stores(features, tmp_path, capsys):
    other = survey_store(tmp_path / "f", "train", encoder={"origin": "random:1"})
    stores = {s: [survey_store(tmp_path / "f", s)] for s in ("train", "test")}
    stores["train"].append(survey_store(tmp_path / "f", "train", noise={"draw": 1}))
    argv = flags(tmp_path / "f", tmp_path / "r")
    assert probes("run", *argv) == 2
    assert "encoder.origin: " in capsys.readouterr().err
    selection = tmp_path / "s.json"
    write_selection(selection, select(tmp_path / "f", stores, encoder="chosen"))
    assert probes("run", *argv, "--selection", selection, "--layers", "all") == 0
    (record,) = read_records(tmp_path / "r")
    assert record.run["encoder"] == "chosen"
    assert FeatureStore.open(other).key not in record.result["stores"]
    assert record.spec["draws"] == {"train": [0, 1], "test": [0]}
    capsys.readouterr()
    assert probes("run", *argv, "--selection", selection, "--features", tmp_path / "elsewhere") == 2
    told = capsys.readouterr().err
    assert f"--features {tmp_path / 'elsewhere'} beside --selection {selection}, whose stores lie in" in told
    write_selection(selection, select(tmp_path / "f", {"test": stores["test"]}, encoder="chosen"))
    assert probes("run", *argv, "--selection", selection, "--layers", "all") == 2
    assert "the selection holds test, not 'train'" in capsys.readouterr().err


def test_features_of_a_random_encoder_are_a_control(tmp_path):
    for split in N:
        survey_store(tmp_path / "f", split, encoder={"origin": "random:1"})
    assert probes("run", *flags(tmp_path / "f", tmp_path / "r")) == 0
    assert read_records(tmp_path / "r")[0].spec["control"] == "random_encoder"


def test_a_leak_is_refused_and_nothing_is_recorded(tmp_path, capsys):
    survey_store(tmp_path / "f", "train")
    survey_store(tmp_path / "f", "test", shared=3)
    assert probes("run", *flags(tmp_path / "f", tmp_path / "r")) == 2
    assert "3 stars stand in both 'train' and 'test'" in capsys.readouterr().err
    assert read_records(tmp_path / "r") == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layers", "enc_last"], "--config-model X.yaml --layers enc_last"),
        (["--labels", "vsini"], "has no label 'vsini'; it has: T_eff, gap, log_g"),
        (["--heads", "forest"], "unknown head 'forest'"),
        (["--controls", "random"], "unknown control 'random'"),
        (["--params", "alpha"], "expected name=value"),
        (["--selection", "absent.json"], "no such selection"),
        (["--train-size", "99"], "train_size is 99, train has 60 stars"),
        (["--layers", "all", "--family", "00"], "no network layer is stored with poolings seg_mean_K2"),
    ],
)
def test_what_the_user_can_mend_exits_with_2(features, tmp_path, capsys, more, message):
    assert probes("run", *flags(features, tmp_path, *more)) == 2
    assert message in capsys.readouterr().err
    assert read_records(tmp_path) == []


def test_a_damaged_store_stops_the_probe(tmp_path, capsys):
    paths = {split: survey_store(tmp_path / "f", split) for split in N}
    chunk_path(paths["val"], FORWARD, 0).unlink()
    assert probes("run", *flags(tmp_path / "f", tmp_path / "r")) == 2
    assert "unreadable although its block was committed" in capsys.readouterr().err


def test_predicting_needs_no_labels(features, tmp_path, capsys):
    assert probes("run", *flags(features, tmp_path)) == 0
    (record,) = read_records(tmp_path)
    store = survey_store(tmp_path / "new", "test", labels=False)
    out = tmp_path / "predicted.parquet"
    argv = ("--results", tmp_path, "--out", out)
    assert probes("predict", "--head", record.run_id[:8], "--store", store, *argv) == 0
    assert capsys.readouterr().out.endswith(f"24 rows written to {out}\n")
    table = parquet.read_table(out).to_pydict()
    known = read_predictions(tmp_path, record.run_id)
    np.testing.assert_allclose(table["y_hat"], known["y_hat"][known["split"] == "test"])
    assert list(table) == ["row", "star", "split", "draw", "y_hat"]
    other = survey_store(tmp_path / "new", "val", precision="tf32")
    louder = survey_store(tmp_path / "new", "val", noise={"level": 2.0})
    for head, where, message in (
        ("", store, "say --head RUN_ID"),
        ("0" * 12, store, "no fitted head begins with '000000000000'"),
        ("zz", store, "--head 'zz': expected a run id or its first digits"),
        ("a**", store, "--head 'a**': expected a run id or its first digits"),
        (tmp_path / "heads" / record.run_id, store, "expected a run id or its first digits"),
        (record.run_id, other, "precision: 'fp32' in training, 'tf32' in these features"),
        (record.run_id, louder, "say --cross noise-level"),
        (record.run_id, tmp_path / "none", "no feature store there"),
    ):
        assert probes("predict", "--head", head, "--store", where, *argv) == 2
        assert message in capsys.readouterr().err
    assert probes("predict", "--head", record.run_id, "--store", louder, "--cross", "noise-level", *argv) == 0
    blind = survey_store(tmp_path / "new", "val", error_input="zero")
    crossed = ("--cross", "error-input", *argv)
    assert probes("predict", "--head", record.run_id, "--store", blind, *argv) == 2
    assert probes("predict", "--head", record.run_id, "--store", blind, *crossed) == 0
    assert probes("predict", "--head", record.run_id, "--store", other, *crossed) == 2
    assert capsys.readouterr().err.count("fitted to features of another kind") == 2
    assert probes("run", *flags(features, tmp_path, "--heads", "ols")) == 0
    assert probes("predict", "--head", "", "--store", store, *argv) == 2


def test_digits_that_fit_several_heads_are_not_enough(features, tmp_path, capsys):
    for name in ("ab1", "ab2"):
        (tmp_path / "heads" / name).mkdir(parents=True)
    store = survey_store(tmp_path / "new", "test", labels=False)
    assert probes("predict", "--head", "ab", "--store", store, "--results", tmp_path) == 2
    assert "2 fitted heads begin with 'ab'; give more digits (ab1, ab2)" in capsys.readouterr().err


def alter(path):
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def remove(path):
    path.unlink()


@pytest.fixture(scope="module")
def recorded(features, tmp_path_factory):
    """Results of two probes, of log_g and T_eff, on principal axes."""
    results = tmp_path_factory.mktemp("recorded")
    assert probes("run", *flags(features, results, *TWO_PROBES)) == 0
    return results


TWO_PROBES = ("--labels", "log_g,T_eff", "--pca", "2")
FILES = (
    "heads/{}/head.json",
    "heads/{}/weights.npz",
    "heads/{}/principal_axes.npz",
)
PREDICTIONS = "predictions/{}.parquet"


@pytest.mark.parametrize(
    ("file", "what"), [*((file, what) for file in FILES for what in (alter, remove)), (PREDICTIONS, remove)]
)
def test_a_probe_of_which_a_file_is_not_whole_is_fitted_again(
    features, recorded, tmp_path, capsys, file, what
):
    results = tmp_path / "r"
    shutil.copytree(recorded, results)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    one, _ = read_records(results)
    what(results / file.format(one.run_id))
    capsys.readouterr()
    assert probes("run", *flags(features, results, *TWO_PROBES)) == 0
    assert capsys.readouterr().out.count("(on record)") == 1
    after = {path: path.read_bytes() for path in before}
    del before[record_path(results, one.run_id)], after[record_path(results, one.run_id)]  # its time
    assert after == before


def test_altered_predictions_are_told_by_who_reads_them_and_made_again_once_removed(
    features, recorded, tmp_path, capsys
):
    results = tmp_path / "r"
    shutil.copytree(recorded, results)
    path = results / PREDICTIONS.format(read_records(results)[0].run_id)
    whole = path.read_bytes()
    alter(path)
    assert probes("run", *flags(features, results, *TWO_PROBES)) == 0  # reads none: there may be many
    capsys.readouterr()
    assert probes("compare", "--results", results) == 2
    assert (
        f"{path}: is not what its record names; remove it, and make the record again"
        in capsys.readouterr().err
    )
    remove(path)
    assert probes("run", *flags(features, results, *TWO_PROBES)) == 0
    assert path.read_bytes() == whole


def test_heads_that_were_exchanged_are_fitted_again(features, recorded, tmp_path, capsys):
    results = tmp_path / "r"
    shutil.copytree(recorded, results)
    exchange(*((results / "heads" / record.run_id) for record in read_records(results)))
    capsys.readouterr()
    assert probes("run", *flags(features, results, *TWO_PROBES)) == 0
    assert "(on record)" not in capsys.readouterr().out
    assert probes("run", *flags(features, results, *TWO_PROBES)) == 0
    assert capsys.readouterr().out.count("(on record)") == 2


def exchange(one, other):
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_a_record_notes_what_its_data_files_are_called():
    views = {
        "train": [SimpleNamespace(about={"encoder": "tiny", "files": ["/d/day/train/dataset.h5"]})],
        "test": [SimpleNamespace(about={})],
    }
    origin = StoreChoice(root=Path("features")).origin(views)
    assert origin == {"encoder": "tiny", "files": {"train": "day/train/dataset.h5"}}
