"""What commands of probes refuse before there is any store."""

from pathlib import Path

import pytest
from commands import probes
from small_survey import flags as where
from small_survey import survey_store

from cache.records import read_records, write_record
from probes.registry import HEADS


@pytest.fixture(autouse=True)
def _nothing_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("verb", ["run", "audit"])
@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--heads", "rigde"), "unknown head 'rigde'; known: ols, ridge"),
        (("--params", "ridge.alpah=val"), "unknown parameter of ridge 'alpah'; known: alpha"),
        (("--params", "ridge.alpha=-1"), "-1"),
        (("--layers", "enc_prelatent"), "unknown layer 'enc_prelatent'; known: enc_<number>"),
        (("--poolings", "mean"), "unknown pooling 'mean'; known: none, global_mean"),
        (("--directions", "both"), "unknown direction 'both'; known: forward"),
        (("--labels", "log_g+log_g"), "log_g"),
        (("--layers", "all,enc_0"), "'all' stands for every network layer"),
        (("--colour", "red"), "--colour"),
    ],
)
def test_settings_that_no_stores_could_meet(verb, argv, told, tmp_path, capsys):
    assert probes(verb, *argv, "--check") == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "argv"),
    [
        ("run", ("--layers", "all", "--heads", "all", "--controls", "default")),
        ("run", ("--layers", "enc_0+enc_last", "--mix", "softmax", "--heads", "mlp_1", "--labels", "a+b,c")),
        (
            "run",
            ("--selection", "not_there.json", "--segments", "each", "--pca", "none,16", "--train-size", 50),
        ),
        ("audit", ("--layers", "all", "--labels", "a,b", "--error-inputs", "constant:3f,zero")),
    ],
)
def test_settings_that_may_be_meant_pass_without_any_store(verb, argv, tmp_path, capsys):
    assert probes(verb, *argv, "--check") == 0
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ("mlp_1.hidden=[5.5]", "hidden[0] is 5.5; expected a whole number"),
        ("mlp_1.max_epochs=2.5", "max_epochs is 2.5; expected a whole number"),
        ("mlp_1.label_scaling=[1]", "unknown mlp label_scaling [1]; known: standard, none"),
        ("lightgbm.preset=5", "unknown LightGBM preset 5; known: conservative"),
        ("lightgbm.preset=[1]", "unknown LightGBM preset [1]; known: conservative"),
        ("ridge.n_alphas=2.5", "n_alphas is 2.5; expected a whole number"),
    ],
)
def test_parameters_of_another_type_are_refused(params, told, capsys):
    argv = ("--heads", params.partition(".")[0], "--params", params, "--check")
    assert probes("run", *argv) == 2
    assert told in capsys.readouterr().err


def test_one_number_for_the_hidden_layers_may_be_meant():
    assert probes("run", "--heads", "mlp_1", "--params", "mlp_1.hidden=128", "--check") == 0


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--controls", "shuffled"), "unknown control 'shuffled'"),
        (("--cross", "draws"), "unknown crossing 'draws'"),
        (("--train-sizes", "few"), "--train-sizes 'few'"),
        (("--heads", "mlp_1,lightgbn"), "unknown head 'lightgbn'"),
    ],
)
def test_a_sweep_names_no_extraction_for_what_cannot_be_fitted(argv, told, capsys):
    assert probes("sweep", *argv, "--print-extract") == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.out == ""


def test_a_sweep_names_the_labels_that_its_spectra_must_hold(capsys):
    assert (
        probes("sweep", "--labels", "log_g+T_eff,log_g,M_H", "--noise-levels", "0,1", "--print-extract") == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("--need-labels log_g,T_eff,M_H --noise-level" in line for line in lines)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--error-inputs", "zro"), "unknown error input to audit 'zro'; known: zero"),
        (("--layers", "input_error"), "there is nothing to audit"),
        (("--labels", "a+b"), "an audit is of one layer and one label"),
    ],
)
def test_an_audit_that_cannot_be_meant(argv, told, capsys):
    assert probes("audit", *argv, "--check") == 2
    assert told in capsys.readouterr().err


