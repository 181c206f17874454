"""Extractions beside each other, killed, out of room, or going on: what is committed stays, and nothing is mixed."""

import dataclasses
import errno
import fcntl
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import h5py
import pytest
import torch
from survey_fakes import extract_one, only, request

from cache import FeatureStore
from cache.commits import commit_path
from cache.errors import (
    BlindspotError,
    Busy,
    CacheError,
    CheckpointError,
    ConfigError,
    Incomplete,
    InputError,
    Stale,
)
from cache.removal import remove_folder
from cache.repair import repair
from cache.writer import StoreWriter
from extract import block_task, blocks, flow, pipeline, schedulers
from extract import prepare as prepare_module
from extract.pipeline import extract_features
from extract.plan import block_rows_of, open_writer, row_table
from extract.prepare import prepare


def test_free_blocks_are_computed_while_another_process_holds_one(spectra_file, tmp_path, monkeypatch):
    reference = extract_one(spectra_file, tmp_path / "alone", block_rows=5)
    path = extract_one(spectra_file, tmp_path, block_rows=5).path
    for block in range(4):
        commit_path(path, block).unlink()
    descriptor = os.open(path / ".commit/000000.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    waited, said = [], []

    def the_holder_dies(_seconds):
        waited.append(StoreWriter.open(path).pending())
        if len(waited) == 2:
            os.close(descriptor)

    monkeypatch.setattr(
        pipeline, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=the_holder_dies)
    )
    extract_features(request(spectra_file, tmp_path, block_rows=5), say=said.append)
    assert waited == [[0], [0]]
    assert ["another process is computing block 0" in line for line in said[-3:]] == [True, False, False]
    assert sum("another process" in line for line in said) == 1
    assert FeatureStore.open(path).digest() == reference.digest()
    assert not list(path.glob(".commit/*.lock"))


def test_three_writers_together_make_one_store(spectra_file, tmp_path, monkeypatch):
    reference = extract_one(spectra_file, tmp_path / "alone", block_rows=5)
    monkeypatch.setattr("extract.pipeline.WAIT_SECONDS", 0.01)
    with ThreadPoolExecutor(3) as pool:
        asked = request(spectra_file, tmp_path, block_rows=5)
        runs = [pool.submit(extract_features, asked) for _ in range(3)]
        paths = {run.result()["test"][0] for run in runs}
    assert len(paths) == 1
    assert FeatureStore.open(paths.pop()).digest() == reference.digest()
    assert [p.name for p in (tmp_path / "features/test").iterdir()] == [reference.path.name]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_parts_in_any_order_equal_one_run(spectra_file, tmp_path, order, monkeypatch):
    reference = extract_one(spectra_file, tmp_path / "alone", block_rows=5)

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    said = []
    for index in order:
        asked = request(spectra_file, tmp_path, block_rows=5, part=f"{index}/3")
        path = extract_features(asked, say=said.append)["test"][0]
    assert sum("of other parts are missing" in line for line in said) == 2
    assert FeatureStore.open(path).digest() == reference.digest()


@pytest.mark.parametrize(("asked", "told"), [({"block_rows": 8}, "8"), ({}, "16"), ({"block_rows": 5}, None)])
def test_a_begun_store_keeps_its_blocks_and_says_so(spectra_file, tmp_path, asked, told):
    path = extract_one(spectra_file, tmp_path, block_rows=5).path
    commit_path(path, 1).unlink()
    said = []
    extract_features(request(spectra_file, tmp_path, **asked), say=said.append)
    lines = [line for line in said if "--block-rows" in line]
    expected = f"test: {path} was begun with --block-rows 5, and goes on so, not with {told}"
    assert lines == ([] if told is None else [expected])
    assert FeatureStore.open(path).header.block_rows == 5
    said.clear()
    extract_features(request(spectra_file, tmp_path, block_rows=3), say=said.append)
    assert said == [f"test: {path} is there and fresh"]


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_parts_that_do_not_exist_are_refused(spectra_file, tmp_path, part):
    with pytest.raises(ConfigError, match="say i/n with 1 <= i <= n"):
        request(spectra_file, tmp_path, part=part)


