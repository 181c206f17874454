"""`python -m probes ceiling`: for which records it holds, how matrices are joined, what is written and what refused."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from commands import probes
from small_survey import N, flags, survey_store
from store_fakes import BACKWARD, FORWARD, provenance

from cache import FeatureStore
from cache.errors import Stale
from cache.fisher import FisherMatrices, fisher_key, write_fisher
from cache.records import read_arrays, read_predictions, read_records, record_path, write_record
from cache.store_folders import store_paths
from probes.carried import FEW_FLAG
from probes.ceiling_applies import NOT_STORED, SEES_CLEAN_FLUX, SEES_THE_ERROR, why_not
from probes.ceiling_command import CeilingSettings, run
from probes.ceiling_inputs import matched
from probes.comparable import ScoredRows
from probes.metrics import r2

PARAMETERS = ["T_eff", "log_g", "ln_A"]
TEST_INPUT = b"test".hex().ljust(64, "0")


# --- for whom it holds ---


def spec_of(*layers, control="none", error_input="true"):
    parts = [{"layer": layer, "direction": "forward", "pooling": "none"} for layer in layers]
    return {"control": control, "error_input": error_input, "features": {"parts": parts}}


def seen(error_input="true", **config):
    about = {"error_mode": "pixel", "error_channels": 1, "output_channels": 2, **config}
    return provenance("test", encoder={"config": about}, error_input=error_input)


@pytest.mark.parametrize(
    ("spec", "test", "expected"),
    [
        (spec_of("enc_last"), seen(), SEES_THE_ERROR),
        (spec_of("enc_last"), seen("zero"), None),
        (spec_of("enc_last"), seen("constant:0123"), None),
        (spec_of("enc_last"), seen("shuffled:version=1,seed=0"), None),
        (spec_of("enc_last"), seen("from-noisy:0123"), None),
        (spec_of("enc_last"), seen(error_mode="none", error_channels=0), None),
        (spec_of("enc_last"), seen(error_mode=None, error_channels=0), None),
        (spec_of("enc_last"), seen(error_mode=None), SEES_THE_ERROR),
        (spec_of("enc_last"), seen(error_mode="L4"), None),
        *((spec_of("enc_0"), seen(error_mode=f"L{k}"), SEES_THE_ERROR) for k in (0, 1, 2, 3, 5)),
        (spec_of("input_flux"), seen(), None),
        (spec_of("input_error"), seen("zero"), SEES_THE_ERROR),
        (spec_of("input_error"), seen(error_mode="none", error_channels=0), SEES_THE_ERROR),
        (spec_of("denoised"), seen("zero"), SEES_THE_ERROR),
        (spec_of("denoised"), seen("zero", output_channels=1), None),
        (spec_of("denoised"), seen(output_channels=1), SEES_THE_ERROR),
        (spec_of("clean_flux"), seen("zero"), SEES_CLEAN_FLUX),
        (spec_of("input_flux", "enc_last"), seen(), SEES_THE_ERROR),
        (spec_of("input_flux", "enc_last"), seen("zero"), None),
        (spec_of("enc_last", control="mean_predictor"), seen(), None),
        (spec_of("enc_last", error_input="zero"), seen(), SEES_THE_ERROR),
        (spec_of("enc_last"), None, NOT_STORED),
        (spec_of("input_flux"), None, NOT_STORED),
    ],
)
def test_it_holds_for_features_that_do_not_see_the_error(spec, test, expected):
    assert why_not(spec, test) == expected


# --- joining ---


def fisher(rows, stars, labels, *, scale=1.0, **changes):
    about = {
        "schema": 1,
        "input": TEST_INPUT,
        "data_kind": "mock",
        "split": "test",
        "rows": {"n": len(rows), "selection": "all"},
        "mask": None,
        "noise_level": 1.0,
        "parameters": PARAMETERS,
        "method": {"name": "mock"},
        **changes,
    }
    gradient = np.random.default_rng(0).standard_normal((len(rows), 3, 5)) * [[0.01], [1.0], [1.0]]
    matrices = scale * gradient @ gradient.transpose(0, 2, 1)
    return FisherMatrices(
        provenance=about, key=fisher_key(about), matrices=matrices, rows=rows, stars=stars, labels=labels
    )


def rows_of(**changed):
    rows = np.array([3, 0, 7])
    plain = {"rows": rows, "stars": rows.astype(np.uint64) + 50, "y": rows / 2.0, **changed}
    return ScoredRows(label="log_g", about={}, stored={}, **plain)


def test_matrices_are_joined_by_row_in_any_order():
    order = np.array([5, 7, 0, 9, 3])
    made = fisher(order, order.astype(np.uint64) + 50, {"log_g": order / 2.0})
    np.testing.assert_array_equal(matched(made, rows_of()), made.matrices[[4, 2, 1]])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rows": np.array([3, 0, 8])}, r"1 of 3 test rows have no Fisher matrix \(first rows: \[8\]\)"),
        ({"rows": np.array([3, 0, 99])}, r"have no Fisher matrix \(first rows: \[99\]\)"),
        (
            {"stars": np.array([53, 50, 58], dtype=np.uint64)},
            r"have that of another star \(first rows: \[7\]\)",
        ),
        ({"y": np.array([1.5, np.nan, 3.5])}, r"have that of another log_g \(first rows: \[0\]\)"),
    ],
)
def test_rows_that_do_not_match_are_refused(changed, words):
    order = np.array([5, 7, 0, 9, 3])
    made = fisher(order, order.astype(np.uint64) + 50, {"log_g": order / 2.0})
    with pytest.raises(Stale, match=words):
        matched(made, rows_of(**changed))


# --- the command ---


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Ridge and the mean on features of the true error and of zero error, with Fisher matrices of the test rows."""
    root = tmp_path_factory.mktemp("ceiling")
    for split in N:
        for error_input in ("true", "zero"):
            survey_store(root / "f", split, error_input=error_input)
    for family in {FeatureStore.open(path).family for path in store_paths(root / "f", "train")}:
        argv = flags(root / "f", root / "r", "--controls", "none,mean_predictor,shuffled_labels")
        assert probes("run", *argv, "--family", family, "--labels", "log_g,snr,log_g+T_eff") == 0
    write_fisher(root / "fisher", of_survey(root), run={})
    return root


