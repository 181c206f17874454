"""Fingerprints begun ahead are those that would have been made, and nothing is left of one that is not waited for."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hdf5_fixtures import example, write_table_layout

from cache.errors import InputError
from extract import fingerprint as module
from extract import head_start as ahead
from extract.fingerprint import fingerprint
from extract.head_start import head_start
from extract.request import ExtractConfig
from extract.spectra import open_spectra

N_ROWS = {"train": 7, "test": 5}


@pytest.fixture
def data(tmp_path):
    return {
        split: (write_table_layout(tmp_path / f"{split}.h5", example(n, seed=n)),)
        for split, n in N_ROWS.items()
    }


def request(data, folder, **changes):
    return ExtractConfig(data=data, digests=folder / "digests", **changes)


def known(config, split, **how):
    with open_spectra(list(config.data[split])) as spectra:
        return fingerprint(spectra, remember=config.digests, **how)


def begun_and_waited(config, told):
    with head_start(config) as begun:
        for split in config.data:
            begun.wait(split, told.append)


def refuse(*_):
    raise AssertionError("the rows are read again")


@pytest.mark.parametrize("masked", [False, True])
def test_the_fingerprint_is_recalled_and_the_same(data, tmp_path, monkeypatch, masked):
    mask = np.arange(len(open_spectra(list(data["test"])).wave)) % 3 > 0 if masked else None
    config = request(data, tmp_path)
    if masked:
        np.save(tmp_path / "mask.npy", mask)
        config = request(data, tmp_path, mask=tmp_path / "mask.npy")
    expected = {split: known(request(data, tmp_path / "apart"), split, mask=mask) for split in data}
    told: list[int] = []
    begun_and_waited(config, told)
    assert sum(told) == 0
    monkeypatch.setattr(module, "scan_rows", refuse)
    for split in data:
        found = known(config, split, mask=mask)
        assert found.digest == expected[split].digest
        assert np.array_equal(found.row_digests, expected[split].row_digests)
        assert found.labels == expected[split].labels
    assert not multiprocessing.active_children()


def test_rows_are_told_as_they_are_looked_at(data, tmp_path, monkeypatch):
    go_on = multiprocessing.Event()

    def one_row_then_wait(spectra, *, progress, **_):
        progress(1)
        go_on.wait(60)

    monkeypatch.setattr(ahead, "fingerprint", one_row_then_wait)
    told: list[int] = []

    def advance(rows):
        told.append(rows)
        if sum(told) == 1:
            go_on.set()

    with head_start(request(data, tmp_path)) as begun:
        begun.wait("train", advance)
    assert 1 in told
    assert sum(told) == 0


def test_what_is_wrong_is_told_by_who_asks(tmp_path):
    content = example(6, seed=1)
    content.arrays["flux"][2] = np.nan
    data = {"test": (write_table_layout(tmp_path / "bad.h5", content),)}
    config = request(data, tmp_path)
    begun_and_waited(config, [])
    with pytest.raises(InputError, match="row 2"):
        known(config, "test")
    assert list(known(config, "test", policy="drop").kept) == [0, 1, 3, 4, 5]


def test_files_that_are_not_there_are_left_to_who_asks(tmp_path):
    begun_and_waited(request({"test": (tmp_path / "none.h5",)}, tmp_path), told := [])
    assert sum(told) == 0
    assert not (tmp_path / "digests").exists()


def test_a_plan_finds_what_it_was_made_with(data, tmp_path):
    with head_start(request(data, tmp_path, plan=tmp_path / "plan.json")) as begun:
        assert begun is None


def test_one_that_is_not_waited_for_ends(data, tmp_path, monkeypatch):
    def for_ever(*_, **__):
        signal.pause()

    monkeypatch.setattr(ahead, "fingerprint", for_ever)
    with pytest.raises(KeyError, match="no such layer"), head_start(request(data, tmp_path)):
        raise KeyError("no such layer")
    assert not multiprocessing.active_children()


def test_it_ends_when_its_parent_is_killed(data, tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from extract import head_start as module
from extract.request import ExtractConfig
def rows_for_ever(spectra, *, progress, **_):
    while True:
        progress(1)
module.fingerprint = rows_for_ever
with module.head_start(ExtractConfig(data={{"test": (Path({str(data["test"][0])!r}),)}})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    # the fork holds standard output: it ends when the fork does
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        cwd=Path(__file__).parents[1],
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def test_the_command_says_the_same_with_and_without(data, tmp_path):
    """The whole command, for its digests and its words, on a machine with forks and on one without."""
    said = {}
    for name, forks in (("with", "True"), ("without", "False")):
        program = f"""
import sys
from extract import head_start
head_start.may_fork = lambda: {forks}
from cache.commandline import main
from extract.cli import VERBS
sys.exit(main("extract", VERBS))
"""
        words = ["run", "--test", str(data["test"][0]), "--checkpoint", "random:1", "--layers", "input_flux"]
        words += ["--poolings", "none", "--dry-run", "--as-json"]
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            check=False,
        )
        said[name] = (done.returncode, done.stdout, done.stderr)
    assert said["with"] == said["without"]
