"""What `python -m cache prune` offers and removes, and what it never touches."""

import fcntl
import itertools
import json
import os
import shlex
import shutil
import time
from pathlib import Path

import pytest
import reports_fakes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_fakes import (
    BACKWARD,
    FORWARD,
    MEAN,
    begin_store,
    edit_header,
    fill,
    flip_byte,
    provenance,
)
from store_fakes import make_store as make_anew

from cache import FeatureStore
from cache.cli import VERBS
from cache.commandline import main
from cache.commits import commit_path
from cache.errors import Busy, ConfigError, UnknownName
from cache.header import chunk_path
from cache.locks import own_prefix
from cache.provenance import store_key
from cache.prune import KINDS, find_candidates
from cache.removal import PRUNING, measure, remove_folder

DAY = 86400


@pytest.fixture(scope="module")
def make_store(tmp_path_factory):
    """`store_fakes.make_store`, by copying what was made before, and without the locks of earlier versions."""
    made = {}

    def make(root, about=None):
        about = provenance() if about is None else about
        key = store_key(about)
        if key not in made:
            made[key] = make_anew(tmp_path_factory.mktemp("made"), about)
            for lock in (made[key] / ".commit").glob("*.lock"):
                lock.unlink()
        return Path(shutil.copytree(made[key], root / about["split"] / key[:16]))

    return make


def prune(*argv):
    return main("cache", VERBS, ["prune", *(str(argument) for argument in argv)])


def found(root, *what, **options):
    options.setdefault("results", root / "results")
    return find_candidates(root, what, **options)


def paths(root, *what, **options):
    return [candidate.path for candidate in found(root, *what, **options).candidates]


def grow_old(path, days):
    """As if nothing under `path` had been written to for some days."""
    then = time.time() - days * DAY
    for entry in [*path.rglob("*"), path]:
        os.utime(entry, (then, then), follow_symlinks=False)


