"""Flags on labels: other units, mistyped values; honest labels raise none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.odd_labels import FAR_LABEL_FLAG, OTHER_RANGE_FLAG, odd_labels

KINDS = {
    "normal": lambda rng, n: rng.normal(2.5, 1.0, n),
    "uniform": lambda rng, n: rng.uniform(3500, 7000, n),
    "two groups": lambda rng, n: np.where(
        rng.random(n) < 0.9, rng.normal(4.5, 0.1, n), rng.normal(1.5, 0.3, n)
    ),
    "exponential": lambda rng, n: rng.exponential(1.0, n),
    "one value": lambda _rng, n: np.full(n, 4.4),
}


def split(seed, kind, sizes):
    rng = np.random.default_rng(seed)
    return {name: KINDS[kind](rng, n)[:, None] for name, n in sizes.items()}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(sorted(KINDS)),
    n=st.integers(20, 3000),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    shift=st.sampled_from([-5.0, 0.0, 5.0]),
)
def test_labels_of_one_kind_raise_no_flag(seed, kind, n, scale, shift):
    y = split(seed, kind, {"train": n, "val": 20, "test": 50})
    assert list(odd_labels(("log_g",), {name: scale * (part + shift) for name, part in y.items()})) == []


@pytest.mark.parametrize("which", ["val", "test"])
def test_a_split_in_another_unit_is_named(which):
    y = split(0, "uniform", {"train": 100, "val": 20, "test": 50})
    y[which] = y[which] / 1000
    (told,) = odd_labels(("T_eff",), y)
    assert told.startswith(f"{which} {OTHER_RANGE_FLAG} (T_eff): median ")
    assert told.endswith("; another unit?")


@pytest.mark.parametrize("wrong", [5e6, -5e6])
def test_a_mistyped_label_is_named_and_its_label_alone(wrong):
    y = {
        name: np.repeat(part, 2, axis=1)
        for name, part in split(0, "normal", {"train": 400, "test": 50}).items()
    }
    y["train"][7, 1] = wrong
    (told,) = odd_labels(("log_g", "M_H"), y)
    assert told.startswith(f"{FAR_LABEL_FLAG} (M_H): {wrong:.4g}, 99 % lie within")
