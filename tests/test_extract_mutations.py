"""What makes a finished store a hit and what a miss: a table of single changes, and the field that each one names."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mutation_fakes as edit
import numpy as np
import pytest
import torch
from mutation_fakes import (
    ARRAYS,
    BASES,
    LAYERS,
    ONE_PIXEL,
    ONE_ROW,
    POOLINGS,
    Inputs,
    make_base,
    patch_everywhere,
    poke,
    poke_column,
    tree,
    ulp,
)

from cache import FeatureStore, Want, find
from cache.errors import ConfigError, InputError, NotExtracted, SchemaVersion, Stale
from cache.provenance import KEY_FIELDS, differences, family, group, store_key
from extract.encoder import BlindspotModel1D
from extract.pipeline import extract_features
from extract.prepare import prepare
from extract.request import ExtractConfig

WEIGHTS = "encoder.weights"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One change of a request that was met already."""

    name: str
    about: str
    """The setting of the request it is about, or 'program' for a constant of the program or the machine."""
    fields: tuple[str, ...] = ()
    """The dotted fields of the provenance that change, all of them; none for a hit."""
    change: Mapping[str, Any] | Callable[[Inputs], Mapping[str, Any] | None] = field(default_factory=dict)
    """What the request says otherwise; or a function that changes files in place, and may return that."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Values to put in place of constants; a name without a dot is replaced wherever it was imported."""
    base: str = "plain"
    error: type[Exception] = Stale
    kept: int = 0
    """Finished stores that still meet a part of the request."""


def miss(name, about, fields, *changed, **options):
    return Mutation(name=name, about=about, fields=tuple(fields.split()), **_change(changed), **options)


def hit(name, about, *changed, **options):
    return Mutation(name=name, about=about, **_change(changed), **options)


def _change(changed):
    return {"change": changed[0]} if changed else {}


NOISE_FIELDS = "noise.mode noise.draw noise.seed noise.noise_version"
CONFIG = "encoder.config"

