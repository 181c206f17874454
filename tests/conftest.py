"""What all tests share. Small spectra files and requests are made in `survey_fakes`, small stores in `store_fakes`."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    """No test pulls the plug; waiting for the disk would double the time of all tests."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def one_thread():
    """Torch computes with one thread."""
    import torch  # for the tests that need it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def survey(tmp_path_factory):
    """Folder with train/, val/ and test/ of a tiny survey, for reading only."""
    from survey_fakes import write_survey  # torch, for the tests that need it

    return write_survey(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="session")
def spectra_file(survey):
    """The test file of the survey, for reading only."""
    return survey / "test/dataset.h5"
