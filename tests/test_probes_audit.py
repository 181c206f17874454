"""`python -m probes audit` on small stores: which it finds, what it writes, what it refuses."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import probes
from hypothesis import given, settings
from hypothesis import strategies as st
from small_survey import N, survey_store
from store_fakes import FORWARD

from cache.arrays import ArrayName
from cache.canonical import canonical_json
from cache.errors import ProbeError
from cache.header import read_header
from cache.records import read_arrays, read_records
from cache.selection import select, write_selection
from probes.audit_fits import A1, A3, A4_LABEL, A4_RESIDUAL, latent_fits, leftover
from probes.audit_record import doubts_of
from probes.audit_rows import Scored
from probes.audit_stores import audit_views
from probes.carried import FEW_FLAG
from probes.features import FeaturePart
from probes.spec import ProbeRequest
from probes.statistics import doubts
from probes.stores import StoreChoice

FLUX, ERROR = (ArrayName(layer, "forward", "none") for layer in ("input_flux", "input_error"))
KEYS = {
    "zero": "zero",
    "shuffled": "shuffled:version=1,seed=0",
    "constant": "constant:00ff",
    "from-noisy": "from-noisy:11ff",
}
COMMAND = "python -m extract run --data d --checkpoint m.ckpt --layers all --poolings a,b --selection s.json --draws 2"


def write_stores(root, error_inputs=None, **changes):
    """Stores of the true error with flux and error beside, and of the other error inputs (default: all)."""
    error_inputs = KEYS.values() if error_inputs is None else error_inputs
    paths = {}
    for split in N:
        about = {"about": {"command": COMMAND}}
        paths[split] = [
            survey_store(root, split, **about, **changes),
            survey_store(root, split, arrays=(FLUX,), width=12, **changes),
            survey_store(root, split, arrays=(ERROR,), width=8, **changes),
        ]
        for name in error_inputs:
            survey_store(root, split, error_input=name, **changes)
    return paths


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    paths = write_stores(root)
    write_selection(root / "true.json", select(root, paths, encoder="tiny"))
    return root


def audit(features, results, *argv):
    named = [] if "--features" in argv else ["--selection", features / "true.json"]
    return probes("audit", *named, "--poolings", FORWARD.pooling, "--results", results, *argv)


def results_of(folder):
    return {
        r.run_id: canonical_json([r.spec, r.result, r.files])
        for r in read_records(folder)
        if r.kind == "audit"
    }


def test_an_audit_is_one_record_of_the_form_agreed(features, tmp_path, capsys):
    assert audit(features, tmp_path) == 0
    (record,) = read_records(tmp_path)
    spec, result = record.spec, record.result
    assert (spec["label"], spec["head"], spec["params"]["alpha"]) == ("log_g", "ridge", "val")
    assert spec["features"] == {"layer": FORWARD.layer, "direction": "forward", "pooling": FORWARD.pooling}
    assert spec["error_inputs"] == list(KEYS)
    assert set(spec["families"]) == {"true", *KEYS}
    assert len(set(spec["families"].values())) == 5
    assert [len(spec["stores"][name]["test"]) for name in ("true", "zero")] == [3, 1]
    assert (spec["folds"], spec["seed"], spec["draws"]) == (5, 0, {"train": [0], "val": [0], "test": [0]})
    stores = {key for by_split in spec["stores"].values() for keys in by_split.values() for key in keys}
    assert set(result["stores"]) == stores
    assert (result["status"], result["predictions"]) == ("ok", {})
    assert result["n"] == N
    assert result["flags"].count(FEW_FLAG) == (N["test"] < 30) == 1
    names = [(row["name"], row["error_input"]) for row in result["rows"]]
    fed = [(how, name) for how in ("refit", "apply") for name in KEYS]
    ours = ["A1", "A2", "A3", "A4 latent->residual", "A4 latent->label"]
    assert names == [*((name, "true") for name in ours), *fed, ("mean", "true")]
    assert [(item["how"], item["error_input"]) for item in result["survival"]] == fed
    for row in result["rows"]:
        assert row["interval"][0] <= row["r2"] <= row["interval"][1]
        assert row["trained_on_error_input"] == ("true" if row["name"] == "apply" else row["error_input"])
        assert row["unit"] == "dex"
    assert result["verdict"]["shortcut"] == "no"
    out = capsys.readouterr().out
    assert "log_g from enc_pre_latent/forward/seg_mean_K2, ridge alpha=val" in out
    assert "shortcut: no." in out
    assert read_arrays(tmp_path, record.run_id)["residual"].shape == (N["test"],)


@settings(deadline=None, max_examples=20)
@given(st.integers(10, 60), st.booleans(), st.integers(0, 99))
def test_rows_of_an_audit_are_doubted_as_probes_of_the_same_rows_are(n_stars, rare, seed):
    """Of few stars, or where few carry the squared error of a row; residuals are another target."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n_stars)
    hats = {
        name: y + 0.1 * rng.normal(size=n_stars) for name in (A1, A3, A4_RESIDUAL, A4_LABEL, "refit zero")
    }
    hats["refit zero"][0] += 100 * rare
    nothing = np.zeros(n_stars)
    found = Scored(
        label="log_g",
        source="",
        stars=np.arange(n_stars),
        y=y,
        residual=nothing,
        train_stars=nothing,
        train_y=nothing,
        train_hat=nothing,
        ridge_row=None,
        hats=hats,
    )
    expected = []
    for name in (A1, A4_LABEL, "refit zero"):
        flags = doubts([name], y[:, None], hats[name][:, None], stars=found.stars)
        expected += [flag for flag in flags if flag not in expected]
    assert list(doubts_of(found)) == expected
    assert (FEW_FLAG in expected) == (n_stars < 30)
    if rare and n_stars >= 30:
        assert any(flag.endswith("(refit zero)") for flag in expected)


