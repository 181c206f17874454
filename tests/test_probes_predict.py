"""Fitted heads on other spectra: which features are taken, which are refused, and what is told."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import probes
from pyarrow import parquet
from small_survey import N, flags, survey_store
from store_fakes import BACKWARD, FORWARD

from cache.atomic import publish_json
from cache.canonical import read_sealed
from cache.records import read_predictions, read_records
from cache.selection import select, write_selection
from probes.persistence import HEAD_FILE
from probes.predicted_files import ABOUT

OTHER_SEED = {"noise": {"seed": 5}}
OBSERVED = {"data_kind": "real", "noise": {"mode": "none", "seed": None, "draw": None, "noise_version": None}}
DRAWN_ON = {"data_kind": "real"}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Folder of results with one head on both directions, by its run id."""
    root = tmp_path_factory.mktemp("fitted")
    for split in N:
        survey_store(root / "features", split)
    assert probes("run", *flags(root / "features", root / "results", "--directions", "concat")) == 0
    (record,) = read_records(root / "results")
    return root / "results", record.run_id


@pytest.fixture
def predict(fitted, tmp_path):
    """`predict(flags)` is the exit status; `predict.read()` gives columns and what the metadata says."""
    results, head = fitted

    class Predict:
        out = tmp_path / "predicted.parquet"

        def __call__(self, *argv):
            return probes("predict", "--head", head, "--results", results, "--out", self.out, *argv)

        def read(self):
            table = parquet.read_table(self.out)
            return table.to_pydict(), json.loads(table.schema.metadata[ABOUT.encode()])

    return Predict()


def test_the_seed_of_the_noise_does_not_matter_to_a_head(predict, fitted, tmp_path):
    assert predict("--store", survey_store(tmp_path / "f", "test", **OTHER_SEED)) == 0
    columns, about = predict.read()
    known = read_predictions(*fitted)
    np.testing.assert_allclose(columns["y_hat"], known["y_hat"][known["split"] == "test"])
    assert about["head"] == fitted[1]
    assert (about["observed"], about["notes"]) == (False, [])


def test_observed_spectra_are_taken_when_it_is_said_and_told_in_the_file(predict, tmp_path, capsys):
    store = survey_store(tmp_path / "f", "test", labels=False, **OBSERVED)
    assert predict("--store", store) == 2
    told = capsys.readouterr().err
    assert "noise.mode: 'draw' in training, 'none' in these features" in told
    assert "say --observed" in told
    assert "--noise draw" not in told  # whoever obeys must not add noise to noise
    assert not predict.out.exists()
    assert predict("--store", store, "--observed") == 0
    said = capsys.readouterr().out
    columns, about = predict.read()
    assert len(columns["y_hat"]) == N["test"]
    assert about["observed"] is True
    assert all(note in said for note in about["notes"])
    assert "nothing checks that the noise of these spectra is like that" in about["notes"][0]
    assert about["notes"][2:] == ["note: the head was trained on mock spectra, these are real"]


@pytest.mark.parametrize("mode", ["none", "stored"])
def test_own_noise_may_be_that_of_the_flux_or_a_stored_draw(mode, predict, tmp_path, capsys):
    """The first is cut off below 0, other than in training, which is told with what to do."""
    store = survey_store(tmp_path / "f", "test", **{**OBSERVED, "noise": {**OBSERVED["noise"], "mode": mode}})
    assert predict("--store", store, "--observed") == 0
    told = "takes flux below 0 as 0" in capsys.readouterr().out
    assert told == (mode == "none")


def test_noise_drawn_onto_spectra_that_are_no_mocks_is_spoken_of(predict, tmp_path, capsys):
    results = tmp_path / "results"
    for split in N:
        survey_store(tmp_path / "f", split, **DRAWN_ON)
    assert probes("run", *flags(tmp_path / "f", results)) == 0
    (record,) = read_records(results)
    capsys.readouterr()
    argv = ("predict", "--head", record.run_id, "--results", results, "--out", predict.out)
    assert probes(*argv, "--features", tmp_path / "f", "--split", "test") == 0
    assert "carry noise already and now have it twice" in capsys.readouterr().out
    assert "twice" in predict.read()[1]["notes"][0]
    assert probes(*argv, "--features", tmp_path / "f", "--split", "test", "--observed") == 2
    assert "they would carry noise twice; extract them with --noise none" in capsys.readouterr().err