def test_a_ceiling_is_checked_against_the_records(tmp_path, capsys):
    spec = {"labels": ["log_g"], "control": "none"}
    run = write_record(
        tmp_path,
        kind="probe",
        spec=spec,
        result={},
        run={},
        predictions={"row": range(3), "y": [0.0, 1.0, 2.0]},
    )
    argv = ("--results", tmp_path, "--check")
    assert probes("ceiling", *argv, "--labels", "log_g", "--runs", run[:8]) == 0
    assert capsys.readouterr() == ("", "")
    for wrong, told in (
        (("--labels", "logg"), "unknown label among the records 'logg'; known: log_g; did you mean 'log_g'?"),
        (("--runs", "xyz"), "--runs xyz: no record of a probe begins so"),
        (("--ln-a-sd", -1), "--ln-a-sd is -1"),
    ):
        assert probes("ceiling", *argv, *wrong) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "sweep", "audit", "distil"])
@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--heads", "rigde"), "unknown head 'rigde'"),
        (("--params", "ridge.alfa=val"), "unknown parameter of ridge 'alfa'; known: alpha"),
        (("--poolings", "mean"), "unknown pooling 'mean'"),
    ],
)
def test_wrong_names_are_told_before_stores_that_are_not_there(verb, argv, told, capsys):
    assert probes(verb, *argv) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "extract" not in err


def test_a_sweep_without_stores_names_all_that_it_reads(capsys):
    config = Path(__file__).parents[1] / "configs/sweep.yaml"
    assert probes("sweep", "--config", config, "--noise-levels", "1,0", "--print-extract") == 0
    wanted = capsys.readouterr().out.splitlines()
    assert probes("sweep", "--config", config, "--noise-levels", "1,0", "--features", "f") == 2
    err = capsys.readouterr().err
    assert len(wanted) == 2
    for flags in wanted:
        assert (
            f"python -m extract run --data FOLDER --checkpoint X --config-model X.yaml {flags} --out f\n"
            in err
        )


@pytest.mark.parametrize("head", ["all", *HEADS])
@pytest.mark.parametrize("grid", ["sweep", "robustness"])
def test_the_grids_that_we_ship_can_be_fitted_with_any_head(grid, head, capsys):
    config = Path(__file__).parents[1] / f"configs/{grid}.yaml"
    assert probes("sweep", "--config", config, "--heads", head, "--print-extract") == 0
    assert capsys.readouterr().out.startswith("--layers enc_pre_latent")


@pytest.mark.parametrize(
    ("chosen", "way_out"),
    [
        (("--heads", "ridge", "--params", "ridge.alpha=val"), "--params ridge.alpha=0.001"),
        (("--heads", "lightgbm", "--params", "early_stopping=5"), "--params lightgbm.early_stopping=null"),
        (("--heads", "ols,mlp_1"), "--params mlp_1.selection=fixed"),
    ],
)
def test_heads_that_choose_on_val_need_one(chosen, way_out, tmp_path, capsys):
    """In the check, and before anything is fitted; what is offered instead is fitted."""
    for verb, check in (("run", "--check"), ("sweep", "--print-extract")):
        assert probes(verb, *chosen, check) == 0
        assert probes(verb, *chosen, check, "--no-val") == 2
        told = capsys.readouterr().err
        assert (
            "as it is asked for chooses on val, so it needs a val split, and there is no val split: give one "
            "(make: VAL=FILE" in told
        )
        assert way_out in told
        fixed = way_out.split()
        assert probes(verb, *chosen[:2], *fixed, check, "--no-val") == 0
    for split in ("train", "test"):
        survey_store(tmp_path / "f", split)
    for verb in ("run", "sweep"):
        assert probes(verb, *where(tmp_path / "f", tmp_path / "r", *chosen)) == 2
        assert "there is no val split" in capsys.readouterr().err
    assert read_records(tmp_path / "r") == []