def test_what_is_on_record_is_not_made_again_and_made_again_it_is_the_same(features, tmp_path, capsys):
    asked = ("--labels", "log_g,T_eff", "--directions", "forward", "--heads", "ridge,ols")
    assert audit(features, tmp_path, *asked, "--dry-run") == 0
    assert not tmp_path.joinpath("records").exists()
    assert "audits on record: 0, to make: 4" in capsys.readouterr().out
    assert audit(features, tmp_path, *asked) == 0
    first = results_of(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("records/*")}
    assert audit(features, tmp_path, *asked) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("records/*")} == stamps
    assert "audits on record: 4, to make: 0" in capsys.readouterr().out
    assert audit(features, tmp_path, *asked, "--again") == 0
    assert results_of(tmp_path) == first


def test_labels_in_company_are_audited_as_alone(features, tmp_path):
    assert audit(features, tmp_path / "both", "--labels", "T_eff,log_g") == 0
    for label in ("log_g", "T_eff"):
        assert audit(features, tmp_path / "alone", "--labels", label) == 0
    assert results_of(tmp_path / "both") == results_of(tmp_path / "alone")


@pytest.mark.parametrize(
    "head",
    [
        ("mlp_1", "max_epochs=2,hidden=[8],threads=1"),
        ("lightgbm", "n_trees=5,threads=1"),
        ("ridge", "alpha=10"),
    ],
)
def test_any_head_can_be_audited(features, tmp_path, head):
    assert audit(features, tmp_path, "--heads", head[0], "--params", head[1], "--error-inputs", "zero") == 0
    (record,) = read_records(tmp_path)
    assert record.spec["head"] == head[0]
    assert [item["how"] for item in record.result["survival"]] == ["refit", "apply"]


OTHER = ArrayName("enc_1", "forward", FORWARD.pooling)


def write_second_survey(root):
    """Another layer of another network on as many other stars, whose spectra are others too."""
    for split in N:
        stars = np.arange(N[split]) + 10**7 * (1 + list(N).index(split))
        about = {"stars": stars, "encoder": {"weights": "11" * 32}}
        for fed in ("true", "zero"):
            survey_store(root, split, arrays=(OTHER,), error_input=fed, **about)
        survey_store(root, split, arrays=(FLUX,), width=11, **about)
        survey_store(root, split, arrays=(ERROR,), width=7, **about)


