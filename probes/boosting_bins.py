"""The features of one sample in LightGBM's bins, shared by all heads that are fitted to them."""

import lightgbm

from .base import Array, CheckedSample

BINNING = {
    "data_random_seed": 38,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
"""What the bins depend on, the same for all heads so that they can be shared.

Where there are more than 200,000 rows, LightGBM draws those that set the bins by a seed that it derives from `seed`, 38
for seed 0. It is fixed here: `seed` moves the drawing of rows and columns for trees, not the bins.
"""


class Bins:
    """The features of one sample in LightGBM's bins; binning costs as much as growing fifty small trees.

    A Dataset remembers the parameters it is made with, so these are `BINNING` alone, the same for every head.
    """

    def __init__(self, sample: CheckedSample, *, threads: int) -> None:
        """Nothing is binned before it is asked for."""
        self._sample = sample
        self._parameters = {**BINNING, "num_threads": threads}
        self._train: lightgbm.Dataset | None = None
        self._val: lightgbm.Dataset | None = None

    def train(self, y: Array) -> lightgbm.Dataset:
        """The train rows with the label y (n,); the label given last holds."""
        if self._train is None:
            self._train = lightgbm.Dataset(self._sample.X, label=y, params=self._parameters)
        return self._train.construct().set_label(y)

    def val(self, y: Array) -> lightgbm.Dataset:
        """The val rows in the bins of train, with the label y (n,); `train` must have been asked for."""
        if self._val is None:
            self._val = lightgbm.Dataset(
                self._sample.X_val, label=y, reference=self._train, params=self._parameters
            )
        return self._val.construct().set_label(y)
