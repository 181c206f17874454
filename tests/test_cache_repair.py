"""Damaged blocks are taken out, whole ones stay; what cannot be mended is refused."""

import shutil
from pathlib import Path

import pytest
from store_fakes import BACKWARD, FORWARD, fill, flip_byte, make_store, provenance

from cache.cli import VERBS
from cache.commandline import main
from cache.commits import commit_path
from cache.errors import Damaged, Incomplete
from cache.header import chunk_path
from cache.repair import repair
from cache.store import FeatureStore
from cache.writer import StoreWriter


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("made"), provenance(arrays=(FORWARD, BACKWARD)))


@pytest.fixture
def store(tmp_path, made):
    return Path(shutil.copytree(made, tmp_path / "train" / made.name))


def test_a_whole_store_is_left_alone(store):
    digest = FeatureStore.open(store).digest()
    assert repair(store).blocks == ()
    assert FeatureStore.open(store).digest() == digest


@pytest.mark.parametrize("damage", ["value", "tail", "gone", "record"])
def test_only_the_damaged_block_is_taken_out(store, damage):
    chunk = chunk_path(store, FORWARD, 1)
    if damage == "gone":
        chunk.unlink()
    else:
        flip_byte(*{"value": (chunk, 0), "tail": (chunk, -1), "record": (commit_path(store, 1), 40)}[damage])
    found = repair(store)
    assert found.blocks == (1,)
    assert "1" in found.reasons[0]
    assert StoreWriter.open(store).pending() == [1]
    with pytest.raises(Incomplete, match=r"1 of \d+ blocks"):
        FeatureStore.open(store)


def test_temporary_files_of_killed_runs_are_swept(store):
    leftover = commit_path(store, 0).parent / ".tmp-abc.json"
    leftover.write_text("half")
    repair(store)
    assert not leftover.exists()


def test_altered_labels_cannot_be_mended_block_by_block(store):
    flip_byte(next((store / "labels").rglob("c/0")), 0)
    with pytest.raises(Damaged, match="extract again"):
        repair(store)


def test_the_command_says_what_it_did(store, capsys):
    chunk_path(store, BACKWARD, 0).unlink()
    assert main("cache", VERBS, ["repair", str(store)]) == 0
    assert "block 0" in capsys.readouterr().out
    assert main("cache", VERBS, ["repair", str(store)]) == 0
    assert "nothing to repair" in capsys.readouterr().out


def test_a_header_of_another_store_costs_no_good_block(store, tmp_path):
    """Only key and provenance differ, so that all else fits; taking every block out would lose them all."""
    other = make_store(tmp_path / "other", provenance(arrays=(FORWARD, BACKWARD), noise={"draw": 1}))
    right = (store / "zarr.json").read_bytes()
    (store / "zarr.json").write_bytes((other / "zarr.json").read_bytes())
    with pytest.raises(Damaged, match="it is that of another store"):
        repair(store)
    (store / "zarr.json").write_bytes(right)
    FeatureStore.open(store).verify()


@pytest.mark.parametrize(
    "name", [".commit/000001.lock", f"{FORWARD.path}/features/c/1/0", f"{FORWARD.path}/features/c/1"]
)
def test_folders_in_the_way_of_a_missing_block_are_removed(store, name):
    digest = FeatureStore.open(store).digest()
    commit_path(store, 1).unlink()
    chunk_path(store, FORWARD, 1).unlink()
    if name.endswith("/1"):
        chunk_path(store, FORWARD, 1).parent.rmdir()
        (store / name).write_text("a file in the place of a folder")
    else:
        (store / name).mkdir()
    assert repair(store).blocks == ()
    fill(StoreWriter.open(store))
    assert FeatureStore.open(store).digest() == digest


@pytest.mark.parametrize("name", [".commit", ".runs", f"{FORWARD.path}/features/c"])
def test_lost_folders_are_made_anew(store, name):
    digest = FeatureStore.open(store).digest()
    shutil.rmtree(store / name)
    repair(store)
    fill(StoreWriter.open(store))
    assert FeatureStore.open(store).digest() == digest


def test_folders_of_records_and_notes_that_changed_places_are_mended(store):
    digest = FeatureStore.open(store).digest()
    (store / ".commit").rename(store / "aside")
    (store / ".runs").rename(store / ".commit")
    (store / "aside").rename(store / ".runs")
    repair(store)
    fill(StoreWriter.open(store))
    assert FeatureStore.open(store).digest() == digest
