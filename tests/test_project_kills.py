"""A small part of `benchmarks/kills.py`: some 30 kills, power cuts and full disks, and that it would notice a fault."""

import importlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ROWS = [("every event", 1), ("every event", 2), ("power cut", 1), ("power cut, part lost", 1)]


@pytest.fixture(scope="module")
def killing():
    """Modules of the script; benchmarks are scripts, so their folder is on the path only here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield SimpleNamespace(
            **{
                name: importlib.import_module(f"killing.{name}")
                for name in ("events", "examine", "powerloss")
            }
        )


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, subreapers and tmpfs are Linux's")
def test_some_kills_leave_nothing_wrong_and_nothing_over(tmp_path):
    only = itertools.chain.from_iterable(("--only", name) for name in ("events", "power", "full"))
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "kills.py", "--sample", "4", "--json", tmp_path / "table.json", *only],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    killed = [(row["experiment"], row["workers"]) for row in rows if row["stopped"]]
    assert killed[: len(ROWS)] == ROWS
    for row in rows:
        assert row["trials"] == row["identical"] > 0
        assert (row["leftovers"], row["wrong"], row["examples"]) == (0, 0, [])
    assert sum(row["trials"] for row in rows) >= 25
    assert {"new store", "commit record", "chunk"} & {
        " ".join(event.split()[1:]) for row in rows for event in row["events"]
    }


def cut(killing, folder, events, *, lost=lambda: True, lasting=(), keep_half=False):
    """Tell a ledger of `events`, doing each as it is told, then cut the power."""
    graveyard = folder.parent / "graveyard"
    graveyard.mkdir()
    ledger = killing.powerloss.Ledger(graveyard, lambda *_: None, lasting=lasting)
    for kind, name, *target in events:
        path, new = folder / name, (folder / target[0] if target else None)
        ledger(kind, str(path), None if new is None else str(new))
        match kind:
            case "open":
                path.write_text("content")
            case "os.mkdir":
                path.mkdir()
            case "os.rename":
                path.rename(new)
            case "os.link":
                new.hardlink_to(path)
            case "os.remove":
                path.unlink()
    ledger.cut(lost, keep_half=keep_half)
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


PUBLISH = [("open", "new"), ("os.fsync", "new"), ("os.rename", "new", "final"), ("os.fsync", "")]


@pytest.mark.parametrize(
    ("events", "left"),
    [
        (PUBLISH, {"final": "content"}),
        (PUBLISH[:3], {}),
        ([PUBLISH[0], *PUBLISH[2:]], {"final": ""}),
        ([("os.mkdir", "a"), ("open", "a/x"), ("os.fsync", "a/x"), ("os.fsync", "a")], {}),
        ([("os.mkdir", "a"), ("os.fsync", ""), ("open", "a/x"), ("os.fsync", "a")], {"a/x": ""}),
        ([*PUBLISH, ("os.remove", "final")], {"final": "content"}),
        ([*PUBLISH, ("os.remove", "final"), ("os.fsync", "")], {}),
        ([*PUBLISH, ("os.rename", "final", "moved")], {"final": "content"}),
        ([*PUBLISH, *PUBLISH[:3]], {"final": "content"}),
        ([*PUBLISH, ("os.link", "final", "again")], {"final": "content"}),
        (
            [
                ("os.mkdir", "t"),
                ("open", "t/x"),
                ("os.fsync", "t/x"),
                ("os.fsync", "t"),
                ("os.rename", "t", "s"),
            ],
            {},
        ),
        (
            [
                ("os.mkdir", "t"),
                ("open", "t/x"),
                ("os.fsync", "t"),
                ("os.rename", "t", "s"),
                ("os.fsync", "s/x"),
                ("os.fsync", ""),
            ],
            {"s/x": "content"},
        ),
    ],
)
def test_a_power_cut_takes_what_was_not_synced(killing, tmp_path, events, left):
    folder = tmp_path / "work"
    folder.mkdir()
    assert cut(killing, folder, [(kind, *(n or "." for n in names)) for kind, *names in events]) == left


def test_a_power_cut_may_spare_names_and_halves(killing, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    events = [("os.mkdir", "a"), ("open", "a/x"), ("open", "y"), ("os.fsync", ".")]
    lasting = (str(folder / "a"),)
    assert cut(killing, folder, events, lasting=lasting, keep_half=True) == {"y": "con"}
    (tmp_path / "two" / "work").mkdir(parents=True)
    nothing = cut(killing, tmp_path / "two" / "work", events, lost=lambda: False)
    assert nothing == {"a/x": "content", "y": "content"}


def test_the_ledger_knows_which_records_last(killing, tmp_path):
    ledger = killing.powerloss.Ledger(tmp_path, lambda *_: None)
    for name in ("1.json", "2.json"):
        ledger("open", str(tmp_path / name), None)
        (tmp_path / name).touch()
        if name == "1.json":
            ledger("os.fsync", str(tmp_path), None)
    assert ledger.durable("*.json") == [str(tmp_path / "1.json")]


def test_run_notes_differ_between_runs_and_everything_else_counts(killing, tmp_path):
    store = tmp_path / "features/test/0123456789abcdef"
    for name in (".runs/2026-01-01T00-00-00Z.json", ".runs/.tmp-a.json", ".commit/000000.lock", "zarr.json"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text(name)
    names = {Path(name).name for name, digest in killing.examine.files_of(tmp_path).items() if digest}
    assert names == {".tmp-a.json", "000000.lock", "zarr.json"}
    ending = killing.examine.Ending(killing.examine.files_of(tmp_path), {}, {})
    (store / "zarr.json").write_text("other")
    (store / "left").touch()
    assert killing.examine.differing(tmp_path, ending) == [
        f"features/test/{store.name}/zarr.json: other bytes"
    ]
    assert killing.examine.left_over(tmp_path, ending) == [f"features/test/{store.name}/left"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("w/features/test/.tmp-0123456789abcdef-x/rows/zarr.json", "new store"),
        ("w/features/test/0123456789abcdef/.commit/000000.lock", "lock"),
        ("w/features/test/0123456789abcdef/.commit/.tmp-000000.json-x.json", "commit record"),
        ("w/features/test/0123456789abcdef/enc_0/forward/p/features/c/0/0", "chunk"),
        ("w/features/test/0123456789abcdef/.runs/x.json", "run note"),
        ("w/features/test/0123456789abcdef", "store folder"),
        ("w/digests/x.fingerprint", "remembered digest"),
        ("w/features", "folder"),
    ],
)
def test_places_of_events(killing, path, place):
    assert killing.events.place(path) == place