def test_observed_mocks_without_noise_are_warned_of(predict, tmp_path, capsys):
    assert (
        predict("--store", survey_store(tmp_path / "f", "test", noise=OBSERVED["noise"]), "--observed") == 0
    )
    assert "warning: these are mock spectra" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"encoder": {"weights": "ef" * 32}},
            "encoder.weights: abababababab... in training, efefefefefef... in",
        ),
        ({"mask": "ef" * 32}, "mask: None in training"),
        ({"error_input": "zero"}, "say --cross error-input if another error input is meant"),
        ({"data_kind": "real"}, "data_kind: 'mock' in training, 'real' in these features"),
        ({**OBSERVED, "precision": "bf16"}, "precision: 'fp32' in training, 'bf16' in these features"),
    ],
)
def test_other_features_are_refused_by_the_fields_that_differ(changes, told, predict, tmp_path, capsys):
    store = survey_store(tmp_path / "f", "test", **changes)
    assert predict("--store", store) == 2
    assert told in capsys.readouterr().err
    assert not predict.out.exists()


def test_observed_excuses_nothing_but_noise_and_kind_of_data(predict, tmp_path, capsys):
    other = {**OBSERVED, "encoder": {"weights": "ef" * 32}}
    assert predict("--store", survey_store(tmp_path / "f", "test", **other), "--observed") == 2
    told = capsys.readouterr().err
    assert "encoder.weights" in told
    assert "noise.mode" not in told
    assert "extract these spectra with the encoder and settings" in told


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        (
            lambda wave: wave + 0.1,
            "7000.00 to 7013.00 Angstrom in training, from 7000.10 to 7013.10 Angstrom",
        ),
        (lambda wave: wave * (1 + 3e-6), "apart by up to 0.021 Angstrom"),
        (lambda wave: wave + 0.5 * (wave - 7000) * (7013 - wave), "apart by up to"),
        (
            lambda wave: np.minimum(wave, 7011.0),
            "7000.00 to 7013.00 Angstrom in training, from 7000.00 to 7011.00",
        ),
    ],
)
@pytest.mark.parametrize("observed", [False, True])
def test_spectra_on_other_wavelengths_are_refused(moved, told, observed, predict, tmp_path, capsys):
    """A network sees pixels: of spectra on another grid it makes labels as of any other."""
    changes = OBSERVED if observed else {}
    store = survey_store(tmp_path / "f", "test", moved=moved, **changes)
    assert predict("--store", store, *(("--observed",) if observed else ())) == 2
    error = capsys.readouterr().err
    assert (
        "fitted to spectra on other wavelengths: the windows of enc_pre_latent/concat/seg_mean_K2 reach"
        in error
    )
    assert told in error
    assert "resample the spectra to the pixels of the train files" in error
    assert not predict.out.exists()


def test_wavelengths_that_rounding_alone_changed_are_the_same(predict, tmp_path):
    rounded = survey_store(
        tmp_path / "f", "test", moved=lambda wave: (wave * (1 + 1e-8)).astype(np.float32).astype(np.float64)
    )
    assert predict("--store", rounded) == 0
    assert predict.read()[1]["notes"] == []


@pytest.mark.parametrize("direction", ["forward", "backward", "mean"])
def test_heads_on_any_direction_know_their_wavelengths(direction, fitted, tmp_path, capsys):
    """Features formed of both directions have no windows of their own, but those of both."""
    features, results = fitted[0].parent / "features", tmp_path / "results"
    assert probes("run", *flags(features, results, "--directions", direction)) == 0
    (record,) = read_records(results)
    argv = ("predict", "--head", record.run_id, "--results", results, "--out", tmp_path / "out.parquet")
    assert probes(*argv, "--features", features, "--split", "test") == 0
    assert "note" not in capsys.readouterr().out
    moved = survey_store(tmp_path / "f", "test", moved=lambda wave: wave + 1)
    assert probes(*argv, "--store", moved) == 2
    assert f"the windows of enc_pre_latent/{direction}/seg_mean_K2" in capsys.readouterr().err