def hold(path):
    """Lock a file or folder as a running extraction does; the descriptor."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def without_locks(store):
    for lock in (store / ".commit").glob("*.lock"):
        lock.unlink()
    return store


def contents(folder):
    """Bytes of every file, and the target of every link, by relative path."""
    return {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def own(path):
    """The name of a temporary folder of this machine."""
    return path.with_name(own_prefix(f"{path.name}-") + "0123abcd")


def litter(root, store):
    """One leftover of every kind; their paths."""
    lock = store / ".commit/000001.lock"
    lock.write_text("process 1 on nowhere")
    folders = [
        own(store / ".commit/.tmp-000001.json"),
        own(store / ".runs/.tmp-x.json"),
        own(root / ".tmp-selection.json"),
        own(root / f"train/.tmp-{store.name}"),
        root / f"train/{PRUNING}abcd",
    ]
    for path in folders:
        path.mkdir()
        (path / "zarr.json").write_text("half")
    return [lock, *folders]


def test_nothing_is_removed_unless_told(make_store, tmp_path, capsys):
    store = make_store(tmp_path)
    littered = litter(tmp_path, store)
    old = make_store(tmp_path, provenance("test"))
    edit_header(old, sealed=True, schema=999)
    assert prune("--root", tmp_path) == 0
    told = capsys.readouterr().out
    assert all(path.exists() for path in (*littered, old))
    assert f"outdated: {old}" in told
    assert f"leftovers: {store}" in told
    assert "3 leftovers of killed runs" in told
    *_, total, command = told.splitlines()
    assert "5 could go" in total
    chosen = f"--root {tmp_path} --results artifacts/results --what leftovers,outdated"
    assert command == f"python -m cache prune {chosen} --yes"
    before = FeatureStore.open(store).digest()
    assert prune(*command.split()[4:]) == 0
    assert "removed 5" in capsys.readouterr().out
    assert not any(path.exists() for path in (*littered, old))
    FeatureStore.open(store).verify()
    assert FeatureStore.open(store).digest() == before
    assert prune("--root", tmp_path) == 0
    assert capsys.readouterr().out == f"nothing to remove under {tmp_path} (leftovers, outdated)\n"


def test_as_json(make_store, tmp_path, capsys):
    store = make_store(tmp_path)
    edit_header(store, sealed=True, schema=999)
    n_bytes = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    assert prune("--root", tmp_path, "--as-json") == 0
    told = json.loads(capsys.readouterr().out)
    (candidate,) = told["candidates"]
    assert (candidate["kind"], candidate["path"], candidate["removed"]) == ("outdated", str(store), False)
    assert candidate["bytes"] == told["bytes"] == n_bytes
    assert prune("--root", tmp_path, "--as-json", "--yes") == 0
    assert json.loads(capsys.readouterr().out)["candidates"][0]["removed"] is True
    assert not store.exists()


def test_what_a_running_extraction_holds_is_left_alone(make_store, tmp_path, capsys):
    store = make_store(tmp_path)
    edit_header(store, sealed=True, schema=999)
    building = own(tmp_path / "train/.tmp-new")
    building.mkdir()
    held = [hold(store), hold(building)]
    assert paths(tmp_path, "leftovers", "outdated") == []
    assert prune("--root", tmp_path, "--yes") == 0
    told = capsys.readouterr().out
    assert f"left alone: {store}: a running extraction holds it" in told
    assert f"left alone: {building}: a running extraction holds it" in told
    with pytest.raises(Busy, match="a running extraction works in it"):
        remove_folder(store)
    for descriptor in held:
        os.close(descriptor)
    assert paths(tmp_path, "leftovers", "outdated") == [store, building]


def test_a_note_that_is_being_written_is_no_leftover(make_store, tmp_path):
    store = make_store(tmp_path)
    descriptor = hold(litter(tmp_path, store)[2])
    (of_store,) = [c for c in found(tmp_path, "leftovers").candidates if c.path == store]
    assert len(of_store.inside) == 2
    os.close(descriptor)


def test_a_store_that_comes_to_be_held_stays_and_the_status_tells(make_store, tmp_path, capsys, monkeypatch):
    store, other = (make_store(tmp_path, provenance(split)) for split in ("train", "test"))
    for path in (store, other):
        edit_header(path, sealed=True, schema=999)
    monkeypatch.setattr("cache.prune.is_held", lambda _: False)
    descriptor = hold(store)
    assert prune("--root", tmp_path, "--what", "outdated", "--yes") == 2
    told = capsys.readouterr()
    assert "not removed" in told.err
    assert "removed 1" in told.out
    assert (store.exists(), other.exists()) == (True, False)
    os.close(descriptor)


def test_damaged_is_what_cannot_be_opened(make_store, tmp_path):
    fine = make_store(tmp_path, provenance("a"))
    chunk_path(make_store(tmp_path, provenance("b")), FORWARD, 1).unlink()
    flip_byte(commit_path(make_store(tmp_path, provenance("c")), 1), 9)
    flip_byte(next((make_store(tmp_path, provenance("d")) / "labels").rglob("c/0")), 0)
    (make_store(tmp_path, provenance("e")) / "zarr.json").write_text("{")
    edit_header(make_store(tmp_path, provenance("f")), sealed=False, schema=999)
    begin_store(tmp_path, provenance("g"))
    (make_store(tmp_path, provenance("h")) / "zarr.json").unlink()
    make_store(tmp_path, provenance("i")).rename(tmp_path / "i" / ("0" * 16))
    assert [path.parent.name for path in paths(tmp_path, "damaged")] == list("bcdefh")
    assert paths(tmp_path, "outdated") == []
    assert fine.exists()


def test_unfinished_stores_of_the_last_hour_are_left_alone(make_store, tmp_path):
    begun = fill(begin_store(tmp_path), [0]).path
    without_locks(begun)
    make_store(tmp_path, provenance("test"))
    spared = found(tmp_path, "unfinished").spared
    assert spared == ((begun, "unfinished, but written to less than 60 min ago"),)
    assert paths(tmp_path, "unfinished", older_than=0) == [begun]
    grow_old(begun, 2)
    assert paths(tmp_path, "unfinished") == [begun]
    assert paths(tmp_path, "unfinished", older_than=3 * DAY) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_age_holds_for_every_kind(make_store, tmp_path, kind):
    root = tmp_path / "features"
    reports_fakes.write(tmp_path / "results", reports_fakes.few_records())
    make_store(root, provenance(arrays=(FORWARD, BACKWARD)))
    litter(root, make_store(root, provenance(arrays=(FORWARD,))))
    begin_store(root, provenance("val"))
    edit_header(make_store(root, provenance("a")), sealed=True, schema=999)
    (make_store(root, provenance("b")) / "zarr.json").write_text("{")
    options = {"results": tmp_path / "results", "older_than": 3 * DAY}
    assert paths(root, kind, **options) == []
    grow_old(root, 4)
    assert paths(root, kind, **options) != []


@pytest.mark.parametrize(
    ("held", "removed"),
    [
        (["F", "FB"], ["F"]),
        (["FB", "F", "B"], ["B", "F"]),
        (["FB", "BM", "FM"], ["one"]),
        (["F", "B", "M"], []),
    ],
)
def test_covered_stores_may_go_and_no_array_is_lost(make_store, tmp_path, held, removed):
    names = {"F": FORWARD, "B": BACKWARD, "M": MEAN}
    stores = {
        text: make_store(tmp_path, provenance(arrays=tuple(names[letter] for letter in text)))
        for text in held
    }
    make_store(tmp_path, provenance(arrays=(FORWARD, BACKWARD, MEAN), noise={"draw": 1}))
    reports_fakes.write(tmp_path / "results", [reports_fakes.record()])
    chosen = paths(tmp_path, "covered")
    assert len(chosen) == len(removed)
    if removed != ["one"]:
        assert {stores[text] for text in removed} == set(chosen)
    argv = ("--root", tmp_path, "--results", tmp_path / "results", "--what", "covered", "--yes")
    assert prune(*argv) == 0
    kept = [text for text in held if stores[text].exists()]
    assert set("".join(kept)) == set("".join(held))
    assert paths(tmp_path, "covered") == []


def test_unfinished_and_damaged_stores_cover_nothing(make_store, tmp_path):
    reports_fakes.write(tmp_path / "results", [reports_fakes.record()])
    make_store(tmp_path)
    both = make_store(tmp_path, provenance(arrays=(FORWARD, BACKWARD)))
    chunk_path(both, BACKWARD, 0).unlink()
    assert paths(tmp_path, "covered") == []
    shutil.rmtree(both)
    fill(begin_store(tmp_path, provenance(arrays=(FORWARD, BACKWARD))), [0, 1])
    assert paths(tmp_path, "covered") == []


def test_unused_is_what_no_record_names(make_store, tmp_path):
    root, results = tmp_path / "features", tmp_path / "results"
    used, unused = make_store(root), make_store(root, provenance(noise={"draw": 1}))
    begin_store(root, provenance("val"))
    for kind in ("unused", "covered"):
        with pytest.raises(ConfigError, match="every store would count as unused"):
            found(root, kind, results=results)
    record = reports_fakes.record()
    key = FeatureStore.open(used).key
    record.spec["stores"]["train"] = [key]
    reports_fakes.write(results, [record])
    assert paths(root, "unused", results=results) == [unused]
    assert prune("--root", root, "--results", tmp_path / "x", "--what", "unused") == 2


def test_what_goes_as_unused_covers_no_other(make_store, tmp_path):
    root, results = tmp_path / "features", tmp_path / "results"
    used = make_store(root)
    more = make_store(root, provenance(arrays=(FORWARD, BACKWARD)))
    record = reports_fakes.record()
    record.spec["stores"]["train"] = [FeatureStore.open(used).key]
    reports_fakes.write(results, [record])
    third = make_store(root, provenance(arrays=(BACKWARD,)))
    assert paths(root, "covered", results=results) == [third]  # the one that a record names stays
    assert set(paths(root, "covered", "unused", results=results)) == {third, more}
    flip_byte(chunk_path(more, BACKWARD, 0))
    assert paths(root, "covered", results=results) == [
        more
    ]  # not whole, it covers nothing; the others cover it


def test_unknown_kinds_are_refused(make_store, tmp_path):
    with pytest.raises(UnknownName, match="'old'; known: leftovers, outdated"):
        found(tmp_path, "old")


def test_a_removal_that_is_killed_leaves_no_half_store(make_store, tmp_path, monkeypatch, capsys):
    store = make_store(tmp_path)
    edit_header(store, sealed=True, schema=999)

    def killed(path):
        (path / "zarr.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("cache.removal.shutil.rmtree", killed)
        assert prune("--root", tmp_path, "--yes") == 130
    rest = store.with_name(PRUNING + store.name)
    assert (store.exists(), rest.exists()) == (False, True)
    assert cache_ls(tmp_path, capsys) == ""
    assert paths(tmp_path, "leftovers") == [rest]
    make_store(tmp_path)  # made again, and to be removed while the rest of the first is there
    edit_header(store, sealed=True, schema=999)
    assert prune("--root", tmp_path, "--what", "outdated", "--yes") == 0
    assert list((tmp_path / "train").iterdir()) == []


def cache_ls(root, capsys):
    capsys.readouterr()
    assert main("cache", VERBS, ["ls", "--root", str(root)]) == 0
    return capsys.readouterr().out


def test_links_are_neither_followed_nor_removed(make_store, tmp_path):
    outside = make_store(tmp_path / "outside")
    edit_header(outside, sealed=True, schema=999)
    litter(tmp_path / "outside", outside)
    root = tmp_path / "features"
    store = make_store(root, provenance("test"))
    (root / "test" / outside.name).symlink_to(outside)
    (root / "train").symlink_to(outside.parent)
    (root / "test/.tmp-link").symlink_to(outside)
    (store / ".commit/.tmp-link").symlink_to(outside / "zarr.json")
    before = contents(tmp_path)
    assert prune("--root", root, "--yes") == 0
    assert contents(tmp_path) == before
    edit_header(store, sealed=True, schema=999)
    (store / "link").symlink_to(outside)
    before = contents(tmp_path / "outside")
    assert prune("--root", root, "--yes") == 0
    assert not store.exists()
    assert contents(tmp_path / "outside") == before


def test_measure_counts_links_as_links(make_store, tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "large").mkdir()
    n_bytes, age = measure(tmp_path)
    assert n_bytes == 5
    assert 0 <= age < 100


@pytest.fixture(scope="module")
def zoo(tmp_path_factory, make_store):
    """A root with a store of every kind, litter, and things that are not ours; results that name one store."""
    folder = tmp_path_factory.mktemp("zoo")
    root = folder / "features"
    whole = make_store(root, provenance(arrays=(FORWARD, BACKWARD)))
    make_store(root, provenance())
    make_store(root, provenance(noise={"draw": 1}))
    begin_store(root, provenance("val"))
    edit_header(make_store(root, provenance("test")), sealed=True, schema=999)
    chunk_path(make_store(root, provenance("test", noise={"draw": 1})), FORWARD, 0).unlink()
    litter(root, whole)
    for name in (
        "train/notes/zarr.json",
        "train/0123456789abcdef/mine.txt",
        "notes.partial",
        "train/x.partial",
    ):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text("not ours")
    (root / "train/0123456789ABCDEF").mkdir()
    record = reports_fakes.record()
    record.spec["stores"]["train"] = [FeatureStore.open(whole).key]
    reports_fakes.write(folder / "results", [record])
    return folder


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(what=st.sets(st.sampled_from(KINDS), min_size=1), older_than=st.sampled_from([0, 0.12345678]))
def test_only_what_was_offered_goes(zoo, tmp_path_factory, capsys, what, older_than):
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(zoo, folder, dirs_exist_ok=True)
    root, results = folder / "features", folder / "results"
    grow_old(root, 1)
    before = contents(folder)
    offered = found(root, *what, results=results).candidates
    assert {candidate.kind for candidate in offered} <= what
    gone = {
        name
        for name, candidate in itertools.product(before, offered)
        if any((folder / name).is_relative_to(path) for path in candidate.inside or (candidate.path,))
    }
    argv = [
        "--root",
        root,
        "--results",
        results,
        "--what",
        ",".join(sorted(what)),
        "--older-than",
        older_than,
    ]
    capsys.readouterr()
    assert prune(*argv) == 0
    *_, last = capsys.readouterr().out.splitlines()
    if offered:
        assert prune(*shlex.split(last)[4:]) == 0  # the command that it printed
    assert contents(folder) == {name: content for name, content in before.items() if name not in gone}
    assert find_candidates(root, what, results=results).candidates == ()


def test_a_split_that_is_a_link_is_listed_and_never_pruned(make_store, tmp_path, capsys):
    outside = make_store(tmp_path / "outside")
    edit_header(outside, sealed=True, schema=999)
    root = tmp_path / "features"
    root.mkdir()
    (root / "train").symlink_to(outside.parent)
    assert outside.name in cache_ls(root, capsys)
    assert found(root, "outdated", "leftovers").candidates == ()
    assert prune("--root", root, "--yes") == 0
    assert (
        f"left alone: {root / 'train'}: is a link; prune the folder that it leads to"
        in capsys.readouterr().out
    )
    assert outside.exists()
