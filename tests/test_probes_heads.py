"""Every registered head keeps the same contract; one helper checks them all."""

import copy
import warnings

import numpy as np
import pytest
from heads_fakes import QUICK, sample
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from cache.errors import BlindspotError, ConfigError, ProbeError, UnknownName
from probes import BASELINES, HEADS, make_probe
from probes.base import ROWS_AT_ONCE
from probes.metrics import r2
from probes.persistence import load_head, save_head

CHOOSING = {
    "ridge": {"alpha": "val"},
    "lightgbm": {"early_stopping": 5, "n_trees": 20, "threads": 1},
    "mlp_1": QUICK["mlp_1"],
    "mlp_2": QUICK["mlp_2"],
}
"""Settings with which a head has something to choose."""

EQUIVARIANCE = {"lightgbm": 1e-4, "mlp_1": 1e-4, "mlp_2": 1e-4}
"""Tolerance, in std of y, of predicting a y + b; float32 inside. Linear heads: 1e-9."""


def val_of(X, y):
    return {"X_val": X[::3], "y_val": y[::3]}


def check_head(name, folder):
    """Shapes, clone, determinism, constant columns, shift and scale of y, persistence."""
    params = QUICK[name]
    for t in (None, 1, 3):
        X, y = sample(t=t)
        head = make_probe(name, **params)
        before = (X.copy(), y.copy(), copy.deepcopy(head.get_params()))
        assert head.fit(X, y, groups=np.arange(len(X)), **val_of(X, y)) is head
        y_hat = head.predict(X)
        assert y_hat.shape == y.shape
        assert y_hat.dtype == np.float64
        np.testing.assert_array_equal(before[0], X)
        np.testing.assert_array_equal(before[1], y)
        assert head.get_params() == before[2]

        again = clone(head)
        with pytest.raises(NotFittedError):
            again.predict(X)
        np.testing.assert_array_equal(again.fit(X, y, **val_of(X, y)).predict(X), y_hat)

        digest = save_head(folder / f"{name}-{t}", head, name=name, use={"labels": ["a"]})
        assert digest == save_head(folder / f"{name}-{t}", again, name=name, use={"labels": ["a"]})
        loaded = load_head(folder / f"{name}-{t}")
        np.testing.assert_array_equal(loaded.head.predict(X), y_hat)
        assert loaded.head.settings() == head.settings()
        assert (loaded.name, loaded.use) == (name, {"labels": ["a"]})
    check_constant_columns(name)
    check_shift_and_scale(name)


def check_constant_columns(name):
    X, y = sample()
    X[:, 1] = 7.0
    X[:, 3] = 0.0
    y_hat = make_probe(name, **QUICK[name]).fit(X, y, **val_of(X, y)).predict(X)
    assert np.isfinite(y_hat).all()


def check_shift_and_scale(name):
    X, y = sample()
    scale, shift = 300.0, 5000.0
    plain = make_probe(name, **QUICK[name]).fit(X, y, **val_of(X, y)).predict(X)
    moved = (
        make_probe(name, **QUICK[name]).fit(X, scale * y + shift, **val_of(X, scale * y + shift)).predict(X)
    )
    difference = np.abs((moved - shift) / scale - plain).max() / y.std()
    assert difference < EQUIVARIANCE.get(name, 1e-9)


@pytest.mark.parametrize("name", [*HEADS, *BASELINES])
def test_contract(name, tmp_path):
    check_head(name, tmp_path)


@pytest.mark.parametrize("name", HEADS)
def test_a_linear_signal_is_found_and_nothing_is_printed(name, capfd):
    X, y = sample(400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head = make_probe(name, **QUICK[name]).fit(X[:300], y[:300], **val_of(X[:300], y[:300]))
        assert r2(y[300:], head.predict(X[300:])) > 0.6
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [*HEADS, *BASELINES])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda X, y: (np.where(X[3, 1] == X, np.nan, X), y),
            r"NaN or inf in 1 of 160 rows \(first: \[3\]\)",
        ),
        (lambda X, y: (X, np.where(y == y[5], np.inf, y)), r"labels are NaN or inf in 1 .*\[5\]"),
        (lambda X, y: (X[:-1], y), "159 rows of features, 160 of labels"),
        (lambda X, y: (X[:1], y[:1]), "1 row; at least 2"),
        (lambda X, y: (X[:, 0], y), r"features have shape \(160,\)"),
        (lambda X, y: (X[:0], y[:0]), r"features have shape \(0, 5\)"),
        (lambda X, y: (X[:, :0], y), r"features have shape \(160, 0\)"),
        (lambda X, y: (X.astype(str), y), "expected numbers"),
        (lambda X, y: (X, y[:, None, None]), r"labels have shape \(160, 1, 1\)"),
        (lambda X, y: (X, y.astype(str)), r"labels have shape .* expected numbers"),
    ],
)
def test_bad_samples_are_refused_before_fitting(name, spoil, message):
    X, y = sample()
    head = make_probe(name, **QUICK[name])
    with pytest.raises(ProbeError, match=message):
        head.fit(*spoil(X, y), **val_of(X, y))
    assert not hasattr(head, "n_labels_")


def test_non_finite_rows_are_counted_across_slabs():
    X = np.zeros((ROWS_AT_ONCE + 5, 1))
    X[[1, ROWS_AT_ONCE + 2]] = np.nan
    with pytest.raises(ProbeError, match=rf"in 2 of {len(X)} rows \(first: \[1, {ROWS_AT_ONCE + 2}\]\)"):
        make_probe("ols").fit(X, np.arange(len(X)))


