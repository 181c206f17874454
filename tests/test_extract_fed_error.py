"""What the network is fed in place of the error: a derangement of stars, a fit on train, and the way through a run."""

import dataclasses
import hashlib
import json
from collections import Counter

import h5py
import numpy as np
import pytest
import torch
from hdf5_fixtures import write_flat_layout
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from survey_fakes import CHECKPOINT, LAYER, N_PIXELS, POOLING, YAML, request, stars

from cache import FeatureStore, Want, find
from cache.atomic import publish_json
from cache.errors import ConfigError, Damaged, InputError, ProbeError, SchemaVersion, UnknownName
from extract.checkpoint import load_encoder
from extract.error_input import channels
from extract.fed_error import TRUE_ERROR, fed_error
from extract.fingerprint import Fingerprint, fingerprint
from extract.noise import standard_normal
from extract.pipeline import extract_features
from extract.pooling import pool
from extract.shuffled_error import NOBODY, donor_errors, donors_of
from extract.spectra import open_spectra
from extract.train_error import load_train_error, nonnegative_line, saved_train_error
from probes.features import FeaturePart
from probes.splits import check_views

OTHERS = ("shuffled", "constant", "from-noisy")


def known_of(star_of_row, kept=None):
    """A fingerprint of rows with these stars, as far as the derangement looks at it."""
    star = np.asarray(star_of_row, dtype=np.uint64)
    rows = np.arange(len(star)) if kept is None else np.asarray(kept)
    return Fingerprint("", np.zeros((len(star), 32), np.uint8), star, {}, rows.astype(np.int64), ())


# The derangement.


@st.composite
def splits_of_stars(draw):
    """Rows of stars some of which repeat, some rows left out; no star has more than half of those kept."""
    star = np.array(draw(st.lists(st.integers(0, 12), min_size=2, max_size=60)))
    kept = np.flatnonzero(draw(st.lists(st.booleans(), min_size=len(star), max_size=len(star))))
    if len(kept) < 2 or 2 * np.bincount(star[kept]).max() > len(kept):
        kept = np.arange(len(star))
        star = star if 2 * np.bincount(star).max() <= len(star) else np.arange(len(star))
    return star, kept