@pytest.fixture
def survey(fitted, tmp_path):
    """A copy, to be changed."""
    shutil.copytree(fitted, tmp_path / "s")
    return tmp_path / "s"


def of_survey(root, **changes):
    store = FeatureStore.open(next(store_paths(root / "f", "test")))
    labels = {name: store.labels(name) for name in ("log_g", "T_eff")}
    return fisher(store.rows, store.stars, labels, **changes)


def ceiling(root, *more):
    return probes(
        "ceiling", "--results", root / "r", "--features", root / "f", "--fisher", root / "fisher", *more
    )


def ceilings(root, label="log_g"):
    return [r for r in read_records(root / "r") if r.kind == "ceiling" and r.spec["label"] == label]


def test_a_ceiling_is_recorded_with_a_share_for_each_row_that_does_not_see_the_error(survey, capsys):
    assert ceiling(survey) == 0
    out = capsys.readouterr().out
    assert "log_g, 24 test stars: ceiling R2 " in out
    assert "snr: no ceiling: Fisher matrices do not tell of it" in out
    assert re.search(
        r"^  \d+ without a share: sees the error: ceiling not applicable$", out, flags=re.MULTILINE
    )
    (record,) = ceilings(survey)
    assert len(ceilings(survey, "T_eff")) == 1
    probe = {r.run_id: r for r in read_records(survey / "r") if r.kind == "probe"}
    assert record.spec["runs"] == "all"
    assert record.spec["prior"]["ln_A_sd"] == 0
    assert record.result["n"] == {"test": N["test"]}
    for row in record.result["rows"]:
        spec, columns = probe[row["run"]].spec, read_predictions(survey / "r", row["run"])
        blind = spec["error_input"] == "zero" or spec["control"] == "mean_predictor"
        assert row["applicable"] == blind
        assert (row["share"] is not None) == blind
        single = spec["labels"] == ["log_g"]
        truth, found = (
            columns[name if single else f"{name}_log_g"][columns["split"] == "test"]
            for name in ("y", "y_hat")
        )
        assert row["r2"] == pytest.approx(r2(truth, found), rel=1e-5)
    assert "shuffled_labels" not in {probe[row["run"]].spec["control"] for row in record.result["rows"]}
    assert set(record.result["predictions"]) == {row["run"] for row in record.result["rows"]}
    assert len(record.result["stores"]) == 3  # test of both, train of one
    assert set(record.result["bins"]) == {"snr"}
    shares = record.result["bins"]["snr"]["share"]
    assert set(shares) == {row["run"] for row in record.result["rows"] if row["applicable"]}
    arrays = read_arrays(survey / "r", record.run_id)
    assert arrays["sd_prior_aware"].shape == arrays["sd_unbiased"].shape == arrays["row"].shape == (24,)
    assert (arrays["sd_prior_aware"] <= arrays["prior_sd"]).all()
    spread = np.var(truth)
    value = record.result["figures"]["prior_aware_mean"]["value"]
    assert value == pytest.approx(1 - np.mean(arrays["sd_prior_aware"] ** 2) / spread, rel=1e-5)
    assert record.result["also"]["ln_A_known"] == pytest.approx(value, rel=1e-5)
    assert record.result["also"]["ln_A_free"] <= value <= record.result["also"]["van_trees"]


