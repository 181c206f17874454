"""A file that changed and had its time put back: every command says so once, and then reads it anew."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5_fixtures import write_flat_layout
from survey_fakes import CHECKPOINT, LAYER, POOLING, SIZES, YAML, stars

from cache.commandline import main
from cache.errors import FileChanged, InputError
from extract.cli import VERBS
from extract.fingerprint import fingerprint
from extract.remembered import forgotten_if_changed, sidecars
from extract.spectra import open_spectra

READ_NO_SPECTRA = {"mock", "pretrain", "finalise"}
NETWORK = ("--config-model", YAML, "--device", "cpu")
SHIPPED = ("--checkpoint", CHECKPOINT, *NETWORK)
POOLED = ("--layers", LAYER, "--poolings", POOLING)
RANDOM = ("--checkpoint", "random:0", *NETWORK, *POOLED)
EMULATOR = ("fisher", "--neighbours", 30)
FROM_TRAIN = ("--error-input", "constant", *SHIPPED, *POOLED)
HEAD = ("--encoder-layer", LAYER, "--pooling", POOLING, "--hidden-dim", "4", "--workers", 0, "--threads", 1)
FINETUNE = ("finetune", "--encoder-ckpt", CHECKPOINT, *NETWORK, *HEAD, "--max-epochs", 1, "--logger", "csv")
COMMANDS = {
    "run": (("run", "--split", "test", *SHIPPED, *POOLED), "test"),
    "run in processes": (
        ("run", "--split", "test", *SHIPPED, *POOLED, "--scheduler", "processes", "--jobs", 2),
        "test",
    ),
    "run of a random encoder": (("run", *RANDOM), "train"),
    "run fed an error of train": (("run", *FROM_TRAIN), "train"),
    "dry run of a random encoder": (("run", *RANDOM, "--dry-run"), "train"),
    "plan of a random encoder": (("plan", *RANDOM, "--plan", "p.json"), "train"),
    "fisher": (EMULATOR, "test"),
    "fisher, of train": (EMULATOR, "train"),
    "examples": (("examples", *SHIPPED), "test"),
    "occlude": (("occlude", *SHIPPED, "--poolings", POOLING, "--window", 128), "test"),
    "finetune": (FINETUNE, "train"),
    "finetune, of test": (FINETUNE, "test"),
}


@pytest.fixture
def remembered(tmp_path, monkeypatch):
    """A survey with all labels, whose digests are remembered in the default folder."""
    monkeypatch.chdir(tmp_path)
    for seed, (split, n_rows) in enumerate(SIZES.items()):
        path = tmp_path / "data" / split / "dataset.h5"
        path.parent.mkdir(parents=True)
        content = stars(n_rows, seed)
        rng = np.random.default_rng(seed)
        content.labels.update({name: rng.standard_normal(n_rows) for name in ("M_H", "a_M", "C_M")})
        write_flat_layout(path, content)
        with open_spectra(path) as spectra:
            fingerprint(spectra, remember=tmp_path / "artifacts/digests")
    return tmp_path / "data"


def change(path, name):
    """Change the first row, and put the time back."""
    before = path.stat()
    with h5py.File(path, "r+") as file:
        file[name][0] = file[name][0] + 0.25
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_every_command_that_reads_spectra_is_here():
    assert {argv[0] for argv, _ in COMMANDS.values()} == set(VERBS) - READ_NO_SPECTRA


@pytest.mark.filterwarnings("ignore")  # Lightning's, on few batches
@pytest.mark.parametrize("what", ["flux", "log_g"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_finds_another_file_than_remembered_reads_it_next_time(
    remembered, capsys, command, what
):
    (verb, *flags), split = COMMANDS[command]
    argv = [verb, "--data", *(str(word) for word in (remembered, *flags))]
    change(remembered / split / "dataset.h5", what)
    assert main("extract", VERBS, argv) == 2
    assert "the file changed meanwhile: run the command again" in capsys.readouterr().err
    assert main("extract", VERBS, argv) == 0, capsys.readouterr().err


def test_only_a_change_has_digests_forgotten(tmp_path):
    path = write_flat_layout(tmp_path / "x.h5", stars(3, 0))
    with open_spectra(path) as spectra:
        fingerprint(spectra, remember=tmp_path)
        with pytest.raises(KeyboardInterrupt), forgotten_if_changed([spectra], tmp_path, mask=None):
            raise KeyboardInterrupt
        assert all(sidecar.exists() for sidecar in sidecars(spectra, tmp_path, mask=None))


def test_digests_that_may_not_be_removed_are_named(tmp_path, monkeypatch):
    """The change is told all the same, and why the next run would tell it again."""
    path = write_flat_layout(tmp_path / "x.h5", stars(3, 0))

    def refuse(self, *, missing_ok):
        raise PermissionError(13, "Permission denied", str(self))

    with open_spectra(path) as spectra:
        fingerprint(spectra, remember=tmp_path)
        (sidecar,) = sidecars(spectra, tmp_path, mask=None)
        monkeypatch.setattr(Path, "unlink", refuse)
        told = rf"row 1 differs; the file changed .*{sidecar.name} still tells .*\(Permission denied\).*--digests"
        with (
            pytest.raises(InputError, match=told) as caught,
            forgotten_if_changed([spectra], tmp_path, mask=None),
        ):
            raise FileChanged("row 1 differs")
    assert isinstance(caught.value.__cause__, FileChanged)
