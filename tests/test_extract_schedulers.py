"""Where blocks are computed changes nothing: here, in processes, by dask, with killed workers, in parts."""

import builtins
import contextlib
import dataclasses
import fcntl
import itertools
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import h5py
import pytest
from survey_fakes import request

from cache import FeatureStore, dask_cluster
from cache.dask_cluster import Cluster
from cache.errors import CacheError, ConfigError, InputError, Stale, UnknownName
from cache.new_cluster import make_cluster
from cache.writer import StoreWriter
from extract import dask_scheduler, pipeline, schedulers
from extract.dask_scheduler import _compute, _told_losses
from extract.pipeline import extract_features
from extract.plan import open_writer, row_table
from extract.prepare import prepare
from extract.same_program import PACKAGES, program, source_digest
from extract.schedulers import runner

BLOCK_ROWS = 3


@pytest.fixture(scope="module")
def files(survey):
    return {"test": (survey / "test/dataset.h5",), "val": (survey / "val/dataset.h5",)}


def asked(files, folder, **changes):
    return request(files, folder, block_rows=BLOCK_ROWS, **changes)


def digests(paths):
    return {
        split: [FeatureStore.open(path).digest() for path in of_split] for split, of_split in paths.items()
    }


@pytest.fixture(scope="module")
def wanted(files, tmp_path_factory):
    """Digests of the stores as one process computes them, one block after the other."""
    return digests(extract_features(asked(files, tmp_path_factory.mktemp("wanted"))))


@pytest.fixture(scope="module")
def address(files, tmp_path_factory):
    """Two workers of our own making, shared by the tests as a running cluster; dead ones are started again."""
    pytest.importorskip("distributed", reason="dask is an optional extra")
    config = asked(files, tmp_path_factory.mktemp("cluster"), scheduler="dask", jobs=2)
    with Cluster(config) as cluster:
        yield cluster.client(9).cluster.scheduler_address


def test_dask_writes_the_same_bits(files, tmp_path, wanted, address, capfd):
    request_ = asked(files, tmp_path / "dask", scheduler="dask", dask_address=address)
    assert digests(extract_features(request_)) == wanted
    noise = [line for line in capfd.readouterr().err.splitlines() if "distributed" in line]
    assert noise == []


@pytest.mark.parametrize("error_input", ["shuffled", "from-noisy"])
def test_workers_are_told_what_the_network_is_fed(survey, files, tmp_path, address, error_input):
    whole = {"train": (survey / "train/dataset.h5",), **files}
    one = digests(extract_features(asked(whole, tmp_path / "one", error_input=error_input)))
    by_dask = asked(whole, tmp_path / "dask", error_input=error_input, scheduler="dask", dask_address=address)
    assert digests(extract_features(by_dask)) == one


def test_a_cluster_is_made_once_and_only_when_needed(files, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="dask is an optional extra")
    made = []
    real = dask_cluster.make_cluster
    monkeypatch.setattr(
        dask_cluster, "make_cluster", lambda *told: made.append(told[1]["jobs"]) or real(*told)
    )
    path = tmp_path / "cluster.yaml"
    path.write_text("{cluster: local, jobs: 1, processes: false, host: null, preload: []}")
    with prepare(asked(files, tmp_path, scheduler="dask", dask_config=path)) as prepared:
        assert made == []
        for split in files:
            task = task_of(prepared, split)
            with runner(task, 2, lambda _: None, cluster=prepared.cluster) as run:
                assert sorted(block for block, _ in run([0, 1])) == [0, 1]
    assert made == [1]


