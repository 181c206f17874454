"""Features under a covered window: against a plain loop over windows and spectra, and what causality says."""

import numpy as np
import pytest
import torch
from survey_fakes import CHECKPOINT, LAYER, N_PIXELS, POOLING, YAML, request

from cache.errors import ConfigError
from cache.records import read_arrays, read_record
from extract.batches import Batch
from extract.checkpoint import load_encoder
from extract.cli import VERBS
from extract.few_spectra import batches_of, spread
from extract.occlude_command import OccludeSettings, covered_batch, make_occlusion
from extract.pooling import pool
from extract.prepare import prepare

ARRAY = f"{LAYER}/forward/{POOLING}"


def settings(survey, folder, **changes):
    plain = {
        "data": str(survey),
        "checkpoint": str(CHECKPOINT),
        "config_model": YAML,
        "poolings": (POOLING,),
        "device": "cpu",
        "results": folder / "results",
        "encoders": folder / "encoders",
        "digests": folder / "digests",
    }
    return OccludeSettings(**{**plain, **changes})


def test_changes_are_those_of_a_plain_loop(survey, tmp_path):
    name = make_occlusion(settings(survey, tmp_path, rows=10, error_input="shuffled"))
    record, arrays = read_record(tmp_path / "results", name), read_arrays(tmp_path / "results", name)
    assert (record.kind, record.spec["view"], record.result["n"]) == ("examples", "occlusion", 10)
    model = load_encoder(CHECKPOINT, YAML)
    test = {"test": (survey / "test/dataset.h5",)}
    with prepare(request(test, tmp_path, error_input="shuffled", micro_batch=1)) as prepared:
        rows = spread(prepared.fingerprints["test"].kept, 10)
        inputs = [batch.x[0] for batch in batches_of(prepared, "test", rows)]

    def features(x):
        with torch.no_grad():
            return pool(model.encode(x[None], (LAYER,))[LAYER], POOLING)[0].numpy().astype(np.float64)

    plain = np.array([features(x) for x in inputs])
    np.testing.assert_allclose(arrays[f"std/{ARRAY}"], plain.std(axis=0), atol=1e-5)
    assert arrays[f"change/{ARRAY}"].shape == (N_PIXELS // 32, plain.shape[1])
    for window in range(N_PIXELS // 32):
        part = slice(32 * window, 32 * window + 32)
        changes = []
        for x, before in zip(inputs, plain, strict=True):
            covered = x.clone()
            keep = np.ones(N_PIXELS, dtype=bool)
            keep[part] = False
            covered[0, part] = x[0, keep].mean()
            changes.append(features(covered) - before)
        expected = np.sqrt(np.mean(np.square(changes), axis=0))
        np.testing.assert_allclose(arrays[f"change/{ARRAY}"][window], expected, atol=1e-5)


def test_forward_features_do_not_see_what_lies_to_the_right(survey, tmp_path):
    asked = settings(survey, tmp_path, rows=4, directions=("forward", "backward"))
    arrays = read_arrays(tmp_path / "results", make_occlusion(asked))
    for direction, window in (("forward", -1), ("backward", 0)):
        change = arrays[f"change/{LAYER}/{direction}/{POOLING}"].reshape(N_PIXELS // 32, 4, -1)
        cells = slice(0, 2) if direction == "forward" else slice(2, 4)
        assert change[window, cells].max() < 1e-5
        assert change[:, :, :].max() > 1e-3


def test_the_last_window_takes_what_is_left_and_names_its_wavelengths(survey, tmp_path):
    arrays = read_arrays(tmp_path / "results", make_occlusion(settings(survey, tmp_path, rows=2, window=100)))
    wave = np.linspace(7100.0, 8850.0, N_PIXELS)
    np.testing.assert_array_equal(arrays["wave_lo"], wave[[0, 100, 200]])
    np.testing.assert_array_equal(arrays["wave_hi"], wave[[99, 199, 255]])


def test_covering_takes_the_mean_of_the_other_pixels_and_leaves_the_error():
    x = torch.arange(24.0).reshape(2, 2, 6)
    batch = Batch(x[:, 0], x[:, 1], x[:, 0], x)
    covered = covered_batch(batch, 1, 3).x
    assert covered[0, 0].tolist() == [0, 3, 3, 3, 4, 5]
    assert covered[1, 0].tolist() == [12, 15, 15, 15, 16, 17]
    assert torch.equal(covered[:, 1], x[:, 1])
    assert covered_batch(batch, 0, 6).x[:, 0].abs().max() == 0
    assert x[0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_requests_that_make_no_sense_are_refused(survey, tmp_path):
    with pytest.raises(ConfigError, match="no layer of the network"):
        make_occlusion(settings(survey, tmp_path, layers=("input_flux",)))
    verb = VERBS["occlude"].load()
    with pytest.raises(ConfigError, match="--rows"):
        verb.settings.parse(["--rows", "513"], prog="x")


def test_the_command_prints_where_the_record_is(survey, tmp_path, capsys):
    VERBS["occlude"].load().run(settings(survey, tmp_path, rows=2, window=128))
    (path,) = (tmp_path / "results/records").iterdir()
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {path}"


def test_what_is_on_record_is_not_computed_again(survey, tmp_path, capsys, monkeypatch):
    asked = settings(survey, tmp_path, rows=2, window=128)
    name = make_occlusion(asked)
    (path,) = (tmp_path / "results/records").iterdir()
    before = path.read_bytes()
    monkeypatch.setattr("extract.occlude_command.NamedEngine", None)
    assert make_occlusion(asked) == name
    assert path.read_bytes() == before
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{path} is on record and unchanged")
