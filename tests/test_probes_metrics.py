"""Metrics against scikit-learn and by their definitions."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference
from statistics_fakes import labels_and_predictions

from cache.errors import ProbeError
from probes import metrics


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(seed):
    y, y_hat = labels_and_predictions(seed=seed)
    assert metrics.r2(y, y_hat) == pytest.approx(reference.r2_score(y, y_hat), rel=1e-12)
    assert metrics.rmse(y, y_hat) == pytest.approx(reference.root_mean_squared_error(y, y_hat), rel=1e-12)
    assert metrics.mae(y, y_hat) == pytest.approx(reference.mean_absolute_error(y, y_hat), rel=1e-12)


def test_bias_is_prediction_minus_label():
    y = np.zeros(5)
    y_hat = np.array([1.0, 1.0, 2.0, 3.0, 13.0])
    assert metrics.bias(y, y_hat) == 4.0
    assert metrics.bias_median(y, y_hat) == 2.0
    assert metrics.sigma_mad(y, y_hat) == 1.4826


def test_robust_scatter_is_sigma_for_normal_residuals():
    residual = np.random.default_rng(0).standard_normal(200_000)
    assert metrics.sigma_mad(np.zeros_like(residual), residual + 9) == pytest.approx(1.0, abs=0.01)


def test_r2_of_the_mean_is_zero_and_of_the_truth_one():
    y, _ = labels_and_predictions()
    assert metrics.r2(y, np.full_like(y, y.mean())) == pytest.approx(0, abs=1e-12)
    assert metrics.r2(y, y) == 1.0


@pytest.mark.parametrize("y", [[3.0, 3.0, 3.0], [3.0], [0.1] * 7])
def test_constant_labels_have_no_r2_but_other_scores(y):
    y = np.array(y)
    assert math.isnan(metrics.r2(y, y + 1))
    found = metrics.scores(y, y + 1)
    assert found["r2"] is None
    assert found["rmse"] == pytest.approx(1.0)


def test_scores_hold_every_metric():
    assert list(metrics.scores(*labels_and_predictions())) == [
        "r2",
        "rmse",
        "mae",
        "bias",
        "bias_median",
        "sigma_mad",
    ]


@pytest.mark.parametrize(
    ("y", "y_hat", "message"),
    [
        ([1.0, 2.0], [1.0], "two equally long vectors"),
        ([], [], "two equally long vectors"),
        ([[1.0]], [[1.0]], "two equally long vectors"),
        ([1.0, math.nan], [1.0, 1.0], "not finite"),
        ([1.0, 2.0], [1.0, math.inf], "not finite"),
    ],
)
def test_metrics_refuse_what_has_no_score(y, y_hat, message):
    for metric in metrics.METRICS.values():
        with pytest.raises(ProbeError, match=message):
            metric(np.array(y), np.array(y_hat))
