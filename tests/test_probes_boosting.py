"""LightGBM: the published settings, one binned copy for all labels, early stopping on val."""

import lightgbm
import numpy as np
import pytest

from cache.errors import ProbeError
from probes import make_probe
from probes.boosting import PRESETS
from probes.together import Fit, TrainingSet, fit_together

PUBLISHED = {
    "conservative": (15, 50, 0.05, 20, 1.0, 1.0, 0.0),
    "default": (31, 100, 0.1, 20, 1.0, 1.0, 0.0),
    "large": (31, 1000, 0.1, 20, 1.0, 1.0, 0.0),
    "full_spectrum": (31, 800, 0.03, 40, 0.85, 0.45, 5.0),
}


def sample(n=400, t=2, *, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4)).astype(np.float32)
    y = np.stack([np.sign(X[:, 0]) + X[:, 1] ** 2, 5000 + 500 * X[:, 2]], axis=1)[:, :t]
    return X, y + 0.1 * rng.standard_normal((n, t))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_the_published_settings(preset):
    settings = make_probe("lightgbm", preset=preset).settings()
    names = ("num_leaves", "n_trees", "learning_rate", "min_child", "subsample", "colsample", "reg_lambda")
    assert tuple(settings[name] for name in names) == PUBLISHED[preset]


def test_default_preset_is_default_and_settings_override_it():
    head = make_probe("lightgbm", n_trees=7)
    assert head.preset == "default"
    assert head.settings()["n_trees"] == 7
    assert head.settings()["num_leaves"] == 31


def test_equals_a_booster_of_its_own_for_each_label():
    X, Y = sample()
    head = make_probe("lightgbm", n_trees=15, threads=1).fit(X, Y)
    for label in range(2):
        plain = lightgbm.LGBMRegressor(
            n_estimators=15, deterministic=True, force_row_wise=True, random_state=0, n_jobs=1, verbosity=-1
        ).fit(X.astype(np.float64), Y[:, label])
        np.testing.assert_allclose(head.predict(X)[:, label], plain.booster_.predict(X), rtol=1e-12)


@pytest.mark.parametrize("preset", ["default", "full_spectrum"])
def test_equal_seed_repeats_bit_for_bit_and_labels_do_not_touch_each_other(preset):
    X, Y = sample()
    params = {"preset": preset, "n_trees": 15, "threads": 1}
    both = make_probe("lightgbm", **params).fit(X, Y).predict(X)
    np.testing.assert_array_equal(make_probe("lightgbm", **params).fit(X, Y).predict(X), both)
    alone = make_probe("lightgbm", **params).fit(X, Y[:, 1]).predict(X)
    np.testing.assert_array_equal(both[:, 1], alone)


def test_seed_matters_only_where_rows_or_columns_are_drawn():
    X, Y = sample(t=1)

    for params in ({}, {"preset": "conservative"}, {"subsample": 0.5}, {"colsample": 0.5}):
        heads = [make_probe("lightgbm", threads=1, seed=seed, **{"n_trees": 15} | params) for seed in (0, 1)]
        one, other = (head.fit(X, Y).predict(X) for head in heads)
        assert heads[0].seed_matters() == bool(np.any(one != other))


def test_early_stopping_keeps_the_best_iteration_of_each_label():
    X, Y = sample()
    X_val, Y_val = sample(150, seed=1)
    head = make_probe("lightgbm", preset="large", learning_rate=0.3, early_stopping=10, threads=1)
    head.fit(X, Y, X_val=X_val, y_val=Y_val)
    assert len(head.chosen_["best_iteration"]) == 2
    for label, chosen in enumerate(head.chosen_["best_iteration"]):
        errors = [
            np.mean((head.boosters_[label].predict(X_val, num_iteration=k) - Y_val[:, label]) ** 2)
            for k in range(1, chosen + 11)
        ]
        assert 1 + np.argmin(errors) == chosen < 1000
        expected = head.boosters_[label].predict(X_val, num_iteration=chosen)
        np.testing.assert_array_equal(head.predict(X_val)[:, label], expected)


def test_without_early_stopping_val_is_not_looked_at():
    X, Y = sample(t=1)
    plain = make_probe("lightgbm", n_trees=10, threads=1)
    with_val = plain.fit(X, Y, X_val=X[:50], y_val=Y[:50]).predict(X)
    np.testing.assert_array_equal(with_val, plain.fit(X, Y).predict(X))
    assert plain.chosen_ == {}


def test_too_few_rows_for_a_leaf_give_the_mean():
    X, Y = sample(10, t=1)
    np.testing.assert_allclose(make_probe("lightgbm", threads=1).fit(X, Y).predict(X), Y.mean(), rtol=1e-6)


def test_refusals_of_the_library_become_ours(monkeypatch):
    def refuse(*_, **__):
        raise lightgbm.basic.LightGBMError("bad bins")

    monkeypatch.setattr(lightgbm, "train", refuse)
    X, Y = sample(50, t=1)
    with pytest.raises(ProbeError, match="LightGBM refused the fit: bad bins"):
        make_probe("lightgbm", threads=1).fit(X, Y)


def test_rows_are_binned_once_for_each_training_size(monkeypatch):
    made = []
    original = lightgbm.Dataset.__init__

    def counting(self, data, *args, **kwargs):
        made.append(len(data))
        original(self, data, *args, **kwargs)

    monkeypatch.setattr(lightgbm.Dataset, "__init__", counting)
    X, Y = sample()
    X_val, Y_val = sample(150, seed=1)
    Y[350, 0] = np.nan
    fits = [
        Fit(head=make_probe("lightgbm", n_trees=3, threads=1, **params), columns=(k,), n_rows=n_rows)
        for params in ({}, {"preset": "conservative", "seed": 4}, {"early_stopping": 2})
        for k in range(2)
        for n_rows in (300, 400)
    ]
    failures = fit_together(fits, TrainingSet(X=X, Y=Y, X_val=X_val, Y_val=Y_val))
    assert sorted(made) == [150, 150, 300, 400]
    assert [k for k, failure in enumerate(failures) if failure] == [1, 5, 9]
    assert "NaN or inf in 1 of 400 rows" in failures[1]


def test_bins_do_not_depend_on_the_seed_and_are_those_of_seed_0():
    X, y = np.random.default_rng(0).standard_normal((1000, 2)), np.arange(1000.0)
    ours = [
        make_probe("lightgbm", n_trees=2, seed=seed).fit(X, y).to_files()["booster_0.txt"] for seed in (0, 7)
    ]
    plain = lightgbm.train({"seed": 0, "verbosity": -1}, lightgbm.Dataset(X, label=y), num_boost_round=1)
    for text in (*ours, plain.model_to_string().encode()):
        assert b"[data_random_seed: 38]" in text