def test_a_head_of_before_says_that_it_does_not_know_its_wavelengths(fitted, tmp_path, capsys):
    results = tmp_path / "results"
    shutil.copytree(fitted[0], results)
    file = results / "heads" / fitted[1] / HEAD_FILE
    content = read_sealed(file)
    del content["use"]["windows"]
    publish_json(file, content)
    store = survey_store(tmp_path / "f", "test", moved=lambda wave: wave + 1)
    argv = ("--head", fitted[1], "--results", results, "--out", tmp_path / "out.parquet")
    assert probes("predict", *argv, "--store", store) == 0
    assert "whether these spectra are on the grid of the training is not known" in capsys.readouterr().out


def test_another_error_input_is_crossed_by_name(predict, tmp_path):
    store = survey_store(tmp_path / "f", "test", error_input="zero")
    assert predict("--store", store, "--cross", "error-input") == 0
    assert predict.read()[1]["cross"] == ["error-input"]


def test_a_head_of_before_knows_its_family_alone(fitted, tmp_path, capsys):
    """Heads that were saved without the fields of their family go on serving their own, and name the way out else."""
    for split in N:
        survey_store(tmp_path / "f", split)
    results = tmp_path / "results"
    assert probes("run", *flags(tmp_path / "f", results)) == 0
    (record,) = read_records(results)
    file = results / "heads" / record.run_id / HEAD_FILE
    content = read_sealed(file)
    del content["use"]["trained_on"]
    publish_json(file, content)
    argv = ("predict", "--head", record.run_id, "--results", results, "--out", tmp_path / "out.parquet")
    assert probes(*argv, "--store", survey_store(tmp_path / "f", "test")) == 0
    assert probes(*argv, "--store", survey_store(tmp_path / "f", "test", **OTHER_SEED)) == 2
    assert "fit it again, with the command that made it and --refit" in capsys.readouterr().err
    assert probes("run", *flags(tmp_path / "f", results, "--family", record.spec["family"], "--refit")) == 0
    assert probes(*argv, "--store", survey_store(tmp_path / "f", "test", **OTHER_SEED)) == 0


def test_arrays_may_lie_in_several_stores(predict, fitted, tmp_path, capsys):
    root = tmp_path / "f"
    one, two = (survey_store(root, "test", arrays=(array,)) for array in (FORWARD, BACKWARD))
    assert predict("--store", one) == 2
    assert (
        "hold enc_pre_latent/forward/seg_mean_K2, not enc_pre_latent/backward/seg_mean_K2; name the stores"
        in (capsys.readouterr().err)
    )
    known = read_predictions(*fitted)
    for named in (("--store", f"{one},{two}"), ("--features", root, "--split", "test")):
        assert predict(*named) == 0
        np.testing.assert_allclose(predict.read()[0]["y_hat"], known["y_hat"][known["split"] == "test"])
    assert len(predict.read()[1]["stores"]) == 2
    louder = survey_store(root, "test", arrays=(BACKWARD,), noise={"level": 2.0})
    assert predict("--store", f"{one},{louder}") == 2
    assert "noise.level: 1.0 in" in capsys.readouterr().err
    assert predict("--features", root, "--split", "test") == 0


def test_a_selection_names_the_stores_and_their_draws(predict, tmp_path, capsys):
    root, file = tmp_path / "f", tmp_path / "selection.json"
    stores = {"night": [survey_store(root, "test")]}
    draws = [survey_store(root, "train", noise={"draw": draw}) for draw in (0, 1)]
    write_selection(file, select(root, {"test": stores["night"], "train": draws}, encoder="tiny"))
    assert predict("--selection", file) == 2
    assert "holds test, train; say which with --split" in capsys.readouterr().err
    assert predict("--selection", file, "--split", "train") == 0
    assert set(predict.read()[0]["draw"]) == {0, 1}
    write_selection(file, select(root, {"test": stores["night"]}, encoder="tiny"))
    assert predict("--selection", file) == 0


