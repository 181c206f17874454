"""The step written by hand against autograd, and stacks of networks against single ones."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from cache.errors import ProbeError
from probes import make_probe
from probes.mlp import MLP
from probes.mlp_adamw import FusedAdamW, StackedAdamW, make_optimiser
from probes.mlp_dropout import CPUMasks, GPUMasks, make_masks
from probes.mlp_features import Features, label_scaling
from probes.mlp_member import Member, Plateau, Recipe
from probes.mlp_network import ALIGNMENT, MixedLayers, Stack, make_network
from probes.mlp_order import EveryRow, OneRowPerStar
from probes.mlp_stacking import STACK_LIMIT, _stacks_by_features, fit_in_stacks, fit_stack
from probes.mlp_step import Step, runner_of
from probes.mlp_training import TrainingData, train
from probes.together import Fit, TrainingSet

CPU = torch.device("cpu")
RECIPE = {
    "dropout": 0.1,
    "selection": "fixed",
    "max_epochs": 4,
    "patience": 15,
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "plateau_factor": 0.5,
    "plateau_patience": 5,
    "clip": 0.5,
    "seed": 3,
}
N, BATCH = 75, 16  # four full batches and one of 11


def scaled_rows(d, t, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(N, d, generator=generator)
    y = torch.tanh(X[:, :t]) + 0.3 * torch.randn(N, t, generator=generator)
    return X, y


def plain_training(network, X, y, recipe):
    """Autograd, torch's AdamW and clip_grad_norm_ with the same order and masks; losses and norms by epoch, step."""
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, foreach=False
    )
    order = torch.Generator().manual_seed(recipe.seed)
    masks = CPUMasks([recipe.seed], [recipe.dropout])
    losses, norms = [], []
    for _ in range(recipe.max_epochs):
        squared = torch.zeros(y.shape[1])
        for rows in torch.split(torch.randperm(len(X), generator=order), BATCH):
            y_hat = plain_forward(network, X[rows], masks if recipe.dropout else None)
            loss = nn.functional.mse_loss(y_hat, y[rows])
            optimiser.zero_grad()
            loss.backward()
            norms.append(float(nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)))
            optimiser.step()
            squared += (y_hat.detach() - y[rows]).square().sum(dim=0)
        losses.append((squared / len(X)).numpy())
    return np.array(losses), np.array(norms)


def plain_forward(network, a, masks):
    drawn = iter(())
    if masks is not None:
        widths = [m.out_features for m in network if isinstance(m, nn.Linear)][:-1]
        places = [torch.empty(1, len(a), width) for width in widths]
        masks.fill(places)
        drawn = iter(place[0] for place in places)
    for module in network:
        if not isinstance(module, nn.Dropout):
            a = module(a)
        elif masks is not None:
            a = a * next(drawn)
    return a


@pytest.mark.parametrize("hidden", [(7,), (9, 5), (6, 5, 4)])
@pytest.mark.parametrize("t", [1, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("mixed_layers", [1, 3])
def test_the_step_is_that_of_autograd(hidden, t, dropout, mixed_layers):
    X, y = scaled_rows(6 * mixed_layers, t)
    recipe = Recipe(**RECIPE | {"dropout": dropout, "clip": 0.4})
    torch.manual_seed(1)
    network = make_network(6 * mixed_layers, t, hidden=hidden, mixed_layers=mixed_layers)
    stack = Stack([network], CPU)
    member = Member(recipe, label_scaling(y.numpy(), "none"), None)
    train([member], stack, TrainingData(X=X, y=y, X_val=None, visits=EveryRow(N)), batch_size=BATCH)
    start = copy.deepcopy(network.state_dict())
    losses, norms = plain_training(network, X, y, recipe)
    assert (norms > recipe.clip).any()
    assert (norms < recipe.clip).any()
    np.testing.assert_allclose(
        member.curve.as_arrays(single_label=False)["history_train_loss"], losses, rtol=2e-5
    )
    found = stack.state_dict(member.best_values)
    assert found.keys() == start.keys()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=2e-5)
        assert not torch.equal(value, start[name])


def test_both_optimisers_move_alike_and_gaps_stay_empty():
    recipes = [
        Recipe(**RECIPE | {"learning_rate": rate, "clip": clip}) for rate, clip in [(0.1, 9.0), (0.01, 0.1)]
    ]
    networks = [make_network(5, 1, hidden=(7,)) for _ in recipes]
    together = Stack(networks, CPU)
    alone = [Stack([network], CPU) for network in networks]
    optimisers = [make_optimiser(stack, [recipe]) for stack, recipe in zip(alone, recipes, strict=True)]
    both = make_optimiser(together, recipes)
    assert {type(o) for o in optimisers} == {FusedAdamW}
    assert type(both) is StackedAdamW
    used = sum(p.numel() for p in networks[0].parameters())
    assert together.values.shape[1] % ALIGNMENT == 0
    assert together.values.shape[1] > used == int((together.values[0] != 0).sum())
    for rates in ([0.1, 0.01], [0.05, 0.01]):
        both.start_epoch(rates, 3)
        for optimiser, rate in zip(optimisers, rates, strict=True):
            optimiser.start_epoch([rate], 3)
        for _ in range(3):
            gradients = torch.where(together.values != 0, torch.randn_like(together.values), 0.0)
            together.gradients.copy_(gradients)
            both.next()
            both.update()
            for k, (stack, optimiser) in enumerate(zip(alone, optimisers, strict=True)):
                stack.gradients.copy_(gradients[k : k + 1])
                optimiser.next()
                optimiser.update()
    for k, stack in enumerate(alone):
        torch.testing.assert_close(together.values[k], stack.values[0], rtol=1e-5, atol=1e-7)
    assert int((together.values[0] != 0).sum()) == used


def sample(n=150, t=3, *, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)).astype(np.float32)
    Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2], 5000 + 300 * X[:, 3]], axis=1)[:, :t]
    return X, Y + noise * Y.std(axis=0) * rng.standard_normal((n, t))


