"""What a fitted head loses when some of its columns are permuted among the test stars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import Array, Interval, Resamples
from .paired import paired_table

N_PERMUTATIONS = 10
SEED = 0
METHOD = (
    "columns permuted among the test stars (Breiman 2001, Machine Learning 45, 5), squared residuals averaged over "
    f"{N_PERMUTATIONS} permutations, seed {SEED}; drop in R2, paired bootstrap over stars, the wider of percentile and "
    "symmetric studentised, 95 %, 1000 resamples, seed 0"
)
"""What a record says about its numbers: the defaults of this module in words."""

Predict = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class Drops:
    """R2 of a prediction minus R2 of g others on the same rows, (g,), and the intervals of these differences."""

    value: Array
    intervals: list[Interval]


def donor_rows(stars: Array, *, n_permutations: int = N_PERMUTATIONS, seed: int = SEED) -> Array:
    """Row from which each row takes columns, (n_permutations, n) int64, for the star (n,) of each row.

    Stars are permuted; all rows of a star take the columns of the first row of one star, seldom its own.
    """
    _, first, member = np.unique(stars, return_index=True, return_inverse=True)
    return np.stack(
        [
            first[np.random.default_rng([seed, number]).permutation(first.size)][member]
            for number in range(n_permutations)
        ]
    )


def permuted_squares(
    predict: Predict, X: Array, Y: Array, *, groups: Sequence[Array], donors: Array
) -> Array:
    """Squared residuals (n, t, g) of each row and label when the columns of a group are those of its donors.

    X (n, d), Y (n, t); `groups` are g arrays of columns, `donors` (p, n) rows. Averaged over the p permutations, which
    are the same for all groups. X is left as it was.
    """
    squares = np.zeros((*Y.shape, len(groups)))
    permuted = X.copy()
    for number, columns in enumerate(groups):
        for rows in donors:
            permuted[:, columns] = X[np.ix_(rows, columns)]
            squares[:, :, number] += (predict(permuted).reshape(Y.shape) - Y) ** 2
        permuted[:, columns] = X[:, columns]
    return squares / len(donors)


def drops(resamples: Resamples, y: Array, squares: Array) -> Drops:
    """Differences in R2 between the first column of squared residuals (n, 1 + g) and each other, for labels y (n,).

    Rows are those of `resamples`, over whose stars the intervals are paired.
    """
    as_predictions = y[:, None] + np.sqrt(squares)  # of which the squared residuals are these
    table = paired_table(resamples, y, as_predictions, n_flips=0)
    n_others = squares.shape[1] - 1
    return Drops(value=table.difference[:n_others], intervals=table.intervals[:n_others])
