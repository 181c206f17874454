"""A small run of `benchmarks/faults.py`: no fault is read silently, and the script would notice one that was."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cache.errors import Damaged

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ROUNDS = 4
"""Faults of each kind."""


@pytest.fixture(scope="module")
def script():
    """The modules of the script; benchmarks are scripts, so their folder is on the path only here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        names = {
            "main": "faults",
            **{n: f"damage.{n}" for n in ("campaign", "kinds", "routes", "trees", "twins")},
        }
        yield SimpleNamespace(**{short: importlib.import_module(name) for short, name in names.items()})


@pytest.fixture(scope="module")
def report(script, tmp_path_factory):
    n = ROUNDS * len(script.kinds.KINDS)
    return script.campaign.inject(n, tmp_path_factory.mktemp("faults"), seed=20, advance=lambda _: None)


def test_nothing_is_silent_nothing_crashes_and_what_can_be_mended_is(report):
    assert report.findings == []
    assert report.passed
    assert (report.total("silent"), report.total("crashed")) == (0, 0)
    assert report.total("repaired") == report.total("repairable") > ROUNDS
    assert report.total("detected") > report.total("harmless") > 0


def test_every_kind_was_injected_equally_often_and_read_along_every_route(script, report):
    assert {kind: counts["injected"] for kind, counts in report.kinds.items()} == dict.fromkeys(
        script.kinds.KINDS, ROUNDS
    )
    everything = ROUNDS * len(script.kinds.KINDS)
    for route in script.routes.ROUTES[:4]:
        assert sum(report.routes[route].values()) == everything
    assert sum(report.routes[script.routes.HELD].values()) > everything // 4


def test_every_harmless_fault_has_a_reason(script, report):
    assert sum(report.harmless.values()) == report.total("harmless")
    assert {why for _, why in report.harmless}.isdisjoint({script.campaign.UNEXPLAINED})


def test_plain_zarr_reads_the_same_faults_silently(script, report):
    plain, crc32c = (report.twins[twin] for twin in (script.twins.PLAIN, script.twins.CRC32C))
    assert plain["bit flip, rows/labels/coordinates"]["silent"] == ROUNDS
    assert crc32c["bit flip, rows/labels/coordinates"]["silent"] == 0
    for kind in ("chunks swapped, same array", "stale chunk", "JSON edit, provenance"):
        assert plain[kind]["silent"] == crc32c[kind]["silent"] == ROUNDS


def test_the_report_can_be_read_by_people_and_programs(script, report):
    table = script.main.table(report) + script.main.details(report)
    assert all(name in table for name in (*script.kinds.KINDS, *script.routes.ROUTES))
    assert json.loads(json.dumps(script.main.as_json(report)))["findings"] == report.findings


def test_a_reader_that_lies_or_crashes_is_noticed(script):
    def damaged():
        raise Damaged("chunk")

    def crash():
        raise KeyError("key")

    def outcome(*reads):
        committed = {str(k): np.arange(3.0) for k in range(len(reads))}
        pieces = [(str(k), read) for k, read in enumerate(reads)]
        return script.routes.judge(lambda: None, lambda _: pieces, committed).outcome

    good, other_value = lambda: np.arange(3.0), lambda: np.arange(3.0) + 1e-15
    assert outcome(good) == "harmless"
    assert outcome(good, other_value) == "silent"
    assert outcome(lambda: np.arange(3.0, dtype=np.float32)) == "silent"
    assert outcome(good, damaged) == "detected"
    assert outcome(damaged, crash) == "crashed"
    assert outcome(damaged, other_value) == "silent"
    assert outcome() == "harmless"


def test_a_folder_is_put_back_or_the_campaign_stops(script, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    tree = script.trees.take(tmp_path)
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "two").unlink()
    (tmp_path / "two").mkdir()
    touched = script.trees.changed(tree, script.trees.take(tmp_path))
    assert touched == {"a", "a/b", "a/b/one", "c", "c/b", "c/b/one", "two"}
    script.trees.restore(tmp_path, tree, touched)
    assert script.trees.take(tmp_path) == tree
    (tmp_path / "two").write_bytes(b"3")
    with pytest.raises(RuntimeError, match="not restored: \\['two'\\]"):
        script.trees.restore(tmp_path, tree, frozenset())
