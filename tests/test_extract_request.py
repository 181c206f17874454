import os
from pathlib import Path

import pytest

from cache.errors import ConfigError, InputError, UnknownName
from extract.request import ExtractConfig, find_data
from extract.spectra import open_spectra

DATA = {"test": (Path("a.h5"),)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": "drawn"}, "unknown noise mode 'drawn'; known: draw, stored, none"),
        (
            {"error_input": "other"},
            "unknown error input 'other'; known: true, zero, shuffled, constant, from-noisy",
        ),
        ({"precision": "fp8"}, "unknown precision 'fp8'; known: fp32, tf32, bf16"),
        ({"engine": "turbo"}, "unknown engine 'turbo'"),
        ({"scheduler": "slurm"}, "unknown scheduler 'slurm'; known: local, processes, dask"),
        ({"on_bad_rows": "ignore"}, "unknown policy for bad rows 'ignore'; known: fail, drop"),
        (
            {"directions": ("forward", "concat")},
            "'concat' cannot be extracted; extract forward, backward",
        ),
        ({"device": "gpu"}, "unknown device 'gpu'; known: auto, cpu, cuda"),
        ({"device": "cuda:0,"}, "unknown device 'cuda:0,'"),
        ({"device": "cuda:a"}, "unknown device 'cuda:a'"),
        ({"dask_address": "tcp://a:1"}, "--dask-address goes with --scheduler dask"),
        (
            {"dask_config": Path("c.yaml"), "scheduler": "processes"},
            "--dask-config goes with --scheduler dask",
        ),
        ({"draws": 0}, "--draws is 0; it must be at least 1"),
        ({"micro_batch": 0}, "--micro-batch is 0"),
        ({"slab_rows": -1}, "--slab-rows is -1"),
        ({"block_rows": 0}, "--block-rows is 0"),
        ({"threads": 0}, "--threads is 0"),
        ({"seed": -1}, "--seed is -1; it must be at least 0"),
        ({"noise_level": -0.1}, "--noise-level is -0.1"),
        ({"noise_level": float("inf")}, "--noise-level is inf"),
        ({"noise_level": float("nan")}, "--noise-level is nan"),
        ({"noise": "none", "draws": 2}, "--noise none has one realisation; --draws 2"),
        ({"noise": "stored", "noise_level": 2.0}, "--noise-level must stay 1"),
        ({"data": {"a/b": DATA["test"]}}, "split 'a/b' cannot be a file name"),
        ({"data": {}}, "no data: say --data FOLDER"),
    ],
)
def test_what_cannot_be_meant_is_refused_on_construction(changes, message):
    with pytest.raises(ConfigError, match=message):
        ExtractConfig(**{"data": DATA, **changes})


def test_what_a_request_stands_for():
    plain = ExtractConfig(data=DATA)
    assert (plain.n_workers, plain.draw_numbers, plain.pseudo_layers) == (os.cpu_count(), (0,), ())
    assert plain.n_threads == 1
    many = ExtractConfig(data=DATA, scheduler="processes", jobs=3, draws=2, layers=("enc_0", "denoised"))
    assert (many.n_workers, many.draw_numbers, many.pseudo_layers) == (3, (0, 1), ("denoised",))
    assert many.n_threads == 1
    assert ExtractConfig(data=DATA, noise="none").draw_numbers == (None,)
    assert ExtractConfig(data=DATA, scheduler="processes", threads=4).n_threads == 4
    assert ExtractConfig(data=DATA, jobs=7).n_workers == 7


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "cuda:0,1", "cuda:0,2,11"])
def test_devices_may_be_several(device):
    assert ExtractConfig(data=DATA, device=device).device == device


@pytest.fixture
def folder(tmp_path):
    for split, name in (("train", "dataset.h5"), ("test", "dataset.h5"), ("test", "shard_index.txt")):
        (tmp_path / split).mkdir(exist_ok=True)
        (tmp_path / split / name).touch()
    (tmp_path / "test/shard_index.txt").write_text("dataset.h5\n")
    return tmp_path


def test_a_folder_gives_the_splits_it_holds(folder):
    found = {"train": (folder / "train/dataset.h5",), "test": (folder / "test/shard_index.txt",)}
    assert find_data(str(folder)) == found
    assert find_data(str(folder), "train") == {"train": found["train"]}
    assert find_data(str(folder), "test,train") == found


def test_a_split_whose_file_is_a_link_to_nothing_is_not_passed_over(folder):
    (folder / "val").mkdir()
    (folder / "val/dataset.h5").symlink_to(folder / "gone.h5")
    found = find_data(str(folder))
    assert found["val"] == (folder / "val/dataset.h5",)
    with pytest.raises(InputError, match=r"val/dataset.h5: does not exist"):
        open_spectra(found["val"])


def test_an_index_that_leaves_out_the_file_beside_it_is_refused(folder):
    """Which of the two are the spectra nobody can know."""
    (folder / "test/part.h5").touch()
    (folder / "test/shard_index.txt").write_text("part.h5\n")
    with pytest.raises(
        InputError, match=r"test: holds shard_index\.txt and dataset\.h5, which it does not list"
    ):
        find_data(str(folder))
    assert find_data(str(folder), "train") == {"train": (folder / "train/dataset.h5",)}
    (folder / "test/shard_index.txt").write_text("part.h5\ndataset.h5\n")
    assert find_data(str(folder), "test") == {"test": (folder / "test/shard_index.txt",)}
    (folder / "test/dataset.h5").unlink()
    (folder / "test/shard_index.txt").write_text("part.h5\n")
    assert find_data(str(folder), "test") == {"test": (folder / "test/shard_index.txt",)}


def test_files_are_one_split():
    assert find_data("a.h5") == {"test": (Path("a.h5"),)}
    assert find_data("a.h5,b.h5", "val") == {"val": (Path("a.h5"), Path("b.h5"))}
    with pytest.raises(ConfigError, match="must name one split, not 'val,test'"):
        find_data("a.h5", "val,test")


def test_a_folder_without_data_is_refused(folder):
    with pytest.raises(
        InputError, match=r"val: expected shard_index\.txt or dataset\.h5 there for --split val"
    ):
        find_data(str(folder), "val")
    with pytest.raises(InputError, match=r"splits there: test, train; did you mean 'train'\?"):
        find_data(str(folder), "trian")
    with pytest.raises(
        InputError, match=r"is the folder of one split; say --data .*, and --split train for it"
    ):
        find_data(str(folder / "train"))
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds none of train/dataset\.h5, .*python -m extract mock"):
        find_data(str(folder / "empty"))


def test_names_are_of_the_known_kind():
    with pytest.raises(UnknownName):
        ExtractConfig(data=DATA, engine="x")
