"""What strangers and typing errors bring: told at the boundary, with what to do, and never as a traceback."""

import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hdf5_fixtures import write_table_layout
from survey_fakes import CHECKPOINT, request, stars

from cache import FeatureStore
from cache.errors import ConfigError, InputError
from extract import safe_hdf5
from extract.pipeline import extract_features
from extract.plan import check_room
from extract.prepare import prepare
from extract.spectra import open_spectra


@pytest.fixture
def path(tmp_path):
    return write_table_layout(tmp_path / "x.h5", stars(8, seed=1))


def test_more_rows_at_a_time_than_there_are_take_no_memory(path, tmp_path):
    plain = extract_features(request(path, tmp_path, jobs=1))["test"][0]
    huge = extract_features(request(path, tmp_path / "huge", jobs=1, slab_rows=10**12))["test"][0]
    assert FeatureStore.open(huge).digest() == FeatureStore.open(plain).digest()


def test_a_micro_batch_beyond_all_memory_is_refused(path, tmp_path):
    with pytest.raises(ConfigError, match=r"--micro-batch is 1000000000; at most 16384"):
        request(path, tmp_path, micro_batch=10**9)


@pytest.mark.parametrize("seed", ["²", "9" * 19, "٣", "1 "])
def test_seeds_that_torch_cannot_take_are_refused(survey, tmp_path, seed):
    with pytest.raises(ConfigError, match="expected random:SEED with a whole number of at most 18 digits"):
        extract_features(request(survey, tmp_path, checkpoint=f"random:{seed}"))


def test_the_largest_seed_is_taken(survey, tmp_path):
    asked = request(survey, tmp_path, checkpoint=f"random:{'9' * 18}")
    with prepare(asked) as prepared:
        assert prepared.model.origin == asked.checkpoint


def test_a_name_that_is_not_utf8_is_refused_by_name(path):
    odd = os.fsencode(path.parent) + b"/caf\xe9.h5"
    shutil.copyfile(path, odd)
    with pytest.raises(InputError, match=r"caf\\udce9\.h5'.*not UTF-8; rename it"):
        open_spectra(os.fsdecode(odd))


def test_the_limit_of_open_files_is_raised_where_it_could_be_met(path, monkeypatch):
    limits, asked = [64, 4096], []
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: asked.append(both))
    with open_spectra([path]):
        assert asked == []
    with open_spectra([shutil.copyfile(path, path.with_name(f"{k}.h5")) for k in range(17)]):
        assert asked.pop() == (4 * 17, 4096)
    safe_hdf5.allow_open_files(10**9)
    assert asked.pop() == (4096, 4096)
    limits[1] = resource.RLIM_INFINITY
    safe_hdf5.allow_open_files(2000)
    assert asked.pop() == (8000, resource.RLIM_INFINITY)
    for soft in (8000, resource.RLIM_INFINITY):
        limits[0] = soft
        safe_hdf5.allow_open_files(2000)
        assert asked == []


def test_too_many_open_files_are_called_so(path, monkeypatch):
    many = [Path(shutil.copyfile(path, path.with_name(f"{k}.h5"))) for k in range(20)]
    monkeypatch.setattr("extract.spectra.allow_open_files", lambda _: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    here = sum(1 for _ in Path("/dev/fd").iterdir())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (here + 8, hard))
        with pytest.raises(InputError, match="too many files are open at once"):
            open_spectra(many)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("beside", ["in the state dict", "at the top"])
def test_tensors_that_are_not_used_are_listed_by_group(path, tmp_path, beside):
    content = torch.load(CHECKPOINT, weights_only=True)
    average = {name.replace("model.", "ema_model."): v for name, v in content["state_dict"].items()}
    if beside == "at the top":
        content["ema_model"] = average
    else:
        content["state_dict"] |= average
    torch.save(content, tmp_path / "ema.ckpt")
    said = []
    with prepare(request(path, tmp_path, checkpoint=str(tmp_path / "ema.ckpt")), say=said.append):
        (note,) = (line for line in said if "also holds" in line)
    assert f"ema_model ({len(average)})" in note
    said.clear()
    with prepare(request(path, tmp_path), say=said.append):
        assert not any("also holds" in line for line in said)


def test_labels_that_are_needed_are_finite_before_anything_is_computed(tmp_path):
    content = stars(8, seed=1)
    content.labels["log_g"][[2, 5]] = np.nan, np.inf
    content.arrays["flux"][2] = 0  # a bad row, which is dropped: its label does not matter
    path = write_table_layout(tmp_path / "x.h5", content)
    asked = {"on_bad_rows": "drop", "need_labels": ("T_eff", "log_g")}
    with pytest.raises(InputError, match=r"label log_g is NaN or infinite in 1 of 7 rows of test .*\[5\]"):
        extract_features(request(path, tmp_path, **asked))
    assert not (tmp_path / "features").exists()
    extract_features(request(path, tmp_path, **{**asked, "need_labels": ("T_eff",)}))
    extract_features(request(path, tmp_path, **asked, missing_labels="drop"))


def test_labels_that_rows_may_lack_are_there_in_some(tmp_path):
    content = stars(8, seed=1)
    content.labels["log_g"][:] = np.nan
    path = write_table_layout(tmp_path / "x.h5", content)
    with pytest.raises(
        InputError, match=r"no row of test has log_g \(8 rows.*take it out of the labels"
    ) as caught:
        extract_features(request(path, tmp_path, need_labels=("log_g",), missing_labels="drop"))
    assert "drop" not in str(caught.value)  # it was said, and is no help


@pytest.mark.parametrize("missing", ["fail", "drop"])
def test_numbers_that_mark_missing_labels_are_refused_where_the_label_is_needed(missing, tmp_path):
    content = stars(8, seed=1)
    content.labels["log_g"][[2, 5]] = -999
    content.arrays["flux"][2] = 0  # a bad row, which is dropped: its label does not matter
    path = write_table_layout(tmp_path / "x.h5", content)
    asked = {"on_bad_rows": "drop", "missing_labels": missing}
    match = r"x\.h5: test: label log_g is -999 in 1 of 7 rows \(first rows: \[5\]\), and all other .*Write NaN there"
    with pytest.raises(InputError, match=match):
        extract_features(request(path, tmp_path, **asked, need_labels=("T_eff", "log_g")))
    assert not (tmp_path / "features").exists()
    extract_features(request(path, tmp_path, **asked, need_labels=("T_eff",)))


def test_room_is_looked_for_where_a_link_leads(path, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "features").mkdir()
    (tmp_path / "features/test").symlink_to(elsewhere)
    asked = []
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda place: asked.append(place.resolve()) or real(place))
    with prepare(request(path, tmp_path)) as prepared:
        check_room(prepared.config.out, prepared.plans)
    assert asked == [elsewhere]
