"""Row blocks through overlapping stages: the same bits on any number of threads, little memory, nothing left over."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from survey_fakes import LAYER, POOLING, request

from cache import FeatureStore
from cache.canonical import check_seal
from cache.commits import read_commits
from cache.errors import CacheError, ConfigError, FileChanged, Stale
from cache.writer import StoreWriter
from extract import block_task, blocks, flow, named_engine, open_blocks, pipeline, task_batches
from extract.block_task import computed_with
from extract.fingerprint import input_digest
from extract.named_engine import Engines
from extract.pipeline import extract_features
from extract.plan import open_writer, row_table
from extract.prepare import prepare
from extract.rates import Rates
from extract.spectra import open_spectra
from extract.stages import StageTimes

ARRAYS = {"layers": (LAYER, "pool_1", "input_flux"), "directions": ("forward", "backward"), "draws": 2}


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= before


def digests(paths):
    return [FeatureStore.open(path).digest() for path in paths["test"]]


@pytest.fixture(scope="module")
def reference(spectra_file, tmp_path_factory):
    asked = request(
        spectra_file, tmp_path_factory.mktemp("one"), jobs=1, block_rows=5, micro_batch=2, **ARRAYS
    )
    return digests(extract_features(asked))


@contextlib.contextmanager
def begun(asked):
    """A task of the blocks of a store that was just made."""
    with prepare(asked) as prepared:
        stores = [
            (open_writer(asked.out, plan, row_table(prepared.spectra["test"], prepared.fingerprints["test"]),
                         asked.block_rows), plan)
            for plan in prepared.plans["test"]
        ]  # fmt: skip
        yield pipeline._task(prepared, "test", stores, computed_with(asked, "cpu"))


class FakeEngine:
    """Feature d of a row is d times the mean of what the network would be fed; no memory for large batches."""

    largest = 1000
    calls = ()

    def __init__(self, *_args, **_kwargs):
        pass

    def __call__(self, x):
        type(self).calls += (len(x),)
        if len(x) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return {(LAYER, "forward", POOLING): x.mean(dim=(1, 2))[:, None] * torch.arange(32)}


@pytest.fixture
def fake_engine(monkeypatch):
    def use(**attributes):
        fake = type("Fake", (FakeEngine,), attributes)
        monkeypatch.setattr(named_engine, "make_engine", fake)
        return fake

    return use


# The same bits.


@pytest.mark.parametrize("jobs", [1, 2, 3])
@pytest.mark.parametrize("slab_rows", [1, 3, 64])
def test_threads_and_slabs_change_no_bit(spectra_file, tmp_path, reference, jobs, slab_rows):
    asked = request(
        spectra_file, tmp_path, jobs=jobs, slab_rows=slab_rows, block_rows=5, micro_batch=2, **ARRAYS
    )
    assert digests(extract_features(asked)) == reference


@pytest.mark.parametrize("order", [[3, 1, 0, 2], [2], [0, 3]])
def test_blocks_in_any_order_and_one_by_one_are_the_same(spectra_file, tmp_path, reference, order):
    asked = request(spectra_file, tmp_path, jobs=2, block_rows=5, micro_batch=2, **ARRAYS)
    with begun(asked) as task:
        assert [block for block, _ in blocks.compute_blocks(task, order)] == order
        for block in range(4):
            assert blocks.compute_block(task, block).times.keys() == (
                set() if block in order else {"read", "compute", "noise", "commit"}
            )
    assert digests(extract_features(asked)) == reference


def test_every_compute_thread_has_its_threads_and_the_caller_keeps_its_own(
    spectra_file, tmp_path, fake_engine
):
    seen = set()

    def call(self, x):
        seen.add((threading.get_ident(), torch.get_num_threads()))
        return FakeEngine.__call__(self, x)

    fake_engine(__call__=call)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        extract_features(request(spectra_file, tmp_path, jobs=2, threads=2, micro_batch=1, block_rows=8))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert {n_threads for _, n_threads in seen} == {2}
    assert threading.get_ident() not in {thread for thread, _ in seen}


# Bounds.


def test_few_blocks_are_in_memory_and_claimed_at_once(spectra_file, tmp_path, monkeypatch):
    living, most, claims = [], [], []
    original = open_blocks.claimed

    def counting(*args):
        for block in original(*args):
            for array in block.features[0].values():
                living.append(block.number)
                weakref.finalize(array, living.remove, block.number)
            most.append(len(living))
            folders = (tmp_path / "features").glob("*/*/.commit")
            claims.append(sum(path.suffix == ".lock" for folder in folders for path in folder.iterdir()))
            yield block

    monkeypatch.setattr(blocks, "claimed", counting)
    asked = request(spectra_file, tmp_path, jobs=2, block_rows=1, micro_batch=1)
    extract_features(asked)
    assert len(most) == 16
    assert max(most) <= flow.BLOCKS_AHEAD + 5
    assert max(claims) <= flow.BLOCKS_AHEAD + 5
    assert not list((tmp_path / "features").rglob("*.lock"))


def test_memory_of_slabs_is_used_again(spectra_file, tmp_path, monkeypatch):
    made = []
    original = flow.SlabReader

    def recording(*args):
        made.append(original(*args))
        return made[-1]

    monkeypatch.setattr(flow, "SlabReader", recording)
    extract_features(request(spectra_file, tmp_path, jobs=1, slab_rows=2, micro_batch=1, block_rows=8))
    (reader,) = made
    assert 1 <= len(reader._free) <= 5


# Errors, interruptions.


def left_over(folder):
    return [p for p in folder.rglob("*") if p.suffix == ".lock" or ".tmp" in p.name]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError, Stale])
@pytest.mark.parametrize(
    "where", ["open_blocks.StoreWriter.claim", "task_batches.make_batch", "flow.commit", "reader"]
)
def test_an_error_anywhere_keeps_what_is_committed_and_leaves_nothing(
    spectra_file, tmp_path, reference, monkeypatch, where, kind
):
    asked = request(spectra_file, tmp_path, jobs=2, block_rows=5, micro_batch=2, **ARRAYS)
    calls = []
    target = {
        "open_blocks.StoreWriter.claim": (StoreWriter, "claim"),
        "task_batches.make_batch": (task_batches, "make_batch"),
        "flow.commit": (flow, "commit"),
        "reader": (flow.SlabReader, "read"),
    }[where]
    original = getattr(*target)

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise kind("here")
        return original(*args, **kwargs)

    monkeypatch.setattr(*target, failing)
    with pytest.raises(kind, match="here"):
        extract_features(asked)
    monkeypatch.undo()
    assert not left_over(tmp_path / "features")
    assert digests(extract_features(asked)) == reference


def test_a_generator_left_early_lets_go(spectra_file, tmp_path):
    asked = request(spectra_file, tmp_path, jobs=2, block_rows=2, micro_batch=1)
    with begun(asked) as task:
        shown = []
        results = blocks.compute_blocks(task, list(range(8)), shown.append)
        block, done = next(results)
        results.close()
        assert (block, done.shown) == (0, 2)
        assert not left_over(asked.out)
        assert sum(shown) >= 2  # what is not committed was taken back, but for what was committed meanwhile
        assert sum(shown) == 2


def test_interrupted_by_the_one_who_listens(spectra_file, tmp_path, monkeypatch):
    """Ctrl-C may come while the caller prints."""

    def say(line):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "_too_little_memory", lambda *_: "")
    original = blocks.compute_blocks
    monkeypatch.setattr(
        "extract.schedulers.compute_blocks",
        lambda *args: ((b, dataclasses.replace(d, micro_batch=1)) for b, d in original(*args)),
    )
    with pytest.raises(KeyboardInterrupt):
        extract_features(request(spectra_file, tmp_path, jobs=2, block_rows=2, micro_batch=2), say=say)


# Too little memory.


def records(path):
    store = StoreWriter.open(path)
    return [commit.computed_with["micro_batch"] for commit in read_commits(path, store.header)]


@pytest.mark.parametrize(("largest", "used"), [(8, 8), (7, 4), (3, 2), (1, 1)])
def test_a_device_with_little_memory_gets_smaller_batches(spectra_file, tmp_path, fake_engine, largest, used):
    said = []
    fake_engine()
    whole = FeatureStore.open(extract_features(request(spectra_file, tmp_path / "whole"))["test"][0])
    fake = fake_engine(largest=largest)
    asked = request(spectra_file, tmp_path, micro_batch=8, block_rows=4, jobs=2)
    (path,) = extract_features(asked, say=said.append)["test"]
    store = FeatureStore.open(path)
    assert records(path) == [used] * 4
    assert fake.calls[-1] == used
    assert store.key == whole.key
    np.testing.assert_allclose(store.features(LAYER, POOLING), whole.features(LAYER, POOLING), atol=1e-5)
    told = [line for line in said if "too little memory" in line]
    assert len(told) == (used < 8)
    if told:
        assert f"--micro-batch 8; block 0 was computed with {used}" in told[0]
        assert store.about["computed_with"]["micro_batch"] == used


def test_after_a_commit_it_goes_on_as_if_mixed(spectra_file, tmp_path, fake_engine):
    committed = threading.Event()

    def call(self, x):
        if len(self.calls) == 2:
            assert committed.wait(10)
            type(self).largest = 2
        return FakeEngine.__call__(self, x)

    fake_engine(__call__=call)
    asked = request(spectra_file, tmp_path, micro_batch=4, block_rows=4, jobs=1)
    original = flow.commit

    def then_less(task, block):
        done = original(task, block)
        committed.set()
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "commit", then_less)
        shown = []
        with begun(asked) as task:
            found = dict(blocks.compute_blocks(task, range(4), shown.append))
    assert sum(shown) + sum(4 - done.shown for done in found.values()) == 16
    sizes = [done.micro_batch for done in found.values()]
    assert sizes == sorted(sizes, key=lambda size: -(size or 4))
    (path,) = extract_features(asked)["test"]
    assert records(path) == [size or 4 for size in sizes]
    assert records(path)[0] == 4
    assert records(path)[-1] == 2


def test_not_even_one_spectrum_fits(spectra_file, tmp_path, fake_engine):
    fake_engine(largest=0)
    with pytest.raises(ConfigError, match=r"not enough memory for one spectrum.*--device cpu"):
        extract_features(request(spectra_file, tmp_path))
    assert not left_over(tmp_path / "features")


# Devices.


def test_one_compute_thread_per_device(spectra_file, tmp_path):
    with begun(request(spectra_file, tmp_path, jobs=3)) as task:
        assert task.devices == ("cpu",) * 3
        assert dataclasses.replace(task, device="cuda:0,1").devices == ("cuda:0", "cuda:1")
        processes = dataclasses.replace(task.config, scheduler="processes")
        assert dataclasses.replace(task, config=processes).devices == ("cpu",)


def on_a_gpu(monkeypatch, *, forks):
    """Let the processor pass for a GPU."""
    monkeypatch.setattr(block_task.BlockTask, "on_cpu", property(lambda _: False))
    monkeypatch.setattr(flow, "may_fork", lambda: forks)


def test_noise_for_a_gpu_is_made_beside_it_in_pinned_memory(spectra_file, tmp_path, reference, monkeypatch):
    """By threads, in a process that may not fork: the same bits, and the noise is a stage of its own."""
    asked = request(spectra_file, tmp_path, jobs=2, block_rows=5, micro_batch=2, **ARRAYS)
    pinned = []
    monkeypatch.setattr(flow, "pinned_copy", lambda batch: pinned.append(len(batch.x)) or batch)
    on_a_gpu(monkeypatch, forks=False)
    with begun(asked) as task:
        done = dict(blocks.compute_blocks(task, range(4)))
    assert set(pinned) == {2}
    assert done[0].times["noise"].threads == 2
    assert not done[0].times["noise"].shares_threads
    assert done[0].times["compute"].threads == 1
    assert digests(extract_features(asked)) == reference


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("slab_rows", [1, 64])
def test_batches_made_by_forks_have_the_same_bits(
    spectra_file, tmp_path, reference, monkeypatch, jobs, slab_rows
):
    asked = request(
        spectra_file, tmp_path, jobs=jobs, slab_rows=slab_rows, block_rows=5, micro_batch=2, **ARRAYS
    )
    on_a_gpu(monkeypatch, forks=True)
    with begun(asked) as task:
        done = dict(blocks.compute_blocks(task, range(4)))
    assert done[0].times["noise"].threads == jobs
    assert "read" not in done[0].times
    assert not multiprocessing.active_children()
    assert digests(extract_features(asked)) == reference


@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize("error_input", ["shuffled", "constant", "from-noisy"])
def test_other_errors_are_fed_with_the_same_bits_however_batches_are_made(
    survey, tmp_path, monkeypatch, error_input, forks
):
    files = {split: (survey / split / "dataset.h5",) for split in ("train", "test")}
    asked = {"error_input": error_input, "draws": 2, "layers": (LAYER, "denoised", "input_error")}
    plain = extract_features(request(files, tmp_path / "plain", micro_batch=3, **asked))
    on_a_gpu(monkeypatch, forks=forks)
    other = extract_features(request(files, tmp_path / "other", micro_batch=3, jobs=2, slab_rows=5, **asked))
    assert digests(plain) == digests(other)


@pytest.mark.parametrize("layers", [(LAYER,), ("input_error", "clean_flux", "denoised")])
def test_forks_carry_what_pseudo_layers_need(spectra_file, tmp_path, monkeypatch, layers):
    poolings = (POOLING,)
    asked = {"layers": layers, "poolings": poolings, "micro_batch": 3, "jobs": 2}
    (plain,) = extract_features(request(spectra_file, tmp_path / "plain", **asked))["test"]
    on_a_gpu(monkeypatch, forks=True)
    (shared,) = extract_features(request(spectra_file, tmp_path / "shared", **asked))["test"]
    assert FeatureStore.open(plain).digest() == FeatureStore.open(shared).digest()


def test_memory_is_unpinned_when_nobody_reads_it_any_more(spectra_file, tmp_path, monkeypatch, fake_engine):
    """Also when the run is left early, with batches still in work."""
    on_a_gpu(monkeypatch, forks=True)
    events, started = [], threading.Event()

    @contextlib.contextmanager
    def pinned(memory, devices):
        assert memory.is_contiguous()
        try:
            yield
        finally:
            events.append("unpinned")

    def call(self, x):
        started.set()
        found = FakeEngine.__call__(self, x)
        threading.Event().wait(0.05)
        events.append("read")
        return found

    monkeypatch.setattr(flow, "pinned", pinned)
    fake_engine(__call__=call)
    with begun(request(spectra_file, tmp_path, jobs=2, block_rows=2, micro_batch=1)) as task:
        results = blocks.compute_blocks(task, list(range(8)))
        next(results)
        results.close()
    assert started.is_set()
    assert events[-1] == "unpinned"
    assert events.count("unpinned") == 1
    assert not multiprocessing.active_children()


def test_memory_that_cannot_be_pinned_leaves_no_fork(spectra_file, tmp_path, monkeypatch):
    on_a_gpu(monkeypatch, forks=True)

    def refused(*_):
        raise ConfigError("CUDA cannot pin")

    monkeypatch.setattr(flow, "pinned", refused)
    with pytest.raises(ConfigError, match="cannot pin"):
        extract_features(request(spectra_file, tmp_path, jobs=2, micro_batch=2))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("scheduler", "expected"), [("local", 4), ("processes", 1)])
def test_other_schedulers_have_a_process_for_each_job_already(
    spectra_file, tmp_path, monkeypatch, scheduler, expected
):
    on_a_gpu(monkeypatch, forks=True)
    with begun(request(spectra_file, tmp_path, jobs=4, block_rows=8, micro_batch=1)) as task:
        config = dataclasses.replace(task.config, scheduler=scheduler)
        done = blocks.compute_block(dataclasses.replace(task, config=config), 0)
    assert done.times["noise"].threads == expected


def test_a_fork_that_is_killed_ends_the_run(spectra_file, tmp_path, monkeypatch):
    on_a_gpu(monkeypatch, forks=True)
    monkeypatch.setattr(task_batches, "checked", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(CacheError, match=r"was killed, most likely for lack of memory.*--jobs"):
        extract_features(request(spectra_file, tmp_path, jobs=2, micro_batch=2))
    assert not left_over(tmp_path / "features")


def test_engines_are_built_when_taken_and_used_again(monkeypatch):
    built = []
    monkeypatch.setattr(named_engine, "NamedEngine", lambda *_, **kw: built.append(kw["device"]) or object())
    engines = Engines(None, (), config=None, devices=("a", "b"))
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        first = {one.submit(engines.mine).result() for _ in range(3)}
        second = {other.submit(engines.mine).result() for _ in range(3)}
    assert built == ["b", "a"]
    assert len(first) == len(second) == 1
    assert first != second


def test_threads_of_the_processor_share_an_engine(monkeypatch):
    monkeypatch.setattr(named_engine, "NamedEngine", lambda *_, **__: object())
    engines = Engines(None, (), config=None, devices=("cpu", "cpu"))
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(engines.mine).result() is other.submit(engines.mine).result()


def test_blocks_that_nothing_happens_to_are_computed_in_one_pass(survey, tmp_path, monkeypatch):
    passes, compute = [], blocks._compute
    monkeypatch.setattr(
        blocks, "_compute", lambda task, left, *a: passes.append(left) or compute(task, left, *a)
    )
    with begun(request(survey, tmp_path, jobs=2, block_rows=2)) as task:
        numbers = range(task.targets[0].header.n_blocks)
        assert dict(blocks.compute_blocks(task, numbers)).keys() == set(numbers)
    assert len(passes) == 1


# What it took.


def test_what_stages_did_is_told_and_written(survey, tmp_path):
    said, file = [], tmp_path / "stats.json"
    asked = request(survey, tmp_path, jobs=2, block_rows=5, micro_batch=2, stats=file)
    extract_features(asked, say=said.append)
    told = check_seal(json.loads(file.read_text()), file)["splits"]
    assert {split: one["rows"] for split, one in told.items()} == {"train": 40, "val": 12, "test": 16}
    stages = told["train"]["stages"]
    assert {name: stage["items"] for name, stage in stages.items()} == {
        "read": 8, "noise": 8 * 3, "compute": 8 * 3, "commit": 8
    }  # fmt: skip
    assert {name: stage["threads"] for name, stage in stages.items()} == {
        "read": 1, "noise": 2, "compute": 2, "commit": 1
    }  # fmt: skip
    for stage in stages.values():
        whole = stage["busy_s"] + stage["waiting_s"]
        assert stage["shares_compute_threads"] or whole <= stage["threads"] * told["train"]["seconds"] + 0.01
    assert sum(line.startswith("extract train: 40 spectra in ") for line in said) == 1
    extract_features(asked, say=said.append)
    again = json.loads(file.read_text())["splits"]["train"]
    assert (again["rows"], again["rows_per_second"], again["stages"]) == (0, 0.0, {})


def test_the_line_of_rates():
    stages = {
        "read": StageTimes(1, 1.0, 9.0, 4),
        "noise": StageTimes(2, 0.4, 0.0, 8, shares_threads=True),
        "compute": StageTimes(2, 19.2, 0.4, 8, {"read": 0.2, "commit": 0.2}),
        "commit": StageTimes(1, 1.0, 9.0, 2),
    }
    rates = Rates(10000, 10.0).plus(stages)
    assert rates.line("extract test") == (
        "extract test: 10000 spectra in 10.0 s, 1000/s; compute busy 96 %, noise 2 %, "
        "waited for reading 1 %, waited for committing 1 %"
    )
    twice = rates.and_then(rates)
    assert (twice.rows, twice.seconds, twice.stages["compute"].busy_s) == (20000, 20.0, 38.4)
    assert Rates().line("x") == "x: 0 spectra in 0.0 s, 0/s"


def test_figures_of_worker_processes_are_added_up(spectra_file, tmp_path):
    file = tmp_path / "stats.json"
    extract_features(request(spectra_file, tmp_path, scheduler="processes", jobs=2, block_rows=8, stats=file))
    told = json.loads(file.read_text())["splits"]["test"]
    assert told["rows"] == 16
    assert told["stages"]["compute"]["threads"] == 2
    assert told["stages"]["commit"]["items"] == 2


def altered(task, row):
    """The task with another digest for one row than the file's."""
    digests_ = task.fingerprint.row_digests.copy()
    digests_[row] ^= 1
    with open_spectra(list(task.files)) as spectra:
        print_ = dataclasses.replace(
            task.fingerprint, row_digests=digests_, digest=input_digest(spectra, digests_)
        )
    return dataclasses.replace(task, fingerprint=print_)


@pytest.mark.parametrize("by_forks", [False, True])
def test_rows_that_changed_are_named_whoever_reads_them(spectra_file, tmp_path, monkeypatch, by_forks):
    if by_forks:
        on_a_gpu(monkeypatch, forks=True)
    asked = request(spectra_file, tmp_path, jobs=2, block_rows=5, micro_batch=2)
    with begun(asked) as task, pytest.raises(FileChanged, match=r"row 6 .*run the command again"):
        list(blocks.compute_blocks(altered(task, 6), range(4)))
    assert not multiprocessing.active_children()
    assert not left_over(tmp_path / "features")
