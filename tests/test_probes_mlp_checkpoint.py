"""Trainings that were stopped go on, and end with the bits of one that was not."""

import numpy as np
import pytest
import torch
from probes_fakes import LAYER, POOLING, make_views
from sklearn.base import clone

from cache.errors import Damaged, Stale
from cache.records import run_id
from probes import make_probe
from probes.features import FeaturePart
from probes.learning_curve import LearningCurve
from probes.runner import run_probe
from probes.spec import ProbeRequest
from probes.together import Fit, TrainingSet, fit_together

SETTINGS = {
    "hidden": (9,),
    "batch_size": 32,
    "max_epochs": 9,
    "learning_rate": 0.1,
    "plateau_patience": 1,
    "patience": 6,
    "dropout": 0.2,
}


def sample(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((110, 4)).astype(np.float32)
    return X, X @ rng.standard_normal((4, 2)) + rng.standard_normal((110, 2))


def fit(head, **changes):
    X, Y = sample()
    return head.fit(
        **{"X": X, "y": Y, "X_val": X[:40], "y_val": Y[:40], "groups": np.arange(110) // 2} | changes
    )


class Killed(Exception):
    pass


def killed_at(monkeypatch, epoch):
    """Every fit dies while it ends this epoch."""
    original = LearningCurve.add

    def add(self, now, *args, **kwargs):
        if now == epoch:
            raise Killed
        original(self, now, *args, **kwargs)

    monkeypatch.setattr(LearningCurve, "add", add)


def stopped(path, monkeypatch, *, epoch=3, **settings):
    with monkeypatch.context() as patch:
        killed_at(patch, epoch)
        with pytest.raises(Killed):
            fit(make_probe("mlp_1", **SETTINGS | settings).checkpoint_to(path, seconds=0))


@pytest.mark.parametrize(
    "settings",
    [{}, {"selection": "fixed"}, {"dropout": 0.0}, {"augment": "draw_per_epoch", "mixed_layers": 2}],
)
def test_stopped_at_any_epoch_ends_with_the_same_bits(tmp_path, monkeypatch, settings):
    plain = fit(make_probe("mlp_1", **SETTINGS | settings))
    path = tmp_path / "training.safetensors"
    for epoch in range(len(plain.arrays_["history_lr"])):
        stopped(path, monkeypatch, epoch=epoch, **settings)
        assert path.exists() is (epoch > 0)
        again = fit(make_probe("mlp_1", **SETTINGS | settings).checkpoint_to(path, seconds=0))
        assert again.to_files() == plain.to_files()
        assert (again.chosen_, again.flags_) == (plain.chosen_, plain.flags_)
        assert again.arrays_.keys() == plain.arrays_.keys()
        for name, values in plain.arrays_.items():
            np.testing.assert_array_equal(again.arrays_[name], values)
            assert again.arrays_[name].dtype == values.dtype
        assert list(tmp_path.iterdir()) == []


def test_a_training_that_is_stopped_twice(tmp_path, monkeypatch):
    path = tmp_path / "training.safetensors"
    for epoch in (2, 2, 4):
        stopped(path, monkeypatch, epoch=epoch)
    again = fit(make_probe("mlp_1", **SETTINGS).checkpoint_to(path))
    assert again.to_files() == fit(make_probe("mlp_1", **SETTINGS)).to_files()


def test_what_went_on_did_not_start_again(tmp_path, monkeypatch):
    path = tmp_path / "training.safetensors"
    stopped(path, monkeypatch, epoch=3)
    with monkeypatch.context() as patch:
        killed_at(patch, 1)
        fit(make_probe("mlp_1", **SETTINGS).checkpoint_to(path))


def test_nothing_is_written_before_its_time(tmp_path, monkeypatch):
    path = tmp_path / "training.safetensors"
    killed_at(monkeypatch, 5)
    with pytest.raises(Killed):
        fit(make_probe("mlp_1", **SETTINGS).checkpoint_to(path, seconds=3600))
    assert not path.exists()


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ({"seed": 1}, {}, "seed is 0 there and 1 here"),
        ({"hidden": (8,)}, {}, r"hidden is \[9\] there and \[8\] here"),
        ({}, {"X": sample(1)[0]}, "data is"),
        ({}, {"y_val": sample(1)[1][:40]}, "data is"),
        ({}, {"groups": np.arange(110)}, "data is"),
    ],
)
def test_the_training_of_another_fit_is_refused_and_kept(tmp_path, monkeypatch, settings, changes, message):
    path = tmp_path / "training.safetensors"
    stopped(path, monkeypatch)
    before = path.read_bytes()
    with pytest.raises(Stale, match=f"{message}.*remove the file"):
        fit(make_probe("mlp_1", **SETTINGS | settings).checkpoint_to(path), **changes)
    assert path.read_bytes() == before