@contextlib.contextmanager
def nobody_commits(store):
    """Workers compute blocks, write their chunks, and wait for their turn to commit."""
    descriptor = os.open(store / ".commit", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def holder(store):
    """The process that writes a chunk and holds the lock of its block; waits for one."""
    pause = threading.Event()
    for _ in range(3000):
        for lock in (store / ".commit").glob("*.lock"):
            words = lock.read_text().split()
            block = int(lock.stem)
            if len(words) > 1 and list(store.glob(f"*/*/*/features/c/{block}/0")):
                return int(words[1]), block
        pause.wait(0.01)
    raise AssertionError("no worker came")


def test_a_worker_that_is_killed_in_the_midst_of_a_block_changes_nothing(files, tmp_path, wanted, address):
    request_ = asked({"test": files["test"]}, tmp_path, scheduler="dask", dask_address=address)
    with prepare(request_) as prepared:
        (plan,) = prepared.plans["test"]
        rows = row_table(prepared.spectra["test"], prepared.fingerprints["test"])
        store = open_writer(request_.out, plan, rows, BLOCK_ROWS).path
    killed = []

    def kill():
        with nobody_commits(store):
            started.set()
            killed.append(holder(store))
            os.kill(killed[0][0], signal.SIGKILL)

    started = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    assert started.wait(10)
    paths = extract_features(request_)
    killer.join()
    assert killed[0][0] != os.getpid()
    assert digests(paths) == {"test": wanted["test"]}
    assert list((store / ".commit").glob("*.lock")) == []


def test_an_error_of_a_block_is_told_as_everywhere(survey, tmp_path, address):
    moved, other = tmp_path / "moved.h5", tmp_path / "other.h5"
    for path in (moved, other):
        shutil.copyfile(survey / "test/dataset.h5", path)
    with h5py.File(other, "r+") as file:
        file["dataset/arrays/flux/value"][9, 7] = 1.5
    with prepare(asked({"test": (moved,)}, tmp_path, scheduler="dask", dask_address=address)) as prepared:
        other.replace(moved)
        with pytest.raises(InputError, match=r"row 9 .*the file changed meanwhile"):
            pipeline._run_split(prepared, "test", lambda _: None, {})


def test_blocks_that_others_compute_are_told_by_dask_too(files, tmp_path, address):
    with prepare(asked(files, tmp_path, scheduler="dask", dask_address=address)) as prepared:
        task = task_of(prepared)
        with (
            StoreWriter.open(task.targets[0].path).claim(2),
            runner(task, 3, lambda _: None, cluster=prepared.cluster) as run,
        ):
            done = dict(run([0, 1, 2]))
    assert "is computing block 2" in done[2].holder
    assert (done[0].holder, done[1].shown) == (None, 0)


def task_of(prepared, split="test"):
    """The task of one store of which nothing is computed."""
    rows = row_table(prepared.spectra[split], prepared.fingerprints[split])
    stores = [
        (open_writer(prepared.config.out, plan, rows, BLOCK_ROWS), plan) for plan in prepared.plans[split]
    ]
    how = dask_scheduler.computed_with(prepared.config, prepared.device)
    return pipeline._task(prepared, split, stores, how)


@pytest.fixture
def task(files, tmp_path):
    with prepare(asked(files, tmp_path, scheduler="dask")) as prepared:
        yield task_of(prepared)


def test_a_worker_that_does_not_see_the_files_says_so(task, tmp_path):
    absent = tmp_path / "absent"
    found = _compute(dataclasses.replace(task, files=(absent,)), 0, program())
    assert isinstance(found, InputError)
    assert f"{absent}: not there for the worker on {platform.node()}" in str(found)
    target = dataclasses.replace(task.targets[0], path=absent)
    found = _compute(dataclasses.replace(task, targets=(target,)), 0, program())
    assert isinstance(found, CacheError)
    assert "the same paths (a shared file system)" in str(found)


def test_a_worker_on_another_kind_of_machine_is_refused_unless_mixed(task, monkeypatch):
    here = dask_scheduler.computed_with(task.config, task.device)
    changed = {name: f"other {name}" for name in here if name != "micro_batch"}
    for name, value in changed.items():
        monkeypatch.setattr(
            dask_scheduler, "computed_with", lambda *_, other=(name, value): {**here, other[0]: other[1]}
        )
        found = _compute(task, 0, program())
        assert isinstance(found, ConfigError)
        assert f"differ: {name} {here[name]!r} and {value!r};" in str(found)
        assert "--mixed" in str(found)
        assert dask_scheduler._of_this_host(mixed_too(task)).computed_with == {**here, name: value}
    assert {"numpy", "blas", "torch", "processor", "engine"} < set(changed)


def mixed_too(task):
    return dataclasses.replace(task, config=dataclasses.replace(task.config, mixed=True))


def test_a_worker_without_the_device_says_so(task):
    found = _compute(dataclasses.replace(task, device="cuda:63"), 0, program())
    assert isinstance(found, ConfigError)
    assert f"the worker on {platform.node()} cannot use cuda:63: " in str(found)


@pytest.mark.parametrize("name", ["store schema", "numerics", "noise", "blindspot-probes", "source files"])
def test_a_worker_that_runs_another_program_is_refused_even_when_mixed(task, name):
    found = _compute(mixed_too(task), 0, {**program(), name: "other"})
    assert isinstance(found, ConfigError)
    assert f"the dask worker on {platform.node()} runs another program: {name} 'other' here, " in str(found)
    assert "restart the workers after an update" in str(found)


def test_another_program_is_known_by_its_files_whether_committed_or_not(tmp_path):
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "one.py").write_text("ONE = 1")
    first = source_digest(tmp_path)
    (tmp_path / "extract/notes.md").write_text("no program")
    assert source_digest(tmp_path) == first
    (tmp_path / "extract/one.py").write_text("ONE = 2")
    assert source_digest(tmp_path) != first


