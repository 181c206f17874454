import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache.atomic import (
    TEMPORARY_PREFIX,
    building,
    make_folders,
    publish_bytes,
    publish_first,
    publish_json,
    replacing,
    sweep,
)
from cache.canonical import check_seal
from cache.locks import own_prefix


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_publishing_makes_folders_and_leaves_only_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "x.bin"
    publish_bytes(path, b"one")
    publish_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["x.bin"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_writer_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "x.bin"
    publish_bytes(path, b"old")

    def fail_halfway():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.bin"]


def test_the_final_name_appears_only_with_all_bytes(tmp_path):
    path = tmp_path / "table.parquet"
    with replacing(path) as temporary:
        assert temporary.suffix == ".parquet"
        assert temporary.parent.name.startswith(TEMPORARY_PREFIX)
        assert temporary.parent.parent == tmp_path
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"


def test_file_and_folder_are_synced_around_the_rename(tmp_path, monkeypatch):
    path = tmp_path / "x"
    events = []

    def fsync(descriptor):
        events.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    publish_bytes(path, b"1")
    assert events == [(False, False), (True, True)]


def test_published_json_is_canonical_and_sealed(tmp_path):
    path = tmp_path / "x.json"
    publish_json(path, {"b": 1, "a": [2]})
    content = json.loads(path.read_text())
    assert check_seal(content, path) == {"a": [2], "b": 1, "self": content["self"]}
    assert path.read_text().startswith('{"a":[2],"b":1,"self":"')


def test_new_folders_are_made_to_last(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("cache.atomic.sync", synced.append)
    make_folders(tmp_path / "a/b")
    assert synced == [tmp_path, tmp_path / "a"]
    make_folders(tmp_path / "a/b")
    assert len(synced) == 2


def leave_behind(path):
    """What a process that was killed while publishing `path` leaves."""
    left = path.with_name(own_prefix(f"{TEMPORARY_PREFIX}{path.name}-") + "0123abcd")
    left.mkdir()
    (left / path.name).write_bytes(b"half")
    return left


def test_the_next_attempt_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "x[1].json"
    left, other = leave_behind(path), leave_behind(tmp_path / "y.json")
    publish_bytes(path, b"whole")
    assert not left.exists()
    assert other.exists()  # of another target: its own next attempt removes it


def test_a_temporary_folder_in_use_is_left_alone(tmp_path):
    path = tmp_path / "x"
    with replacing(path) as slow:
        publish_bytes(path, b"quick")
        slow.write_bytes(b"slow")
    assert path.read_bytes() == b"slow"
    assert names(tmp_path) == ["x"]


def test_a_folder_is_built_aside_and_its_leftovers_removed(tmp_path):
    path = tmp_path / "store"
    leave_behind(path)
    with building(path) as temporary:
        (temporary / "zarr.json").write_text("{}")
        with building(path) as loser:
            assert loser != temporary
        temporary.rename(path)
    assert names(tmp_path) == ["store"]
    assert names(path) == ["zarr.json"]


def test_links_among_leftovers_are_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("")
    (tmp_path / (own_prefix(f"{TEMPORARY_PREFIX}x-") + "0123abcd")).symlink_to(precious)
    publish_bytes(tmp_path / "x", b"")
    assert names(precious) == ["file"]


def test_what_another_machine_is_writing_stays_for_an_hour(tmp_path):
    """Its locks may not be seen here."""
    path = tmp_path / "x"
    left = tmp_path / f"{TEMPORARY_PREFIX}x-elsewhere-0123abcd"
    left.mkdir()
    (left / "x").write_text("half")
    sweep([left])
    assert left.exists()
    for old in (left / "x", left):
        os.utime(old, (1, 1))
    sweep([left])
    assert not left.exists()
    publish_bytes(path, b"")
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("links", ["there", "refused"])
def test_the_first_to_publish_decides(tmp_path, monkeypatch, links):
    if links == "refused":

        def refuse(*_):
            raise OSError(errno.EPERM, "no hard links")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "x.bin"
    contents = [bytes([k]) * 1000 for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: publish_first(path, content), contents))
    first = path.read_bytes()
    assert first in contents
    publish_first(path, b"too late")
    assert path.read_bytes() == first
    assert names(tmp_path) == ["x.bin"]


def test_other_faults_of_publishing_are_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Path, "hardlink_to", full)
    with pytest.raises(OSError, match="no room"):
        publish_first(tmp_path / "x.bin", b"x")
    assert names(tmp_path) == []