@pytest.fixture(scope="module")
def two_surveys(tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    write_stores(root, ["zero"])
    write_second_survey(root)
    return root


def test_layers_of_two_surveys_are_audited_each_with_its_own_stars(two_surveys, tmp_path):
    asked = ("--features", two_surveys, "--error-inputs", "zero")
    assert audit(two_surveys, tmp_path / "both", *asked, "--layers", "enc_pre_latent,enc_1") == 0
    for layer in ("enc_pre_latent", "enc_1"):
        assert audit(two_surveys, tmp_path / "alone", *asked, "--layers", layer) == 0
    assert len(results_of(tmp_path / "both")) == 2
    assert results_of(tmp_path / "both") == results_of(tmp_path / "alone")


def test_features_of_other_stars_than_the_labels_are_refused(two_surveys):
    requests, views = [], []
    for array in (FORWARD, OTHER):
        part = FeaturePart(layer=array.layer, pooling=array.pooling)
        requests.append(ProbeRequest(features=(part,), head="ridge", labels=("log_g",)))
        wanted = ((array.layer, "forward", array.pooling),)
        views.append(audit_views(StoreChoice(root=two_surveys), wanted, ["zero"]))
    left = leftover(requests[:1], views[0], n_folds=2, seed=0, advance=[].append)
    with pytest.raises(ProbeError, match=r"train: the features of enc_1.* are not of the rows and stars"):
        latent_fits(requests[1:], views[1], left, advance=[].append)


def test_beside_another_head_ridge_reads_the_error(features, tmp_path, capsys):
    asked = ("--error-inputs", "zero")
    assert audit(features, tmp_path, *asked, "--heads", "lightgbm", "--params", "n_trees=1,threads=1") == 0
    assert audit(features, tmp_path / "ridge", *asked) == 0
    (record,), (by_ridge,) = read_records(tmp_path), read_records(tmp_path / "ridge")
    rows, same = ({row["name"]: row for row in found.result["rows"]} for found in (record, by_ridge))
    assert list(rows)[:4] == ["A1", "A1 ridge", "A2", "A3"]
    assert "A1 ridge" not in same
    assert (rows["A1 ridge"]["r2"], rows["A1 ridge"]["interval"]) == (
        same["A1"]["r2"],
        same["A1"]["interval"],
    )
    assert rows["A1"]["r2"] < 0.8
    assert rows["A1 ridge"]["r2"] > 0.95
    assert "y_hat: A1 ridge" in read_arrays(tmp_path, record.run_id)


def test_what_is_of_train_says_so(features, tmp_path, capsys):
    assert audit(features, tmp_path, "--error-inputs", "zero") == 0
    out = capsys.readouterr().out
    assert "A2 (train, out of fold)  input_error" in out
    assert "test R2" not in out


def test_without_a_selection_the_true_error_is_found_by_itself(features, tmp_path):
    assert audit(features, tmp_path / "a") == 0
    assert audit(features, tmp_path / "b", "--features", features) == 0
    assert results_of(tmp_path / "a") == results_of(tmp_path / "b")


def test_all_draws_of_train_are_used(tmp_path):
    for draw in (0, 1):
        paths = write_stores(tmp_path / "f", ["zero"], noise={"draw": draw})
        if draw:
            for split in ("val", "test"):
                for path in (tmp_path / "f" / split).iterdir():
                    if read_header(path).provenance["noise"]["draw"] == 1:
                        shutil.rmtree(path)
    flags = ("--features", tmp_path / "f", "--error-inputs", "zero", "--draws", "2")
    assert paths
    assert audit(tmp_path, tmp_path / "r", *flags) == 0
    (record,) = read_records(tmp_path / "r")
    assert record.spec["draws"]["train"] == [0, 1]
    assert record.result["n_rows"]["train"] == 2 * record.result["n"]["train"]


def refused(capsys, *asked):
    capsys.readouterr()
    assert audit(*asked) == 2
    return capsys.readouterr().err


def test_what_is_missing_is_named_with_its_commands_and_nothing_is_written(tmp_path, capsys):
    paths = write_stores(tmp_path / "f", ["zero", KEYS["shuffled"]])
    write_selection(tmp_path / "f/true.json", select(tmp_path / "f", paths, encoder="tiny"))
    for split in N:
        shutil.rmtree(paths[split][1])
    told = refused(capsys, tmp_path / "f", tmp_path / "r")
    common = "python -m extract run --data d --checkpoint m.ckpt --draws 2"
    assert f"input_flux: run {common} --layers input_flux --poolings none\n" in told
    for name in ("constant", "from-noisy"):
        flags = f"--layers enc_pre_latent --poolings seg_mean_K2 --directions forward --error-input {name}"
        assert f"error input {name}: run {common} {flags}\n" in told
    assert "error input zero" not in told
    assert "make audit" in told
    assert not (tmp_path / "r").exists()


def test_stores_that_only_seem_to_fit_are_not_taken(tmp_path, capsys):
    """Another noise level, another network, train alone."""
    write_stores(tmp_path, [])
    for split in N:
        survey_store(tmp_path, split, error_input="zero", noise={"level": 0.5})
        survey_store(tmp_path, split, error_input="zero", encoder={"weights": "11" * 32})
    told = refused(capsys, tmp_path, tmp_path / "r", "--features", tmp_path, "--error-inputs", "zero")
    assert "error input zero: run" in told
    survey_store(tmp_path, "train", error_input="zero")
    told = refused(capsys, tmp_path, tmp_path / "r", "--features", tmp_path, "--error-inputs", "zero")
    assert "error input zero: run" in told


def test_one_of_several_is_named_by_more_of_its_name(tmp_path, capsys):
    paths = write_stores(tmp_path, ["constant:00ff", "constant:11ff"])
    write_selection(tmp_path / "true.json", select(tmp_path, paths, encoder="tiny"))
    told = refused(capsys, tmp_path, tmp_path / "r", "--error-inputs", "constant")
    assert "several stores with error input 'constant' would do: constant:00ff, constant:11ff" in told
    assert audit(tmp_path, tmp_path / "r", "--error-inputs", "constant:11") == 0
    (record,) = read_records(tmp_path / "r")
    assert record.spec["error_inputs"] == ["constant"]


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("input_error", "the error itself, whatever the network is fed"),
        ("input_flux", "the noisy flux, which no error input changes"),
        ("clean_flux", "the flux without noise, which no error input changes"),
        ("denoised", "weighed against the noisy flux by the true error"),
    ],
)
def test_what_keeps_the_true_error_is_not_acquitted(tmp_path, capsys, layer, words):
    """Fed anything, the stored error is the same: 100 % would survive."""
    array = ArrayName(layer, "forward", FORWARD.pooling)
    two = {"encoder": {"config": {"output_channels": 2}}}
    write_stores(tmp_path, ["zero"], **two)
    for split in N:
        for fed in ("true", "zero"):
            survey_store(tmp_path, split, arrays=(array,), error_input=fed, **two)
    asked = ("--features", tmp_path, "--error-inputs", "zero", "--layers", layer)
    assert words in refused(capsys, tmp_path, tmp_path / "r", *asked)
    assert not (tmp_path / "r").exists()


