"""Stores and folders that are not ours to read or to remove: left aside, shown, and never half removed."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from store_fakes import BACKWARD, FORWARD, make_store, provenance

from cache import FeatureStore, Want, find, state
from cache.cli import VERBS
from cache.commandline import main
from cache.errors import NotExtracted
from cache.prune import find_candidates
from cache.removal import PRUNING, remove_folder
from probes.stores import StoreChoice

WANT = Want(arrays=((FORWARD.layer, "forward", FORWARD.pooling),))


@pytest.fixture
def closed(monkeypatch):
    """Close folders to us, as another user's umask does; tests may run as a user to whom nothing is closed."""
    folders: set[Path] = set()
    real = {name: getattr(Path, name) for name in ("exists", "read_bytes", "is_dir", "glob")}

    def guarded(name):
        def method(path, *args, **how):
            if folders & set(path.absolute().parents):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real[name](path, *args, **how)

        return method

    def listed(path):
        if path.absolute() in folders:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listing(path)

    for name in real:
        monkeypatch.setattr(Path, name, guarded(name))
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", listed)
    can, there = os.access, os.path.lexists
    monkeypatch.setattr(os, "access", lambda path, how: Path(path) not in folders and can(path, how))
    monkeypatch.setattr(
        os.path, "lexists", lambda path: not folders & set(Path(path).parents) and there(path)
    )
    return folders