def test_worker_processes_of_an_updated_program_are_refused(files, tmp_path, monkeypatch):
    """They import its files anew, which an update may have changed since the command began."""
    monkeypatch.setattr(schedulers, "program", lambda: {**program(), "numerics": 0})
    with pytest.raises(
        ConfigError, match=r"worker process runs another program: numerics 0 here, \d+ there; its"
    ):
        extract_features(asked({"test": files["test"]}, tmp_path, scheduler="processes", jobs=2, mixed=True))
    (store,) = (tmp_path / "features/test").iterdir()
    assert len(StoreWriter.open(store).pending()) == 6


def test_lost_clusters_are_told_with_what_is_committed(task):
    distributed = pytest.importorskip("distributed", reason="dask is an optional extra")
    killed = distributed.KilledWorker("block", None, 3)
    for error, kind, message in (
        (killed, CacheError, r"killed every worker.*0 of 6 blocks of .* are committed.*--micro-batch"),
        (dask_scheduler._NoWorkersError(), CacheError, r"has lost its workers; 0 of 6 .*: start some"),
        (OSError("gone"), CacheError, r"scheduler is lost \(gone\); 0 of 6"),
        (ModuleNotFoundError("no", name="extract"), ConfigError, "has no module extract"),
        (dask_scheduler._Told(Stale("of a block")), Stale, "of a block"),
    ):
        with pytest.raises(kind, match=message), _told_losses(task):
            raise error


def test_a_cluster_without_workers_is_given_up(monkeypatch, address):
    distributed = pytest.importorskip("distributed", reason="dask is an optional extra")
    monkeypatch.setattr(dask_scheduler, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(dask_scheduler, "NO_WORKER_LOOKS", 2)
    with distributed.Client(address, set_as_default=False) as client:
        never = client.submit(pow, 2, 2, workers=["tcp://127.0.0.1:1"], pure=False)
        monkeypatch.setattr(dask_scheduler, "_n_workers", lambda _: 0)
        with pytest.raises(dask_scheduler._NoWorkersError):
            list(dask_scheduler._as_completed(client, {never}))


def test_an_address_where_nobody_listens_is_refused_in_seconds(files, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="dask is an optional extra")
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:1: no scheduler answers .*`dask scheduler`"):
        extract_features(asked(files, tmp_path, scheduler="dask", dask_address="tcp://127.0.0.1:1"))
    assert time.monotonic() - started < 10
    with pytest.raises(ConfigError, match="no scheduler answers"):
        extract_features(asked(files, tmp_path, scheduler="dask", dask_address="nonsense://"))


def test_a_scheduler_without_workers_is_refused(files, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="dask is an optional extra")
    monkeypatch.setattr(dask_cluster, "FIRST_WORKER_SECONDS", 0.2)
    options = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(n_workers=0, host="127.0.0.1", scheduler_kwargs=options) as empty,
        pytest.raises(ConfigError, match=r"had no worker for .*`dask worker tcp://127"),
    ):
        extract_features(asked(files, tmp_path, scheduler="dask", dask_address=empty.scheduler_address))