MISSES = (
    # the network
    miss("one weight by one ulp", "checkpoint", WEIGHTS, edit.in_network("encoders.0.conv.weight")),
    miss("one weight of the unused head", "checkpoint", WEIGHTS, edit.in_network("nin_layers.2.conv.weight")),
    miss(
        "a running variance by one ulp", "checkpoint", WEIGHTS, edit.in_network("encoders.1.bn.running_var")
    ),
    miss("a running mean by one ulp", "checkpoint", WEIGHTS, edit.in_network("encoders.1.bn.running_mean")),
    miss(
        "a counter of the norm",
        "checkpoint",
        WEIGHTS,
        edit.in_network("encoders.0.bn.num_batches_tracked", lambda n: n + 1),
    ),
    miss("origin", "checkpoint", "encoder.origin", edit.called_random),
    miss("dilation in the YAML", "config_model", f"{CONFIG}.dilation", edit.another_yaml(dilation=2)),
    miss(
        "ending in the YAML",
        "config_model",
        f"{CONFIG}.ending",
        edit.another_yaml(norm_type="bn", use_bn=True),
    ),
    miss(
        "error mode in the YAML",  # this key belongs to networks of a linear ending
        "config_model",
        f"{CONFIG}.error_mode {CONFIG}.ending",
        edit.another_yaml(sigma_input_mode="L0"),
    ),
    miss(
        "ending said",
        "ending",
        f"{CONFIG}.ending",
        {"config_model": None, "error_mode": "pixel", "ending": "linear"},
    ),
    miss(
        "dilation said",
        "dilation",
        f"{CONFIG}.dilation",
        {"config_model": None, "error_mode": "pixel", "dilation": 2},
    ),
    miss("error mode said", "error_mode", f"{CONFIG}.error_mode", {"config_model": None, "error_mode": "L3"}),
    miss(
        "an error mode with a profile",
        "profile",
        f"{CONFIG}.error_mode encoder.profile",
        {"config_model": None, "error_mode": "L4", "profile": "profile.npy"},
    ),
    miss("the profile by one ulp", "profile", "encoder.profile", edit.profile_by_one_ulp, base="profile"),
    miss(
        "a network with a longer kernel",
        "checkpoint",
        f"{WEIGHTS} {CONFIG}.kernel_size",
        edit.another_network(kernel_size=5),
    ),
    miss(
        "a deeper network", "checkpoint", f"{WEIGHTS} {CONFIG}.num_layers", edit.another_network(num_layers=4)
    ),
    miss(
        "a wider network",  # its features are wider too
        "checkpoint",
        f"{WEIGHTS} {CONFIG}.embed_dim arrays",
        edit.another_network(embed_dim=3),
    ),
    miss(
        "a network without norm", "checkpoint", f"{WEIGHTS} {CONFIG}.norm", edit.another_network(norm="none")
    ),
    miss(
        "a network that gives the mean alone",
        "checkpoint",
        f"{WEIGHTS} {CONFIG}.output_channels",
        edit.another_network(output_channels=1),
    ),
    miss(
        "a network without blind spot",  # it has one output, without a Softplus
        "checkpoint",
        f"{WEIGHTS} {CONFIG}.blindspot {CONFIG}.output_channels {CONFIG}.ending",
        edit.another_network(blindspot=False),
    ),
    miss(
        "a network without error channel",
        "checkpoint",
        f"{WEIGHTS} {CONFIG}.error_channels {CONFIG}.error_mode",
        edit.another_network(error_mode="none", error_channels=0),
    ),
    # the spectra
    miss("one flux value by one ulp", "data", "input", edit.in_file("flux", ONE_PIXEL)),
    miss(
        "one flux value in the second file", "data", "input", lambda i: poke(i.files[1], "flux", (5, 0), ulp)
    ),
    miss("one error value by one ulp", "data", "input", edit.in_file("error", ONE_PIXEL)),
    miss("an edge error that was repaired before", "data", "input", edit.repaired_edge),
    # the input digest covers the stored noise whether it is used or not: one file, one digest
    miss("one stored noisy value, noise drawn", "data", "input", edit.in_file("noisy", ONE_PIXEL)),
    miss(
        "one stored noisy value, no noise", "data", "input", edit.in_file("noisy", ONE_PIXEL), base="no noise"
    ),
    miss(
        "one stored noisy value, used", "data", "input", edit.in_file("noisy", ONE_PIXEL), base="stored noise"
    ),
    miss("a label by one ulp", "data", "input", edit.in_table("T_eff", ulp)),
    miss("a label from NaN to a number", "data", "input", edit.in_table("snr", 12.5)),
    miss("a label from a number to NaN", "data", "input", edit.in_table("T_eff", np.nan)),
    miss("an id", "data", "input", edit.in_table("id", 4711)),
    miss("a label column more", "data", "input", edit.label_column),
    miss("the wavelengths by one ulp", "data", "input", edit.wave_by_one_ulp),
    miss("two rows swapped", "data", "input", edit.some_rows(1, 0, *range(2, 10))),
    miss("one row more", "data", "input rows.n", edit.one_more_row),
    miss("one row less", "data", "input rows.n", edit.some_rows(*range(9))),
    miss("one row twice", "data", "input", edit.some_rows(0, 0, *range(2, 10))),
    miss("files in another order", "data", "input", lambda i: {"data": {"test": (i.files[1], i.files[0])}}),
    miss("a bad row left out", "on_bad_rows", "input rows.n rows.selection", edit.bad_row),
    miss("a row left out for the file's own mask", "on_bad_rows", "rows.n rows.selection", edit.flagged_row),
    miss("the mark of mock data", "data", "data_kind", edit.without_the_mark_of_mock_data),
    miss("the split's name", "data", "split", lambda i: {"data": {"val": i.files}}),
    # the request
    miss("seed", "seed", "noise.seed", {"seed": 1}),
    miss("noise level", "noise_level", "noise.level", {"noise_level": 0.5}),
    miss("a tiny noise level", "noise_level", "noise.level", {"noise_level": 1 + 2**-52}),
    miss("a second draw", "draws", "noise.draw", {"draws": 2}, kept=1),
    # without drawing there is no seed, no draw, and no version of how it is drawn
    miss("no noise", "noise", NOISE_FIELDS, {"noise": "none"}),
    miss("stored noise", "noise", NOISE_FIELDS, {"noise": "stored"}),
    miss("stored noise after none", "noise", "noise.mode", {"noise": "stored"}, base="no noise"),
    miss("error input", "error_input", "error_input", {"error_input": "zero"}),
    miss("errors of other stars", "error_input", "error_input", {"error_input": "shuffled"}),
    miss(
        "errors of other stars, shuffled by a seed that draws no noise",
        "seed",
        "error_input",
        {"error_input": "shuffled", "seed": 1},
        base="shuffled without noise",
    ),
    miss(
        "the mean error of train",
        "train_error",
        "error_input",
        {"error_input": "constant", "train_error": "train_error.json"},
    ),
    miss(
        "errors guessed from the noisy flux",
        "train_error",
        "error_input",
        {"error_input": "from-noisy", "train_error": "train_error.json"},
    ),
    miss(
        "one mean error of train by one ulp",
        "train_error",
        "error_input",
        edit.train_error_by_one_ulp("error"),
        base="constant",
    ),
    miss(
        "one slope of train by one ulp",
        "train_error",
        "error_input",
        edit.train_error_by_one_ulp("slope"),
        base="from-noisy",
    ),
    miss(
        "version of the shuffle",
        "program",
        "error_input",
        constants={"SHUFFLE_VERSION": 2},
        base="shuffled without noise",
    ),
    miss("a mask", "mask", "mask", {"mask": "mask.npy"}),
    miss("a mask by one pixel", "mask", "mask", edit.mask_by_one_pixel, base="mask"),
    miss("no mask", "mask", "mask", {"mask": None}, base="mask"),
    miss("K", "poolings", "arrays", {"poolings": ("seg_mean_K8",)}),
    miss("one pooling more", "poolings", "arrays", {"poolings": (*POOLINGS, "mean_max")}, kept=1),
    miss("a deeper layer", "layers", "arrays", {"layers": ("enc_last",)}),
    miss("every layer", "layers", "arrays", {"layers": ("all",)}, kept=1),
    miss("a pseudo-layer", "layers", "arrays", {"layers": ("input_flux",)}),
    miss("direction", "directions", "arrays", {"directions": ("backward",)}),
    miss("precision", "precision", "precision", {"precision": "bf16"}),
    # the program
    miss("numerics version", "program", "numerics", constants={"NUMERICS": 2}),
    miss("noise version", "program", "noise.noise_version", constants={"NOISE_VERSION": 2}),
    miss("fingerprint version", "program", "input", constants={"FINGERPRINT_VERSION": 2}),
    miss("schema version", "program", "schema", constants={"SCHEMA": 2}, error=SchemaVersion),
)