def contents(folder):
    return {path.relative_to(folder): path.is_dir() or path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("inside", ["", ".commit"])
def test_a_store_that_may_not_be_read_keeps_nobody_from_the_others(tmp_path, closed, capsys, inside):
    make_store(tmp_path)
    forbidden = make_store(tmp_path, provenance(arrays=(BACKWARD,)))
    closed.add(forbidden / inside)
    assert find(tmp_path, "train", WANT).arrays == (FORWARD,)
    backward = Want(arrays=((BACKWARD.layer, "backward", BACKWARD.pooling),))
    with pytest.raises(NotExtracted, match=rf"may not read it: {forbidden}; .*ask its owner") as told:
        find(tmp_path, "train", backward)
    assert "python -m extract run" in str(told.value)
    assert main("cache", VERBS, ["ls", "--root", str(tmp_path)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if forbidden.name in line)
    assert "forbidden" in line


@pytest.mark.parametrize("inside", ["", ".commit"])
def test_the_state_of_a_store_that_may_not_be_read_is_forbidden(tmp_path, closed, inside):
    store = FeatureStore.open(make_store(tmp_path))
    other = FeatureStore.open(make_store(tmp_path, provenance("test")))
    closed.add(store.path / inside)
    assert state(tmp_path, store.key, store.digest()) == "forbidden"
    assert state(tmp_path, other.key, other.digest()) == "fresh"
    assert state(tmp_path, "0" * 64) == "missing"


@pytest.mark.parametrize("inside", ["", "STORE/.commit"])
def test_a_val_split_that_may_not_be_read_is_not_taken_for_none(tmp_path, closed, inside):
    stores = {split: make_store(tmp_path, provenance(split)) for split in ("train", "val", "test")}
    choice = StoreChoice(root=tmp_path)
    assert len(choice.views(WANT.arrays)["val"]) == 1
    closed.add(tmp_path / "val" / inside.replace("STORE", stores["val"].name))
    with pytest.raises(NotExtracted, match="ask its owner"):
        choice.views(WANT.arrays)


def test_in_a_split_that_may_not_be_looked_into_a_store_is_forbidden_not_missing(tmp_path, closed):
    store = FeatureStore.open(make_store(tmp_path))
    other = FeatureStore.open(make_store(tmp_path, provenance("test")))
    closed.add(store.path.parent)
    assert state(tmp_path, store.key, store.digest()) == "forbidden"
    assert state(tmp_path, other.key, other.digest()) == "fresh"


def test_what_is_not_ours_to_look_into_is_never_offered_for_removal(tmp_path, closed):
    forbidden = make_store(tmp_path)
    temporary = tmp_path / "train/.tmp-of-somebody"
    temporary.mkdir()
    closed |= {forbidden, temporary}
    found = find_candidates(tmp_path, ("leftovers", "damaged", "unfinished"), results=tmp_path)
    assert not found.candidates
    assert dict(found.spared) == dict.fromkeys((forbidden, temporary), "you have no right to look into it")


def test_a_split_that_may_not_be_read_keeps_nobody_from_the_others(tmp_path, closed, capsys):
    make_store(tmp_path)
    other = make_store(tmp_path, provenance("test"))
    before = contents(tmp_path)
    (tmp_path / f"train/{PRUNING}abcd").mkdir()
    closed.add(tmp_path / "test")
    with pytest.raises(NotExtracted, match=rf"may not read it: {tmp_path}/test; .*ask its owner"):
        find(tmp_path, "test", WANT)
    assert main("cache", VERBS, ["ls", "--root", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert other.name not in told.out
    assert told.out.count("finished") == 1
    assert f"forbidden: {tmp_path}/test: you have no right to look into it" in told.err
    what = ["--what", "leftovers,outdated,damaged,unfinished", "--older-than", "0", "--yes"]
    assert main("cache", VERBS, ["prune", "--root", str(tmp_path), *what]) == 0
    told = capsys.readouterr().out
    assert f"left alone: {tmp_path}/test: you have no right to look into it" in told
    assert "removed 1" in told
    closed.clear()
    assert contents(tmp_path) == before


def test_an_extraction_goes_on_beside_a_store_of_which_the_commits_may_not_be_read(
    tmp_path, closed, spectra_file
):
    from survey_fakes import extract_one  # torch, for this test

    one = extract_one(spectra_file, tmp_path)
    other = extract_one(spectra_file, tmp_path, poolings=("global_mean",))
    closed.add(other.path / ".commit")
    assert extract_one(spectra_file, tmp_path).path == one.path
    assert extract_one(spectra_file, tmp_path, poolings=("mean_max",)).path not in (one.path, other.path)


@pytest.mark.parametrize(("name", "told"), [("shut/x", "no right to read it: ask its"), ("new", "to write")])
def test_the_command_tells_reading_from_writing(tmp_path, closed, capsys, monkeypatch, name, told):
    (tmp_path / "shut").mkdir()
    closed.add(tmp_path / "shut")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / name))

    monkeypatch.setattr("cache.verbs_list.store_folders", refuse)
    assert main("cache", VERBS, ["ls", "--root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert ("what was committed stays" in error) == (name == "new")


def test_a_store_of_another_user_stays_where_it_is(tmp_path, monkeypatch, capsys):
    """Its folder can be renamed by all who may write beside it, but only its owner can empty it."""
    store = make_store(tmp_path / "features")
    before = contents(tmp_path)
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, how: real(path, how) and not (how & os.W_OK and "c" in Path(path).parts)
    )
    records = tmp_path / "features"
    arguments = ["prune", "--root", str(records), "--what", "unfinished", "--older-than", "0", "--yes"]
    (store / ".commit/000000.json").unlink()
    before.pop(Path("features/train") / store.name / ".commit/000000.json")
    assert main("cache", VERBS, arguments) == 2
    assert "no right to remove what is in it; ask its owner (user " in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("removed", [0, 1])
def test_a_removal_that_is_refused_gives_the_whole_store_its_name_back(tmp_path, monkeypatch, removed):
    store = make_store(tmp_path)
    before = contents(store)

    def refused(path):
        for name in sorted(path.rglob("*.json"))[:removed]:
            name.unlink()
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(shutil, "rmtree", refused)
    with pytest.raises(PermissionError):
        remove_folder(store)
    if removed:  # half a store never comes back
        assert not store.exists()
        assert store.with_name(PRUNING + store.name).exists()
    else:
        assert contents(store) == before