def test_what_does_not_fit_on_the_disk_is_not_begun(spectra_file, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(ConfigError, match=r"the disk has 100 bytes left; make room"):
        extract_features(request(spectra_file, tmp_path))
    assert not (tmp_path / "features").exists()


def test_a_full_disk_keeps_what_is_committed(spectra_file, tmp_path, monkeypatch):
    reference = extract_one(spectra_file, tmp_path / "alone", block_rows=5)
    resource = pytest.importorskip("resource", reason="limits of file sizes are of Unix")
    original, limits = flow.commit, resource.getrlimit(resource.RLIMIT_FSIZE)

    def full_from_the_second_block_on(task, block):
        if block.rows[0] >= 10:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        return original(task, block)

    monkeypatch.setattr(flow, "commit", full_from_the_second_block_on)
    try:
        with pytest.raises(CacheError, match=r"block 2 could not be written .*run the same command"):
            extract_one(spectra_file, tmp_path, block_rows=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    path = tmp_path / "features/test" / reference.path.name
    assert StoreWriter.open(path).pending() == [2, 3]
    assert {p.name for p in path.glob("*/*/*/features/c/*")} == {"0", "1"}
    assert not [p for p in path.rglob("*") if p.name.endswith((".lock", ".partial")) or ".tmp" in p.name]
    monkeypatch.undo()
    assert extract_one(spectra_file, tmp_path, block_rows=5).digest() == reference.digest()


def interrupted_by(monkeypatch, what):
    """Let `what` happen once, when the second block is about to be committed."""
    original, happened = flow.commit, []

    def commit(task, block):
        if block.rows[0] and not happened:
            happened.append(what())
        return original(task, block)

    monkeypatch.setattr(flow, "commit", commit)


def test_a_running_extraction_keeps_its_store_from_removal_and_repair(spectra_file, tmp_path, monkeypatch):
    def others():
        (path,) = (tmp_path / "features/test").iterdir()
        for act in (remove_folder, repair):
            with pytest.raises(Busy, match="a running extraction works in it"):
                act(path)

    interrupted_by(monkeypatch, others)
    extract_one(spectra_file, tmp_path, block_rows=5).verify()


def test_a_store_begun_anew_with_other_blocks_gets_no_rows_of_ours(spectra_file, tmp_path, monkeypatch):
    """Somebody removed it by hand and began it again: rows 5 to 9 must not become its rows 4 to 7."""

    def begin_anew():
        (path,) = (tmp_path / "features/test").iterdir()
        shutil.rmtree(path)
        with prepare(request(spectra_file, tmp_path)) as prepared:
            rows = row_table(prepared.spectra["test"], prepared.fingerprints["test"])
            open_writer(tmp_path / "features", prepared.plans["test"][0], rows, 4)

    interrupted_by(monkeypatch, begin_anew)
    with pytest.raises(BlindspotError):
        extract_one(spectra_file, tmp_path, block_rows=5)
    (path,) = (tmp_path / "features/test").iterdir()
    assert 1 in StoreWriter.open(path).pending()
    monkeypatch.undo()
    finished = extract_one(spectra_file, tmp_path)
    whole = extract_one(spectra_file, tmp_path / "alone", block_rows=4)
    assert finished.digest() == whole.digest()


def test_two_extractions_computing_otherwise_do_not_mix(spectra_file, tmp_path, monkeypatch):
    def the_other():
        monkeypatch.undo()
        with pytest.raises(Stale, match=r"micro_batch.*--mixed"):
            extract_one(spectra_file, tmp_path, block_rows=5, micro_batch=2)

    interrupted_by(monkeypatch, the_other)
    extract_one(spectra_file, tmp_path, block_rows=5, micro_batch=4).verify()


def test_parts_computing_otherwise_do_not_mix(spectra_file, tmp_path):
    extract_features(request(spectra_file, tmp_path, block_rows=5, part="1/2", micro_batch=2))
    with pytest.raises(Stale, match=r"micro_batch.*--mixed"):
        extract_features(request(spectra_file, tmp_path, block_rows=5, part="2/2", micro_batch=4))
    said = []
    asked = request(spectra_file, tmp_path, block_rows=5, part="2/2", micro_batch=4, mixed=True)
    extract_features(asked, say=said.append)
    assert [line for line in said if line.startswith("mixed, as asked: ")]


def test_the_command_in_the_note_finishes_what_a_part_began(spectra_file, tmp_path):
    command = "python -m extract run --data x.h5 --part 1/2 --out y"
    asked = request(spectra_file, tmp_path, block_rows=5, part="1/2", command=command)
    path = extract_features(asked)["test"][0]
    with pytest.raises(
        Incomplete, match=r"finish with: python -m extract run --data x\.h5 --out \S*features$"
    ):
        FeatureStore.open(path)


def test_a_file_changed_behind_its_remembered_digest_is_read_anew_by_the_next_run(spectra_file, tmp_path):
    path = tmp_path / "x.h5"
    shutil.copyfile(spectra_file, path)
    extract_one(path, tmp_path)
    before = path.stat()
    with h5py.File(path, "r+") as file:
        file["dataset/arrays/flux/value"][3] *= 1.5
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    asked = request(path, tmp_path, poolings=("global_mean",))
    with pytest.raises(InputError, match="run the command again"):
        extract_features(asked)
    assert (
        only(extract_features(asked)).digest()
        == extract_one(path, tmp_path / "alone", poolings=("global_mean",)).digest()
    )


def test_a_copy_without_hidden_folders_is_filled_again(spectra_file, tmp_path):
    store = extract_one(spectra_file, tmp_path)
    for name in (".commit", ".runs"):
        shutil.rmtree(store.path / name)
    assert extract_one(spectra_file, tmp_path).digest() == store.digest()


def test_a_killed_worker_is_told_with_what_to_do(spectra_file, tmp_path, monkeypatch):
    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            raise BrokenProcessPool

    monkeypatch.setattr(schedulers, "ProcessPoolExecutor", lambda workers, _, **__: Broken(workers))
    with pytest.raises(CacheError, match=r"a worker process was killed.*--micro-batch"):
        extract_one(spectra_file, tmp_path, scheduler="processes", jobs=2, block_rows=5)


def test_a_file_replaced_while_it_is_open_is_not_remembered_as_the_new_one(
    spectra_file, tmp_path, monkeypatch
):
    """The content of the old file must never pass for that of the new one."""
    path, other = tmp_path / "x.h5", tmp_path / "other.h5"
    for copy in (path, other):
        shutil.copyfile(spectra_file, copy)
    with h5py.File(other, "r+") as file:
        file["dataset/arrays/flux/value"][3] *= 1.5
    real = prepare_module.open_spectra

    def open_then_replace(paths):
        opened = real(paths)
        if other.exists():
            other.replace(path)
        return opened

    monkeypatch.setattr(prepare_module, "open_spectra", open_then_replace)
    with pytest.raises(InputError, match="run the command again"):
        extract_one(path, tmp_path)
    store = extract_one(path, tmp_path)
    alone = extract_one(path, tmp_path / "alone")
    assert store.digest() == alone.digest()
    assert store.key != extract_one(spectra_file, tmp_path).key


def test_a_block_committed_meanwhile_is_not_computed_again(spectra_file, tmp_path):
    asked = request(spectra_file, tmp_path)
    store = only(extract_features(asked))
    with prepare(asked) as prepared:
        plan = prepared.plans["test"][0]
        task = block_task.BlockTask(
            config=asked,
            split="test",
            files=(spectra_file,),
            fingerprint=prepared.fingerprints["test"],
            fed=prepared.fed["test"],
            mask=None,
            model=prepared.model,
            weights="",
            device="cpu",
            targets=(block_task.Target(store.path, store.header, plan.draw, store.arrays),),
        )
        assert blocks.compute_block(task, 0) == block_task.BlockDone()


def test_going_on_with_other_settings_needs_mixed(spectra_file, tmp_path):
    store = extract_one(spectra_file, tmp_path, block_rows=8)
    commit_path(store.path, 1).unlink()
    changed = request(spectra_file, tmp_path, micro_batch=4)
    with pytest.raises(Stale, match=r"micro_batch.*--mixed"):
        extract_features(changed)
    mixed = only(extract_features(dataclasses.replace(changed, mixed=True)))
    assert mixed.path == store.path
    assert mixed.header.block_rows == 8


def test_weights_that_change_are_never_committed(spectra_file, tmp_path, monkeypatch):
    original = flow.commit

    def spoil(task, block):
        with torch.no_grad():
            task.model.encoders[0].conv.weight.add_(1)
        return original(task, block)

    monkeypatch.setattr(flow, "commit", spoil)
    with pytest.raises(CheckpointError, match="changed during the run; this is a bug, nothing was committed"):
        extract_features(request(spectra_file, tmp_path))
    store = StoreWriter.open(next((tmp_path / "features/test").iterdir()))
    assert store.pending() == [0]


def test_weights_that_change_after_the_last_block_are_noticed_too(spectra_file, tmp_path, monkeypatch):
    run_split = pipeline._run_split

    def change_afterwards(prepared, *arguments):
        paths = run_split(prepared, *arguments)
        next(prepared.model.parameters()).data += 1
        return paths

    monkeypatch.setattr(pipeline, "_run_split", change_afterwards)
    with pytest.raises(CheckpointError, match="statistics changed during the run; this is a bug"):
        extract_features(request(spectra_file, tmp_path))


@pytest.mark.parametrize(
    ("n_rows", "asked", "rows"),
    [
        (100_000, None, 4096),
        (200_000, None, 4096),
        (1_000_000, None, 16384),
        (1000, None, 1000),
        (10**6, 512, 512),
    ],
)
def test_rows_of_a_block_follow_from_those_of_the_request(n_rows, asked, rows):
    assert block_rows_of(n_rows, asked) == rows