@pytest.mark.parametrize("name", CHOOSING)
def test_choosing_without_val_is_refused(name):
    X, y = sample()
    way_out = rf"chooses on a val split \(val_r2\), and there is none.*--params {name}\.{HEADS[name].fixed}"
    with pytest.raises(ProbeError, match=way_out):
        make_probe(name, **CHOOSING[name]).fit(X, y)


@pytest.mark.parametrize("name", CHOOSING)
def test_choosing_on_a_constant_label_is_refused(name):
    X, y = sample()
    with pytest.raises(ProbeError, match="one value in all of val"):
        make_probe(name, **CHOOSING[name]).fit(X, y, X_val=X[:9], y_val=np.full(9, 2.0))


@pytest.mark.parametrize("name", CHOOSING)
def test_choosing_heads_say_how_and_what(name):
    X, y = sample(t=2)
    head = make_probe(name, **CHOOSING[name]).fit(X, y, **val_of(X, y))
    assert head.selection_rule() == "val_r2"
    assert head.chosen_


@pytest.mark.parametrize("name", [*HEADS, *BASELINES])
def test_columns_must_match_at_prediction(name):
    X, y = sample()
    head = make_probe(name, **QUICK[name]).fit(X, y, **val_of(X, y))
    with pytest.raises(ProbeError, match="4 columns, the head was fitted to 5"):
        head.predict(X[:, :4])
    with pytest.raises(ProbeError, match="features are NaN"):
        head.predict(np.where(X[0, 0] == X, np.nan, X))


@pytest.mark.parametrize(
    ("val", "message"),
    [
        ({"X_val": np.ones((3, 5))}, "belong together"),
        ({"X_val": np.ones((3, 4)), "y_val": np.arange(3.0)}, "val has 4 features and 1 labels"),
        ({"X_val": np.ones((3, 5)), "y_val": np.ones((3, 2))}, "val has 5 features and 2 labels"),
        ({"groups": np.ones(3)}, "one star per row"),
    ],
)
def test_val_and_groups_must_fit(val, message):
    X, y = sample()
    with pytest.raises(ProbeError, match=message):
        make_probe("ridge").fit(X, y, **val)


def test_whole_numbers_are_taken_as_they_are():
    X = np.arange(12).reshape(6, 2) % 5
    y = X @ np.array([2, -1]) + 3
    np.testing.assert_allclose(make_probe("ols").fit(X, y).predict(X), y, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ridge", {"alpha": -1.0}),
        ("ridge", {"alpha": "best"}),
        ("ridge", {"alpha": float("nan")}),
        ("ridge", {"alpha": "val", "n_alphas": 1}),
        ("lightgbm", {"learning_rate": 0.0}),
        ("lightgbm", {"num_leaves": 1}),
        ("lightgbm", {"subsample": 1.5}),
        ("lightgbm", {"reg_lambda": -1.0}),
        ("lightgbm", {"early_stopping": 0}),
        ("lightgbm", {"n_trees": "50"}),
        ("lightgbm", {"early_stopping": "10"}),
        ("ridge", {"alpha_min": "1e-3", "alpha": "val"}),
        ("ridge", {"alpha": None}),
        ("mlp_1", {"learning_rate": "1e-3"}),
        ("mlp_1", {"hidden": ("8",)}),
        ("mlp_1", {"dropout": 1.0}),
        ("mlp_1", {"hidden": (0,)}),
        ("mlp_1", {"hidden": (8, 8)}),
        ("mlp_2", {"hidden": (8,)}),
        ("mlp_1", {"batch_size": 0}),
        ("mlp_1", {"plateau_factor": 1.0}),
        ("mlp_1", {"weight_decay": -0.1}),
        ("mlp_1", {"learning_rate": 0.0}),
        ("mlp_1", {"mixed_layers": 0}),
        ("mlp_1", {"augment": "always"}),
        ("mlp_1", {"seed": 0.5}),
        ("mlp_1", {"hidden": [5.5]}),
        ("mlp_1", {"hidden": None}),
        ("mlp_1", {"hidden": "128"}),
        ("mlp_1", {"max_epochs": 2.5}),
        ("mlp_1", {"max_epochs": [2]}),
        ("mlp_1", {"label_scaling": [1]}),
        ("mlp_2", {"hidden": 128}),
        ("lightgbm", {"preset": 5}),
        ("lightgbm", {"preset": [1]}),
        ("lightgbm", {"n_trees": 2.5}),
        ("ridge", {"n_alphas": 2.5, "alpha": "val"}),
        ("ridge", {"alpha": [1]}),
    ],
)
def test_values_out_of_range_are_refused_on_making(name, params):
    with pytest.raises(ConfigError):
        make_probe(name, **params)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_probe("lasso"), "unknown head 'lasso'; known: ols, ridge"),
        (lambda: make_probe("ridge", lam=1), "unknown parameter of ridge 'lam'; known: alpha"),
        (
            lambda: make_probe("lightgbm", preset="huge"),
            "unknown LightGBM preset 'huge'; known: conservative",
        ),
        (lambda: make_probe("lightgbm", preset=5), "unknown LightGBM preset 5; known: conservative"),
        (lambda: make_probe("mlp_1", device="tpu"), "unknown mlp device 'tpu'; known: cpu, cuda, auto"),
    ],
)
def test_unknown_names_list_the_known_ones(make, message):
    with pytest.raises(UnknownName, match=message):
        make()


def test_one_number_is_one_hidden_layer():
    assert make_probe("mlp_1", hidden=128).settings() == make_probe("mlp_1", hidden=(128,)).settings()


def test_settings_are_json_and_make_the_same_head_again():
    from cache.canonical import canonical_json

    for name in [*HEADS, *BASELINES]:
        settings = make_probe(name).settings()
        canonical_json(settings)
        assert make_probe(name, **settings).settings() == settings


def test_all_errors_are_of_one_family():
    assert issubclass(ProbeError, BlindspotError)