def test_a_cluster_that_starts_no_worker_is_refused(files, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="dask is an optional extra")
    monkeypatch.setattr(dask_cluster, "FIRST_WORKER_SECONDS", 0.2)
    path, said = tmp_path / "cluster.yaml", []
    path.write_text("{cluster: local, jobs: 1, n_workers: 0}")
    with (
        Cluster(asked(files, tmp_path, scheduler="dask", dask_config=path), say=said.append) as cluster,
        pytest.raises(CacheError, match=r"the local cluster of .*cluster.yaml had no worker for 0 s"),
    ):
        cluster.client(1)
    assert said == ["waiting for the first worker of the local cluster"]


def test_a_cluster_of_this_machine_listens_on_this_machine_alone():
    made = []
    distributed = SimpleNamespace(LocalCluster=lambda **arguments: made.append(arguments))
    make_cluster(distributed, {"cluster": "local", "jobs": 2})
    (told,) = made
    assert (told["host"], told["n_workers"]) == ("127.0.0.1", 2)
    assert told["scheduler_kwargs"] == {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


def test_jobs_that_queue_are_waited_for_with_a_word_now_and_then(files, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "AGAIN_SECONDS", 7.0)
    asked_for, said = [], []

    class Queued:
        def wait_for_workers(self, n_workers, timeout):
            assert n_workers == 1
            asked_for.append(timeout)
            if len(asked_for) < 4:
                raise TimeoutError

    cluster = Cluster(asked(files, tmp_path, scheduler="dask"), say=said.append)
    cluster._wait_for_a_worker(Queued(), "the slurm cluster", limit=float("inf"))
    assert asked_for[1:] == [7.0] * 3
    assert said == ["waiting for the first worker of the slurm cluster"] * 3


def test_workers_of_several_threads_are_refused(files, tmp_path):
    distributed = pytest.importorskip("distributed", reason="dask is an optional extra")
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "{cluster: local, jobs: 1, processes: false, host: null, preload: [], threads_per_worker: 2}"
    )
    config = asked(files, tmp_path, scheduler="dask", dask_config=path)
    with Cluster(config) as cluster, pytest.raises(ConfigError, match=r"threads_per_worker: 1"):
        cluster.client(1)
    options = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=3,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        scheduler_kwargs=options,
    ) as running:
        address = running.scheduler_address
        config = asked(files, tmp_path, scheduler="dask", dask_address=address)
        command = f"dask worker {address} --nthreads 1 --nworkers 3"
        with (
            Cluster(config) as cluster,
            pytest.raises(ConfigError, match=f"1 of 1 dask workers .*`{command}`"),
        ):
            cluster.client(1)


KILLED = """
import multiprocessing, os, pickle, signal
from concurrent.futures import ProcessPoolExecutor
from extract.schedulers import _begin_worker

context = multiprocessing.get_context("spawn")
pool = ProcessPoolExecutor(1, context, initializer=_begin_worker, initargs=(pickle.dumps(None), {}))
assert pool.submit(os.getpid).result() != os.getpid()
print("ready", flush=True)
signal.pause()
"""


def test_workers_end_with_a_parent_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        # the worker has the same standard output, so this comes to an end when both have ended
        assert parent.communicate(timeout=20)[0] == ""
    assert parent.returncode == -signal.SIGKILL


