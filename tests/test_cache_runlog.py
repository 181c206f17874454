import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from cache import runlog
from cache.runlog import command_line, data_name, git_commit, run_log, versions


def test_versions_are_those_installed(monkeypatch):
    found = versions()
    assert found["numpy"] == metadata.version("numpy")
    assert found["python"] == sys.version.split()[0]
    monkeypatch.setattr(runlog, "REPORTED", ("no-such-distribution",))
    assert list(versions()) == ["python"]


def test_a_run_note_says_who_when_and_how():
    name, note = run_log(started=time.time() - 2, about={"encoder": "tiny"})
    assert name == f"{note['time']}-{os.getpid()}"
    assert len(note["time"]) == len("2026-01-01T00-00-00Z")
    assert 2 <= note["seconds"] < 60
    assert note["encoder"] == "tiny"
    assert note["command"] == command_line()
    assert run_log(started=0, command="x", about={})[1]["command"] == "x"
    assert run_log(started=0, about={})[0].startswith("1970-01-01T00-00-00Z-")


def test_the_commit_is_marked_when_there_are_changes(monkeypatch):
    answers = {"ls-files": "runlog.py", "rev-parse": "abc", "status": ""}
    monkeypatch.setattr(runlog, "_git", lambda _, verb, *__: answers[verb])
    assert git_commit() == "abc"
    answers["status"] = " M x"
    assert git_commit() == "abc+"


def test_outside_a_checkout_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(runlog, "__file__", str(tmp_path / "cache" / "runlog.py"))
    assert git_commit() is None

    def absent(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", absent)
    assert git_commit() is None


def test_the_command_is_what_one_would_type_without_the_path_of_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/probes/__main__.py", "run", "--labels", "a b"])
    assert command_line() == "python -m probes run --labels 'a b'"
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/pytest"])
    assert command_line() == "pytest"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ([], ""),
        (["/data/survey/mag215/test/dataset.h5"], "mag215/test/dataset.h5"),
        (["test/dataset.h5"], "test/dataset.h5"),
        (["../day.h5"], "day.h5"),
        (["/day.h5"], "day.h5"),
        (["/data/survey/stars.h5"], "survey/stars.h5"),
        ([Path("/d/day/val/a.h5"), Path("/d/day/val/b.h5")], "day/val/a.h5 and 1 more"),
    ],
)
def test_data_files_are_named_by_their_last_folders(files, name):
    assert data_name(files) == name


def test_a_repository_around_the_installed_program_is_not_its_checkout(monkeypatch, tmp_path):
    place = tmp_path / ".venv/cache/runlog.py"
    place.parent.mkdir(parents=True)
    place.touch()
    (tmp_path / "analysis.py").touch()

    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init", "-q")
    git("add", "analysis.py")
    git("commit", "-qm", "analysis")
    monkeypatch.setattr(runlog, "__file__", str(place))
    assert git_commit() is None
    git("add", "-f", str(place))
    git("commit", "-qm", "now it is part of the checkout")
    assert len(git_commit() or "") == 12