def test_again_changes_nothing_and_another_record_makes_it_anew(survey):
    assert ceiling(survey) == 0
    (before,) = ceilings(survey)
    content = record_path(survey / "r", before.run_id).read_bytes()
    assert ceiling(survey) == 0
    assert record_path(survey / "r", before.run_id).read_bytes() == content
    family = FeatureStore.open(next(store_paths(survey / "f", "train"))).family
    assert probes("run", *flags(survey / "f", survey / "r"), "--heads", "ols", "--family", family) == 0
    assert ceiling(survey) == 0
    (after,) = ceilings(survey)
    assert after.run_id == before.run_id
    assert len(after.result["rows"]) == len(before.result["rows"]) + 1


def test_probes_with_other_parameters_are_told_apart(survey, capsys):
    argv = flags(survey / "f", survey / "r", "--family", family_that_is_fed(survey, "zero"))
    assert probes("run", *argv, "--params", "alpha=val,alpha=0.001,alpha=7") == 0
    capsys.readouterr()
    assert ceiling(survey, "--labels", "log_g") == 0
    lines = capsys.readouterr().out.splitlines()
    named = [line.split()[1:] for line in lines if "error input zero" in line and " ridge " in line]
    assert {words[2] for words in named} >= {"alpha=val,", "alpha=0.001,", "alpha=7,"}


def family_that_is_fed(survey, name):
    stores = map(FeatureStore.open, store_paths(survey / "f", "train"))
    return next(store.family for store in stores if store.provenance["error_input"] == name)


def trained_end_to_end(root, error_input, *, frozen=False, mask=None):
    """A finetune record with the test predictions of a probe, fed some error input."""
    probe = next(
        r
        for r in read_records(root / "r")
        if r.kind == "probe" and r.spec["labels"] == ["log_g"] and r.spec["control"] == "none"
    )
    own = {
        "head": "mlp_1",
        "params": {"freeze_encoder": frozen},
        "encoder": {"config": {"error_mode": "pixel", "error_channels": 1, "output_channels": 2}},
        "mask": mask,
        "error_input": error_input,
    }
    spec = {name: value for name, value in probe.spec.items() if name not in ("stores", "family")} | own
    return write_record(
        root / "r",
        kind="finetune",
        spec=spec,
        result={**probe.result, "stores": {}},
        run={},
        predictions=read_predictions(root / "r", probe.run_id),
    )


def test_networks_trained_end_to_end_are_rows_that_hold_by_what_they_are_fed(survey, capsys):
    blind, frozen, seeing = (
        trained_end_to_end(survey, "from-noisy:01"),
        trained_end_to_end(survey, "from-noisy:02", frozen=True),
        trained_end_to_end(survey, "true", frozen=True),
    )
    masked = trained_end_to_end(survey, "zero", mask="ab" * 32)
    assert ceiling(survey, "--labels", "log_g") == 0
    told = capsys.readouterr().out
    (record,) = ceilings(survey)
    rows = {row["run"]: row for row in record.result["rows"]}
    assert rows[blind]["applicable"]
    assert rows[blind]["share"] is not None
    assert rows[seeing]["why"] == SEES_THE_ERROR
    assert masked not in rows
    assert "mlp_1, end to end, encoder fine-tuned, error input from-noisy: R2 " in told
    assert "mlp_1, end to end, encoder frozen, error input from-noisy: R2 " in told
    assert {blind, frozen, seeing} < set(record.result["predictions"])
    assert ceiling(survey, "--labels", "log_g", "--runs", blind) == 2
    assert "none of 1 records has its train stores there" in capsys.readouterr().err


