import pytest

from cache.errors import ConfigError, UnknownName
from probes.cells import CellChoices, arrays_of, requests
from probes.registry import HEADS


def choices(**changes):
    plain = {
        "layers": ("enc_last",),
        "poolings": ("mean_max",),
        "directions": ("forward",),
        "heads": ("ridge",),
        "labels": ("log_g",),
    }
    return CellChoices(**{**plain, **changes})


def test_every_combination_once_in_a_fixed_order():
    asked = choices(
        layers=("a", "b"), poolings=("p", "q"), directions=("forward", "concat"), heads=("ols", "ridge"),
        labels=("x", "y"), controls=("none", "shuffled_labels"),
    )  # fmt: skip
    found = list(requests(asked))
    seen = {(r.features, r.head, r.labels, r.control) for r in found}
    assert len(found) == len(seen) == 2**6
    assert found == list(requests(asked))
    assert [r.labels for r in found[:2]] == [("x",), ("y",)]


def test_joined_layers_and_labels_are_one_probe():
    (request,) = requests(
        choices(
            layers=("a+b",), labels=("log_g+T_eff",), seeds=(3,), train_sizes=(9,), cross=("noise-level",)
        )
    )
    assert arrays_of(request) == (("a", "forward", "mean_max"), ("b", "forward", "mean_max"))
    assert request.labels == ("log_g", "T_eff")
    assert (request.seed, request.train_size, request.cross) == (3, 9, ("noise-level",))


def test_all_heads():
    assert [request.head for request in requests(choices(heads=("all",)))] == list(HEADS)


def test_parameters_go_to_the_heads_that_take_them():
    asked = choices(
        heads=("ols", "ridge", "lightgbm"),
        params=("ridge.alpha=val", "lightgbm.preset=conservative", "seed=4"),
    )
    assert [dict(request.params) for request in requests(asked)] == [
        {},
        {"alpha": "val"},
        {"preset": "conservative", "seed": 4},
    ]
    (plain,) = requests(choices(params=("alpha=0.5",)))
    assert plain.params == {"alpha": 0.5}


@pytest.mark.parametrize("head", list(HEADS))
def test_parameters_of_heads_that_are_not_fitted_are_left_out(head):
    """A grid names them once; which heads it is fitted with may be said beside it."""
    (request,) = requests(choices(heads=(head,), params=("ridge.alpha=val", "lightgbm.preset=conservative")))
    assert dict(request.params) == {"ridge": {"alpha": "val"}, "lightgbm": {"preset": "conservative"}}.get(
        head, {}
    )


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (("alpha",), ConfigError, "expected name=value or head.name=value"),
        (("=3",), ConfigError, "expected name=value"),
        (("alpha=[",), ConfigError, r"--params 'alpha=\['"),
        (("aplha=3",), UnknownName, "unknown parameter of ridge 'aplha'; known: alpha"),
        (("ridge.aplha=3",), UnknownName, "unknown parameter of ridge 'aplha'"),
        (("rigde.alpha=3",), UnknownName, "unknown head in --params 'rigde'; known: ols, ridge, lightgbm"),
        (("ols.alpha=3",), UnknownName, "unknown parameter of ols 'alpha'"),
    ],
)
def test_wrong_parameters_are_refused_before_the_first_probe(params, error, message):
    with pytest.raises(error, match=message):
        next(requests(choices(params=params)))


def test_unknown_heads_list_the_known():
    with pytest.raises(UnknownName, match="unknown head 'forest'; known: ols, ridge"):
        next(requests(choices(heads=("forest",))))


# --- choices among features, sizes and seeds ---


def test_axes_and_segments_are_cells():
    asked = choices(poolings=("seg_mean_K3",), pca=("none", "16", 32), segments=("all", "2+0", 1, "each"))
    found = [(request.segments, request.pca) for request in requests(asked)]
    segments = [None, (0, 2), (1,), (0,), (2,)]
    assert found == [(chosen, pca) for chosen in segments for pca in (None, 16, 32)]