def test_denoised_flux_of_a_network_that_gives_the_mean_alone_can_be_audited(tmp_path):
    one = {"encoder": {"config": {"output_channels": 1}}}
    write_stores(tmp_path, [], **one)
    for split in N:
        for fed in ("true", "zero"):
            array = ArrayName("denoised", "forward", FORWARD.pooling)
            survey_store(tmp_path, split, arrays=(array,), error_input=fed, **one)
    asked = ("--features", tmp_path, "--error-inputs", "zero", "--layers", "denoised")
    assert audit(tmp_path, tmp_path / "r", *asked) == 0


def test_it_starts_from_the_true_error(tmp_path, capsys):
    paths = {split: [survey_store(tmp_path, split, error_input="zero")] for split in N}
    write_selection(tmp_path / "true.json", select(tmp_path, paths, encoder="tiny"))
    assert "an audit starts from those with error input 'true'" in refused(capsys, tmp_path, tmp_path / "r")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--labels", "log_g+T_eff"), "an audit is of one layer and one label"),
        (("--labels", "age"), "has no label 'age'"),
        (("--labels", "gap"), "label 'gap' is missing"),
        (("--error-inputs", "nil"), "unknown error input to audit 'nil'"),
        (("--error-inputs", "zero,zero"), "name one or more, each once"),
        (("--folds", "61"), "--folds is 61; expected at least 2 and at most the 60 stars"),
        (("--heads", "mean"), "'mean' is a baseline"),
    ],
)
def test_what_cannot_be_meant_is_refused(features, tmp_path, capsys, flags, words):
    assert words in refused(capsys, features, tmp_path, *flags)
    assert not list(tmp_path.glob("records/*"))


