"""`python -m extract run` from its flags to its stores."""

import numpy as np
import pytest
import yaml
from commands import extract
from survey_fakes import CHECKPOINT, LAYER, POOLING, YAML

from cache import FeatureStore
from cache.commandline import main
from cache.commits import commit_path
from cache.selection import read_selection
from extract.cli import VERBS
from extract.run_command import RunSettings, to_request


def flags(folder, *more):
    """The flags that every test needs."""
    return (
        "--checkpoint", CHECKPOINT, "--config-model", YAML, "--poolings", POOLING, "--device", "cpu", "--threads", 1,
        "--micro-batch", 8, "--out", folder / "features", "--encoders", folder / "encoders", "--digests",
        folder / "digests", *more,
    )  # fmt: skip


def stores(folder):
    return sorted((folder / "features").glob("*/*/zarr.json"))


def test_a_folder_becomes_stores_and_a_selection(survey, tmp_path, capsys):
    selection = tmp_path / "selections/one.json"
    argv = flags(tmp_path, "--data", survey, "--layers", f"{LAYER},input_error", "--selection", selection)
    assert extract("run", *argv) == 0
    written = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in written] == [
        "train", "extract train", "val", "extract val", "test", "extract test"
    ]  # fmt: skip
    assert len(stores(tmp_path)) == 3
    chosen = read_selection(selection)
    assert (chosen.encoder, list(chosen.splits), chosen.root) == (
        "small",
        ["test", "train", "val"],
        tmp_path / "features",
    )
    (view,) = chosen.views("test", (("input_error", "forward", POOLING),))
    assert view.features("input_error", POOLING).shape == (16, 4)
    assert extract("run", *argv) == 0
    assert all(line.endswith("is there and fresh") for line in capsys.readouterr().out.splitlines())


def test_a_dry_run_checks_and_plans_and_writes_no_store(survey, tmp_path, capsys):
    argv = flags(tmp_path, "--data", survey, "--split", "train,test", "--draws", 2)
    assert extract("run", *argv, "--dry-run") == 0
    told = capsys.readouterr().out
    assert [line.split(",")[0] for line in told.splitlines() if "to compute" in line] == [
        f"{split}: {n} rows" for split, n in (("train", 40), ("test", 16)) for _ in range(2)
    ]
    assert told.count(f"to compute: {LAYER}/forward/{POOLING}") == 4
    assert not (tmp_path / "features").exists()
    assert extract("run", *argv, "--block-rows", 8) == 0
    commit_path(stores(tmp_path)[0].parent, 1).unlink()
    capsys.readouterr()
    assert extract("run", *argv, "--dry-run", "--selection", tmp_path / "s.json") == 0
    told = capsys.readouterr().out
    assert told.count("is there and fresh") == 3
    assert told.count("to finish") == 1
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize("verb", [("run",), ("run", "--dry-run"), ("plan",)])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--selection", "{there}"), "--selection {there}: cannot write a file there"),
        (("--stats", "{there}"), "--stats {there}: cannot write a file there"),
        (("--scheduler", "dask", "--dask-config", "{there}/x.yaml"), "--dask-config {there}/x.yaml: "),
        (("--seed", "-1"), "--seed is -1; it must be at least 0"),
    ],
)
def test_what_cannot_be_written_or_read_is_found_before_anything_is_computed(
    survey, tmp_path, capsys, monkeypatch, verb, given, told
):
    def begin(*_, **__):
        raise AssertionError("files were opened")

    for module in ("run_command", "plan_command"):
        monkeypatch.setattr(f"extract.{module}.head_start", begin)
    there = tmp_path / "there"
    there.mkdir()
    name, *how = verb
    argv = flags(tmp_path, "--data", survey, *how, *(word.format(there=there) for word in given))
    assert extract(name, *argv) == 2
    assert told.format(there=there) in capsys.readouterr().err
    assert list(there.iterdir()) == []
    assert not (tmp_path / "features").exists()


