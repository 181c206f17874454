"""The record of example spectra: the numbers that stores of the same request hold, and nothing else."""

import numpy as np
import pytest
from survey_fakes import CHECKPOINT, N_PIXELS, YAML, request

from cache import FeatureStore
from cache.errors import ConfigError
from cache.records import read_arrays, read_record, write_record
from extract.cli import VERBS
from extract.examples_command import LAYERS, ExamplesSettings, make_examples
from extract.few_spectra import spread
from extract.pipeline import extract_features


def settings(survey, folder, **changes):
    plain = {
        "data": str(survey),
        "checkpoint": str(CHECKPOINT),
        "config_model": YAML,
        "device": "cpu",
        "results": folder / "results",
        "encoders": folder / "encoders",
        "digests": folder / "digests",
    }
    return ExamplesSettings(**{**plain, **changes})


@pytest.mark.parametrize("changes", [{}, {"error_input": "shuffled", "noise_level": 0.5}, {"noise": "none"}])
def test_examples_are_the_rows_of_a_store(survey, tmp_path, changes):
    name = make_examples(settings(survey, tmp_path, **changes))
    record, arrays = read_record(tmp_path / "results", name), read_arrays(tmp_path / "results", name)
    assert (record.kind, record.result["n"]) == ("examples", 8)
    rows = arrays["row"]
    assert rows.tolist() == record.result["rows"] == record.spec["shown_rows"]
    asked = request(survey, tmp_path, layers=tuple(LAYERS.values()), poolings=("none",), **changes)
    store = FeatureStore.open(extract_features(asked)["test"][0])
    assert arrays["wave"].shape == (N_PIXELS,)
    for array, layer in LAYERS.items():
        assert arrays[array].shape == (8, N_PIXELS)
        np.testing.assert_allclose(arrays[array], store.features(layer, "none")[rows], atol=1e-5)
    np.testing.assert_array_equal(arrays["star"], store.stars[rows])
    assert record.result["labels"]["T_eff"] == store.labels("T_eff")[rows].tolist()
    assert record.result["labels"]["snr"] == [None] * 8
    assert record.spec["noise"] == store.provenance["noise"]
    assert record.spec["error_input"] == store.provenance["error_input"]


def test_the_same_request_is_the_same_record(survey, tmp_path):
    one, again = (make_examples(settings(survey, tmp_path)) for _ in range(2))
    other = make_examples(settings(survey, tmp_path, rows=3))
    assert one == again != other
    assert len(list((tmp_path / "results/records").iterdir())) == 2
    assert read_arrays(tmp_path / "results", other)["noisy"].shape == (3, N_PIXELS)


def test_a_mask_leaves_its_pixels(survey, tmp_path):
    mask = np.arange(N_PIXELS) % 4 > 0
    np.save(tmp_path / "mask.npy", mask)
    name = make_examples(settings(survey, tmp_path, mask=tmp_path / "mask.npy"))
    arrays = read_arrays(tmp_path / "results", name)
    assert arrays["wave"].size == arrays["denoised"].shape[1] == mask.sum()


@pytest.mark.parametrize(("n", "wanted"), [(1, 8), (5, 8), (16, 8), (1000, 8), (9, 9)])
def test_rows_are_spread_from_the_first_to_the_last(n, wanted):
    kept = 3 * np.arange(n)
    rows = spread(kept, wanted)
    assert len(rows) == min(n, wanted)
    assert {rows[0], rows[-1]} == {kept[0], kept[-1]}
    assert np.isin(rows, kept).all()


def test_requests_that_make_no_sense_are_refused(survey, tmp_path):
    with pytest.raises(ConfigError, match="no data"):
        make_examples(settings(survey, tmp_path, data=None))
    with pytest.raises(ConfigError, match="name one split"):
        make_examples(settings(survey, tmp_path, split="test,val"))
    with pytest.raises(ConfigError, match="the ending of the network"):
        make_examples(settings(survey, tmp_path, config_model=None, error_mode="pixel"))
    verb = VERBS["examples"].load()
    with pytest.raises(ConfigError, match="--rows"):
        verb.settings.parse(["--rows", "0"], prog="x")


def test_the_command_prints_where_the_record_is(survey, tmp_path, capsys):
    verb = VERBS["examples"].load()
    verb.run(settings(survey, tmp_path))
    (path,) = (tmp_path / "results/records").iterdir()
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {path}"


def test_what_is_on_record_is_left_as_it_is_until_what_it_rests_on_changes(
    survey, tmp_path, capsys, monkeypatch
):
    name = make_examples(settings(survey, tmp_path))
    (path,) = (tmp_path / "results/records").iterdir()
    before = path.read_bytes(), path.stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr("extract.examples_command.NamedEngine", None)  # no network is run
        assert make_examples(settings(survey, tmp_path)) == name
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{path} is on record and unchanged")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    (beside,) = (tmp_path / "results/arrays").iterdir()
    beside.unlink()
    assert make_examples(settings(survey, tmp_path)) == name
    assert beside.exists()
    record, arrays = read_record(tmp_path / "results", name), read_arrays(tmp_path / "results", name)
    write_record(
        tmp_path / "results", kind="examples", spec=record.spec, result={**record.result, "n": 7}, run={}
    )
    assert make_examples(settings(survey, tmp_path)) == name
    assert read_record(tmp_path / "results", name).result == record.result
    again = read_arrays(tmp_path / "results", name)
    assert set(again) == set(arrays)
    assert all(np.array_equal(again[array], arrays[array]) for array in arrays)


def test_several_gpus_are_refused(survey, tmp_path):
    with pytest.raises(ConfigError, match="--device cuda:0,1: a few spectra need one GPU"):
        make_examples(settings(survey, tmp_path, device="cuda:0,1"))