def test_a_store_that_was_made_anew_makes_the_audit_again(tmp_path, capsys):
    paths = write_stores(tmp_path, ["zero"])
    write_selection(tmp_path / "true.json", select(tmp_path, paths, encoder="tiny"))
    assert audit(tmp_path, tmp_path / "r", "--error-inputs", "zero") == 0
    (path,) = tmp_path.glob("r/records/*")
    content = json.loads(path.read_text())
    key = next(iter(content["result"]["stores"]))
    from cache.atomic import publish_json

    content["result"]["stores"][key] = "another digest"
    publish_json(path, {name: value for name, value in content.items() if name != "self"})
    capsys.readouterr()
    assert audit(tmp_path, tmp_path / "r", "--error-inputs", "zero") == 0
    assert "audits on record: 0, to make: 1" in capsys.readouterr().out


def test_rows_that_differ_are_refused(tmp_path, capsys):
    paths = write_stores(tmp_path, [])
    write_selection(tmp_path / "true.json", select(tmp_path, paths, encoder="tiny"))
    for split in N:
        survey_store(
            tmp_path, split, error_input="zero", stars=np.arange(N[split]) + 10**7 * (1 + len(split))
        )
    told = refused(capsys, tmp_path, tmp_path / "r", "--error-inputs", "zero")
    assert "extract both with the same files" in told or "stand in both" in told


def test_without_val_a_head_that_chooses_nothing_can_be_audited(tmp_path, capsys):
    write_stores(tmp_path / "f", ["zero"])
    shutil.rmtree(tmp_path / "f/val")
    asked = ("--features", tmp_path / "f", "--error-inputs", "zero")
    assert "Ridge chooses on val" in refused(capsys, tmp_path, tmp_path / "r", *asked)
    assert audit(tmp_path, tmp_path / "r", *asked, "--params", "alpha=1") == 0
    (record,) = read_records(tmp_path / "r")
    assert set(record.result["n"]) == {"train", "test"}
    assert "A1 ridge" not in {row["name"] for row in record.result["rows"]}


def test_make_extracts_every_error_input_and_then_audits():
    shown = subprocess.run(
        [
            "make",
            "--no-print-directory",
            "-o",
            ".venv/ready",
            "-n",
            "audit",
            "DATA=d",
            "DIRECTION=mean",
            "ARGS=--folds 7",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    ).stdout
    words = shlex.split(shown.replace("\\\n", " "))
    fed = [words[k + 1] for k, word in enumerate(words) if word == "--error-input"]
    assert fed == list(KEYS)
    assert words.count("extract") == 5
    assert words.count("forward,backward") == 5
    audit_words = words[words.index("audit") :]
    assert audit_words[audit_words.index("--directions") + 1] == "mean"
    assert audit_words[-2:] == ["--folds", "7"]