DIFFERENT = [
    {"seed": 0, "learning_rate": 0.02},
    {"seed": 1, "dropout": 0.0, "weight_decay": 0.1, "max_epochs": 5},
    {"seed": 2, "dropout": 0.4, "clip": 0.05, "label_scaling": "none", "learning_rate": 0.003},
    {"seed": 3, "learning_rate": 0.1, "patience": 2, "plateau_patience": 1},
    {"seed": 4, "selection": "fixed", "max_epochs": 7},
]
COMMON = {"hidden": (12,), "max_epochs": 12, "batch_size": 32}


def stacked_and_alone(name, different, common, *, t=1, device="cpu"):
    """Heads fitted as one stack, and the same ones one by one; label k % 3 or all."""
    X, Y = sample()
    X_val, Y_val = sample(90, seed=1)
    groups = np.arange(len(X)) // 2
    pair = []
    for _ in range(2):
        heads = [make_probe(name, **common | params, device=device) for params in different]
        labels = [[k % 3] if t == 1 else [0, 1, 2][:t] for k in range(len(heads))]
        samples = [
            head.prepare(X, Y[:, k], X_val=X_val, y_val=Y_val[:, k], groups=groups)
            for head, k in zip(heads, labels, strict=True)
        ]
        pair.append((heads, samples))
    (stacked, samples), (alone, _) = pair
    features = Features.of(samples[0], stacked[0].torch_device())
    assert fit_stack(stacked, samples, features) == [None] * len(stacked)
    for head, one in zip(alone, samples, strict=True):
        assert fit_stack([head], [one], features) == [None]
    return stacked, alone, X_val


@pytest.mark.parametrize(
    ("name", "common", "t"),
    [
        ("mlp_1", COMMON, 1),
        ("mlp_2", {**COMMON, "hidden": (8, 6)}, 3),
        ("mlp_1", {**COMMON, "mixed_layers": 2}, 1),
        ("mlp_1", {**COMMON, "augment": "draw_per_epoch"}, 2),
    ],
)
def test_a_stack_trains_each_network_as_if_it_were_alone(name, common, t):
    stacked, alone, X_val = stacked_and_alone(name, DIFFERENT, common, t=t)
    lengths = set()
    for one, other in zip(stacked, alone, strict=True):
        assert one.chosen_ == other.chosen_
        assert one.flags_ == other.flags_
        assert one.arrays_.keys() == other.arrays_.keys()
        lengths.add(len(one.arrays_["history_lr"]))
        for key, values in one.arrays_.items():
            np.testing.assert_allclose(values, other.arrays_[key], rtol=2e-3, atol=1e-4, err_msg=key)
        y_hat = other.predict(X_val)
        np.testing.assert_allclose(one.predict(X_val), y_hat, atol=2e-3 * y_hat.std(axis=0).max())
    assert len(lengths) > 1


def test_a_network_that_explodes_leaves_the_others():
    X, Y = sample(t=1)
    params = {"selection": "fixed", "max_epochs": 4, **COMMON}
    heads = [
        make_probe("mlp_1", **{**params, "max_epochs": 4, "learning_rate": r}) for r in (0.01, 1e30, 0.01)
    ]
    samples = [head.prepare(X, Y[:, 0]) for head in heads]
    first, second, third = fit_stack(heads, samples, Features.of(samples[0], CPU))
    assert (first, third) == (None, None)
    assert "training loss became" in second
    np.testing.assert_array_equal(heads[0].predict(X), heads[2].predict(X))


