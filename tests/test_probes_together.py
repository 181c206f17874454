"""Fitting together gives what fitting alone gives; every registered head goes through the same check."""

import numpy as np
import pytest
from heads_fakes import QUICK, sample

from cache.errors import ConfigError
from probes import BASELINES, HEADS, make_probe, ridge_solutions
from probes.moments import moments
from probes.together import Fit, TrainingSet, fit_alone, fit_together


def training_set(**changes):
    X, Y = sample(160, t=3)
    X_val, Y_val = sample(60, t=3, seed=1)
    return TrainingSet(
        **{"X": X, "Y": Y, "X_val": X_val, "Y_val": Y_val, "groups": np.arange(len(X))} | changes
    )


def fits_of(name, settings):
    """Labels one by one and jointly, each at two sizes."""
    return [
        Fit(head=make_probe(name, **params), columns=columns, n_rows=n_rows)
        for params in settings
        for columns in ((0,), (2,), (1, 0))
        for n_rows in (90, 160)
    ]


def check_together(name, settings, **changes):
    data = training_set(**changes)
    together, alone = fits_of(name, settings), fits_of(name, settings)
    assert fit_together(together, data) == [None] * len(together)
    for one, other in zip(together, alone, strict=True):
        assert fit_alone(other, data) is None
        assert one.head.to_files() == other.head.to_files()
        assert one.head.chosen_ == other.head.chosen_
        assert one.head.flags_ == other.head.flags_
        assert one.head.arrays_.keys() == other.head.arrays_.keys()
        for key, values in one.head.arrays_.items():
            np.testing.assert_array_equal(values, other.head.arrays_[key])
        np.testing.assert_array_equal(one.head.predict(data.X), other.head.predict(data.X))


@pytest.mark.parametrize(
    ("name", "settings", "unit", "at_most"),
    [
        ("lightgbm", {"preset": "conservative", "n_trees": 12}, "trees", 24),
        ("mlp_1", {"max_epochs": 3, "patience": 5}, "epochs", 3),
    ],
)
def test_slow_heads_tell_how_far_they_are(name, settings, unit, at_most):
    told = []
    data = training_set(told=lambda *steps: told.append(steps))
    fit = Fit(head=make_probe(name, **settings), columns=(0, 1), n_rows=160)
    assert fit_together([fit], data) == [None]
    assert told == [(done, at_most, unit) for done in range(1, at_most + 1)]


MIXED = {
    "lightgbm": [
        {"preset": "conservative", "n_trees": 50},
        {"preset": "default", "n_trees": 100, "early_stopping": 5},
        {"preset": "large", "n_trees": 60, "min_child": 3, "seed": 1},
        {"preset": "full_spectrum", "n_trees": 20, "seed": 2, "early_stopping": 3},
        {"preset": "full_spectrum", "n_trees": 20, "seed": 2, "threads": 2},
    ],
    "mlp_1": [
        {"seed": 1, "max_epochs": 3},
        {"hidden": (5,), "selection": "fixed", "max_epochs": 3, "dropout": 0.0},
        {"augment": "draw_per_epoch", "mixed_layers": 5, "max_epochs": 3},
    ],
}
"""Settings, on top of the quick ones, that share what can be shared without touching each other."""


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("backwards", [False, True])
def test_settings_do_not_leak_between_fits(name, backwards):
    settings = [{**QUICK[name], **params} for params in MIXED[name]]
    check_together(name, settings[::-1] if backwards else settings)


@pytest.mark.parametrize("name", [*HEADS, *BASELINES])
def test_together_is_alone_to_the_last_bit(name):
    check_together(name, [QUICK[name]])


RIDGES = [
    {},
    {"alpha": "val"},
    {"alpha": 7.0},
    {"alpha": "val", "n_alphas": 5, "alpha_max": 10.0},
    {"alpha": 0.0},
]


def wide(n, *, seed):
    """More features than the smaller size has rows, fewer than the larger one has."""
    return sample(n, d=120, t=3, seed=seed)


@pytest.mark.parametrize(("name", "settings"), [("ridge", RIDGES), ("ols", [{}, {}])])
def test_linear_heads_of_several_settings_and_shapes(name, settings):
    check_together(name, settings)
    (X, Y), (X_val, Y_val) = wide(160, seed=0), wide(60, seed=1)
    check_together(name, settings, X=X, Y=Y, X_val=X_val, Y_val=Y_val)


def test_ridge_goes_over_the_rows_once(monkeypatch):
    passes = []
    monkeypatch.setattr(
        ridge_solutions, "moments", lambda *args, **kwargs: passes.append(kwargs) or moments(*args, **kwargs)
    )
    assert fit_together(fits_of("ridge", RIDGES), training_set()) == [None] * 30
    assert passes == [{"sizes": [90, 160]}]


@pytest.mark.parametrize("name", ["ridge", "ols", "mean"])
@pytest.mark.parametrize("where", ["X", "Y", "X_val", "Y_val"])
def test_what_is_not_finite_is_told_as_by_a_fit_alone(name, where):
    data = training_set()
    getattr(data, where)[120 if where in {"X", "Y"} else 20, 0] = np.nan
    together, alone = fits_of(name, [QUICK[name]]), fits_of(name, [QUICK[name]])
    told = fit_together(together, data)
    assert told == [fit_alone(fit, data) for fit in alone]
    assert any(told)
    for one, other, failure in zip(together, alone, told, strict=True):
        if failure is None:
            assert one.head.to_files() == other.head.to_files()


def test_a_fit_that_fails_leaves_the_others():
    data = training_set()
    data.Y[5, 1] = np.nan
    fits = [Fit(head=make_probe("ridge"), columns=(k,), n_rows=160) for k in range(3)]
    first, second, third = fit_together(fits, data)
    assert (first, third) == (None, None)
    assert "NaN or inf in 1 of 160 rows" in second


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": (3,)}, "label columns"),
        ({"columns": ()}, "label columns"),
        ({"n_rows": 161}, "161 train"),
    ],
)
def test_what_is_not_there_is_refused_before_any_fit(change, message):
    good = {"head": make_probe("ridge"), "columns": (0,), "n_rows": 160}
    with pytest.raises(ConfigError, match=message):
        fit_together([Fit(**good), Fit(**good | change)], training_set())
    assert not hasattr(good["head"], "coef_")