def test_sizes_and_seeds_are_cells():
    asked = choices(train_sizes=("10", 20), seeds=(3, 4))
    found = [(request.train_size, request.seed) for request in requests(asked)]
    assert found == [(10, 3), (10, 4), (20, 3), (20, 4)]


def test_where_a_seed_changes_nothing_the_first_is_taken():
    asked = choices(
        heads=("ridge", "lightgbm"), controls=("none", "shuffled_labels", "mean_predictor"), seeds=(5, 6)
    )
    found = [(request.head, request.control, request.seed) for request in requests(asked)]
    assert [seed for head, control, seed in found if (head, control) == ("ridge", "none")] == [5]
    assert [seed for head, control, seed in found if (head, control) == ("lightgbm", "none")] == [5]
    drawn = choices(heads=("lightgbm",), params=("lightgbm.subsample=0.5",), seeds=(5, 6))
    assert [request.seed for request in requests(drawn)] == [5, 6]
    assert [seed for _, control, seed in found if control == "shuffled_labels"] == [5, 6, 5, 6]
    assert [seed for _, control, seed in found if control == "mean_predictor"] == [5, 5]
    fixed = choices(heads=("lightgbm",), params=("seed=1",), seeds=(5, 6))
    assert [request.seed for request in requests(fixed)] == [5]


def test_a_parameter_given_twice_is_two_cells():
    asked = choices(heads=("ols", "ridge"), params=("ridge.alpha=val", "alpha=0.5", "ridge.n_alphas=3"))
    assert [dict(request.params) for request in requests(asked)] == [
        {},
        {"alpha": "val", "n_alphas": 3},
        {"alpha": 0.5, "n_alphas": 3},
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segments": ("each",)}, "pooling 'mean_max' is not cut into wavelength segments"),
        ({"segments": ("0-3",)}, "--segments '0-3': expected all, each, or numbers"),
        ({"pca": ("few",)}, "--pca 'few': expected numbers or 'none'"),
        ({"train_sizes": ("1.5",)}, "--train-sizes '1.5': expected numbers or 'all'"),
        ({"mix": "mean"}, "unknown mix of layers 'mean'; known: none, softmax"),
        ({"mix": "softmax", "layers": ("a+b",)}, "ridge learns no weights of layers"),
    ],
)
def test_choices_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        list(requests(choices(**changes)))


def test_mixed_layers_are_a_parameter_of_heads_that_learn_weights(monkeypatch):
    monkeypatch.setattr(
        "probes.cells.head_parameters", lambda head: ["mixed_layers"] if head == "mlp_1" else []
    )
    (request,) = requests(choices(heads=("mlp_1",), mix="softmax", layers=("a+b+c",)))
    assert request.params == {"mixed_layers": 3}
    with pytest.raises(ConfigError, match=r"a is one layer; join those to be mixed with '\+'"):
        list(requests(choices(heads=("mlp_1",), mix="softmax", layers=("a",))))
    with pytest.raises(ConfigError, match="heads that do: mlp_1"):
        list(requests(choices(heads=("ridge",), mix="softmax", layers=("a+b",))))


# --- what extract run stores of a product, and no more ---


def test_the_product_is_what_an_extraction_stores():
    asked = choices(
        layers=("enc_last", "input_flux", "input_flux+input_error"),
        poolings=("none", "mean_max"),
        directions=("concat", "forward"),
    )
    inputs = [("forward", pooling) for pooling in ("none", "mean_max")]
    assert [arrays_of(request) for request in requests(asked)] == [
        (("enc_last", "concat", "mean_max"),),
        (("enc_last", "forward", "mean_max"),),
        *((("input_flux", *how),) for how in inputs),
        *((("input_flux", *how), ("input_error", *how)) for how in inputs),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layers": ("input_flux", "enc_last"), "poolings": ("none",)},
            "--layers enc_last with --poolings none: .* enc_last needs another, such as seg_mean_K8",
        ),
        (
            {"layers": ("enc_last+input_flux",), "directions": ("concat",)},
            "--layers enc_last\\+input_flux with --directions concat: inputs .* stored forward alone",
        ),
    ],
)
def test_layers_of_which_nothing_can_be_stored_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        next(requests(choices(**changes)))