HITS = (
    # where files lie, and how they are stored
    hit("files moved and renamed", "data", edit.files_moved),
    hit("files listed in an index", "data", edit.index_file),
    hit("one file instead of two with the same rows", "data", edit.one_file),
    hit("all inputs touched", "data", edit.touched),
    hit("paths from the working folder", "data", edit.relative_paths),
    hit("chunks and compression", "data", edit.rewritten(chunks=(2, 8), compression="gzip", shuffle=True)),
    hit("byte order", "data", edit.rewritten(dtype=">f8")),
    hit("another NaN at the edge of an error", "data", edit.other_nan),
    hit("a column of text that is no label", "data", edit.in_table("interp_param", b"zz")),
    hit("checkpoint renamed", "checkpoint", edit.checkpoint_moved),
    hit("checkpoint with another epoch and an optimizer", "checkpoint", edit.trained_on),
    hit("checkpoint in double precision", "checkpoint", edit.stored_as(torch.float64)),
    hit("a bare state dict", "checkpoint", edit.bare_names),
    hit("YAML renamed", "config_model", edit.yaml_moved),
    hit(
        "YAML in another order, with comments, trained otherwise", "config_model", edit.yaml_in_another_order
    ),
    hit(
        "the YAML's words said instead",
        "config_model",
        {"config_model": None, "error_mode": "pixel", "ending": "softplus", "dilation": 1},
    ),
    hit("the YAML's words assumed", "config_model", {"config_model": None, "error_mode": "pixel"}),
    hit("a profile that the error mode ignores", "profile", {"profile": "profile.npy"}),
    hit("the profile inside the checkpoint", "profile", edit.profile_in_the_checkpoint, base="profile"),
    hit("stores moved", "out", edit.stores_moved),
    hit("digests forgotten", "digests", lambda i: {"digests": i.folder / "other"}),
    hit("labels that must be there", "need_labels", {"need_labels": ("log_g",)}),
    hit("labels that rows may lack", "missing_labels", {"need_labels": ("log_g",), "missing_labels": "drop"}),
    hit("train errors that nothing uses", "train_error", {"train_error": "train_error.json"}),
    hit("train errors renamed", "train_error", edit.train_error_moved, base="constant"),
    hit(
        "another slope of train under a constant error",
        "train_error",
        edit.train_error_by_one_ulp("slope"),
        base="constant",
    ),
    hit("another folder of random encoders", "encoders", lambda i: {"encoders": i.folder / "other"}),
    # how it is computed
    hit("two processes", "scheduler", {"scheduler": "processes", "jobs": 2}),
    hit("three jobs", "jobs", {"scheduler": "processes", "jobs": 3, "threads": None}),
    hit("one part of several", "part", {"part": "2/3"}),
    hit("slab size", "slab_rows", {"slab_rows": 3}),
    hit("batch size", "micro_batch", {"micro_batch": 7}),
    hit("threads", "threads", {"threads": 2}),
    hit("rows of a block", "block_rows", {"block_rows": 5}),
    hit("device auto", "device", {"device": "auto"}),
    hit("mixed", "mixed", {"mixed": True}),
    hit("dask", "scheduler", {"scheduler": "dask"}),
    hit("a scheduler elsewhere", "dask_address", {"scheduler": "dask", "dask_address": "tcp://127.0.0.1:1"}),
    hit("a cluster to make", "dask_config", edit.cluster_to_make),
    hit("run from a plan", "plan", edit.planned),
    hit("times written", "stats", {"stats": Path("stats.json")}),
    hit("engine", "engine", {"engine": "plain"}),
    hit("host", "program", constants={"platform.node": lambda: "elsewhere"}),
    hit("processor", "program", constants={"platform.machine": lambda: "other"}),
    hit("version of torch", "program", constants={"torch.__version__": "99.0"}),
    hit("version of remembered digests", "program", constants={"SIDECAR_VERSION": 99}),
    # other words for the same request
    hit("alias of a layer", "layers", {"layers": ("pool_1", "pool_2")}),
    hit("order of layers", "layers", {"layers": LAYERS[::-1]}),
    hit("a layer twice", "layers", {"layers": (*LAYERS, *LAYERS, "pool_2")}),
    hit("fewer layers", "layers", {"layers": LAYERS[:1]}),
    hit("order of poolings", "poolings", {"poolings": POOLINGS[::-1]}),
    hit("fewer poolings", "poolings", {"poolings": POOLINGS[1:]}),
    hit("a direction twice", "directions", {"directions": ("forward", "forward")}),
    hit("noise level as a whole number", "noise_level", {"noise_level": 1}),
    hit("a seed that nothing uses", "seed", {"seed": 5}, base="no noise"),
    hit("a seed that nothing uses, with train errors", "seed", {"seed": 5}, base="constant without noise"),
    hit("bad rows may be left out, there are none", "on_bad_rows", {"on_bad_rows": "drop"}),
    hit("a flag under the mask", "mask", edit.in_file("mask", (ONE_ROW, 5), 1), base="mask"),
    hit("command", "command", {"command": "by hand"}),
)