@pytest.mark.parametrize(
    "named", [(), ("--store", "a", "--split", "test"), ("--store", "a", "--selection", "s.json")]
)
def test_features_are_named_in_one_way(named, predict, capsys):
    assert predict(*named) == 2
    assert "name them in one way" in capsys.readouterr().err


@pytest.mark.parametrize("narrowed", [("--family", "ffff"), ("--noise-level", "7")])
@pytest.mark.parametrize("named", [("--store", "a"), ("--selection", "s.json")])
def test_what_would_go_unheeded_beside_named_stores_is_refused(narrowed, named, predict, capsys):
    assert predict(*named, *narrowed) == 2
    assert f"{narrowed[0]} beside {named[0]}: that names the stores already" in capsys.readouterr().err


def test_a_csv_holds_what_a_parquet_file_holds(predict, tmp_path, capsys):
    store = survey_store(tmp_path / "f", "test", labels=False, **OBSERVED)
    asked = ("--store", store, "--observed", "--out")
    assert predict(*asked, predict.out) == 0
    columns, about = predict.read()
    for name in ("x.csv", "Y.CSV"):
        assert predict(*asked, tmp_path / name) == 0
        with (tmp_path / name).open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert list(rows[0]) == list(columns)
        assert [float(row["y_hat"]) for row in rows] == columns["y_hat"]  # to the last bit
        assert [int(row["row"]) for row in rows] == columns["row"]
        assert [int(row["star"], 16) for row in rows] == columns["star"]
        assert {len(row["star"]) for row in rows} == {16}
        told = read_sealed(tmp_path / f"{name}.json")
        assert {key: told[key] for key in about} == about


@pytest.mark.parametrize("name", ["x.fits", "x", "x.csv.gz"])
def test_a_file_of_another_kind_is_refused_before_anything_is_read(name, predict, tmp_path, capsys):
    assert predict("--store", tmp_path / "none", "--out", tmp_path / name) == 2
    assert (
        f"{name}: ends in {Path(name).suffix!r}; name a file that ends in .parquet or .csv"
        in capsys.readouterr().err
    )


def test_observed_spectra_that_are_not_stored_are_extracted_as_what_they_are(predict, tmp_path, capsys):
    made = "python -m extract run --data d --checkpoint m.ckpt --mask m.npy --draws 4 --need-labels log_g --noise draw"
    for split in N:
        survey_store(tmp_path / "f", split, about={"command": f"{made} --out {tmp_path / 'f'}"})
    asked = ("--features", tmp_path / "f", "--split", "observed", "--observed")
    assert predict(*asked) == 2
    told = capsys.readouterr().err
    arrays = "--layers enc_pre_latent --poolings seg_mean_K2 --directions forward,backward"
    command = (
        "python -m extract run --checkpoint m.ckpt --mask m.npy --data FILE --split observed --noise none"
    )
    assert f"{command} {arrays} --out {tmp_path / 'f'}\n" in told
    assert "simulated ones need the --noise of the training" in told
    survey_store(
        tmp_path / "f",
        "train",
        encoder={"weights": "77" * 32},
        about={"command": made.replace("m.ckpt", "n.ckpt")},
    )
    assert predict(*asked) == 2
    assert (
        "--data FILE --checkpoint X --config-model X.yaml --split observed --noise none"
        in capsys.readouterr().err
    )
    assert predict(*asked[:2], "--split", "test", "--noise-level", "2.0") == 2
    assert "--noise none" not in capsys.readouterr().err


@pytest.mark.parametrize("named", [("--store", "a"), ("--selection", "s.json")])
def test_a_folder_of_features_beside_named_stores_is_refused(named, predict, capsys):
    assert predict(*named, "--features", "elsewhere") == 2
    assert f"--features beside {named[0]}: that names the stores already" in capsys.readouterr().err


