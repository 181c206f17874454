"""Locks: one holder, freed by death, no files left behind, and a way out where the file system has none."""

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache.errors import Busy, CacheError
from cache.locks import abandoned, alone, exclusive, in_use, make_marked_folder


def test_one_holder_at_a_time_and_the_file_goes_with_it(tmp_path):
    path = tmp_path / "000001.lock"
    with exclusive(path, what="block 1"):
        with (
            pytest.raises(Busy, match=rf"process {os.getpid()} on .* is computing block 1; wait"),
            exclusive(path, what="block 1"),
        ):
            pytest.fail("two holders")
        with abandoned(path) as free:
            assert not free
    assert not path.exists()
    with exclusive(path, what="block 1"):
        pass


def test_the_lock_of_a_killed_holder_is_free(tmp_path):
    path = tmp_path / "x.lock"
    child = os.fork()
    if child == 0:
        with exclusive(path, what="x"):
            os._exit(0)  # as a kill: nothing is cleaned up
    os.waitpid(child, 0)
    assert path.exists()
    with abandoned(path) as free:
        assert free
    with exclusive(path, what="x"):
        pass
    assert not path.exists()


def test_a_lock_on_a_removed_file_does_not_count(tmp_path, monkeypatch):
    path = tmp_path / "x.lock"
    removed = []
    real = fcntl.flock

    def flock(descriptor, operation):
        if not removed:  # the former holder goes between our open and our lock
            removed.append(path.unlink())
        return real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with exclusive(path, what="x"):
        assert path.exists()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_the_message_names_the_parts(tmp_path, monkeypatch, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(CacheError, match=r"this file system has no locks .* --part 1/3"),
        exclusive(tmp_path / "x.lock", what="x"),
    ):
        pytest.fail("no lock, no holder")
    path, descriptor = make_marked_folder(tmp_path, prefix="x")
    with abandoned(path) as free:
        assert not free  # nobody can tell
    os.close(descriptor)


def test_other_errors_of_the_lock_pass_through(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="broken"), exclusive(tmp_path / "x.lock", what="x"):
        pytest.fail("no lock, no holder")


def test_a_temporary_folder_taken_by_a_sweeper_is_made_anew(tmp_path, monkeypatch):
    made, swept = [], []
    real = Path.mkdir

    def make(path):
        real(path)
        made.append(path)
        if len(made) == 1:
            path.rmdir()  # swept before it could be opened
        if len(made) == 2:
            swept.append(os.open(path, os.O_RDONLY))
            fcntl.flock(swept[0], fcntl.LOCK_EX)  # held by the sweeper that will remove it

    monkeypatch.setattr(Path, "mkdir", make)
    path, descriptor = make_marked_folder(tmp_path, prefix="x")
    assert path == made[2]
    os.close(descriptor)
    os.close(swept[0])


def test_a_file_system_without_identities_is_no_endless_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "samestat", lambda *_: False)
    with (
        pytest.raises(CacheError, match="does not keep files apart"),
        exclusive(tmp_path / "x.lock", what="x"),
    ):
        pytest.fail("no lock, no holder")
    with pytest.raises(CacheError, match="does not keep files apart"):
        make_marked_folder(tmp_path, prefix="x")


def test_a_holder_whose_file_was_replaced_leaves_the_new_one_alone(tmp_path):
    path = tmp_path / "x.lock"
    with exclusive(path, what="x"):
        path.unlink()
        path.write_text("of the next holder")
    assert path.read_text() == "of the next holder"


def test_many_may_use_a_folder_and_one_may_be_alone_in_it(tmp_path):
    with (
        in_use(tmp_path),
        in_use(tmp_path),
        pytest.raises(Busy, match="a running extraction works in it"),
        alone(tmp_path),
    ):
        pytest.fail("not alone")
    with alone(tmp_path):
        pass


def test_who_waits_for_a_folder_that_is_removed_is_told(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    with ThreadPoolExecutor(1) as pool, alone(folder):
        waiting = pool.submit(lambda: in_use(folder).__enter__())
        folder.rename(tmp_path / "gone")
    with pytest.raises((Busy, FileNotFoundError)):
        waiting.result()


def test_what_is_not_there_is_not_abandoned(tmp_path):
    with abandoned(tmp_path / "nothing") as free:
        assert not free
