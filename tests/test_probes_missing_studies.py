"""Audits and distillations of labels that some stars lack: refused, or as if these stars were not in the files."""

import numpy as np
import pytest
from commands import make, probes
from small_survey import N, survey_store
from store_fakes import FORWARD

from cache.arrays import ArrayName
from cache.canonical import canonical_json
from cache.records import read_arrays, read_predictions, read_records
from probes.left_out import HELD_OUT

FLUX, ERROR = (ArrayName(layer, "forward", "none") for layer in ("input_flux", "input_error"))
FED = ("zero",)
DROP = ("--missing-labels", "drop")
LACKING = {"train": (0, 7, 31, 59), "val": (3,), "test": (1, 2, 23)}


def write_stores(root, **of_split):
    """What audits and distillations of one layer read; `of_split` are arguments of the stores, by split."""
    for split in N:
        changes = {name: by_split[split] for name, by_split in of_split.items()}
        for arrays, width in (((FORWARD,), 4), ((FLUX,), 12), ((ERROR,), 8)):
            survey_store(root, split, arrays=arrays, width=width, **changes)
        for fed in FED:
            survey_store(root, split, error_input=fed, **changes)
    return root


@pytest.fixture(scope="module")
def gappy(tmp_path_factory):
    """Some stars have no log_g; all have T_eff."""
    return write_stores(tmp_path_factory.mktemp("gappy"), lacking=LACKING)


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """The stores that the same files gave without these stars."""
    kept = {split: ~np.isin(np.arange(n), LACKING[split]) for split, n in N.items()}
    return write_stores(tmp_path_factory.mktemp("without"), kept=kept)


def study(verb, features, results, *argv):
    flags = ("--features", features, "--poolings", FORWARD.pooling, "--results", results)
    fed = ("--error-inputs", "zero") if verb == "audit" else ("--student", "ols")
    return probes(verb, *flags, *fed, *argv)


def by_label(results):
    """Records by labels, head, that of the student's probe, and what they read."""
    found = {}
    for record in read_records(results):
        spec = record.spec
        labels = spec.get("labels", [spec.get("label")])
        key = (*labels, spec["head"], spec["params"].get("probe"), canonical_json(spec["features"]))
        found[key] = record
    return found


def without_names(result):
    """A result without the names of stores, and what was kept of them."""
    return {name: value for name, value in result.items() if name not in {"stores", "kept"}}


@pytest.mark.parametrize(("head", "params"), [("ridge", "alpha=val"), ("lightgbm", "n_trees=3,threads=1")])
def test_an_audit_leaves_stars_out_as_if_they_were_not_in_the_files(
    gappy, without, tmp_path, capsys, head, params
):
    """Of all error inputs and steps: a star that one of them saw would change its row."""
    asked = ("--heads", head, "--params", params)
    assert study("audit", gappy, tmp_path / "r", *asked) == 2
    assert "--missing-labels drop (make: MISSING=drop)" in capsys.readouterr().err
    assert study("audit", gappy, tmp_path / "dropped", *asked, *DROP) == 0
    assert "log_g (stars that have it) from enc_pre_latent" in capsys.readouterr().out
    assert study("audit", without, tmp_path / "plain", *asked) == 0
    (dropped,), (plain,) = read_records(tmp_path / "dropped"), read_records(tmp_path / "plain")
    assert without_names(dropped.result) == without_names(plain.result)
    assert dropped.result["n"] == {split: n - len(LACKING[split]) for split, n in N.items()}
    assert {split: told["n"] for split, told in dropped.result["kept"].items()} == {
        split: N[split] - len(LACKING[split]) for split in HELD_OUT
    }
    assert dropped.spec["missing_labels"] == "drop"
    assert "missing_labels" not in plain.spec
    assert "kept" not in plain.result
    arrays = [
        read_arrays(tmp_path / folder, record.run_id)
        for folder, record in (("dropped", dropped), ("plain", plain))
    ]
    assert arrays[0].keys() == arrays[1].keys()
    for name, values in arrays[0].items():
        np.testing.assert_array_equal(values, arrays[1][name])


@pytest.mark.parametrize("verb", ["audit", "distil"])
def test_a_label_with_gaps_takes_no_star_from_another(gappy, tmp_path, verb):
    assert study(verb, gappy, tmp_path / "both", "--labels", "T_eff,log_g", *DROP) == 0
    assert study(verb, gappy, tmp_path / "alone", "--labels", "T_eff") == 0
    both, alone = by_label(tmp_path / "both"), by_label(tmp_path / "alone")
    assert {key[0] for key in alone} == {"T_eff"}
    for key, record in alone.items():
        assert (both[key].run_id, both[key].result) == (record.run_id, record.result)


def test_too_few_stars_with_the_label_are_refused(tmp_path, capsys):
    write_stores(tmp_path / "f", lacking={"train": (), "val": (), "test": range(1, N["test"])})
    for verb in ("audit", "distil"):
        assert study(verb, tmp_path / "f", tmp_path / "r", *DROP) == 2
        assert (
            f"log_g: finite in 1 of {N['test']} rows of split 'test', at least 2" in capsys.readouterr().err
        )
    assert read_records(tmp_path / "r") == []


def test_a_distillation_leaves_stars_out_as_if_they_were_not_in_the_files(gappy, without, tmp_path, capsys):
    """Of the network that learns too, so that all of a record is of the same stars."""
    asked = ("--labels", "log_g+T_eff", "--heads", "ridge,ols")
    assert study("distil", gappy, tmp_path / "r", *asked) == 2
    assert "--missing-labels drop" in capsys.readouterr().err
    assert study("distil", gappy, tmp_path / "dropped", *asked, *DROP) == 0
    assert study("distil", without, tmp_path / "plain", *asked) == 0
    dropped, plain = by_label(tmp_path / "dropped"), by_label(tmp_path / "plain")
    assert len(dropped) == 6
    assert dropped.keys() == plain.keys()
    for key, record in dropped.items():
        assert without_names(record.result) == without_names(plain[key].result)
        assert record.spec["missing_labels"] == "drop"
        assert set(record.result["kept"]) == set(HELD_OUT)
        rows = [read_predictions(tmp_path / name, found[key].run_id) for name, found in
                (("dropped", dropped), ("plain", plain))]  # fmt: skip
        for name in ("row", "star"):
            np.testing.assert_array_equal(rows[0][name], rows[1][name])


def test_one_variable_of_make_drops_them_everywhere():
    for verb, flag in (("audit", "--missing-labels drop"), ("finetune", "--missing-labels 'drop'")):
        shown = make("-n", verb, "DATA=d", "MISSING=drop").stdout.replace("\\\n", " ").splitlines()
        lines = [
            line for line in shown if "probes audit" in line or "finetune" in line or "need-labels" in line
        ]
        assert len(lines) == (3 if verb == "audit" else 1)
        assert all(flag in line for line in lines)
    (fisher,) = (
        line
        for line in make("-n", "ceiling", "DATA=d", "MISSING=drop").stdout.splitlines()
        if "fisher -" in line
    )
    assert "--missing-labels 'drop'" in fisher
    assert "missing" not in make("-n", "finetune", "DATA=d").stdout
