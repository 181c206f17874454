"""Fits that must fail: if one of them scores, something leaks."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

CONTROLS = ("none", "shuffled_labels", "mean_predictor")
"""What may be asked for; `random_encoder` is read from the provenance of the features, never asked for."""


def shuffled_by_star(y: Array, stars: Array, *, seed: int) -> Array:
    """Labels (n, t) permuted among stars: all rows of a star get the labels of one other star.

    Give the rows of all splits at once: a star that stands on both sides of a split then carries the same wrong
    label on both, so a head that memorises it scores, and the control shows the leak. Without a leak the test R2 is
    about 0 or below. The permutation depends on the set of stars and on `seed`, not on the order of rows; a star
    with several labels (it should have none) is represented by its first row.
    """
    _, first, member = np.unique(stars, return_index=True, return_inverse=True)
    permutation = np.random.default_rng(seed).permutation(first.size)
    return np.asarray(y)[first[permutation]][member]


def star_ranks(stars: Array, *, seed: int) -> Array:
    """Place of each row's star, (n,) int64, in a random order of the stars that depends on their set and `seed`.

    The rows of the first `size` stars, `ranks < size`, are a subset; a larger subset contains the smaller one.
    """
    unique, member = np.unique(stars, return_inverse=True)
    rank = np.empty(unique.size, dtype=np.int64)
    rank[np.random.default_rng(seed).permutation(unique.size)] = np.arange(unique.size)
    return np.asarray(rank[member])