def test_chosen_records_and_another_prior_of_the_amplitude_are_other_ceilings(survey):
    assert ceiling(survey, "--labels", "log_g") == 0
    (whole,) = ceilings(survey)
    one = whole.result["rows"][0]["run"][:12]
    assert ceiling(survey, "--labels", "log_g", "--runs", one, "--ln-a-sd", "inf") == 0
    (other,) = [r for r in ceilings(survey) if r.run_id != whole.run_id]
    assert other.spec["runs"] == [one]
    assert other.spec["prior"]["ln_A_sd"] == "free"
    assert [row["run"][:12] for row in other.result["rows"]] == [one]
    assert other.result["figures"]["prior_aware_mean"]["value"] == other.result["also"]["ln_A_free"]
    assert not ceilings(survey, "T_eff")


def test_a_probe_above_is_flagged(survey, capsys):
    write_fisher(survey / "poor", of_survey(survey, scale=0.05), run={})
    assert ceiling(survey, "--labels", "log_g", "--fisher", survey / "poor") == 0
    (record,) = ceilings(survey)
    above = [row["run"] for row in record.result["rows"] if row["above"]]
    assert above
    assert record.result["flags"] == [*(f"above the ceiling: {run[:12]}" for run in above), FEW_FLAG]
    assert record.result["n"]["test"] < 30
    assert "ABOVE THE CEILING" in capsys.readouterr().out


def without_matrices(root, absent, **changes):
    """Put the matrices of some rows aside."""
    plain = of_survey(root)
    kept = ~np.isin(plain.rows, absent)
    shutil.rmtree(root / "fisher")
    labels = {name: values[kept] for name, values in plain.labels.items()}
    about = {**plain.provenance, "rows": {"n": int(kept.sum()), "selection": "some", **changes}}
    made = replace(
        plain,
        provenance=about,
        key=fisher_key(about),
        matrices=plain.matrices[kept],
        rows=plain.rows[kept],
        stars=plain.stars[kept],
        labels=labels,
    )
    write_fisher(root / "fisher", made, run={})
    return kept


def test_stars_that_lack_a_label_of_the_matrices_are_left_out_of_ceiling_scores_and_shares(survey, capsys):
    assert ceiling(survey, "--labels", "log_g") == 0
    (whole,) = ceilings(survey)
    kept = without_matrices(survey, [2, 5], missing_labels="drop")
    assert ceiling(survey, "--labels", "log_g") == 0
    flag = "2 of 24 test rows lack a label of which Fisher matrices are made: ceiling, R2 and shares are of the others"
    assert f"flag: {flag}" in capsys.readouterr().out
    (record,) = (found for found in ceilings(survey) if found.run_id != whole.run_id)
    assert record.result["n"] == record.result["n_rows"] == {"test": 22}
    assert flag in record.result["flags"]
    arrays, every = (read_arrays(survey / "r", found.run_id) for found in (record, whole))
    for name in ("row", "star", "sd_prior_aware", "sd_unbiased"):
        np.testing.assert_array_equal(arrays[name], every[name][kept])
    for row in record.result["rows"]:
        columns = read_predictions(survey / "r", row["run"])
        single = "y" in columns
        truth, found = (
            columns[name if single else f"{name}_log_g"][columns["split"] == "test"][kept]
            for name in ("y", "y_hat")
        )
        assert row["r2"] == pytest.approx(r2(truth, found), rel=1e-5)


def test_rows_without_a_matrix_for_another_reason_are_refused(survey):
    without_matrices(survey, [2, 5])
    with pytest.raises(Stale, match=r"2 of 24 test rows have no Fisher matrix \(first rows: \[2, 5\]\)"):
        run(CeilingSettings(results=survey / "r", features=survey / "f", fisher=survey / "fisher"))


def test_with_too_few_matrices_there_is_no_ceiling(survey, capsys):
    without_matrices(survey, range(1, 24), missing_labels="drop")
    assert ceiling(survey) == 2
    assert "1 of 24 test rows have all labels of which Fisher matrices are made" in capsys.readouterr().err


def test_an_emulated_gradient_is_flagged(survey):
    made = of_survey(survey, method={"name": "emulator"})
    path = write_fisher(survey / "emulated", made, run={})
    assert ceiling(survey, "--labels", "log_g", "--fisher", path) == 0
    (record,) = ceilings(survey)
    assert record.result["fisher_method"] == "emulator"
    assert record.result["flags"][0].startswith("gradients by an emulator: approximate")


