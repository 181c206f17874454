"""Inputs of a tiny extraction, and changes of one thing at a time in them: spectra, network, YAML, mask, profile."""

import dataclasses
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import yaml
from encoder_fakes import random_model, small_config
from hdf5_fixtures import PFSSPEC, Example, write_table_layout
from survey_fakes import stars

from cache import FeatureStore
from cache.atomic import publish_json
from cache.plan_file import write_plan
from cache.provenance import store_key
from extract.estimate import estimate
from extract.fingerprint import fingerprint
from extract.pipeline import extract_features
from extract.prepare import prepare
from extract.request import ExtractConfig
from extract.spectra import open_spectra
from extract.train_error import saved_train_error

N_PIXELS = 64
ONE_ROW, ONE_PIXEL = 6, (6, 20)
SIZES = (10, 6)
LAYERS = ("pool_1", "enc_pre_latent")
POOLINGS = ("seg_mean_K4", "global_mean")
COMMAND = "python -m extract run --data tiny --layers pool_1,enc_pre_latent"
ARRAYS = tuple((layer, "forward", pooling) for layer in LAYERS for pooling in POOLINGS)

BASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no noise": {"noise": "none"},
    "stored noise": {"noise": "stored"},
    "mask": {"mask": "mask.npy"},
    "profile": {"config_model": "profile.yaml", "profile": "profile.npy"},
    "constant": {"error_input": "constant", "train_error": "train_error.json"},
    "constant without noise": {
        "error_input": "constant",
        "train_error": "train_error.json",
        "noise": "none",
    },
    "from-noisy": {"error_input": "from-noisy", "train_error": "train_error.json"},
    "shuffled without noise": {"error_input": "shuffled", "noise": "none"},
}
"""What the finished stores were asked for, beside `Inputs.request`; names of files are those of `write_inputs`."""


@dataclass(frozen=True)
class Inputs:
    """The files of one extraction in a folder of their own, and where its results go."""

    folder: Path
    out: Path

    @property
    def files(self):
        return self.folder / "a.h5", self.folder / "b.h5"

    @property
    def checkpoint(self):
        return self.folder / "net.ckpt"

    @property
    def yaml(self):
        return self.folder / "net.yaml"

    def copy(self, folder, out=None):
        """The same files elsewhere, for the same results (or others)."""
        shutil.copytree(self.folder, folder)
        return Inputs(folder, out or self.out)

    def request(self, **changes):
        """A request for four arrays; a bare name of a file is one of these inputs."""
        plain = {
            "data": {"test": self.files},
            "checkpoint": str(self.checkpoint),
            "config_model": self.yaml,
            "layers": LAYERS,
            "poolings": POOLINGS,
            "device": "cpu",
            "threads": 1,
            "micro_batch": 4,
            "block_rows": 4,
            "out": self.out,
            "encoders": self.folder / "encoders",
            "digests": self.folder / "digests",
            "command": COMMAND,
        }
        for name in ("config_model", "mask", "profile", "train_error"):
            if isinstance(changes.get(name), str):
                changes[name] = self.folder / changes[name]
        return ExtractConfig(**{**plain, **changes})


@dataclass(frozen=True)
class Base:
    """One finished extraction, for reading only."""

    inputs: Inputs
    changes: dict[str, Any]
    path: Path
    provenance: dict[str, Any]
    family: str
    digest: str
    tree: dict[str, Any]

    @property
    def key(self):
        return store_key(self.provenance)


def make_base(folder, changes):
    """Write the inputs and extract once."""
    inputs = write_inputs(Inputs(folder / "inputs", folder / "features"))
    (path,) = extract_features(inputs.request(**changes))["test"]
    store = FeatureStore.open(path)
    return Base(inputs, changes, path, store.provenance, store.family, store.digest(), tree(inputs.out))


