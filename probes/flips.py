"""P-values of paired differences by flipping signs of stars, fine enough for the family of all pairs."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .bootstrap import LEVEL, SEED

Array = np.ndarray[Any, np.dtype[Any]]

N_FLIPS = 9999
FLIPS_PER_PAIR = 20
"""So many flips for each pair of a family let the smallest p-value, one over the flips, hold for all pairs at 5 %."""
ENOUGH = 8
"""A p-value that rests on more flips than these is not worth more of them."""
_SIGNS_AT_ONCE = 4_000_000
_BITS_AT_ONCE = 11
"""2048 sums of some hundred columns stay in the cache of a core."""
_SAME = 1e-9
"""A flip that comes so near to the observed sum, relatively, has reached it: it may be the same sum, rounded."""


def flip_values(squared: Array, *, n_flips: int = N_FLIPS, level: float = LEVEL, seed: int = SEED) -> Array:
    """Two-sided p-values of all pairs, (m (m - 1) / 2,), from squared residuals summed by star (n_stars, m).

    Null hypothesis: the difference d of a star, one prediction's sum minus the other's, is as likely as -d. The sign
    of all rows of a star is flipped together; p = (1 + flips whose |sum d| reaches the observed one) / (1 + n_flips).
    That is symmetry of d about 0, which is more than equal R2: where few stars carry the difference it may fail while
    R2 is the same (`carried.LEAST_EFFECTIVE` guards against it). Where no flip reaches it, p is not above
    2 exp(-(sum d)^2 / (2 sum d^2)) (Hoeffding 1963, for random signs), so that small values are told apart and a
    correction for many pairs leaves something.

    Where neither that bound nor 1 / (1 + n_flips) could hold at 1 - `level` for all pairs at once, such pairs, and no
    others, are flipped anew by a random group of FLIPS_PER_PAIR or more flips for each pair (see `group_values`), and
    p is what that gives. A test that goes on where the first flips gave the least p they can is valid at every level:
    below 2 / (1 + n_flips) it rejects only where the group does, from there on only where the first flips do.
    """
    # the mean would spread the rounding of one huge residual
    centred = squared - squared.min(axis=1, keepdims=True)
    m = squared.shape[1]
    reached = [np.zeros(m - 1 - first) for first in range(m - 1)]
    sums = [later(centred, first).sum(axis=0) for first in range(m - 1)]
    for signs in _signs(len(squared), n_flips, seed):
        flipped = signs @ centred
        for first in range(m - 1):
            reach = np.abs(later(flipped, first)) >= (1 - _SAME) * np.abs(sums[first])
            reached[first] += reach.sum(axis=0)
    count = np.concatenate([*reached, np.empty(0)])
    bound = [_hoeffding(sums[first], later(centred, first)) for first in range(m - 1)]
    least = np.minimum(np.concatenate([*bound, np.empty(0)]), 1 / (1 + n_flips))
    p = np.where(count == 0, least, (1 + count) / (1 + n_flips))
    far = np.flatnonzero((count == 0) & (least * count.size > 1 - level))
    if far.size:
        one, other = (members[far] for members in np.triu_indices(m, k=1))
        n_bits = int(FLIPS_PER_PAIR * count.size - 1).bit_length()
        p[far] = group_values(centred, one, other, n_bits=n_bits, seed=seed)
    return p


def group_values(
    by_star: Array, one: Array, other: Array, *, n_bits: int, seed: int = SEED, at_once: int = _BITS_AT_ONCE
) -> Array:
    """Two-sided sign-flip p-values of pairs of columns (`one`, `other`) (k,) of sums by star (n_stars, m).

    The flips are the 2^n_bits products of n_bits random ones. They form a group that holds the identity, so the share
    of them whose |sum d| reaches the observed one is a valid p-value, not below 2^-n_bits (Hemerik and Goeman 2018);
    any two of them are independent, so the share varies as one of free flips would. The sums over all stars, of all
    flips of a group, are a Walsh-Hadamard transform: n_bits additions a flip instead of n_stars. 2^`at_once` flips are
    in memory together. Groups of 2^`at_once`, twice as many, ... flips lie in one another; a pair that more than ENOUGH
    of one reach has the share of that one.
    """
    needed = by_star - by_star.min(axis=1, keepdims=True)
    total = needed.sum(axis=0)
    limit = (1 - _SAME) * np.abs(total[other] - total[one])
    reached, n_flips = np.zeros(one.size), np.zeros(one.size)
    left = np.arange(one.size)
    blocks = 2 ** max(0, n_bits - at_once)
    for block, sums in enumerate(_group_sums(needed, n_bits, seed, at_once)):
        for first in np.unique(one[left]):
            pairs = left[one[left] == first]
            reach = np.abs(sums[other[pairs]] - sums[first]) >= limit[pairs, None]
            reached[pairs] += np.count_nonzero(reach, axis=1)
        n_flips[left] += sums.shape[1]
        if (block + 1).bit_count() == 1 and block + 1 < blocks:
            left = left[reached[left] <= ENOUGH]
            if not left.size:
                break
    return np.asarray(np.maximum(reached, 1) / n_flips)  # the identity is one, whatever rounding says


def _group_sums(by_star: Array, n_bits: int, seed: int, at_once: int) -> Iterator[Array]:
    """Yield sums over stars (m, 2^at_once) of flips of the group, of columns (n_stars, m); every flip once."""
    code = np.random.default_rng([seed, len(by_star), 1]).integers(0, 2**n_bits, size=len(by_star))
    low = min(n_bits, at_once)
    order = np.argsort(code % 2**low, kind="stable")
    code, by_star = code[order], by_star[order]
    cells, starts = np.unique(code % 2**low, return_index=True)
    for high in range(2 ** (n_bits - low)):
        odd = np.bitwise_count((code >> low) & high) % 2 == 1
        sums = np.zeros((2**low, by_star.shape[1]))
        sums[cells] = np.add.reduceat(np.where(odd[:, None], -by_star, by_star), starts, axis=0)
        for bit in range(low):
            halves = sums.reshape(-1, 2, 2**bit, by_star.shape[1])
            upper = halves[:, 0] - halves[:, 1]
            halves[:, 0] += halves[:, 1]
            halves[:, 1] = upper
        yield np.ascontiguousarray(sums.T)


def later(columns: Array, first: int) -> Array:
    """Each later column minus column `first`, (..., k)."""
    return np.asarray(columns[..., first + 1 :] - columns[..., first, None])


def _signs(n_stars: int, n_flips: int, seed: int) -> Iterator[Array]:
    """Yield random signs (b, n_stars), a slab of flips at a time."""
    rng = np.random.default_rng([seed, n_stars])
    slab = max(1, min(n_flips, _SIGNS_AT_ONCE // n_stars))
    for start in range(0, n_flips, slab):
        yield np.where(rng.random((min(slab, n_flips - start), n_stars)) < 0.5, -1.0, 1.0)


def _hoeffding(sums: Array, differences: Array) -> Array:
    """The bound 2 exp(-S^2 / (2 sum d^2)) for differences d (n_stars, k) that sum to S (k,); 1 where all are 0."""
    squares = np.sum(differences**2, axis=0)
    exponent = sums**2 / np.where(squares > 0, 2 * squares, np.inf)
    return np.asarray(np.minimum(1.0, 2 * np.exp(-exponent)))
