import json
import subprocess
import sys
from pathlib import Path

import pytest
import reports_fakes
from store_fakes import BACKWARD, FORWARD, MEAN, begin_store, edit_header, flip_byte, make_store, provenance

from cache import FeatureStore
from cache.cli import VERBS
from cache.commandline import main
from cache.commits import commit_path
from cache.header import chunk_path

HEAVY = ("torch", "sklearn", "lightgbm", "h5py", "xarray", "pandas", "matplotlib", "pyarrow")


def cache(*argv):
    return main("cache", VERBS, [str(argument) for argument in argv])


def test_ls_shows_every_store_and_its_state(tmp_path, capsys):
    done = make_store(tmp_path, provenance(arrays=(FORWARD, BACKWARD, MEAN)))
    begun = begin_store(tmp_path, provenance("test")).path
    (tmp_path / "test/notes").mkdir()
    (tmp_path / "test/notes/zarr.json").write_text("{}")
    assert cache("ls", "--root", tmp_path) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        f"{begun}  10 rows  0.0 MB  unfinished or damaged  encoder ?  family "
        f"{FeatureStore.open(done).family[:12]}  enc_pre_latent/forward/seg_mean_K2"
    )
    assert str(done) in second
    assert "finished  encoder tiny" in second


def test_ls_as_json(tmp_path, capsys):
    done = FeatureStore.open(make_store(tmp_path))
    assert cache("ls", "--root", tmp_path, "--as-json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(done.path),
        "split": "train",
        "rows": 10,
        "bytes": 160,
        "state": "finished",
        "encoder": "tiny",
        "family": done.family,
        "key": done.key,
        "arrays": [FORWARD.path],
    }


def test_ls_goes_on_after_an_unreadable_store(tmp_path, capsys):
    edit_header(make_store(tmp_path, provenance("a")), sealed=True, schema=999)
    (make_store(tmp_path, provenance("b")) / "zarr.json").write_text("{}")
    fine = make_store(tmp_path, provenance("c"))
    assert cache("ls", "--root", tmp_path) == 0
    told = capsys.readouterr()
    assert told.out.startswith(str(fine))
    assert "unreadable:" in told.err
    assert "format 999" in told.err
    assert "header unreadable" in told.err


def test_ls_of_nothing(tmp_path, capsys):
    assert cache("ls", "--root", tmp_path / "nowhere") == 0
    assert capsys.readouterr().out == ""


def test_show_verify_and_digest(tmp_path, capsys):
    path = make_store(tmp_path)
    store = FeatureStore.open(path)
    assert cache("show", "--store", path) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["key"], shown["provenance"]) == (store.key, provenance())
    assert shown["last_run"]["command"] == "python -m extract run --made-up"
    assert cache("verify", "--store", path) == 0
    assert "1 arrays as they were committed" in capsys.readouterr().out
    assert cache("digest", "--store", path) == 0
    assert capsys.readouterr().out == store.digest() + "\n"


@pytest.mark.parametrize("verb", ["verify", "digest"])
def test_a_damaged_store_exits_with_2_and_its_name(tmp_path, capsys, verb):
    path = make_store(tmp_path)
    flip_byte(chunk_path(path, FORWARD, 1), -2)
    assert cache(verb, "--store", path) == 2
    assert f"error: {chunk_path(path, FORWARD, 1)}: is not the committed file" in capsys.readouterr().err
    commit_path(path, 1).unlink()
    assert cache(verb, "--store", path) == 2
    assert "1 of 3 blocks are not committed" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["show", "verify", "digest"])
def test_a_store_must_be_named_and_exist(tmp_path, capsys, verb):
    assert cache(verb) == 2
    assert "say --store PATH" in capsys.readouterr().err
    assert cache(verb, "--store", tmp_path / "x") == 2
    assert "no feature store there" in capsys.readouterr().err


def imported_by(folder, *argv):
    """Names of the heavy modules that `python -m ...` imports."""
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *argv],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stderr
    return {name for name in HEAVY if any(line.split("|")[-1].strip() == name for line in found.splitlines())}


def test_cache_ls_imports_nothing_heavy(tmp_path):
    make_store(tmp_path / "artifacts/features")
    assert imported_by(tmp_path, "cache", "ls") == set()


def test_reports_tables_imports_no_training_library(tmp_path):
    reports_fakes.write(tmp_path / "artifacts/results", reports_fakes.few_records())
    assert not {"torch", "sklearn", "lightgbm", "h5py"} & imported_by(tmp_path, "reports", "tables")
    assert list((tmp_path / "artifacts/reports").glob("*.md"))
