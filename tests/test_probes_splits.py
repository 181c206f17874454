"""What may be compared: leaks, families, noise levels, missing labels; and the controls."""

import numpy as np
import pytest
from probes_fakes import LAYER, N_FEATURES, POOLING, make_view, make_views

from cache.errors import ConfigError, LeakError, MissingLabel, ProbeError, UnknownName
from probes.controls import shuffled_by_star, star_ranks
from probes.features import FeaturePart, load_features, parts_from_json
from probes.samples import load_labels, load_sample
from probes.splits import check_disjoint, check_views

PART = FeaturePart(layer=LAYER, pooling=POOLING)


# --- leaks ---


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "val"), ("val", "test")])
def test_a_star_on_both_sides_is_refused_whatever_its_row(one, other):
    views = make_views()
    views[other][0].stars[5] = views[one][0].stars[17]
    with pytest.raises(LeakError, match=rf"1 stars stand in both '{one}' and '{other}' .*rows \[5\]"):
        check_views(views, [PART])


def test_the_message_shows_stars_as_hex():
    shared = np.array([255], dtype=np.uint64)
    with pytest.raises(LeakError, match="00000000000000ff"):
        check_disjoint({"train": shared, "test": shared})


def test_rows_numbered_from_zero_in_every_split_are_no_leak():
    views = make_views()
    assert np.intersect1d(views["train"][0].rows, views["test"][0].rows).size
    check_views(views, [PART])


def test_draws_of_one_star_may_train_together_but_not_test():
    views = make_views()
    again = make_view("train", 80, draw=1)
    views["train"].append(again)
    check_views(views, [PART])
    del views["train"][1]
    views["test"] = [make_view("test", 80, draw=1, first_star=0)]
    with pytest.raises(LeakError, match="80 stars stand in both 'train' and 'test'"):
        check_views(views, [PART])


# --- families, levels, splits ---


def test_other_families_are_refused_and_the_fields_named():
    views = make_views()
    views["test"] = [make_view("test", error_input="zero")]
    with pytest.raises(
        ProbeError, match="differ in error_input: 'true' / 'zero'; say --cross error-input if"
    ):
        check_views(views, [PART])
    check_views(views, [PART], {"error-input"})
    views["test"] = [make_view("test", error_input="zero", origin="random:1")]
    with pytest.raises(ProbeError, match=r"encoder\.origin: 'checkpoint' / 'random:1'"):
        check_views(views, [PART], {"error-input"})


def test_noise_levels_are_crossed_by_name_only():
    views = make_views()
    views["test"] = [make_view("test", level=0.5)]
    with pytest.raises(ProbeError, match=r"train 1\.0, val 1\.0, test 0\.5.*--cross noise-level"):
        check_views(views, [PART])
    check_views(views, [PART], {"noise-level"})
    views["test"].append(make_view("test", level=1.0, draw=1))
    with pytest.raises(ProbeError, match=r"mixes noise levels"):
        check_views(views, [PART], {"noise-level"})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("noise-level", r"all splits have noise level 1\.0: .*--test-noise-level"),
        ("error-input", "all splits have error input 'true': .*--test-error-input"),
    ],
)
def test_a_crossing_that_does_not_occur_is_refused(name, told):
    views = make_views()
    with pytest.raises(ProbeError, match=f"--cross {name}, but the features of {told}"):
        check_views(views, [PART], {name})
    other = {"noise-level": {"error_input": "zero"}, "error-input": {"level": 0.5}}[name]
    views["test"] = [make_view("test", **other)]
    with pytest.raises(ProbeError, match=told):
        check_views(views, [PART], {"noise-level", "error-input"})


def test_a_split_is_used_for_what_it_is():
    views = make_views()
    views["test"] = [make_view("val", first_star=10**9)]
    with pytest.raises(ProbeError, match="split 'val' were given as 'test'"):
        check_views(views, [PART])


def test_a_draw_is_given_once():
    views = make_views()
    views["train"] *= 2
    with pytest.raises(ProbeError, match=r"given twice \(draws \[0, 0\]\)"):
        check_views(views, [PART])


def test_train_and_test_are_needed_and_names_are_checked():
    views = make_views()
    del views["val"]
    check_views(views, [PART])
    with pytest.raises(ConfigError, match="no features of split 'test'"):
        check_views({**views, "test": []}, [PART])
    with pytest.raises(UnknownName, match="unknown split 'dev'; known: train, val, test"):
        check_views({**views, "dev": []}, [PART])
    with pytest.raises(UnknownName, match="unknown crossing 'family'; known: noise-level"):
        check_views(views, [PART], {"family"})


# --- wavelengths ---


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("direction", ["forward", "mean", "concat"])
def test_splits_on_other_wavelengths_are_refused(split, direction):
    """Heads weigh features by their place: fitted on one grid and tested on another, they fail without a sign."""
    views = make_views()
    views["train"].append(make_view("train", 80, draw=1))
    view = views[split][-1]
    plain = view.coordinates

    def moved(*which):
        return {name: v + 500 if name.startswith("wave") else v for name, v in plain(*which).items()}

    view.coordinates = moved
    part = FeaturePart(layer=LAYER, pooling=POOLING, direction=direction)
    told = rf"the {split} spectra are on other wavelengths than those of train: the windows of {part.path} reach from "
    with pytest.raises(
        ProbeError, match=told + r"7000\.00 to 700.* apart by up to 500 Angstrom in .*resample"
    ):
        check_views(views, [part])