def test_rows_are_scaled_once_for_each_training_size(monkeypatch):
    calls = []
    original = Features.of.__func__
    monkeypatch.setattr(
        Features, "of", classmethod(lambda cls, s, d: calls.append(len(s.X)) or original(cls, s, d))
    )
    X, Y = sample()
    Y[70, 1] = np.nan
    fits = [
        Fit(
            head=make_probe("mlp_1", **COMMON | {"selection": "fixed", "max_epochs": 1}),
            columns=(k,),
            n_rows=n,
        )
        for k in range(3)
        for n in (60, 150)
    ]
    failures = fit_in_stacks(fits, TrainingSet(X=X, Y=Y))
    assert sorted(calls) == [60, 150]
    assert [failure is None for failure in failures] == [True, True, True, False, True, True]
    assert "labels are NaN" in failures[3]


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_masks_keep_the_mean_and_depend_on_the_seed_alone(dropout):
    places = [torch.empty(3, 200, 33), torch.empty(3, 200, 7)]
    CPUMasks([5, 6, 5], [dropout] * 3).fill(places)
    for place in places:
        assert torch.equal(place[0], place[2])
        assert not torch.equal(place[0], place[1])
        assert len(place.unique()) == 2
    kept = (places[0][:2] > 0).double().mean()
    assert abs(kept - (1 - dropout)) < 5 * math.sqrt(dropout * (1 - dropout) / places[0][:2].numel())
    assert float(places[0].max()) == pytest.approx(1 / (1 - dropout), rel=1e-4)
    single = [torch.empty(1, 200, 33), torch.empty(1, 200, 7)]
    CPUMasks([5], [dropout]).fill(single)
    assert torch.equal(single[1][0], places[1][0])


def test_masks_without_dropout_and_with_the_largest():
    place = torch.zeros(2, 50, 3)
    CPUMasks([1, 2], [0.0, 1 - 1e-9]).fill([place])
    assert (place[0] == 1).all()
    assert float(place[1].max()) in {0.0, 2.0**16}


def test_masks_go_on_from_their_state():
    first, second = (make_masks([1, 2], [0.5, 0.1], CPU) for _ in range(2))
    place, again = torch.empty(2, 9, 5), torch.empty(2, 9, 5)
    first.fill([place])
    second.restore(first.state())
    first.fill([place])
    second.fill([again])
    assert torch.equal(place, again)


def test_plateau_is_that_of_torch():
    rng = np.random.default_rng(0)
    for patience in (1, 2, 5):
        for scores in (np.cumsum(rng.normal(0.01, 0.1, 60)), rng.normal(0, 1, 60), np.zeros(60)):
            optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-5)
            theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimiser, mode="max", factor=0.3, patience=patience
            )
            ours = Plateau(1e-5, 0.3, patience)
            for score in scores:
                theirs.step(float(score))
                ours.step(float(score))
                assert ours.rate == optimiser.param_groups[0]["lr"]


def test_every_star_takes_its_turns():
    stars = np.array([7, 3, 7, 9, 3, 7])
    visits = OneRowPerStar(stars)
    generator = torch.Generator().manual_seed(0)
    assert visits.n_visited == 3
    for epoch in range(7):
        rows = visits.rows(epoch, generator).tolist()
        turns = [np.flatnonzero(stars == star) for star in (3, 7, 9)]
        assert sorted(rows) == sorted(int(of_star[epoch % len(of_star)]) for of_star in turns)


def test_one_draw_of_each_star_is_all_rows():
    X, Y = sample(t=1)
    params = {"selection": "fixed", **COMMON}
    plain = make_probe("mlp_1", **params).fit(X, Y[:, 0])
    turns = make_probe("mlp_1", augment="draw_per_epoch", **params).fit(X, Y[:, 0], groups=np.arange(len(X)))
    np.testing.assert_array_equal(plain.predict(X), turns.predict(X))
    halves = make_probe("mlp_1", augment="draw_per_epoch", **params)
    halves.fit(X, Y[:, 0], groups=np.arange(len(X)) // 2)
    assert np.any(halves.predict(X) != plain.predict(X))


def test_turns_need_to_know_the_stars():
    X, Y = sample(t=1)
    head = make_probe("mlp_1", augment="draw_per_epoch", selection="fixed")
    with pytest.raises(ProbeError, match="'draw_per_epoch' was given no groups"):
        head.fit(X, Y[:, 0])


def test_mixing_finds_the_block_that_knows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 12)).astype(np.float32)
    y = X[:, 4:8] @ np.array([1.0, -1.0, 0.5, 2.0])
    head = make_probe(
        "mlp_1", mixed_layers=3, hidden=(16,), max_epochs=40, learning_rate=0.02, dropout=0.0, batch_size=32
    ).fit(X, y, X_val=X[:100], y_val=y[:100])
    shares = head.arrays_["layer_weights"]
    assert shares.shape == (3,)
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() == 1
    assert shares[1] > 0.5
    again = make_probe("mlp_1", mixed_layers=3, hidden=(16,))
    again.n_features_in_, again.n_labels_, again.single_label_ = 12, 1, True
    again.from_files(head.to_files())
    np.testing.assert_array_equal(again.predict(X), head.predict(X))


