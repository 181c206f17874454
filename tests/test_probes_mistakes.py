"""Mistakes planted in stores: every command refuses them before any fit, and records no score."""

import shutil

import pytest
from commands import probes
from small_survey import N, flags, survey_store
from store_fakes import FORWARD

from cache.records import read_records
from cache.selection import select, write_selection

VERBS = ("run", "sweep")


@pytest.fixture(autouse=True)
def _no_fit(monkeypatch):
    def fitted(*_):
        raise AssertionError("a head was fitted")

    monkeypatch.setattr("probes.runner.fit_together", fitted)


def stores(root, **of_split):
    """Stores of all splits, with what is changed in some of them."""
    return {split: survey_store(root, split, **of_split.get(split, {})) for split in N}


def refused(verb, where, results, capsys, *more):
    assert probes(verb, *flags(where, results, *more)) == 2
    assert read_records(results) == []
    return capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("split", ["val", "test"])
def test_stars_that_train_and_another_split_share(verb, split, tmp_path, capsys):
    stores(tmp_path / "f", **{split: {"shared": 2}})
    told = refused(verb, tmp_path / "f", tmp_path / "r", capsys)
    assert f"2 stars stand in both 'train' and '{split}'" in told


@pytest.mark.parametrize("verb", VERBS)
def test_draws_of_one_star_on_both_sides(verb, tmp_path, capsys):
    """Train holds draw 0 of its stars, test draw 1 of the same stars."""
    made = stores(tmp_path / "f")
    again = survey_store(tmp_path / "f", "test", shared=N["test"], noise={"draw": 1})
    selection = tmp_path / "selection.json"
    chosen = {split: [again if split == "test" else path] for split, path in made.items()}
    write_selection(selection, select(tmp_path / "f", chosen, encoder="tiny"))
    told = refused(verb, tmp_path / "f", tmp_path / "r", capsys, "--selection", selection)
    assert f"{N['test']} stars stand in both 'train' and 'test'" in told


@pytest.mark.parametrize("verb", VERBS)
def test_families_that_are_mixed(verb, tmp_path, capsys):
    stores(tmp_path / "f", test={"encoder": {"origin": "random:1"}})
    told = refused(verb, tmp_path / "f", tmp_path / "r", capsys)
    assert "they differ in encoder.origin: 'checkpoint' / 'random:1'" in told


@pytest.mark.parametrize("verb", VERBS)
def test_noise_levels_that_differ_without_the_flag(verb, tmp_path, capsys):
    stores(tmp_path / "f", test={"noise": {"level": 0.5}})
    told = refused(verb, tmp_path / "f", tmp_path / "r", capsys)
    assert "train 1.0, val 1.0, test 0.5" in told
    assert "--cross noise-level" in told


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("split", ["val", "test"])
def test_splits_on_other_wavelengths(verb, split, tmp_path, capsys):
    """Extracted in another run, in which nobody saw the wavelengths of train."""
    stores(tmp_path / "f", **{split: {"moved": lambda wave: wave + 500}})
    told = refused(verb, tmp_path / "f", tmp_path / "r", capsys)
    assert f"the {split} spectra are on other wavelengths than those of train" in told
    assert "apart by up to 500 Angstrom" in told


@pytest.mark.parametrize("verb", VERBS)
def test_val_in_the_place_of_test(verb, tmp_path, capsys):
    """The same stars as val and test, and a val store that was copied to where test stores are."""
    made = stores(tmp_path / "f")
    shutil.rmtree(made["test"])
    copied = tmp_path / "f/test" / made["val"].name
    shutil.copytree(made["val"], copied)
    assert "it was renamed or moved" in refused(verb, tmp_path / "f", tmp_path / "r", capsys)
    shutil.rmtree(copied)
    survey_store(tmp_path / "f", "test", stars=range(1000, 1000 + N["test"]))
    told = refused(verb, tmp_path / "f", tmp_path / "r", capsys)
    assert f"{N['val']} stars stand in both 'val' and 'test'" in told


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("absent", "split 'train' has no label 'absent'; it has: T_eff, gap, log_g"),
        ("gap", "label 'gap' is missing (NaN or inf) in 1 of 60 rows of split 'train' (first rows: [3])"),
        ("log_g+gap", "label 'gap' is missing"),
        ("marked", "split 'train': label 'marked' is -999 in 1 of 60 rows (first rows: [3])"),
    ],
)
def test_labels_that_are_missing_or_not_finite(label, message, tmp_path, capsys):
    stores(tmp_path / "f")
    if label == "absent":
        assert message in refused("run", tmp_path / "f", tmp_path / "r", capsys, "--labels", label)
    else:  # found when this label's turn comes, so it is recorded and the others go on, as in a sweep
        assert probes("run", *flags(tmp_path / "f", tmp_path / "r", "--labels", label)) == 2
        assert message in capsys.readouterr().out
    assert probes("sweep", *flags(tmp_path / "f", tmp_path / "r", "--labels", label)) == 2
    assert message in capsys.readouterr().err
    (record,) = read_records(tmp_path / "r")
    assert record.result["status"] == "failed"
    assert message in record.result["error"]
    assert record.result["scores"] == {}
    assert not (tmp_path / "r/heads").exists()


def test_a_head_applied_to_another_family_or_noise_level(tmp_path, capsys, monkeypatch):
    monkeypatch.undo()
    stores(tmp_path / "f")
    assert probes("sweep", *flags(tmp_path / "f", tmp_path / "r")) == 0
    (record,) = read_records(tmp_path / "r")
    out = tmp_path / "predicted.parquet"
    for changes, message in (
        ({"encoder": {"origin": "random:1"}}, "encoder.origin: 'checkpoint' in training, 'random:1' in"),
        ({"error_input": "zero"}, "error_input: 'true' in training, 'zero' in"),
        ({"noise": {"level": 0.5}}, "fitted at noise level 1.0, these features have 0.5"),
    ):
        other = survey_store(tmp_path / "other", "test", arrays=(FORWARD,), labels=False, **changes)
        argv = ("--head", record.run_id, "--store", other, "--results", tmp_path / "r", "--out", out)
        assert probes("predict", *argv) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()