NOT_FAMILY = ("split", "input", "rows", "arrays", "noise.draw", "noise.level")
"""DESIGN 3: what stores of one comparison may differ in."""

ALWAYS = "encoder.config.input_channels"
"""A spectrum has one flux channel: no network has another value."""


def named(mutations):
    return pytest.mark.parametrize("mutation", mutations, ids=lambda mutation: mutation.name)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A finished extraction of every kind."""
    root = tmp_path_factory.mktemp("bases")
    return {name: make_base(root / name.replace(" ", "_"), changes) for name, changes in BASES.items()}


@pytest.fixture
def base(mutation, bases):
    return bases[mutation.base]


@pytest.fixture
def asked(mutation, base, tmp_path, monkeypatch):
    """The request after the change; files are changed in copies, whose digests are remembered from a hit before."""
    monkeypatch.chdir(tmp_path)
    inputs, changed = base.inputs, mutation.change
    if callable(changed):
        inputs = inputs.copy(tmp_path / "inputs")
        assert [plan.path for plan in plans_of(inputs.request(**base.changes)) if plan.finished] == [
            base.path
        ]
        changed = changed(inputs) or {}
    for name, value in mutation.constants.items():
        if "." in name:
            monkeypatch.setattr(name, value)
        else:
            patch_everywhere(monkeypatch, name, value)
    return inputs.request(**{**base.changes, **changed})


def plans_of(request):
    with prepare(request) as prepared:
        (plans,) = prepared.plans.values()
        return plans


def nested(name, value):
    """{'noise': {'level': value}} for 'noise.level'."""
    head, _, rest = name.partition(".")
    return {head: nested(rest, value) if rest else value}


def forbid_the_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was run for what is there and fresh")

    for name in ("encode", "forward"):
        monkeypatch.setattr(BlindspotModel1D, name, refuse)


@named(HITS)
def test_a_change_that_does_not_matter_finds_the_store_and_computes_nothing(
    mutation, base, asked, monkeypatch
):
    place = asked.out / base.path.relative_to(base.inputs.out)
    assert [(plan.finished, plan.path) for plan in plans_of(asked)] == [(True, place)]
    forbid_the_network(monkeypatch)
    assert extract_features(asked) == {"test": [place]}
    assert tree(asked.out) == base.tree  # contents and times, commit records among them


@named(MISSES)
def test_a_change_that_matters_misses_and_names_what_it_is(mutation, base, asked):
    *kept, missed = plans_of(asked)
    assert [(plan.finished, plan.path) for plan in kept] == [(True, base.path)] * mutation.kept
    assert (missed.finished, missed.path) == (False, None)
    told = list(differences(base.provenance, missed.provenance))
    assert sorted(name for name, _, _ in told) == sorted(mutation.fields)
    assert store_key(missed.provenance) != base.key
    inside = all(name.startswith(NOT_FAMILY) for name in mutation.fields)
    assert (family(missed.provenance) == base.family) == inside
    for name, found, wanted in told:
        with pytest.raises(mutation.error) as caught:
            FeatureStore.open(base.path, want=nested(name, wanted))
        assert str(base.path) in str(caught.value)
        if mutation.error is Stale:
            assert f"{name} is {found!r}, asked for {wanted!r}" in str(caught.value)
            assert base.inputs.request().command in str(caught.value)
        else:
            assert f"written in format {found}, this program reads format {wanted}" in str(caught.value)
    with pytest.raises(mutation.error):
        FeatureStore.open(base.path, want=missed.provenance)
    assert tree(base.inputs.out) == base.tree


@named([mutation for mutation in MISSES if mutation.fields == ("arrays",)])
def test_arrays_that_no_store_holds_are_asked_for_by_name(mutation, base, asked):
    missing = plans_of(asked)[-1].arrays.coordinates
    store = FeatureStore.open(base.path)
    for array in missing:
        with pytest.raises(NotExtracted, match=array.path):
            store.features(array.layer, array.pooling, array.direction)
    wanted = tuple((array.layer, array.direction, array.pooling) for array in missing)
    with pytest.raises(NotExtracted, match="python -m extract run") as caught:
        find(base.inputs.out, "test", Want(arrays=wanted))
    assert all(f"{a.layer}" in str(caught.value) and a.pooling in str(caught.value) for a in missing)


# The table itself.


def leaves(value, prefix=""):
    if not isinstance(value, Mapping):
        return {prefix}
    return set().union(*(leaves(v, f"{prefix}.{name}" if prefix else name) for name, v in value.items()))


def test_every_field_of_the_provenance_has_a_row(bases):
    fields = leaves(bases["plain"].provenance)
    assert {name.partition(".")[0] for name in fields} == set(KEY_FIELDS)
    assert {name for row in MISSES for name in row.fields} == fields - {ALWAYS}


def test_every_setting_of_a_request_has_a_row():
    assert {row.about for row in (*MISSES, *HITS)} - {"program"} == {
        item.name for item in dataclasses.fields(ExtractConfig)
    }


# Computed for real: both stores stay, and a reader has to say which.


@dataclass(frozen=True)
class Beside:
    """A row of the table that is computed, the field that tells the two stores apart, and what narrows them down."""

    name: str
    field: str
    narrow: Callable[[FeatureStore], Mapping[str, Any]]


def by_family(store):
    return {"family": store.family[:12]}


def by_input(store):
    return {"input": store.provenance["input"]}


TWINS = (
    Beside("one weight by one ulp", WEIGHTS, by_family),
    Beside("error input", "error_input", by_family),
    Beside("errors of other stars", "error_input", by_family),
    Beside("the mean error of train", "error_input", by_family),
    Beside("errors guessed from the noisy flux", "error_input", by_family),
    Beside("a mask", "mask", by_family),
    Beside("a label by one ulp", "input", by_input),
    Beside("noise level", "noise.level", lambda s: {"noise_level": s.provenance["noise"]["level"]}),
    Beside("a second draw", "noise.draw", lambda s: {"draw": s.provenance["noise"]["draw"]}),
)


@pytest.mark.parametrize(
    ("mutation", "beside"),
    [pytest.param(m, b, id=b.name) for b in TWINS for m in MISSES if m.name == b.name],
)
def test_a_computed_miss_stands_beside_the_store_and_find_asks_which(mutation, beside, base, asked, tmp_path):
    out = shutil.copytree(base.inputs.out, tmp_path / "features")
    asked = dataclasses.replace(asked, out=out)
    path = extract_features(asked)["test"][-1]
    split = path.parent.name
    old, new = FeatureStore.open(out / base.path.relative_to(base.inputs.out)), FeatureStore.open(path)
    assert old.digest() == base.digest != new.digest()
    old_files = {name: held for name, held in tree(out).items() if old.path.name in name}
    assert old_files == base.tree
    with pytest.raises(ConfigError, match="several feature stores") as caught:
        find(out, split, Want(arrays=ARRAYS, draw=None))
    assert f"{beside.field}: " in str(caught.value)
    for store in (old, new):
        view = find(out, split, Want(arrays=ARRAYS, **{"draw": None, **beside.narrow(store)}))
        assert view.stores == {store.key: store.digest()}
        for layer, direction, pooling in ARRAYS:
            values = store.features(layer, pooling, direction)
            np.testing.assert_array_equal(view.features(layer, pooling, direction), values)
        np.testing.assert_array_equal(view.labels("T_eff"), store.labels("T_eff"))
    assert (old.labels("T_eff") != new.labels("T_eff")).sum() == (mutation.name == "a label by one ulp")
    assert all(plan.finished for plan in plans_of(asked))


def test_arrays_computed_later_are_read_together_with_the_old_ones(bases, tmp_path):
    base = bases["plain"]
    out = shutil.copytree(base.inputs.out, tmp_path / "features")
    (path,) = extract_features(base.inputs.request(out=out, poolings=("seg_mean_K8",)))["test"]
    old = FeatureStore.open(out / base.path.relative_to(base.inputs.out))
    view = find(out, "test", Want(arrays=(*ARRAYS, (LAYERS[0], "forward", "seg_mean_K8"))))
    assert view.stores == {store.key: store.digest() for store in (old, FeatureStore.open(path))}
    assert group(old.provenance) == group(FeatureStore.open(path).provenance)


# Unfinished stores: how the first blocks were computed must not change silently.


@dataclass(frozen=True)
class How:
    """One thing that changes the last bits of features, and the words for it before and after."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    value: Any = None


