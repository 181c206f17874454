"""Forks answer as a plain call does, raise what it raises, and leave nothing behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cache.errors import CacheError, InputError, UnknownName
from extract import row_scan
from extract.fingerprint import fingerprint
from extract.forks import Forks, may_fork
from extract.spectra import open_spectra


def test_every_request_gets_its_answer_from_any_thread():
    with Forks(lambda x: (x, x * x), 3, advice="") as forks, ThreadPoolExecutor(5) as threads:
        assert list(threads.map(forks.ask, range(50))) == [(x, x * x) for x in range(50)]
    assert not multiprocessing.active_children()


def test_forks_are_processes_of_their_own():
    with Forks(lambda _: os.getpid(), 2, advice="") as forks:
        found = {forks.ask(None) for _ in range(20)}
    assert os.getpid() not in found
    assert 1 <= len(found) <= 2


class Stubborn(Exception):
    """An error that cannot be pickled."""

    def __init__(self, words):
        super().__init__(words)
        self.unpicklable = lambda: words


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (InputError("row 3 of x.h5"), InputError, "row 3 of x.h5"),
        (UnknownName("layer", "x", ("a", "b")), UnknownName, "unknown layer 'x'; known: a, b"),
        (Stubborn("this and that"), CacheError, "Stubborn: this and that"),
    ],
)
def test_errors_come_up_where_the_answer_was_asked_for(error, raised, message):
    def answer(request):
        if request:
            raise error
        return "fine"

    with Forks(answer, 1, advice="") as forks:
        with pytest.raises(raised, match=message):
            forks.ask(1)
        assert forks.ask(0) == "fine"


def test_a_fork_that_dies_is_told():
    with (
        Forks(lambda _: os.kill(os.getpid(), signal.SIGKILL), 1, advice="use fewer") as forks,
        pytest.raises(CacheError, match=r"was killed.*use fewer"),
    ):
        forks.ask(None)


def test_forks_end_when_their_parent_is_killed():
    """Also those that were forked after others, and hold no copy of their pipes."""
    program = """
import os, signal, sys
from extract.forks import Forks
forks = Forks(lambda _: os.getpid(), 3, advice="")
print(*(fork.pid for fork in forks._forks), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # the forks hold standard output: it ends when the last of them does
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 3


def test_a_process_that_may_have_no_children_does_not_fork(monkeypatch):
    assert may_fork()
    monkeypatch.setattr(multiprocessing, "current_process", lambda: type("P", (), {"daemon": True}))
    assert not may_fork()


def test_a_fingerprint_is_the_same_by_forks_and_threads(survey, monkeypatch):
    found = []
    for rows in (1, 10**9):
        monkeypatch.setattr(row_scan, "_FORK_FROM", rows)
        monkeypatch.setattr(row_scan, "READ_ROWS", 3)
        with open_spectra(survey / "train/dataset.h5") as spectra:
            found.append(fingerprint(spectra, remember=None))
    assert found[0].digest == found[1].digest
    assert (found[0].stars == found[1].stars).all()
    assert found[0].labels == found[1].labels


def test_an_interrupted_question_takes_no_other_answer():
    class Interrupted:
        def recv(self):
            raise KeyboardInterrupt

        def send(self, _):
            pass

    with Forks(lambda x: x, 1, advice="") as forks:
        pipe = forks._idle.get()
        forks._idle.put(Interrupted())
        with pytest.raises(KeyboardInterrupt):
            forks.ask("a")
        assert forks._idle.empty()
        forks._idle.put(pipe)
        assert forks.ask("b") == "b"