def test_stores_that_are_gone_leave_their_rows_unknown(survey, capsys):
    assert ceiling(survey, "--labels", "log_g") == 0
    for path in list(store_paths(survey / "f", "test")):
        if FeatureStore.open(path).provenance["error_input"] == "zero":
            shutil.rmtree(path)
    assert ceiling(survey, "--labels", "log_g") == 0
    (record,) = ceilings(survey)
    told = {row["why"] for row in record.result["rows"]}
    assert told == {NOT_STORED, SEES_THE_ERROR, None}  # the mean predictor on what is left
    shutil.rmtree(survey / "f" / "train")
    assert ceiling(survey, "--labels", "log_g") == 2
    assert "has its train stores there" in capsys.readouterr().err
    shutil.rmtree(survey / "f" / "test")
    assert ceiling(survey, "--labels", "log_g") == 2
    assert "the test stores of all" in capsys.readouterr().err


def test_masks_have_ceilings_of_their_own(survey, capsys):
    family = {}
    for split in N:
        family[split] = FeatureStore.open(survey_store(survey / "f", split, mask="ab" * 32)).family
    argv = flags(survey / "f", survey / "r", "--family", family["train"])
    assert probes("run", *argv) == 0
    assert ceiling(survey, "--labels", "log_g") == 0
    assert (
        "extract fisher --data FOLDER --split test --noise-level 1 --mask FILE.npy" in capsys.readouterr().out
    )
    write_fisher(survey / "fisher", of_survey(survey, mask="ab" * 32), run={})
    assert ceiling(survey, "--labels", "log_g") == 0
    masked, plain = sorted(ceilings(survey), key=lambda r: r.spec["mask"] is None)
    assert (masked.spec["mask"], plain.spec["mask"]) == ("ab" * 32, None)
    assert not {row["run"] for row in masked.result["rows"]} & {row["run"] for row in plain.result["rows"]}


def test_what_cannot_be_made_is_refused_with_the_command(survey, tmp_path, capsys):
    assert ceiling(survey, "--fisher", tmp_path / "none") == 2
    assert "python -m extract fisher --data FOLDER --split test --noise-level 1" in capsys.readouterr().err
    other = write_fisher(tmp_path / "other", of_survey(survey, noise_level=0.5), run={})
    assert ceiling(survey, "--fisher", other) == 2
    assert "has {'noise_level': 0.5}" in capsys.readouterr().err
    assert ceiling(survey, "--ln-a-sd", "-1") == 2
    assert "--ln-a-sd is -1.0; expected 0 (known) to inf (free)" in capsys.readouterr().err
    assert ceiling(survey, "--runs", "xyz") == 2
    assert "--runs xyz: no record of a probe begins so" in capsys.readouterr().err
    assert ceiling(survey, "--labels", "logg") == 2
    assert "unknown label among the records 'logg'; known: " in capsys.readouterr().err
    assert ceiling(survey, "--results", tmp_path / "empty") == 2
    assert "python -m probes run" in capsys.readouterr().err
    assert not ceilings(survey)


def test_without_noise_there_is_no_ceiling(tmp_path, capsys):
    for split in N:
        survey_store(tmp_path / "f", split, arrays=(FORWARD, BACKWARD), noise={"level": 0.0})
    assert probes("run", *flags(tmp_path / "f", tmp_path / "r")) == 0
    assert ceiling(tmp_path) == 2
    assert "on test spectra without noise" in capsys.readouterr().out


def test_make_ceiling_makes_the_matrices_of_the_test_spectra_first():
    given = (
        "TEST=my test.h5",
        "TRAIN=t.h5",
        "NOISE=0.5",
        "FISHER=--mask m.npy",
        "ARGS=--labels log_g",
        "OUT=o",
    )
    command = [
        "make",
        "--no-print-directory",
        "-o",
        ".venv/ready",
        "-n",
        "ceiling",
        f"PY={sys.executable}",
        *given,
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    check, fisher, ceiling = (
        line for line in shown.splitlines() if "extract fisher" in line or "probes ceiling" in line
    )
    for flag in ("--data 'my test.h5' --train 't.h5'", "--split test", "--noise-level 0.5", "--mask m.npy"):
        assert flag in fisher
    for flag in ("--results o/results", "--features o/features", "--fisher o/fisher", "--labels log_g"):
        assert flag in ceiling
        assert flag in check
