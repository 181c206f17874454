"""Fitted heads on other spectra: which features are taken, which are refused, and what is told."""

import json
import shutil

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
from probes.predict_command import ABOUT

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
    assert about["notes"][1:] == ["note: the head was trained on mock spectra, these are real"]


@pytest.mark.parametrize("mode", ["none", "stored"])
def test_own_noise_may_be_that_of_the_flux_or_a_stored_draw(mode, predict, tmp_path, capsys):
    store = survey_store(tmp_path / "f", "test", **{**OBSERVED, "noise": {**OBSERVED["noise"], "mode": mode}})
    assert predict("--store", store, "--observed") == 0
    capsys.readouterr()


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