def test_another_torch_may_round_otherwise(tmp_path, monkeypatch):
    path = tmp_path / "training.safetensors"
    stopped(path, monkeypatch)
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    with pytest.raises(Stale, match=r"torch is .* there and '9.9.9' here"):
        fit(make_probe("mlp_1", **SETTINGS).checkpoint_to(path))


def test_a_state_that_is_not_whole_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "training.safetensors"
    stopped(path, monkeypatch)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    of_a_fit = whole.replace(b'\\"seed\\":0', b'\\"seed\\":1')
    assert of_a_fit != whole
    for content in (b"", whole[:50], whole[:-7], bytes(flipped), of_a_fit):
        path.write_bytes(content)
        with pytest.raises(Damaged, match="not a whole training state; remove it"):
            fit(make_probe("mlp_1", **SETTINGS).checkpoint_to(path))


def test_a_checkpoint_is_no_setting(tmp_path):
    head = make_probe("mlp_1", **SETTINGS).checkpoint_to(tmp_path / "x")
    assert head.keeps_checkpoint()
    assert not clone(head).keeps_checkpoint()
    assert head.get_params() == make_probe("mlp_1", **SETTINGS).get_params()


def test_heads_fitted_together_keep_their_own(tmp_path, monkeypatch):
    X, Y = sample()
    data = TrainingSet(X=X, Y=Y, X_val=X[:40], Y_val=Y[:40])

    def fits(folder):
        heads = [make_probe("mlp_1", **SETTINGS, seed=seed) for seed in range(2)]
        if folder is not None:
            heads = [head.checkpoint_to(folder / str(k), seconds=0) for k, head in enumerate(heads)]
        return [Fit(head=head, columns=(0,), n_rows=110) for head in heads]

    with monkeypatch.context() as patch:
        killed_at(patch, 4)
        with pytest.raises(Killed):
            fit_together(fits(tmp_path), data)
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    again, plain = fits(tmp_path), fits(None)
    assert fit_together(again, data) == fit_together(plain, data) == [None, None]
    assert [f.head.to_files() for f in again] == [f.head.to_files() for f in plain]
    assert list(tmp_path.iterdir()) == []


# Through the runner.


@pytest.mark.parametrize("spoil", [lambda _: None, lambda path: path.write_bytes(b"broken")])
def test_a_probe_that_was_killed_goes_on_with_the_next_command(tmp_path, monkeypatch, spoil):
    """And begins anew where its state is broken: nothing but time is lost."""
    parts = (FeaturePart(layer=LAYER, pooling=POOLING),)
    wanted = ProbeRequest(features=parts, head="mlp_1", labels=("log_g",), params=SETTINGS)
    views = make_views()
    whole = run_probe(wanted, views)
    monkeypatch.setattr("probes.mlp_checkpoint.Checkpoint.due", lambda _: True)
    epochs = []
    with monkeypatch.context() as patch:
        killed_at(patch, 3)
        with pytest.raises(Killed):
            run_probe(wanted, views, unfinished=tmp_path)
    (state,) = tmp_path.iterdir()
    assert state.stem == run_id("probe", whole.spec)
    spoil(state)
    intact = state.read_bytes() != b"broken"
    original = LearningCurve.add
    monkeypatch.setattr(
        LearningCurve, "add", lambda self, now, *a, **k: epochs.append(now) or original(self, now, *a, **k)
    )
    again = run_probe(wanted, views, unfinished=tmp_path)
    assert epochs[0] == (3 if intact else 0)
    assert again.result == whole.result
    assert again.head.to_files() == whole.head.to_files()
    assert not list(tmp_path.iterdir())