def tree(root):
    """Content and time of every file below a folder: equal trees were not written to."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def write_inputs(inputs):
    """Everything that any base needs; the files of spectra are mock data, with noise and an empty mask of their own."""
    inputs.folder.mkdir(parents=True)
    for index in (0, 1):
        write_spectra(inputs.files[index], content(index))
    write_network(inputs)
    write_yaml(inputs.folder / "profile.yaml", sigma_input_mode="L5")  # its own word makes the ending linear
    mask = np.ones(N_PIXELS, dtype=bool)
    mask[5] = False
    np.save(inputs.folder / "mask.npy", mask)
    np.save(inputs.folder / "profile.npy", np.linspace(0.1, 0.2, N_PIXELS))
    write_train_error(inputs)
    return inputs


def write_train_error(inputs):
    """What an extraction of train saves, from the first file."""
    with open_spectra(inputs.files[0]) as spectra:
        known = fingerprint(spectra, remember=None)
        _, path = saved_train_error(inputs.folder, spectra, known, mask=None)
    path.rename(inputs.folder / "train_error.json")


# Spectra.


def content(index):
    """What the first or the second file holds."""
    made = stars(SIZES[index], 20 + index, n_pixels=N_PIXELS)
    made.arrays["noisy"] = made.arrays["flux"] + 0.05
    made.arrays["mask"] = np.zeros(made.arrays["flux"].shape, dtype=np.int8)
    made.labels["interp_param"] = np.array([b"ab"] * SIZES[index], dtype="S4")
    return made


def write_spectra(path, example):
    write_table_layout(path, example, attributes={"blindspot_mock": "1"})


def rows_of(example, rows):
    """Some rows, in the order given."""
    arrays = {name: values if name == "wave" else values[rows] for name, values in example.arrays.items()}
    return Example(arrays, {name: values[rows] for name, values in example.labels.items()})


def joined(one, other):
    """The rows of two files end to end."""
    arrays = {
        name: values if name == "wave" else np.concatenate([values, other.arrays[name]])
        for name, values in one.arrays.items()
    }
    labels = {name: np.concatenate([values, other.labels[name]]) for name, values in one.labels.items()}
    return Example(arrays, labels)


def ulp(value):
    """The next larger number of the same type."""
    return np.nextafter(value, np.asarray(np.inf, dtype=value.dtype))


def poke(path, name, where, value):
    """Change one value of an array in place; `value` may be a function of the old one."""
    with h5py.File(path, "r+") as file:
        array = file[PFSSPEC[name]]
        array[where] = value(array[where]) if callable(value) else value


def poke_column(path, name, row, value):
    """Change one value of the params table in place; `value` may be a function of the old one."""
    member, place = {
        "T_eff": ("values_block_0", 0),
        "snr": ("values_block_0", 3),
        "id": ("values_block_1", 0),
        "interp_param": ("values_block_2", 0),
    }[name]
    with h5py.File(path, "r+") as file:
        table = file["dataset/params/table"][()]
        table[member][row, place] = value(table[member][row, place]) if callable(value) else value
        file["dataset/params/table"][...] = table


def rewrite(path, **options):
    """Store every array of a file anew, with other chunks, filters or byte order, the same values."""
    other = path.with_suffix(".new")
    with h5py.File(path) as old, h5py.File(other, "w") as new:
        new.attrs.update(old.attrs)
        for name in ("flux", "error", "noisy", "mask"):
            values = old[PFSSPEC[name]][()]
            new.create_dataset(PFSSPEC[name], data=values, **({} if name == "mask" else options))
        old.copy(PFSSPEC["wave"], new.require_group("spectrumdataset"))
        old.copy("dataset/params", new["dataset"])
    other.replace(path)


# The network.


def write_network(inputs, **changes):
    """Another network of random weights, with the YAML that describes it."""
    config = small_config(**changes)
    model = random_model(config).float()
    torch.save(
        {
            "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()},
            "epoch": 3,
            "global_step": 77,
            "pytorch-lightning_version": "2.4.0",
        },
        inputs.checkpoint,
    )
    if config.error_mode == "none":
        changes |= {"input_sigma": False}
    if "norm" in changes:
        changes |= {"use_bn": changes["norm"] == "bn"}
    for name in ("norm", "error_channels", "error_mode"):
        changes.pop(name, None)
    if config.error_channels == 3:
        changes |= {"sigma_input_mode": config.error_mode}
    write_yaml(inputs.yaml, **changes)


def write_yaml(path, **changes):
    """The YAML of the tiny network, with other or further keys in its model section."""
    section = {
        "input_sigma": True,
        "blindspot": True,
        "use_bn": True,
        "dilation": 1,
        "num_layers": 3,
        "embed_dim": 2,
        "kernel_size": 3,
    }
    path.write_text(yaml.safe_dump({"model": {**section, **changes}, "train": {"batch_size": 128}}))


def edit_checkpoint(path, change):
    """Load a checkpoint, let `change` alter the mapping, save it again."""
    loaded = torch.load(path, weights_only=True)
    change(loaded)
    torch.save(loaded, path)


def poke_tensor(path, name, change=ulp):
    """Change the first number of one tensor of a checkpoint."""

    def edit(loaded):
        flat = loaded["state_dict"][f"model.{name}"].numpy().reshape(-1)
        flat[0] = change(flat[0])

    edit_checkpoint(path, edit)


def patch_everywhere(monkeypatch, name, value):
    """Give a constant another value in every module of ours that holds it, wherever it was imported."""
    holders = [
        module
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").split(".")[0] in {"cache", "extract"} and hasattr(module, name)
    ]
    assert holders, name
    for module in holders:
        monkeypatch.setattr(module, name, value)


# Changes that take more than a line.


def one_file(inputs):
    write_spectra(inputs.files[0], joined(content(0), content(1)))
    return {"data": {"test": inputs.files[:1]}}


def bad_row(inputs):
    poke(inputs.files[0], "flux", ONE_PIXEL, np.nan)
    return {"on_bad_rows": "drop"}


def flagged_row(inputs):
    poke(inputs.files[0], "mask", ONE_PIXEL, 1)
    return {"on_bad_rows": "drop"}


def repaired_edge(inputs):
    poke(inputs.files[0], "error", (ONE_ROW, 0), 0.123)


def other_nan(inputs):
    strange = np.array([0x7FF8_0000_0000_0001], dtype="<u8").view("<f8")[0]
    poke(inputs.files[0], "error", (ONE_ROW, 0), strange)


def label_column(inputs):
    for index, path in enumerate(inputs.files):
        made = content(index)
        write_spectra(path, dataclasses.replace(made, labels={**made.labels, "a_M": np.zeros(made.n_rows)}))


def some_rows(*rows):
    return lambda inputs: write_spectra(inputs.files[0], rows_of(content(0), list(rows)))


def one_more_row(inputs):
    write_spectra(inputs.files[1], joined(content(1), rows_of(content(0), [0])))


def wave_by_one_ulp(inputs):
    for path in inputs.files:
        poke(path, "wave", 30, ulp)


def without_the_mark_of_mock_data(inputs):
    for path in inputs.files:
        with h5py.File(path, "r+") as file:
            del file.attrs["blindspot_mock"]


def rewritten(**options):
    def edit(inputs):
        for path in inputs.files:
            rewrite(path, **options)

    return edit


def stored_as(dtype):
    """Every tensor of floating point in another precision; going back to float32 gives the same numbers."""

    def edit(loaded):
        state = loaded["state_dict"]
        for name, tensor in state.items():
            if tensor.is_floating_point():
                state[name] = tensor.to(dtype)

    return lambda inputs: edit_checkpoint(inputs.checkpoint, edit)


def trained_on(inputs):
    edit_checkpoint(
        inputs.checkpoint,
        lambda loaded: loaded.update(
            epoch=9, optimizer_states=[{"lr": torch.ones(2)}], callbacks={"best": 0.5}, lr_schedulers=[]
        ),
    )


def bare_names(inputs):
    loaded = torch.load(inputs.checkpoint, weights_only=True)["state_dict"]
    torch.save({name.removeprefix("model."): tensor for name, tensor in loaded.items()}, inputs.checkpoint)


def called_random(inputs):
    edit_checkpoint(
        inputs.checkpoint, lambda loaded: loaded.update(blindspot_probes={"origin": "random:3", "config": {}})
    )


def profile_in_the_checkpoint(inputs):
    profile = torch.from_numpy(np.load(inputs.folder / "profile.npy"))
    edit_checkpoint(inputs.checkpoint, lambda loaded: loaded["state_dict"].update(sigma_profile=profile))
    return {"profile": None}


def profile_by_one_ulp(inputs):
    values = np.load(inputs.folder / "profile.npy")
    values[9] = ulp(values[9])
    np.save(inputs.folder / "profile.npy", values)


def mask_by_one_pixel(inputs):
    values = np.load(inputs.folder / "mask.npy")
    values[6] = False
    np.save(inputs.folder / "mask.npy", values)


def train_error_by_one_ulp(name):
    def edit(inputs):
        path = inputs.folder / "train_error.json"
        content = json.loads(path.read_text())
        content[name][9] = float(np.nextafter(content[name][9], np.inf))
        publish_json(path, content)

    return edit


def train_error_moved(inputs):
    return {
        "train_error": (inputs.folder / "train_error.json").rename(inputs.folder / "elsewhere.json"),
    }


def yaml_in_another_order(inputs):
    lines = inputs.yaml.read_text().splitlines()
    head = lines.index("model:")
    section = [line for line in lines if line.startswith("  ") and "batch" not in line]
    turned = [
        lines[head],
        "  # by hand",
        *reversed(section),
        "train: {batch_size: 7, workers: 3}",
        "project: x",
    ]
    inputs.yaml.write_text("\n".join(turned) + "\n")


def checkpoint_moved(inputs):
    return {"checkpoint": str(inputs.checkpoint.rename(inputs.folder / "elsewhere.ckpt"))}


def yaml_moved(inputs):
    return {"config_model": inputs.yaml.rename(inputs.folder / "elsewhere.yaml")}


def files_moved(inputs):
    (inputs.folder / "deep/down").mkdir(parents=True)
    return {
        "data": {"test": tuple(shutil.move(p, inputs.folder / f"deep/down/x{p.name}") for p in inputs.files)}
    }


def touched(inputs):
    for path in inputs.folder.iterdir():
        os.utime(path, (1, 1))


def index_file(inputs):
    index = inputs.folder / "shard_index.txt"
    index.write_text("# two files\n" + "".join(f"{path.name}\n" for path in inputs.files))
    return {"data": {"test": (index,)}}


def relative_paths(inputs):
    def here(path):
        return Path(os.path.relpath(path))

    return {
        "data": {"test": tuple(here(path) for path in inputs.files)},
        "checkpoint": str(here(inputs.checkpoint)),
        "config_model": here(inputs.yaml),
        "out": here(inputs.out),
    }


def stores_moved(inputs):
    copied = shutil.copytree(inputs.out, inputs.folder / "copied")
    return {"out": copied.rename(inputs.folder / "renamed")}


def another_network(**changes):
    return lambda inputs: write_network(inputs, **changes)


def another_yaml(**changes):
    return lambda inputs: write_yaml(inputs.yaml, **changes)


def in_file(name, where, value=ulp):
    return lambda inputs: poke(inputs.files[0], name, where, value)


def in_table(name, value):
    return lambda inputs: poke_column(inputs.files[0], name, ONE_ROW, value)


def in_network(name, change=ulp):
    return lambda inputs: poke_tensor(inputs.checkpoint, name, change)


# Other ways to say the same.


def cluster_to_make(inputs):
    path = inputs.folder / "cluster.yaml"
    path.write_text("cluster: local\njobs: 2\n")
    return {"scheduler": "dask", "dask_config": path}


def planned(inputs):
    with prepare(inputs.request()) as prepared:
        write_plan(inputs.folder / "plan.json", estimate(prepared, COMMAND).plan)
    return {"plan": inputs.folder / "plan.json"}