@settings(deadline=None)
@given(splits_of_stars(), st.integers(0, 2**40))
def test_every_row_gets_the_error_of_another_star_and_each_error_is_used_once(rows, seed):
    star, kept = rows
    donors = donors_of(known_of(star, kept), seed=seed, split="test")
    assert sorted(donors[kept]) == kept.tolist()
    assert (star[donors[kept]] != star[kept]).all()
    out = np.setdiff1d(np.arange(len(star)), kept)
    assert (donors[out] == NOBODY).all()


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_the_derangement_is_the_one_that_is_defined(seed, repeated):
    star = np.random.default_rng(seed).integers(0, 40, 90) if repeated else np.arange(90)
    kept = np.flatnonzero(np.arange(90) % 7)  # 77 rows: stretches of 2, the last one of 1
    key = np.frombuffer(hashlib.sha256(f"blindspot-error-shuffle/1/{seed}/val".encode()).digest()[:16], "<u8")
    words = [int(word) for word in np.random.Philox(key=key.astype(np.uint64)).random_raw(90)]
    unit = {row: star[row] if repeated else place // 2 for place, row in enumerate(kept.tolist())}
    first = {u: min(words[row] for row in unit if unit[row] == u) for u in unit.values()}
    order = sorted(unit, key=lambda row: (first[unit[row]], words[row]))
    most = max(Counter(unit.values()).values())
    wanted = {row: order[(place + most) % len(order)] for place, row in enumerate(order)}
    donors = donors_of(known_of(star, kept), seed=seed, split="val")
    assert {row: donors[row] for row in kept} == wanted


def test_the_derangement_depends_on_seed_and_split_and_looks_random():
    known = known_of(np.arange(4000))
    one = donors_of(known, seed=0, split="test")
    np.testing.assert_array_equal(one, donors_of(known, seed=0, split="test"))
    for other in (donors_of(known, seed=1, split="test"), donors_of(known, seed=0, split="val")):
        assert (one == other).sum() < 10  # 1 expected
    assert abs(np.corrcoef(np.arange(4000), one)[0, 1]) < 0.36  # 4 sigma of 125 stretches


def test_neighbours_get_the_errors_of_neighbours():
    """What makes them cheap to read: a batch's donors lie in a few stretches."""
    donors = donors_of(known_of(np.arange(4096)), seed=0, split="test").reshape(-1, 32)
    assert ((donors // 32) == (donors[:, :1] // 32)).all()
    assert (np.sort(donors % 32) == np.arange(32)).all()
    assert (donors[:, 1:] != donors[:, :-1] + 1).any(axis=1).all()


@pytest.mark.parametrize("star", [[1], [1, 1], [1, 1, 2], [5, 3, 3, 3, 4]])
def test_a_star_with_more_than_half_of_the_rows_is_refused(star):
    with pytest.raises(ConfigError, match=r"rows of test are of one star \(000000000000000\d\)"):
        donors_of(known_of(star), seed=0, split="test")


def test_a_star_with_half_of_the_rows_gets_the_errors_of_the_others():
    donors = donors_of(known_of([3, 1, 3, 2, 3, 4]), seed=0, split="test")
    assert set(donors[[0, 2, 4]]) == {1, 3, 5}


# Reading the donors.


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    path = write_flat_layout(tmp_path_factory.mktemp("fed") / "x.h5", stars(20, 4))
    with open_spectra(path) as spectra:
        yield spectra, fingerprint(spectra, remember=None), path


@pytest.mark.parametrize("rows", [[7], [3, 2, 1, 0], [19, 0, 5, 6, 4, 12], list(range(20))])
def test_donor_errors_are_those_of_the_rows(opened, rows):
    spectra, known, _ = opened
    np.testing.assert_array_equal(
        donor_errors(spectra, np.array(rows), known), spectra.read(slice(None))[1][rows]
    )


def test_donors_that_changed_are_refused(opened):
    spectra, known, _ = opened
    altered = known.row_digests.copy()
    altered[6] ^= 1
    other = dataclasses.replace(known, row_digests=altered)
    with pytest.raises(InputError, match=r"x\.h5: row 6 .*run the command again"):
        donor_errors(spectra, np.array([9, 6, 1]), other)


# The fit on train.


@pytest.mark.parametrize("case", ["plain", "falling", "below 0", "one row", "flat"])
def test_the_line_is_the_constrained_least_squares(case):
    rng = np.random.default_rng(3)
    n = 1 if case == "one row" else 200
    x = np.abs(rng.normal(1, 0.5, n)) if case != "flat" else np.full(n, 0.7)
    slope, offset = {"falling": (-0.3, 2.0), "below 0": (2.0, -0.4)}.get(case, (0.5, 0.3))
    y = np.maximum(slope * x + offset + 0.1 * rng.standard_normal(n), 0)
    means = [np.atleast_1d(np.mean(values)) for values in (y, x, x * x, x * y)]
    ours = np.concatenate(nonnegative_line(*means))
    theirs, residual = nnls(np.stack([x, np.ones(n)], axis=1), y)
    assert (ours >= 0).all()
    assert np.linalg.norm(ours[0] * x + ours[1] - y) <= residual + 1e-9  # as good, where it is not unique
    if case in ("plain", "falling", "below 0"):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_train_errors_are_those_of_a_plain_loop(opened, tmp_path, masked):
    spectra, known, _ = opened
    mask = np.arange(N_PIXELS) % 3 > 0 if masked else None
    keep = slice(None) if mask is None else mask
    dropped = dataclasses.replace(known, kept=np.delete(known.kept, [4, 11]))
    found, path = saved_train_error(tmp_path, spectra, dropped, mask=mask)
    flux, error = (values[dropped.kept] for values in spectra.read(slice(None)))
    z = standard_normal(seed=0, split="train", rows=dropped.kept, draw=0, n_pixels=N_PIXELS)
    noisy = np.maximum(np.maximum(flux, 0) + z * error, 0)
    np.testing.assert_allclose(found.error, error.mean(axis=0)[keep], rtol=1e-12)
    for pixel, place in [(k, p) for p, k in enumerate(np.arange(N_PIXELS)[keep])][::40]:
        design = np.stack([noisy[:, pixel], np.ones(len(noisy))], axis=1)
        fit, _ = nnls(design, error[:, pixel] ** 2)
        np.testing.assert_allclose([found.slope[place], found.offset[place]], fit, atol=1e-9)
    before = path.stat().st_mtime_ns
    again, same = saved_train_error(tmp_path, spectra, dropped, mask=mask)
    assert (same, same.stat().st_mtime_ns) == (path, before)
    for name in ("error", "slope", "offset"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    others = [
        saved_train_error(tmp_path, spectra, known, mask=mask)[1],
        saved_train_error(tmp_path, spectra, dropped, mask=np.arange(N_PIXELS) % 2 == 0)[1],
    ]
    assert len({path, *others}) == 3
    others[0].replace(path)
    with pytest.raises(ConfigError, match=r"is of another train split \(rows differ\): it was renamed"):
        saved_train_error(tmp_path, spectra, dropped, mask=mask)


def test_files_of_train_errors_that_do_not_fit_are_refused(opened, tmp_path):
    spectra, known, _ = opened
    _, path = saved_train_error(tmp_path, spectra, known, mask=None)
    whole = json.loads(path.read_text())

    def load(mask=None, wave=spectra.wave):
        return load_train_error(path, wave=wave, mask=mask)

    with pytest.raises(ConfigError, match="another wavelength grid"):
        load(wave=spectra.wave + 1)
    with pytest.raises(ConfigError, match="another mask"):
        load(mask=np.arange(N_PIXELS) > 5)
    publish_json(path, {**whole, "version": 99})
    with pytest.raises(SchemaVersion, match="version 99"):
        load()
    publish_json(path, {**whole, "kind": "plan"})
    with pytest.raises(ConfigError, match="is a 'plan', expected the train-error file"):
        load()
    path.write_text(json.dumps({**whole, "error": [1.0]}))
    with pytest.raises(Damaged, match="altered"):
        load()
    path.unlink()
    with pytest.raises(ConfigError, match="not there or not readable"):
        load()


# What is fed.


def test_names_are_checked_and_keys_tell_what_is_fed(opened, tmp_path):
    spectra, known, _ = opened
    train, _ = saved_train_error(tmp_path, spectra, known, mask=None)

    def key(kind, seed=0, train=train):
        return fed_error(kind, known=known, seed=seed, split="test", train=train).key

    assert (key("true"), key("zero")) == ("true", "zero")
    assert key("shuffled", seed=5) == "shuffled:version=1,seed=5"
    keys = {key("constant"), key("from-noisy")}
    other = dataclasses.replace(train, offset=train.offset * 2)
    assert key("constant", train=other) in keys
    assert key("from-noisy", train=other) not in keys
    assert all(len(one.split(":")[1]) == 16 for one in keys)
    with pytest.raises(UnknownName, match="known: true, zero, shuffled, constant, from-noisy"):
        key("other")
    assert fed_error("true", known=known, seed=0, split="test") == TRUE_ERROR


def test_what_is_fed_is_never_below_zero_and_finite(opened, tmp_path):
    spectra, known, _ = opened
    train, _ = saved_train_error(tmp_path, spectra, known, mask=None)
    noisy = np.random.default_rng(0).normal(0, 3, (50, N_PIXELS)).astype(np.float32)
    fed = fed_error("from-noisy", known=known, seed=0, split="test", train=train)
    made = fed.seen_for(noisy=noisy, error=noisy, shuffled=None, level=0.5)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert (made >= 0).all()


# Through a run.


def fed_by_hand(kind, survey, split, noisy, rows, level):
    """The error channel of some rows of a split, float64, from the definitions in DESIGN 2."""
    with open_spectra(survey / split / "dataset.h5") as spectra:
        known = fingerprint(spectra, remember=None)
        error = spectra.read(slice(None))[1]
    if kind == "shuffled":
        return level * error[donors_of(known, seed=0, split=split)[rows]]
    with open_spectra(survey / "train/dataset.h5") as spectra:
        flux, error = spectra.read(slice(None))
    if kind == "constant":
        return level * np.tile(error.mean(axis=0), (len(rows), 1))
    z = standard_normal(seed=0, split="train", rows=np.arange(len(flux)), draw=0, n_pixels=N_PIXELS)
    seen = np.maximum(np.maximum(flux, 0) + z * error, 0)
    fits = [
        nnls(np.stack([x, np.ones_like(x)], axis=1), y)[0] for x, y in zip(seen.T, error.T**2, strict=True)
    ]
    slope, offset = np.array(fits).T
    return level * np.sqrt(slope * np.maximum(noisy, 0) + offset)


@pytest.mark.parametrize("level", [1.0, 0.5])
@pytest.mark.parametrize("kind", OTHERS)
def test_features_are_those_of_a_network_fed_by_hand(survey, tmp_path, kind, level):
    changes = {"noise_level": level, "draws": 2, "micro_batch": 5, "slab_rows": 3}
    paths = extract_features(request(survey, tmp_path, error_input=kind, **changes))
    model = load_encoder(CHECKPOINT, YAML)
    for split in ("train", "test"):
        with h5py.File(survey / split / "dataset.h5") as file:
            flux, error = (file[f"dataset/arrays/{name}/value"][()] for name in ("flux", "error"))
        error[:, [0, -1]] = error[:, [1, -2]]
        rows = np.arange(len(flux))
        z = standard_normal(seed=0, split=split, rows=rows, draw=1, n_pixels=N_PIXELS)
        noisy = (np.maximum(flux, 0) + z * error * level).astype(np.float32)
        fed = fed_by_hand(kind, survey, split, noisy, rows, level).astype(np.float32)
        with torch.no_grad():
            activation = model.encode(channels("pixel", noisy, fed), (LAYER,))[LAYER]
        store = FeatureStore.open(paths[split][1])
        assert store.provenance["noise"]["draw"] == 1
        np.testing.assert_allclose(
            store.features(LAYER, POOLING), pool(activation, POOLING).numpy(), atol=2e-5, rtol=0
        )


@pytest.mark.parametrize("kind", ["zero", *OTHERS])
def test_pseudo_layers_and_the_noise_have_the_true_error(survey, tmp_path, kind):
    asked = {"layers": ("input_flux", "input_error", "clean_flux"), "poolings": ("none",)}
    true, other = (
        FeatureStore.open(extract_features(request(survey, tmp_path, error_input=name, **asked))["test"][0])
        for name in ("true", kind)
    )
    for layer in asked["layers"]:
        np.testing.assert_array_equal(true.features(layer, "none"), other.features(layer, "none"))
    assert true.family != other.family


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *[(kind, {"slab_rows": 5, "jobs": 3}) for kind in OTHERS],
        ("shuffled", {"scheduler": "processes", "jobs": 2}),
    ],
)
def test_workers_and_slabs_change_no_bit(survey, tmp_path, kind, how):
    files = {split: (survey / split / "dataset.h5",) for split in ("train", "test")}
    if "scheduler" in how:
        del files["train"]
    asked = {"error_input": kind, "micro_batch": 3, "block_rows": 7}
    wanted = extract_features(request(files, tmp_path / "one", **asked))
    found = extract_features(request(files, tmp_path / "other", **asked, **how))
    for split in files:
        one, other = (FeatureStore.open(paths[split][0]) for paths in (wanted, found))
        assert one.digest() == other.digest(), split


@pytest.mark.parametrize("kind", ["constant", "from-noisy"])
def test_without_train_the_file_of_train_is_asked_for_and_gives_the_same_store(
    survey, tmp_path, kind, monkeypatch
):
    test = {"test": (survey / "test/dataset.h5",)}
    with monkeypatch.context() as unread:
        unread.setattr("extract.prepare.fingerprint", None)  # refused before any spectrum is read
        with pytest.raises(ConfigError, match=r"no train split; extract train first, then .*--train-error"):
            extract_features(request(test, tmp_path, error_input=kind))
        with pytest.raises(ConfigError, match=r"nothing\.json: not there"):
            extract_features(request(test, tmp_path, error_input=kind, train_error=tmp_path / "nothing.json"))
    assert not (tmp_path / "features").exists()
    said = []
    whole = extract_features(request(survey, tmp_path, error_input=kind), say=said.append)
    (path,) = (tmp_path / "encoders").glob("train-error-*.json")
    assert f"train error {path}" in said
    asked = request(test, tmp_path / "alone", error_input=kind, train_error=path)
    alone = extract_features(asked)
    assert FeatureStore.open(alone["test"][0]).digest() == FeatureStore.open(whole["test"][0]).digest()


def views_of(survey, folder, **changes):
    extract_features(request(survey, folder, **changes))
    want = Want(arrays=((LAYER, "forward", POOLING),))
    return {split: [find(folder / "features", split, want)] for split in ("train", "val", "test")}


PART = FeaturePart(layer=LAYER, pooling=POOLING)


@pytest.mark.parametrize("kind", OTHERS)
def test_stores_of_another_error_input_cross_only_by_name(survey, tmp_path, kind):
    true = views_of(survey, tmp_path / "true")
    other = views_of(survey, tmp_path / "other", error_input=kind)
    check_views(other, [PART])
    mixed = {**true, "test": other["test"]}
    with pytest.raises(ProbeError, match=f"error_input: 'true' / '{kind}:"):
        check_views(mixed, [PART])
    check_views(mixed, [PART], {"error-input"})
