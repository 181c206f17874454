"""`python -m probes sweep`: the whole product, skipped where on record, the same bits however it is run."""

import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import probes
from small_survey import N, flags, survey_store
from store_fakes import FORWARD

from cache.errors import CacheError, ConfigError
from cache.records import read_record, read_records
from probes import schedulers, sweep_task
from probes.best import best_lines
from probes.cells import CellChoices
from probes.schedulers import Schedule, run_tasks
from probes.stores import StoreChoice
from probes.sweep_plan import Cell, plan_sweep, tasks_of
from probes.sweep_task import SweepTask, TaskDone, run_task

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CHOICES = (
    "--heads", "ols,ridge", "--labels", "log_g,log_g+T_eff", "--params", "ridge.alpha=val", "--pca", "none,2",
    "--controls", "none,shuffled_labels",
)  # fmt: skip


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    for split in N:
        survey_store(root, split)
    return root


@pytest.fixture(scope="module")
def sweeps():
    """The module of the benchmark; benchmarks are scripts, so their folder is on the path only here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("sweeps")


# --- killed, resumed, elsewhere: the same bytes ---


def test_killed_resumed_or_under_dask_a_sweep_writes_the_same_bytes(sweeps, tmp_path, capsys):
    sweeps.write_stores(tmp_path / "features", 60)
    config = tmp_path / "sweep.yaml"
    where = {"features": str(tmp_path / "features"), "heads": ["ols", "ridge"], "params": ["ridge.alpha=val"]}
    config.write_text(json.dumps(sweeps.SMALL | where))
    assert probes("sweep", "--config", config, "--results", tmp_path / "serial") == 0
    wanted = sweeps.contents(tmp_path / "serial")
    assert len(list((tmp_path / "serial/records").iterdir())) == 32
    sweeps.kill(tmp_path, tmp_path / "killed", sweeps.SERIAL, when=9)
    capsys.readouterr()
    assert probes("sweep", "--config", config, "--results", tmp_path / "killed") == 0
    on_record = int(re.search(r"(\d+) on record", capsys.readouterr().out)[1])
    assert 9 <= on_record < 32
    pytest.importorskip("distributed", reason="dask is an optional extra")
    assert probes("sweep", "--config", config, "--results", tmp_path / "dask", *sweeps.DASK) == 0
    for name in ("killed", "dask"):
        found = sweeps.compare(tmp_path / name, wanted)
        assert (found.files, found.differing, found.leftovers) == (len(wanted), (), 0)


def test_every_record_is_the_one_that_run_makes(sweeps, features, tmp_path):
    argv = flags(features, tmp_path / "sweep", *CHOICES, "--segments", "1")
    assert probes("sweep", *argv, "--seeds", "3", "--train-sizes", "20,all") == 0
    wanted = sweeps.contents(tmp_path / "sweep")
    assert len(wanted) > 3 * 2**5
    for size in ((), ("--train-size", "20")):
        assert (
            probes(
                "run", *flags(features, tmp_path / "run", *CHOICES, "--segments", "1"), "--seed", "3", *size
            )
            == 0
        )
    assert sweeps.contents(tmp_path / "run") == wanted


def test_a_cell_does_not_depend_on_the_cells_beside_it(sweeps, features, tmp_path):
    """Removing any records and sweeping again brings the same bytes back."""
    argv = flags(features, tmp_path, *CHOICES, "--train-sizes", "20,all")
    assert probes("sweep", *argv) == 0
    wanted = sweeps.contents(tmp_path)
    records = sorted((tmp_path / "records").iterdir())
    for path in records[::3]:
        path.unlink()
    for folder in sorted((tmp_path / "heads").iterdir())[::5]:
        (folder / "head.json").unlink()
    assert probes("sweep", *argv) == 0
    assert sweeps.contents(tmp_path) == wanted


# --- what is planned ---


def test_what_is_on_record_is_counted_and_skipped(features, tmp_path, capsys):
    argv = flags(features, tmp_path, "--heads", "ols,ridge", "--labels", "log_g,T_eff")
    assert probes("sweep", *argv, "--dry-run") == 0
    told = "4 cells (ols 2, ridge 2): 0 on record, 4 to compute in 1 groups of the same features, as 1 tasks"
    assert told in capsys.readouterr().out
    assert not (tmp_path / "records").exists()
    assert probes("run", *argv) == 0
    assert probes("sweep", *argv, "--labels", "log_g") == 0
    capsys.readouterr()
    assert probes("sweep", *argv, "--controls", "none,mean_predictor") == 0
    assert "6 cells (ols 2, ridge 2, mean 2): 4 on record, 2 to compute" in capsys.readouterr().out
    assert probes("sweep", *argv, "--refit", "--dry-run") == 0
    assert "0 on record, 4 to compute" in capsys.readouterr().out


def test_a_changed_store_makes_a_cell_stale(tmp_path, capsys):
    for split in N:
        survey_store(tmp_path / "f", split)
    assert probes("sweep", *flags(tmp_path / "f", tmp_path / "r")) == 0
    (record,) = read_records(tmp_path / "r")
    path = tmp_path / "r/records" / f"{record.run_id}.json"
    changed = {**record.result, "stores": dict.fromkeys(record.result["stores"], "other")}
    from cache.records import write_record

    assert write_record(tmp_path / "r", kind="probe", spec=record.spec, result=changed, run={}) == path.stem
    capsys.readouterr()
    assert probes("sweep", *flags(tmp_path / "f", tmp_path / "r")) == 0
    assert "0 on record, 1 to compute" in capsys.readouterr().out
    assert read_record(tmp_path / "r", path.stem).result == record.result


def choices(**changed):
    plain = {
        "layers": ("enc_pre_latent",),
        "poolings": (FORWARD.pooling,),
        "directions": ("forward",),
        "heads": ("ridge",),
        "labels": ("log_g",),
    }
    return CellChoices(**{**plain, **changed})


def planned(features, results, **changed):
    return plan_sweep(choices(**changed), StoreChoice(root=features), results=results)


def test_groups_share_features_and_the_order_of_train_rows(features, tmp_path):
    plan = planned(
        features, tmp_path, labels=("log_g", "T_eff"), heads=("ols", "ridge"), train_sizes=(20, 40, "all"),
        seeds=(0, 1), directions=("forward", "concat"), pca=("none", 2),
    )  # fmt: skip
    assert len(plan.cells) == plan.missing == 2 * 2 * 2 * 2 * (2 * 2 + 1)
    assert sorted(map(len, plan.groups)) == [8, 8, 16, 16, 16, 16]
    assert tasks_of(plan, 1) == list(plan.groups)


def test_few_groups_are_cut_into_pieces_that_keep_linear_heads_together(features, tmp_path):
    labels = ("log_g", "T_eff", "log_g+T_eff")
    plan = planned(
        features, tmp_path, heads=("ridge", "lightgbm"), seeds=tuple(range(12)), labels=labels,
        params=("lightgbm.subsample=0.5",),
    )  # fmt: skip
    (group,) = plan.groups
    pieces = tasks_of(plan, 2)
    assert len(pieces) == 4
    assert sorted(cell.name for piece in pieces for cell in piece) == sorted(cell.name for cell in group)
    linear = [{c.name for c in piece if c.request.head == "ridge"} for piece in pieces]
    assert sorted(map(len, linear)) == [0, 0, 0, 3]


# --- what fails ---


def test_a_label_that_is_missing_fails_its_own_cells_only(features, tmp_path, capsys):
    argv = flags(features, tmp_path, "--labels", "log_g,gap,absent,gap+T_eff,T_eff")
    assert probes("sweep", *argv) == 2
    told = capsys.readouterr()
    assert "error: 3 cells failed" in told.err
    assert "2 x label 'gap' is missing (NaN or inf) in 1 of 60 rows of split 'train'" in told.err
    assert "1 x split 'train' has no label 'absent'; it has: T_eff, gap, log_g" in told.err
    status = {"+".join(r.spec["labels"]): r.result["status"] for r in read_records(tmp_path)}
    failed = dict.fromkeys(("gap", "absent", "gap+T_eff"), "failed")
    assert status == {"log_g": "ok", "T_eff": "ok"} | failed
    assert probes("sweep", *argv) == 2
    assert "2 on record, 3 to compute" in capsys.readouterr().out


def test_more_axes_than_there_are_fail_their_own_cells_only(features, tmp_path, capsys):
    assert probes("sweep", *flags(features, tmp_path, "--pca", "3,5")) == 2
    assert "1 x 5 principal components were asked for" in capsys.readouterr().err
    assert sorted(r.result["status"] for r in read_records(tmp_path)) == ["failed", "ok"]


def test_a_fault_takes_no_other_cell_with_it(features, tmp_path, monkeypatch, capsys):
    real = sweep_task.run_group.__globals__["fit_together"]

    def faulty(fits, data):
        if any(len(fit.columns) == 2 for fit in fits):
            raise TypeError("ours")
        return real(fits, data)

    monkeypatch.setattr("probes.runner.fit_together", faulty)
    argv = flags(features, tmp_path, "--labels", "log_g,log_g+T_eff,T_eff")
    assert probes("sweep", *argv) == 2
    assert "1 x TypeError: ours" in capsys.readouterr().err
    by_labels = {len(r.spec["labels"]): r for r in read_records(tmp_path)}
    assert len(read_records(tmp_path)) == 3
    assert by_labels[2].result["error"] == "TypeError: ours"
    assert by_labels[1].result["status"] == "ok"
    assert by_labels[2].result["stores"] == by_labels[1].result["stores"]


def test_features_that_cannot_be_read_fail_all_their_cells(features, tmp_path, monkeypatch):
    def damaged(*_):
        raise CacheError("block 3 is damaged")

    monkeypatch.setattr("probes.runner.Group", damaged)
    assert probes("sweep", *flags(features, tmp_path, "--labels", "log_g,T_eff")) == 2
    assert {r.result["error"] for r in read_records(tmp_path)} == {"block 3 is damaged"}


def test_a_full_disk_ends_the_sweep(features, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("probes.sweep_task.store_result", full)
    assert probes("sweep", *flags(features, tmp_path, "--labels", "log_g,T_eff")) == 2
    assert (
        "the sweep stopped: [Errno 28] No space left on device; what is recorded stays"
        in capsys.readouterr().err
    )


def task(features, results, **changed):
    plan = planned(features, results, **changed)
    return SweepTask(
        cells=plan.cells,
        stores=StoreChoice(root=features),
        results=results,
        threads=1,
        command="probes sweep",
    )


def test_stores_that_changed_since_the_plan_are_noticed(features, tmp_path):
    asked = task(features, tmp_path)
    other = (Cell(request=asked.cells[0].request, name="0" * 64),)
    done = run_task(SweepTask(**{**vars(asked), "cells": other}))
    assert "is another probe here than where the sweep was planned" in done.stopped
    assert not (tmp_path / "records").exists()


def test_run_notes_say_how_a_cell_was_made(features, tmp_path):
    run_task(task(features, tmp_path, labels=("log_g", "T_eff")))
    for record in read_records(tmp_path):
        assert (record.run["threads"], record.run["command"], record.run["encoder"]) == (
            1,
            "probes sweep",
            "tiny",
        )
        assert set(record.run["seconds"]) == {"load", "fit", "score"}


# --- what is told at the end ---


def test_the_best_is_chosen_on_val(features, tmp_path, capsys):
    argv = flags(features, tmp_path, "--labels", "log_g", "--controls", "none,shuffled_labels", "--params")
    assert probes("sweep", *argv, "alpha=1e6,alpha=1e-3,alpha=1e3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        "label",
        "best",
        "on",
        "val",
        "val",
        "R2",
        "test",
        "R2",
        "(95",
        "%",
        "interval)",
    ]
    assert lines[2].startswith("log_g  enc_pre_latent/forward/seg_mean_K2 ridge alpha=0.001  0.99")
    assert lines[-1] == f"tables: python -m reports tables --results {tmp_path} --features {features}"


def test_an_untrained_encoder_is_no_best_probe_unless_there_is_no_other(features, tmp_path):
    """Its cells are asked for with no control, among the default ones; the record says what they are."""
    assert probes("sweep", *flags(features, tmp_path, "--params", "alpha=1e-3,alpha=1e3")) == 0
    good, bad = planned(features, tmp_path, params=("alpha=1e-3", "alpha=1e3")).cells
    untrained = replace(good, control="random_encoder")
    _, line = best_lines(tmp_path, (untrained, bad))
    assert " ridge alpha=1000.0  " in line
    _, line = best_lines(tmp_path, (untrained,))
    assert " ridge alpha=0.001 (random encoder)  " in line


def test_without_val_nothing_is_called_best(tmp_path, capsys):
    for split in ("train", "test"):
        survey_store(tmp_path / "f", split)
    assert probes("sweep", *flags(tmp_path / "f", tmp_path / "r")) == 0
    assert "best on val" not in capsys.readouterr().out
    assert list(best_lines(tmp_path / "none", planned(tmp_path / "f", tmp_path / "r").cells)) == []


# --- settings ---


def test_the_example_names_real_settings(tmp_path, capsys):
    example = Path(__file__).parents[1] / "configs/sweep.yaml"
    assert probes("sweep", "--config", example, "--print-extract") == 0
    assert capsys.readouterr().out == (
        "--layers enc_pre_latent,enc_last --poolings global_mean,mean_max,seg_mean_K8 --directions forward,backward "
        "--need-labels log_g,T_eff,M_H,a_M,C_M\n"
    )
    assert probes("sweep", "--config", example, "--print-config") == 0
    own = tmp_path / "own.yaml"
    own.write_text(capsys.readouterr().out)
    assert probes("sweep", "--config", own, "--print-config") == 0
    assert capsys.readouterr().out == own.read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--train-sizes", "61"), "--train-sizes 61: train has 60 stars"),
        (("--train-sizes", "many"), "--train-sizes 'many': expected numbers or 'all'"),
        (("--train-sizes", "1e3", "--controls", "default"), "--train-sizes '1e3': expected numbers or 'all'"),
        (("--seeds", "-1"), "the seed is -1; expected a whole number from 0 on"),
        (("--jobs", "2"), "--scheduler local computes one task after the other, not 2"),
        (("--jobs", "0", "--scheduler", "processes"), "--jobs is 0"),
        (("--threads", "0"), "--threads: Input should be greater than or equal to 1"),
        (("--dask-address", "tcp://x:1"), "--dask-address goes with --scheduler dask, not with local"),
        (("--layers", "enc_last"), "python -m extract run"),
        (("--mix", "softmax"), "--mix softmax: ridge learns no weights of layers"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_fit(features, tmp_path, argv, message, capsys):
    assert probes("sweep", *flags(features, tmp_path, *argv)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "records").exists()


def test_jobs_are_what_cores_can_serve(features, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    argv = flags(features, tmp_path, "--dry-run", "--scheduler", "processes", "--heads")
    for heads, more, jobs in (
        ("ridge", (), 8),
        ("ridge,lightgbm", (), 4),
        ("lightgbm", ("--params", "threads=16"), 1),
        ("ridge", ("--threads", "4"), 2),
        ("lightgbm", ("--jobs", "8"), 8),
    ):
        assert probes("sweep", *argv, heads, *more) == 0
        assert f" {jobs} at once (processes)" in capsys.readouterr().out


# --- workers ---

KILLED = """
import os, signal, sys
from probes import schedulers
from probes.sweep_task import TaskDone

