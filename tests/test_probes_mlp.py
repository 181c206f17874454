"""The multilayer perceptrons: size, recipe, history, best epoch, and no trace left in torch."""

import itertools

import numpy as np
import pytest
import torch

from cache.errors import ConfigError, Damaged, ProbeError
from probes import make_probe
from probes.learning_curve import COLUMNS
from probes.metrics import mae, r2
from probes.mlp import CUT_SHORT_FLAG
from probes.mlp_network import make_network
from probes.persistence import load_head, save_head

SMALL = {"hidden": (16,), "batch_size": 32, "threads": 1}


def sample(n=200, t=1, *, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, 5)) * 10 + 3).astype(np.float32)
    weights = np.random.default_rng(5).standard_normal((5, t))
    y = 4 + (X - 3) @ weights / 10 + noise * rng.standard_normal((n, t))
    return X, y


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_mlp_1_has_the_published_number_of_parameters():
    assert count(make_network(384, 1)) == 98_817
    X = np.random.default_rng(0).standard_normal((8, 384))
    head = make_probe("mlp_1", selection="fixed", max_epochs=1, threads=1).fit(X, X[:, 0])
    assert count(head.network_) == 98_817


def test_mlp_2_has_two_hidden_layers():
    shapes = [tuple(p.shape) for p in make_network(384, 3, hidden=(256, 64)).parameters()]
    assert shapes == [(256, 384), (256,), (64, 256), (64,), (3, 64), (3,)]


def test_the_recipe_is_the_default():
    settings = make_probe("mlp_1").settings()
    recipe = {
        "hidden": [256],
        "dropout": 0.1,
        "selection": "val_r2",
        "max_epochs": 100,
        "patience": 15,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "plateau_factor": 0.5,
        "plateau_patience": 5,
        "clip": 0.5,
    }
    assert {name: settings[name] for name in recipe} == recipe
    assert make_probe("mlp_2").settings()["hidden"] == [256, 64]


@pytest.mark.parametrize("t", [1, 2])
def test_history_has_a_value_for_each_epoch_in_the_units_of_the_label(t):
    X, y = sample(t=t)
    X_val, y_val = sample(80, t=t, seed=1)
    y, y_val = (y, y_val) if t > 1 else (y[:, 0], y_val[:, 0])
    head = make_probe("mlp_1", max_epochs=6, dropout=0.0, **SMALL)
    head.fit(X, 1000 * y, X_val=X_val, y_val=1000 * y_val)
    history = {name: head.arrays_[f"history_{name}"] for name in COLUMNS}
    assert set(head.arrays_) == {f"history_{name}" for name in COLUMNS}
    assert history["epoch"].tolist() == list(range(6))
    assert history["lr"].shape == (6,)
    for name in ("train_loss", "train_rmse", "val_loss", "val_rmse", "val_mae", "val_r2"):
        assert history[name].shape == ((6,) if t == 1 else (6, t))
    np.testing.assert_allclose(history["val_rmse"] ** 2, history["val_loss"])
    np.testing.assert_allclose(history["train_rmse"] ** 2, history["train_loss"])
    best = head.chosen_["best_epoch"]
    y_hat = head.predict(X_val).reshape(80, t)
    for label in range(t):
        pair = (1000 * y_val.reshape(80, t)[:, label], y_hat[:, label])
        at_best = {name: history[name].reshape(6, t)[best, label] for name in ("val_mae", "val_r2")}
        assert at_best["val_mae"] == pytest.approx(mae(*pair), rel=1e-6)
        assert at_best["val_r2"] == pytest.approx(r2(*pair), rel=1e-6)


