"""Residuals that no fit has seen: folds by star, cross-fitting against a plain loop, honesty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from cache.errors import ConfigError, ProbeError
from probes.cross_fit import cross_fit, folds_of
from probes.metrics import r2
from probes.registry import make_probe
from probes.samples import Sample


def sample(split, n, *, d=6, seed=0, stars=None, signal=1.0):
    rng = np.random.default_rng([seed, len(split)])
    X = rng.standard_normal((n, d)).astype(np.float32)
    weights = np.random.default_rng(7).standard_normal((d, 2))
    y = signal * X @ weights + rng.standard_normal((n, 2))
    own = {"train": 0, "val": 10**6, "test": 2 * 10**6}[split]
    star = np.arange(own, own + n) if stars is None else stars
    return Sample(
        split=split,
        X=X,
        y=y,
        rows=np.arange(n),
        stars=star.astype(np.uint64),
        draws=np.zeros(n, dtype=np.int64),
        stored={},
    )


def samples(n_train=60, **options):
    stars = options.pop("stars", None)
    return {
        "train": sample("train", n_train, stars=stars, **options),
        "val": sample("val", 30, **options),
        "test": sample("test", 40, **options),
    }


def crossed(found, head="ridge", n_folds=4, seed=3, **params):
    done = []
    heads = [make_probe(head, **params) for _ in range(found["train"].y.shape[1])]
    result = cross_fit(heads, found, n_folds=n_folds, seed=seed, advance=done.append)
    assert sum(done) == n_folds + 1
    return result


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 30), min_size=12, max_size=80),
    st.integers(2, 4),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_folds_hold_whole_stars_are_of_one_size_and_know_no_order(stars, n_folds, seed, rng):
    star = np.array(stars, dtype=np.uint64)
    if np.unique(star).size < n_folds:
        return
    folds = folds_of(star, n_folds=n_folds, seed=seed)
    of_star = {}
    for one, fold in zip(star.tolist(), folds.tolist(), strict=True):
        assert of_star.setdefault(one, fold) == fold
    sizes = np.bincount(list(of_star.values()), minlength=n_folds)
    assert sizes.max() - sizes.min() <= 1
    order = np.array(rng.sample(range(star.size), star.size))
    np.testing.assert_array_equal(folds_of(star[order], n_folds=n_folds, seed=seed), folds[order])


def test_too_many_folds_are_refused():
    with pytest.raises(ConfigError, match="--folds is 9; expected at least 2 and at most the 8 stars"):
        folds_of(np.arange(8), n_folds=9, seed=0)
    with pytest.raises(ConfigError, match="--folds is 1"):
        folds_of(np.arange(8), n_folds=1, seed=0)


def test_it_is_a_plain_loop_over_folds():
    stars = np.repeat(np.arange(30), 2)
    found = samples(stars=stars)
    ours = crossed(found, alpha=2.0)
    folds = folds_of(found["train"].stars, n_folds=4, seed=3)

    def plain(rows, X):
        scaler = StandardScaler().fit(found["train"].X[rows].astype(float))
        fit = SklearnRidge(alpha=2.0).fit(
            scaler.transform(found["train"].X[rows].astype(float)), found["train"].y[rows]
        )
        return fit.predict(scaler.transform(X.astype(float)))

    for fold in range(4):
        out = folds == fold
        np.testing.assert_allclose(
            ours.y_hat["train"][out], plain(~out, found["train"].X[out]), rtol=1e-8, atol=1e-8
        )
    for split in ("val", "test"):
        np.testing.assert_allclose(
            ours.y_hat[split], plain(slice(None), found[split].X), rtol=1e-8, atol=1e-8
        )
    left = ours.residuals(found)
    np.testing.assert_array_equal(left["test"], ours.y_hat["test"] - found["test"].y)


def test_a_star_does_not_see_its_own_label():
    stars = np.repeat(np.arange(30), 2)
    found = samples(stars=stars)
    before = crossed(found, alpha=0.5).y_hat["train"]
    found["train"].y[stars == 11] += 100
    after = crossed(found, alpha=0.5).y_hat["train"]
    np.testing.assert_array_equal(after[stars == 11], before[stars == 11])
    assert not np.allclose(after[stars != 11], before[stars != 11])


def test_residuals_of_noise_are_honest_where_those_of_the_fit_are_not():
    found = samples(n_train=60, d=50, signal=0.0)
    y, y_hat = found["train"].y[:, 0], crossed(found, head="ols").y_hat["train"][:, 0]
    own = make_probe("ols").fit(found["train"].X, y).predict(found["train"].X)
    assert r2(y, own) > 0.7
    assert r2(y, y_hat) < 0


def test_what_was_chosen_on_val_is_kept_in_the_folds():
    found = samples()
    ours = crossed(found, alpha="val", n_alphas=5)
    chosen = [head.chosen_["alpha"] for head in ours.heads]
    for k, alpha in enumerate(chosen):
        alone = {s: Sample(**{**vars(part), "y": part.y[:, [k]]}) for s, part in found.items()}
        fixed = crossed(alone, alpha=float(np.ravel(alpha)[0]))
        np.testing.assert_array_equal(ours.y_hat["train"][:, k], fixed.y_hat["train"][:, 0])


def test_a_head_that_stops_early_chooses_anew():
    found = samples()
    ours = crossed(found, head="lightgbm", n_trees=20, threads=1, n_folds=2)
    assert np.isfinite(ours.y_hat["train"]).all()


def test_what_a_head_refuses_is_said():
    found = samples()
    found["train"].y[0] = np.nan
    with pytest.raises(ProbeError, match="training labels are NaN or inf in 1 of 60 rows"):
        crossed(found)