def test_labels_that_files_must_hold_are_checked_before_anything_is_computed(
    survey, tmp_path, capsys, monkeypatch
):
    def read(*_, **__):
        raise AssertionError("spectra were read")

    argv = flags(tmp_path, "--data", survey, "--split", "train,test")
    with monkeypatch.context() as patched:
        patched.setattr("extract.prepare.fingerprint", read)
        assert extract("run", *argv, "--need-labels", "log_g,Teff") == 2
    told = capsys.readouterr().err
    assert f"unknown label of the train file {survey}/train/dataset.h5 'Teff'" in told
    assert "known: T_eff, log_g" in told
    assert not (tmp_path / "features").exists()
    assert extract("run", *argv, "--need-labels", "log_g,T_eff") == 0
    assert capsys.readouterr().out.count("wrote") == 2
    assert extract("run", *argv) == 0
    assert capsys.readouterr().out.count("is there and fresh") == 2


def test_splits_that_are_needed_are_missed_before_anything_is_read(survey, tmp_path, capsys, monkeypatch):
    def read(*_, **__):
        raise AssertionError("spectra were read")

    needed = ("--need-splits", "train,test")
    with monkeypatch.context() as patched:
        patched.setattr("extract.run_command.head_start", read)
        assert extract("run", *flags(tmp_path, "--data", survey / "train/dataset.h5"), *needed) == 2
    told = capsys.readouterr().err
    assert f"no train spectra were given (test: {survey}/train/dataset.h5)" in told
    assert "--train FILE --val FILE --test FILE (make: TRAIN= VAL= TEST=)" in told
    assert extract("run", *flags(tmp_path, "--data", tmp_path / "nowhere"), *needed) == 2
    assert f"(test: {tmp_path}/nowhere, which does not exist)" in capsys.readouterr().err
    assert not (tmp_path / "features").exists()
    assert extract("run", *flags(tmp_path, "--data", survey), *needed) == 0


def test_yaml_settings_are_those_of_the_flags(survey, tmp_path, capsys):
    path = tmp_path / "run.yaml"
    assert extract("run", *flags(tmp_path, "--data", survey / "test", "--print-config")) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    settings |= {"data": str(survey), "split": "test", "poolings": ["global_mean"], "noise_level": 0.5}
    path.write_text(yaml.safe_dump(settings))
    assert extract("run", "--config", path, "--noise-level", 2) == 0
    (header,) = stores(tmp_path)
    store = FeatureStore.open(header.parent)
    assert store.provenance["noise"]["level"] == 2.0
    assert store.arrays[0].pooling == "global_mean"


def test_splits_may_be_named_one_by_one(survey, tmp_path):
    settings = RunSettings(train="a.h5,b.h5", test="c.h5")
    assert {split: [str(p) for p in files] for split, files in to_request(settings).data.items()} == {
        "train": ["a.h5", "b.h5"],
        "test": ["c.h5"],
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no data: say --data FOLDER"),
        (["--data", "x", "--train", "a.h5"], "say either --data, or --train, --val and --test, not both"),
        (["--data", "absent.h5"], "absent.h5"),
        (["--data", "x.h5", "--directions", "concat"], "direction 'concat' cannot be extracted"),
        (["--data", "x.h5", "--noise", "some"], "some"),
        (["--data", "x.h5", "--layer", "enc_0,"], "--layer"),
        (["--data", "x.h5", "--draws", "0"], "--draws is 0"),
    ],
)
def test_what_the_user_can_mend_exits_with_2(tmp_path, capsys, argv, message):
    assert extract("run", *flags(tmp_path), *argv) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_choice(capsys):
    assert extract("run", "--help") == 0
    told = capsys.readouterr().out
    for text in (
        "Run the frozen encoder",
        "--config-model",
        "random:SEED",
        "--no-dry-run",
        "--on-bad-rows",
        "--print-config",
    ):
        assert text in told


def test_overview_names_the_verbs(capsys):
    assert main("extract", VERBS, ["--help"]) == 0
    told = capsys.readouterr().out
    assert "run " in told
    assert "mock " in told


def test_a_stated_network_needs_no_yaml(survey, tmp_path, capsys):
    argv = ["--data", survey / "test/dataset.h5", "--checkpoint", CHECKPOINT, "--error-mode", "pixel"]
    argv += ["--poolings", "global_mean", "--device", "cpu", "--threads", 1, "--out", tmp_path / "features"]
    argv += ["--digests", tmp_path / "digests"]
    assert extract("run", *argv) == 0
    assert "assumed: " in capsys.readouterr().out
    store = FeatureStore.open(stores(tmp_path)[0].parent)
    assert np.isfinite(store.features(LAYER, "global_mean")).all()