def test_train_loss_without_dropout_is_that_of_the_network_when_nothing_moves():
    X, y = sample()
    head = make_probe("mlp_1", max_epochs=1, dropout=0.0, learning_rate=1e-12, selection="fixed", **SMALL)
    head.fit(X, y[:, 0])
    expected = np.mean((head.predict(X) - y[:, 0]) ** 2)
    assert head.arrays_["history_train_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_best_epoch_is_restored_and_training_stops_after_patience():
    X, y = sample(40, noise=2.0)
    X_val, y_val = sample(200, seed=1, noise=2.0)
    params = {**SMALL, "hidden": (64,), "learning_rate": 0.02, "patience": 4, "dropout": 0.0}
    head = make_probe("mlp_1", **params).fit(X, y[:, 0], X_val=X_val, y_val=y_val[:, 0])
    curve = head.arrays_["history_val_r2"]
    best = head.chosen_["best_epoch"]
    assert best == np.argmax(curve)
    assert len(curve) == best + 1 + 4 < 100
    assert r2(y_val[:, 0], head.predict(X_val)) == pytest.approx(curve[best], rel=1e-6)
    assert head.flags_ == []
    again = make_probe("mlp_1", **{**params, "selection": "fixed", "max_epochs": best + 1})
    again.fit(X, y[:, 0])
    assert again.arrays_.keys() == {f"history_{n}" for n in ("epoch", "lr", "train_loss", "train_rmse")}
    if head.arrays_["history_lr"][best] == 0.02:
        np.testing.assert_allclose(again.predict(X), head.predict(X), rtol=1e-6)


def test_learning_rate_is_halved_on_a_plateau_of_val_r2():
    X, y = sample(40, noise=2.0)
    X_val, y_val = sample(60, seed=1, noise=2.0)
    head = make_probe("mlp_1", **SMALL, learning_rate=0.05, plateau_patience=2)
    head.fit(X, y[:, 0], X_val=X_val, y_val=y_val[:, 0])
    rates = head.arrays_["history_lr"]
    assert rates[0] == 0.05
    steps = {after / before for before, after in itertools.pairwise(rates)}
    assert steps == {1.0, 0.5}


def test_a_training_that_was_still_improving_is_flagged():
    X, y = sample()
    head = make_probe("mlp_1", max_epochs=2, **SMALL).fit(X, y[:, 0], X_val=X, y_val=y[:, 0])
    assert head.chosen_ == {"best_epoch": 1}
    assert head.flags_ == [(CUT_SHORT_FLAG, None)]


def test_random_state_and_threads_of_torch_are_left_alone():
    X, y = sample()
    before = (torch.random.get_rng_state(), torch.get_num_threads())
    first = make_probe("mlp_1", selection="fixed", max_epochs=2, **SMALL).fit(X, y[:, 0]).predict(X)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    torch.manual_seed(12345)
    second = make_probe("mlp_1", selection="fixed", max_epochs=2, **SMALL).fit(X, y[:, 0]).predict(X)
    np.testing.assert_array_equal(first, second)
    other = make_probe("mlp_1", selection="fixed", max_epochs=2, seed=1, **SMALL).fit(X, y[:, 0]).predict(X)
    assert np.any(first != other)


def test_rows_far_from_zero_keep_their_digits():
    X, y = sample()
    far = X.astype(np.float64) + 1e7
    params = {"selection": "fixed", "max_epochs": 3, **SMALL}
    plain = make_probe("mlp_1", **params).fit(X, y[:, 0]).predict(X)
    np.testing.assert_allclose(make_probe("mlp_1", **params).fit(far, y[:, 0]).predict(far), plain, atol=1e-4)


def test_raw_labels_can_be_asked_for():
    X, y = sample()
    raw = make_probe("mlp_1", label_scaling="none", selection="fixed", max_epochs=1, **SMALL)
    raw.fit(X, 1000 * y[:, 0])
    assert raw.arrays_["history_train_rmse"][0] > 3000
    scaled = make_probe("mlp_1", selection="fixed", max_epochs=1, **SMALL).fit(X, 1000 * y[:, 0])
    assert scaled.arrays_["history_train_rmse"][0] < 3000


def test_a_loss_that_explodes_says_what_to_do():
    X, y = sample()
    head = make_probe("mlp_1", learning_rate=1e30, selection="fixed", max_epochs=5, **SMALL)
    with pytest.raises(ProbeError, match=r"training loss became .* lower learning_rate"):
        head.fit(X, y[:, 0])


def test_weights_that_do_not_fit_are_refused():
    X, y = sample()
    head = make_probe("mlp_1", selection="fixed", max_epochs=1, **SMALL).fit(X, y[:, 0])
    files = head.to_files()
    head.hidden = (8,)
    with pytest.raises(Damaged, match="does not fit the head"):
        head.from_files(files)
    with pytest.raises(Damaged, match="does not fit the head"):
        head.from_files({"weights.safetensors": b"nonsense"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_head_fitted_on_a_gpu_predicts_without_one(tmp_path):
    X, y = sample()
    head = make_probe("mlp_1", selection="fixed", max_epochs=1, **SMALL).fit(X, y[:, 0])
    head.settings = lambda: {**make_probe("mlp_1", **SMALL).get_params(), "hidden": [16], "device": "cuda"}
    save_head(tmp_path / "head", head, name="mlp_1", use={})
    np.testing.assert_array_equal(load_head(tmp_path / "head").head.predict(X), head.predict(X))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_an_error_unless_auto():
    with pytest.raises(ConfigError, match="'cuda' was asked for"):
        make_probe("mlp_1", device="cuda")
    assert make_probe("mlp_1", device="auto").settings()["device"] == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_agree_within_the_scatter_of_seeds():
    X, y = sample(2000)
    X_val, y_val = sample(500, seed=1)
    scores = {}
    for device in ("cpu", "cuda"):
        head = make_probe("mlp_1", device=device, max_epochs=10, **SMALL)
        head.fit(X, y[:, 0], X_val=X_val, y_val=y_val[:, 0])
        scores[device] = r2(y_val[:, 0], head.predict(X_val))
    assert abs(scores["cpu"] - scores["cuda"]) < 0.02