HOW = (
    How("threads", settings={"threads": 2}, value=2),
    How("engine", settings={"engine": "plain"}, value="plain"),
    How("numpy", constants={"numpy.__version__": "99.0"}, value="99.0"),
    How("micro_batch", settings={"micro_batch": 3}, value=3),
    How("torch", constants={"torch.__version__": "99.0"}, value="99.0"),
    How("processor", constants={"platform.machine": lambda: "other"}, value="other"),
)


@pytest.mark.parametrize("how", HOW, ids=lambda how: how.name)
def test_an_unfinished_store_goes_on_with_other_means_only_when_told(how, bases, tmp_path, monkeypatch):
    base = bases["plain"]
    out = shutil.copytree(base.inputs.out, tmp_path / "features")
    store = out / base.path.relative_to(base.inputs.out)
    (store / ".commit/000001.json").unlink()
    before = json.loads((store / ".commit/000000.json").read_text())["computed_with"]
    with monkeypatch.context() as patched:
        for name, value in how.constants.items():
            patched.setattr(name, value)
        request = base.inputs.request(out=out, **how.settings)
        with pytest.raises(Stale, match="--mixed") as caught:
            extract_features(request)
        for value in (before[how.name], how.value):
            assert f'"{how.name}": {json.dumps(value)}' in str(caught.value)
        assert not (store / ".commit/000001.json").exists()
        assert extract_features(dataclasses.replace(request, mixed=True)) == {"test": [store]}
    after = json.loads((store / ".commit/000001.json").read_text())["computed_with"]
    assert after == {**before, how.name: how.value}
    mixed, whole = FeatureStore.open(store), FeatureStore.open(base.path)
    for layer, direction, pooling in ARRAYS:
        one, other = (s.features(layer, pooling, direction) for s in (mixed, whole))
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)