def test_equal_shares_are_the_mean_of_the_blocks():
    x = torch.randn(4, 12)
    torch.testing.assert_close(MixedLayers(3)(x), x.view(4, 3, 4).mean(dim=1))


def test_blocks_must_be_equally_wide():
    X, Y = sample(t=1)
    with pytest.raises(ProbeError, match="6 columns, not 4 blocks of one width"):
        make_probe("mlp_1", mixed_layers=4, selection="fixed").fit(X, Y[:, 0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_captured_step_is_the_step():
    X, y = (tensor.cuda() for tensor in scaled_rows(8, 1))
    ends = []
    for capture in (True, False):
        torch.manual_seed(0)
        recipes = [Recipe(**RECIPE), Recipe(**RECIPE | {"learning_rate": 0.02})]
        stack = Stack([make_network(8, 1, hidden=(7,)) for _ in recipes], X.device)
        optimiser = make_optimiser(stack, recipes)
        squared = torch.zeros(2, 1, device=X.device)
        step = Step(
            stack, X, torch.cat([y, y]), n_rows=16, optimiser=optimiser, squared=squared, dropout=True
        )
        run = runner_of(step, stack) if capture else step.run
        squared.zero_()
        masks = CPUMasks([0, 1], [0.2, 0.2])
        places = [torch.empty(mask.shape) for mask in step.masks]
        optimiser.start_epoch([0.01, 0.02], 4)
        for batch in range(4):
            step.rows.copy_(torch.arange(16 * batch, 16 * batch + 16).expand(2, -1))
            masks.fill(places)
            for mask, place in zip(step.masks, places, strict=True):
                mask.copy_(place)
            optimiser.next()
            run()
        ends.append((stack.values.cpu(), squared.cpu()))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_stack_on_a_gpu_trains_each_network_as_if_it_were_alone():
    stacked, alone, X_val = stacked_and_alone("mlp_1", DIFFERENT, COMMON, device="cuda")
    for one, other in zip(stacked, alone, strict=True):
        y_hat = other.predict(X_val)
        np.testing.assert_allclose(one.predict(X_val), y_hat, atol=0.05 * y_hat.std())


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
def test_masks_drawn_ahead_depend_on_the_seed_alone_and_go_on_from_their_state(device):
    device = torch.device(device)
    together, alone = GPUMasks([5, 6], [0.1, 0.5], device), GPUMasks([6], [0.5], device)
    places, single = [torch.empty(2, 64, 33, device=device)], [torch.empty(1, 64, 33, device=device)]
    for epoch in range(2):
        together.start_epoch()
        alone.start_epoch()
        again = GPUMasks([6], [0.5], device)
        again.restore(alone.state())
        for _ in range(70):
            together.fill(places)
            alone.fill(single)
            assert torch.equal(places[0][1], single[0][0])
        repeated = [torch.empty_like(single[0])]
        for _ in range(70):
            again.fill(repeated)
        assert torch.equal(repeated[0], single[0]), epoch
    assert set(places[0][1].unique().tolist()) == {0.0, 2.0}
    assert abs(float((places[0][0] > 0).float().mean()) - 0.9) < 0.05


def test_on_a_gpu_alike_heads_are_one_stack_and_checkpointed_ones_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(MLP, "torch_device", lambda self: torch.device(self.device))
    params = [{"seed": k, "learning_rate": 0.1 / (k + 1)} for k in range(STACK_LIMIT + 2)]
    heads = [MLP(device="cuda", **p) for p in params]
    odd = [MLP((8,), device="cuda"), MLP(device="cuda").checkpoint_to(tmp_path / "x"), MLP(), MLP()]
    fits = [Fit(head=head, columns=(0,), n_rows=9) for head in (*heads, *odd)]
    fits += [
        Fit(head=MLP(device="cuda"), columns=(0, 1), n_rows=9),
        Fit(head=MLP(device="cuda"), columns=(0,), n_rows=5),
    ]
    n = len(heads)
    assert _stacks_by_features(fits, [fit.head for fit in fits]) == [
        [list(range(STACK_LIMIT)), [STACK_LIMIT, STACK_LIMIT + 1], [n], [n + 1], [n + 4]],
        [[n + 2], [n + 3]],
        [[n + 5]],
    ]
