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


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (("alpha",), ConfigError, "expected name=value or head.name=value"),
        (("=3",), ConfigError, "expected name=value"),
        (("alpha=[",), ConfigError, r"--params 'alpha=\['"),
        (("aplha=3",), UnknownName, "unknown parameter of ridge 'aplha'; known: alpha"),
        (("ridge.aplha=3",), UnknownName, "unknown parameter of ridge 'aplha'"),
        (("ols.alpha=3",), UnknownName, "unknown head in --params 'ols'; known: ridge"),
    ],
)
def test_wrong_parameters_are_refused_before_the_first_probe(params, error, message):
    with pytest.raises(error, match=message):
        next(requests(choices(params=params)))


def test_unknown_heads_list_the_known():
    with pytest.raises(UnknownName, match="unknown head 'forest'; known: ols, ridge"):
        next(requests(choices(heads=("forest",))))