# Digests that are remembered of a file which changed without a trace: same size, time and inode.


def disguise(path, change):
    """Change a file in place and set its time back."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )


ARRAY_VALUES = ("flux", "error", "noisy")
LABEL_VALUES = ("T_eff", "id")


def set_value(path, name, value):
    if name in ARRAY_VALUES:
        poke(path, name, ONE_PIXEL, value)
    else:
        poke_column(path, name, ONE_ROW, value)


@pytest.fixture
def remembered(bases, tmp_path):
    """The base's files elsewhere, their digests remembered, and nothing extracted from there."""
    base = bases["plain"]
    inputs = base.inputs.copy(tmp_path / "inputs", tmp_path / "features")
    plans_of(inputs.request())
    return base, inputs


@pytest.mark.parametrize("name", [*ARRAY_VALUES, *LABEL_VALUES])
def test_a_disguised_change_is_never_committed(remembered, name):
    base, inputs = remembered
    disguise(inputs.files[0], lambda: set_value(inputs.files[0], name, 42.0))
    # the digests are still believed, so what was finished before stays a hit: it is the data of that time
    (plan,) = plans_of(inputs.request(out=base.inputs.out))
    assert plan.path == base.path
    assert tree(base.inputs.out) == base.tree
    # but nothing new is made of it
    with pytest.raises(InputError, match=r"(row 6|labels or ids) .*the file changed meanwhile"):
        extract_features(inputs.request())
    begun = list(inputs.out.glob("test/*/.commit/*.json"))
    assert "000001.json" not in {path.name for path in begun}
    # and without the memory it is other data
    (plan,) = plans_of(inputs.request(out=base.inputs.out, digests=inputs.folder / "other"))
    assert not plan.finished
    assert [name for name, _, _ in differences(base.provenance, plan.provenance)] == ["input"]


