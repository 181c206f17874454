"""Files replaced between their check and the computation: nothing of them is committed, whatever replaced them."""

import shutil

import numpy as np
import pytest
from hdf5_fixtures import Example, write_table_layout
from survey_fakes import LAYER, N_PIXELS, POOLING, request, stars

from cache import FeatureStore
from cache.errors import CacheError, FileChanged
from cache.writer import StoreWriter
from extract import pipeline
from extract.fingerprint import fingerprint, open_again
from extract.open_blocks import OpenBlock
from extract.pipeline import extract_features
from extract.shuffled_error import donor_errors
from extract.slabs import SlabReader
from extract.spectra import open_spectra

N_ROWS = 16
CUT = {"block_rows": 5, "slab_rows": 5, "micro_batch": 4}
"""The last block is the last row alone, read alone: of a file without it, an empty slab."""


def spectra_of(n_rows):
    whole = stars(N_ROWS, seed=1)
    whole.arrays["noisy"] = whole.arrays["flux"] + 0.05
    return Example(
        {name: a if name == "wave" else a[:n_rows] for name, a in whole.arrays.items()},
        {name: column[:n_rows] for name, column in whole.labels.items()},
    )


@pytest.fixture
def replaced(tmp_path, monkeypatch):
    """A file, and how to have it replaced when everything is checked and nothing computed."""
    path, other, kept = (tmp_path / name for name in ("x.h5", "other.h5", "kept.h5"))
    write_table_layout(path, spectra_of(N_ROWS))
    shutil.copyfile(path, kept)
    real = pipeline.check_room

    def by(content):
        write_table_layout(other, content)

        def replace(*args):
            if other.exists():
                other.replace(path)
            real(*args)

        monkeypatch.setattr(pipeline, "check_room", replace)
        return path, kept

    return by


@pytest.mark.parametrize(
    ("noise", "scheduler"),
    [("none", "local"), ("draw", "local"), ("stored", "local"), ("none", "processes")],
)
def test_a_file_that_lost_its_last_row_gives_no_features(replaced, tmp_path, noise, scheduler):
    path, kept = replaced(spectra_of(N_ROWS - 1))
    jobs = 2 if scheduler == "processes" else 1
    asked = request(
        path,
        tmp_path,
        layers=(LAYER, "input_flux"),
        noise=noise,
        scheduler=scheduler,
        jobs=jobs,
        **CUT,
    )
    with pytest.raises(FileChanged, match=r"15 spectra of 256 pixels.*the 16 spectra.*run the command again"):
        extract_features(asked)
    (store,) = (tmp_path / "features/test").iterdir()
    assert StoreWriter.open(store).pending() == [0, 1, 2, 3]
    assert not list((tmp_path / "digests").glob("*.fingerprint"))  # it is read anew

    kept.replace(path)
    (store,) = extract_features(asked)["test"]
    write_table_layout(tmp_path / "twin.h5", spectra_of(N_ROWS))
    alone = request(tmp_path / "twin.h5", tmp_path / "alone", layers=asked.layers, noise=noise, **CUT)
    (twin,) = extract_features(alone)["test"]
    assert FeatureStore.open(store).digest() == FeatureStore.open(twin).digest()


def changed(what):
    content = spectra_of(N_ROWS)
    if what == "longer":
        return stars(N_ROWS + 1, seed=1)
    if what == "wave":
        content.arrays["wave"] = content.arrays["wave"] + 0.5
    elif what == "pixels":
        content.arrays = {name: a[..., : N_PIXELS - 1] for name, a in content.arrays.items()}
    elif what == "labels":
        del content.labels["mag"]
    elif what == "noisy":
        del content.arrays["noisy"]
    return content


@pytest.mark.parametrize("what", ["longer", "wave", "pixels", "labels", "noisy"])
def test_a_file_of_another_form_gives_no_features(replaced, tmp_path, what):
    path, _ = replaced(changed(what))
    with pytest.raises(FileChanged, match="run the command again"):
        extract_features(request(path, tmp_path, noise="none", jobs=1, **CUT))
    (store,) = (tmp_path / "features/test").iterdir()
    assert StoreWriter.open(store).pending() == [0, 1, 2, 3]


def test_files_are_opened_again_when_they_are_the_same(tmp_path):
    paths = [write_table_layout(tmp_path / f"{k}.h5", stars(n, seed=k)) for k, n in enumerate((3, 4))]
    with open_spectra(paths) as spectra:
        known = fingerprint(spectra, remember=None)
    with open_again(paths, known) as spectra:
        assert spectra.files == tuple(paths)
    with pytest.raises(FileChanged, match="3 spectra of 256 pixels, which are not the 7"):
        open_again(paths[:1], known)


@pytest.mark.parametrize("bounds", [(3, 7), (6, 7), (7, 9), (-1, 2)])
def test_no_reader_returns_fewer_rows_than_asked_for(tmp_path, bounds):
    path = write_table_layout(tmp_path / "x.h5", stars(6, seed=0))
    with open_spectra(path) as spectra, pytest.raises(FileChanged, match=r"the files hold 6"):
        SlabReader(spectra, 4).read(bounds)


def test_donors_that_are_gone_are_told(tmp_path):
    longer = write_table_layout(tmp_path / "longer.h5", stars(6, seed=0))
    with open_spectra(longer) as spectra:
        known = fingerprint(spectra, remember=None)
    with (
        open_spectra(write_table_layout(tmp_path / "x.h5", stars(5, seed=0))) as spectra,
        pytest.raises(FileChanged, match="the files hold 5"),
    ):
        donor_errors(spectra, np.array([5]), known)


def test_rows_that_nobody_wrote_are_not_committed(tmp_path, monkeypatch):
    path = write_table_layout(tmp_path / "x.h5", spectra_of(N_ROWS))
    real = OpenBlock.store

    def without_the_last_row(self, start, draw, features):
        real(self, start, draw, {array: values[:-1] for array, values in features.items()})

    monkeypatch.setattr(OpenBlock, "store", without_the_last_row)
    with pytest.raises(CacheError, match=rf"{LAYER}/forward/{POOLING} .*not finite"):
        extract_features(request(path, tmp_path, jobs=1, **CUT))