def without(module, monkeypatch):
    """Make a module look absent to the main thread; dask's own threads go on using it."""
    real = builtins.__import__

    def absent(name, *details, **more):
        if name == module and threading.current_thread() is threading.main_thread():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *details, **more)

    monkeypatch.setattr(builtins, "__import__", absent)


def test_without_dask_the_command_that_installs_it_is_told(files, tmp_path, monkeypatch):
    without("distributed", monkeypatch)
    with pytest.raises(ConfigError, match=r"pip install 'blindspot-probes\[cluster\]'"):
        extract_features(asked(files, tmp_path, scheduler="dask"))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("cluster: slurm", ConfigError, "expected a mapping with `cluster`"),
        ("- 1", ConfigError, "expected a mapping"),
        ("a: [", ConfigError, "--dask-config"),
        ("# k\xf6ln", ConfigError, "--dask-config .*expected YAML in UTF-8"),
        ("{cluster: pbs, jobs: 1}", UnknownName, "unknown cluster in .*'pbs'; known: local, slurm"),
        ("{cluster: slurm, jobs: 1}", ConfigError, "no network is named, .*`interface: ib0`"),
        ("{cluster: slurm, jobs: 1, scheduler_options: 5}", ConfigError, "scheduler_options is 5"),
        ("{cluster: slurm, jobs: 1, scheduler_options: {port: 1}}", ConfigError, "{host: 10.0.0.1}"),
        ("{cluster: local, jobs: 0}", ConfigError, "jobs is 0; it must be at least 1"),
        ("{cluster: local, jobs: 1, colour: red}", ConfigError, "cannot be made.*colour"),
    ],
)
def test_a_cluster_file_that_cannot_be_meant_is_refused(files, tmp_path, text, error, message):
    pytest.importorskip("distributed", reason="dask is an optional extra")
    path = tmp_path / "cluster.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(error, match=message):
        extract_features(asked(files, tmp_path, scheduler="dask", dask_config=path))


def test_jobqueue_is_asked_for_by_name(files, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="dask is an optional extra")
    without("dask_jobqueue", monkeypatch)
    path = tmp_path / "cluster.yaml"
    path.write_text("{cluster: slurm, jobs: 1, scheduler_options: {host: 127.0.0.1}}")
    with pytest.raises(ConfigError, match=r"dask_jobqueue is not installed here; pip install"):
        extract_features(asked(files, tmp_path, scheduler="dask", dask_config=path))


SBATCH = """#!/bin/sh
for script; do :; done
cp "$script" "{folder}/job.sh"
setsid sh "{folder}/job.sh" >"{folder}/job.log" 2>&1 &
echo $! >>"{folder}/jobs"
echo "Submitted batch job $!"
"""


def test_jobs_of_slurm_compute_the_same(files, tmp_path, wanted, monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is an optional extra")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"sbatch": SBATCH.format(folder=tmp_path), "scancel": '#!/bin/sh\nkill "$1"\n'}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "{cluster: slurm, jobs: 1, cores: 1, processes: 1, memory: 1GB, walltime: '00:05:00', interface: lo}"
    )
    handler = signal.getsignal(signal.SIGINT)
    request_ = asked({"test": files["test"]}, tmp_path, scheduler="dask", dask_config=path)
    assert digests(extract_features(request_)) == {"test": wanted["test"]}
    assert len((tmp_path / "jobs").read_text().split()) == 1
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_parts_in_any_order_make_the_same_store(files, tmp_path, wanted, order):
    for part in order:
        paths = extract_features(asked({"test": files["test"]}, tmp_path, part=f"{part}/3"))
    assert digests(paths) == {"test": wanted["test"]}


def test_dask_settings_go_with_dask(files, tmp_path):
    with pytest.raises(ConfigError, match="--dask-address goes with --scheduler dask, not with local"):
        asked(files, tmp_path, dask_address="tcp://x:1")
    with pytest.raises(ConfigError, match="not both"):
        asked(files, tmp_path, scheduler="dask", dask_address="x", dask_config=tmp_path)