def test_the_file_says_which_labels_it_holds(predict, fitted, tmp_path):
    assert predict("--store", survey_store(tmp_path / "f", "test")) == 0
    _, about = predict.read()
    (record,) = read_records(fitted[0])
    assert (about["labels"], about["control"]) == (["log_g"], "none")
    assert about["model"] == record.result["model"]


@pytest.mark.parametrize(
    ("crossing", "changes", "told"),
    [
        (
            "noise-level",
            {"noise": {"level": 0.5}},
            "the noise level is crossed: 1.0 in training, 0.5 in these",
        ),
        ("error-input", {"error_input": "zero"}, "the error input is crossed: 'true' in training, 'zero' in"),
    ],
)
def test_a_crossing_is_told_in_the_file_and_refused_where_nothing_is_crossed(
    crossing, changes, told, predict, tmp_path, capsys
):
    plain = survey_store(tmp_path / "f", "test")
    assert predict("--store", plain, "--cross", crossing) == 2
    assert "nothing is crossed; leave the crossing out" in capsys.readouterr().err
    assert not predict.out.exists()
    assert predict("--store", survey_store(tmp_path / "f", "test", **changes), "--cross", crossing) == 0
    assert told in capsys.readouterr().out
    (note,) = predict.read()[1]["notes"]
    assert told in note


@pytest.fixture
def several(tmp_path):
    """Results of a probe of log_g, one of T_eff, and one of log_g shuffled; their run ids; features to predict of."""
    root = tmp_path / "several"
    for split in N:
        survey_store(root / "f", split)
    for asked in (("--labels", "log_g,T_eff"), ("--controls", "shuffled_labels")):
        assert probes("run", *flags(root / "f", root / "r", *asked)) == 0
    names = {(r.spec["labels"][0], r.spec["control"]): r.run_id for r in read_records(root / "r")}

    store = survey_store(root / "new", "test", labels=False)

    def run(name):
        argv = ("--results", root / "r", "--store", store, "--out", root / "out.parquet")
        return probes("predict", "--head", names[name], *argv)

    return root, names, run


LOG_G, T_EFF, SHUFFLED = ("log_g", "none"), ("T_eff", "none"), ("log_g", "shuffled_labels")


@pytest.mark.parametrize("other", [T_EFF, SHUFFLED])
def test_the_head_of_another_record_is_refused(other, several, capsys):
    root, names, run = several
    one, two = (root / "r/heads" / names[name] for name in (LOG_G, other))
    one.rename(root / "aside")
    two.rename(one)
    (root / "aside").rename(two)
    capsys.readouterr()
    assert [run(LOG_G), run(other)] == [2, 2]
    told = capsys.readouterr().err
    assert told.count("is not the head of the record of that name") == 2
    assert ("labels T_eff there, log_g on record" in told) == (other == T_EFF)
    assert told.count("run its probe again: the head is fitted anew") == 2
    assert not (root / "out.parquet").exists()


def test_a_head_is_not_applied_without_its_record(several, capsys):
    root, names, run = several
    path = root / "r/records" / f"{names[LOG_G]}.json"
    text = path.read_text()
    path.write_text(text.replace('"control":"none"', '"control":"some"'))
    assert run(LOG_G) == 2
    assert "it was altered; delete this record and run its probe again" in capsys.readouterr().err
    path.unlink()
    assert run(LOG_G) == 2
    assert "the record of the head" in capsys.readouterr().err
    path.write_text(text)
    assert run(LOG_G) == 0


def test_the_head_of_a_control_is_told_as_one(several, capsys):
    root, _, run = several
    assert run(SHUFFLED) == 0
    assert "this is the head of a control (shuffled labels)" in capsys.readouterr().out
    about = json.loads(parquet.read_table(root / "out.parquet").schema.metadata[ABOUT.encode()])
    assert about["control"] == "shuffled_labels"
    assert "no estimate of the label" in about["notes"][0]