def test_a_grid_of_other_pixels_is_refused_whatever_its_ends():
    views = make_views()
    views["test"][0].coordinates = lambda *_: {"wave_lo": np.array([7000.0]), "wave_hi": np.array([7003.0])}
    with pytest.raises(
        ProbeError, match=r"from 7000\.00 to 7003\.00 Angstrom in test\. The network sees pixels"
    ):
        check_views(views, [PART])


# --- joining ---


def test_draws_are_stacked_in_order():
    first, second = make_view("train", 6), make_view("train", 6, seed=1, draw=1)
    sample = load_sample([first, second], [PART], labels=["T_eff", "log_g"], split="train")
    np.testing.assert_array_equal(sample.X, np.concatenate([first.X, second.X]))
    np.testing.assert_array_equal(sample.y[6:, 1], second.stored["log_g"])
    assert sample.draws.tolist() == [0] * 6 + [1] * 6
    assert sample.n_stars == 6
    assert sample.rows.tolist() == [*range(6), *range(6)]
    assert set(sample.stored) == {"log_g", "T_eff", "mag"}


def test_a_stored_label_absent_from_one_file_is_nan_there():
    first, second = make_view("test", 3), make_view("test", 3, source="more")
    del second.stored["mag"]
    sample = load_sample([first, second], [PART], labels=["log_g"], split="test")
    assert np.isnan(sample.stored["mag"][3:]).all()


def test_unequal_widths_are_refused():
    views = [make_view("train", 5), make_view("train", 5, draw=1)]
    views[1].X = views[1].X[:, :3]
    with pytest.raises(ProbeError, match=r"different numbers of features \[3, 6\]"):
        load_sample(views, [PART], labels=["log_g"], split="train")


def test_a_missing_label_fails_only_where_it_is_asked_for():
    view = make_view("val", 10)
    view.rows = np.arange(100, 110)
    view.stored["mag"][[2, 7]] = np.nan
    load_sample([view], [PART], labels=["log_g"], split="val")
    with pytest.raises(
        ProbeError, match=r"'mag' is missing .* in 2 of 10 rows .*'val' \(first rows: \[102, 107\]\)"
    ):
        load_labels(view, ["log_g", "mag"])
    with pytest.raises(ProbeError, match="split 'val' has no label 'a_M'; it has: log_g, T_eff, mag"):
        load_labels(view, ["a_M"])
    view.stored.clear()
    with pytest.raises(ProbeError, match="it has: none"):
        load_labels(view, ["a_M"])


@pytest.mark.parametrize("missing", ["fail", "drop"])
def test_a_number_that_marks_a_missing_label_is_no_value(missing):
    """Fitted as values, -999 for all dwarfs would make a good score of knowing a dwarf."""
    view = make_view("val", 10)
    view.rows = np.arange(100, 110)
    view.stored["log_g"][[2, 7]] = -999
    load_labels(view, ["T_eff"], missing=missing)
    told = r"split 'val': label 'log_g' is -999 in 2 of 10 rows \(first rows: \[102, 107\]\), and all other values"
    with pytest.raises(MissingLabel, match=told):
        load_labels(view, ["T_eff", "log_g"], missing=missing)


def test_labels_are_checked_before_features_are_read():
    view = make_view("val", 10)
    view.features = None
    with pytest.raises(ProbeError, match="has no label"):
        load_sample([view], [PART], labels=["a_M"], split="val")


def test_feature_parts_stand_side_by_side():
    view = make_view("train", 7)
    flux = FeaturePart(layer="input_flux", pooling="none")
    both = FeaturePart(layer=LAYER, pooling=POOLING, direction="concat")
    X = load_features(view, [flux, both])
    assert X.shape == (7, 2 + 2 * N_FEATURES)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X[:, 2 : 2 + N_FEATURES], view.X)
    assert parts_from_json([flux.to_json(), both.to_json()]) == (flux, both)
    with pytest.raises(ConfigError, match="no features"):
        load_features(view, [])


def test_where_keeps_columns_together():
    sample = load_sample([make_view("train", 9)], [PART], labels=["log_g"], split="train")
    some = sample.where(sample.rows % 2 == 0)
    np.testing.assert_array_equal(some.X, sample.X[::2])
    np.testing.assert_array_equal(some.stored["mag"], sample.stored["mag"][::2])


# --- controls ---


def test_rows_of_a_star_get_the_same_wrong_label():
    rng = np.random.default_rng(0)
    stars = rng.permutation(np.repeat(np.arange(50), 3)).astype(np.uint64) + 2**63
    label = (stars % 1000).astype(float)
    y = np.stack([label, -label], axis=1)
    shuffled = shuffled_by_star(y, stars, seed=1)
    for star in np.unique(stars):
        assert len(np.unique(shuffled[stars == star, 0])) == 1
    np.testing.assert_array_equal(shuffled[:, 0], -shuffled[:, 1])
    assert sorted(shuffled[:, 0]) == sorted(y[:, 0])
    assert np.mean(shuffled == y) < 0.1
    assert np.any(shuffled_by_star(y, stars, seed=2) != shuffled)
    order = rng.permutation(len(stars))
    np.testing.assert_array_equal(shuffled_by_star(y[order], stars[order], seed=1), shuffled[order])


def test_subsets_of_stars_are_nested_and_whole():
    stars = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 2))
    ranks = star_ranks(stars, seed=3)
    small, large = (ranks < size for size in (10, 40))
    assert small.sum() == 20
    assert large.sum() == 80
    assert not np.any(small & ~large)
    assert np.unique(stars[small]).size == 10