def work(task):
    print("working", flush=True)
    signal.pause()

schedulers.run_task = work
schedulers.IDLE_SECONDS = 3600
list(schedulers.run_tasks([1, 2], schedulers.Schedule(scheduler="processes", jobs=2), print))
"""


def test_workers_end_with_a_sweep_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "working\n"
        parent.kill()
        # workers have the same standard output, so this comes to an end when they have ended
        parent.communicate(timeout=30)
    assert parent.returncode == -signal.SIGKILL


def _killed(task):
    """In place of `run_task`: the first task is done, any other is killed as the kernel does for lack of memory."""
    if task != "first":
        os.kill(os.getpid(), signal.SIGKILL)
    return TaskDone(n_cells=1)


def test_a_worker_that_is_killed_is_told(monkeypatch):
    monkeypatch.setattr(schedulers, "run_task", _killed)
    shown = []
    with pytest.raises(
        CacheError, match=r"a worker process was killed.*what is recorded stays.*fewer --jobs"
    ):
        list(run_tasks(["first", "second", "third"], Schedule(scheduler="processes", jobs=2), shown.append))
    assert shown in ([], [1])


def test_a_lost_dask_worker_is_told(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="dask is an optional extra")
    monkeypatch.setattr("cache.dask_cluster.Cluster.client", lambda *_: None)
    asked = [SimpleNamespace(cells=(1,))]
    for error, kind, message in (
        (distributed.KilledWorker("task", None, 3), CacheError, "killed every dask worker that took it"),
        (ModuleNotFoundError("no", name="probes"), ConfigError, "a dask worker has no module probes"),
        (OSError("gone"), CacheError, r"the dask scheduler is lost \(gone\); what is recorded stays"),
    ):

        def lost(*_, error=error, **__):
            raise error
            yield

        monkeypatch.setattr(schedulers, "_parallel", lost)
        monkeypatch.setattr("joblib.parallel_config", lambda **_: contextlib.nullcontext())
        with pytest.raises(kind, match=message):
            list(run_tasks(asked, Schedule(scheduler="dask", jobs=2), lambda _: None))