@pytest.mark.parametrize("name", ["flux", *LABEL_VALUES])
def test_a_store_begun_on_a_disguised_change_ends_as_the_data_of_its_key(remembered, name):
    base, inputs = remembered
    original = inputs.folder / "original.h5"
    shutil.copyfile(inputs.files[0], original)
    disguise(inputs.files[0], lambda: set_value(inputs.files[0], name, 42.0))
    with pytest.raises(InputError):
        extract_features(inputs.request())
    disguise(inputs.files[0], lambda: inputs.files[0].write_bytes(original.read_bytes()))
    (path,) = extract_features(inputs.request())["test"]
    store = FeatureStore.open(path)
    store.verify()
    np.testing.assert_array_equal(store.labels("T_eff"), FeatureStore.open(base.path).labels("T_eff"))
    assert store.ids == FeatureStore.open(base.path).ids
    assert store.digest() == base.digest


@pytest.mark.parametrize("seed", [0.0, False, 0])
def test_another_key_never_goes_without_a_field_that_tells_why(bases, seed):
    base = bases["plain"]
    try:
        request = base.inputs.request(seed=seed)
    except ConfigError:
        return  # refused: as good
    (plan,) = plans_of(request)
    told = list(differences(base.provenance, plan.provenance))
    assert (store_key(plan.provenance) != base.key) == bool(told)
