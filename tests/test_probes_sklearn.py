"""Heads as scikit-learn's tools use them; what its own checks ask for and we refuse is listed with the reason."""

import warnings

import numpy as np
import pytest
from heads_fakes import sample
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cache.errors import BlindspotError, ProbeError
from probes import make_probe

FIXED = {
    "mean": {},
    "ols": {},
    "ridge": {},
    "lightgbm": {"n_trees": 20, "min_child": 2, "threads": 1},
    "mlp_1": {
        "hidden": (16,),
        "selection": "fixed",
        "max_epochs": 60,
        "batch_size": 32,
        "learning_rate": 0.02,
    },
}
"""Settings with which a head chooses nothing, so that it needs no val."""

WORDING = "refused with a ValueError, in our words: what was found, what was expected, what to do"
REFUSED = {
    "check_complex_data": WORDING,
    "check_estimators_empty_data_messages": WORDING,
    "check_fit2d_1sample": WORDING,
    "check_fit2d_predict1d": WORDING,
    "check_n_features_in_after_fitting": WORDING,
    "check_requires_y_none": WORDING,
    "check_dtype_object": "features of type object are refused: what they hold would have to be guessed",
}
"""Checks of scikit-learn that every head fails on purpose."""
NO_SCORE = {"check_regressors_train": "the mean of the labels has R2 0, which is what this baseline is for"}


def expected_failures(head):
    return REFUSED | (NO_SCORE if type(head).__name__ == "Mean" else {})


@parametrize_with_checks(
    [make_probe(name, **params) for name, params in FIXED.items()],
    expected_failed_checks=expected_failures,
    xfail_strict=True,
)
def test_scikit_learn_is_content(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as scikit-learn runs them
        check(estimator)


@pytest.mark.parametrize("name", FIXED)
def test_the_refusals_are_value_errors_of_ours(name):
    X, y = sample()
    head = make_probe(name, **FIXED[name])
    refused = [(X.astype(complex), y), (X[:0], y[:0]), (X[:1], y[:1]), (X.astype(object), y), (X, None)]
    for bad in refused:
        with pytest.raises(ValueError, match=r"expected numbers|at least 2") as caught:
            head.fit(*bad)
        assert isinstance(caught.value, BlindspotError)
    with pytest.raises(ProbeError, match=r"are sparse.*toarray"):
        head.fit(sparse.csr_array(X), y)


@pytest.mark.parametrize("name", FIXED)
def test_pipelines_clone_fit_and_predict(name):
    X, y = sample(200)
    pipeline = make_pipeline(StandardScaler(), PCA(3), make_probe(name, **FIXED[name]))
    first = clone(pipeline).fit(X, y).predict(X)
    np.testing.assert_array_equal(clone(pipeline).fit(X, y).predict(X), first)
    assert np.isfinite(cross_val_score(pipeline, X, y, cv=2)).all()
    scaled = TransformedTargetRegressor(make_probe(name, **FIXED[name]), transformer=StandardScaler())
    assert scaled.fit(X, y).predict(X).shape == y.shape


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("ridge", {"alpha": [1e-3, 1.0, 1e5]}),
        ("lightgbm", {"preset": ["conservative", "default"], "num_leaves": [3, 7]}),
        ("mlp_1", {"hidden": [(4,), (8, 4)], "dropout": [0.0, 0.1]}),
    ],
)
def test_grid_search_over_fixed_settings(name, grid):
    X, y = sample(200)
    params = {**FIXED[name], **({"max_epochs": 3} if name == "mlp_1" else {})}
    search = GridSearchCV(make_probe(name, **params), grid, cv=2, error_score="raise").fit(X, y)
    assert set(search.best_params_) == set(grid)
    assert search.best_estimator_.get_params().items() >= search.best_params_.items()
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(("name", "params"), [("ridge", {"alpha": "val"}), ("mlp_1", {})])
def test_choosing_in_cross_validation_is_refused_not_done_on_the_test_fold(name, params):
    X, y = sample(60)
    with pytest.raises(ProbeError, match="there is none: give one"):
        GridSearchCV(make_probe(name, **params), {}, cv=2, error_score="raise").fit(X, y)
