"""Systems (A + alpha I) w = b for many penalties and right-hand sides."""

import contextlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import scipy.linalg

from .blas import product
from .scaling import Array

FEW_ALPHAS = 8
"""Up to here one Cholesky factorisation per alpha is cheaper than an eigendecomposition (about 13 x at d 2048)."""


class ShiftedSystem:
    """A (m, m) symmetric positive semidefinite, float64, to be solved for any alpha >= 0.

    An alpha below the rounding of A, eps * trace(A), is as good as 0: then eigenvalues below `cut` * eps of the largest
    are dropped, where `cut` is the longer side of the matrix that A is the Gram matrix of.
    """

    def __init__(self, A: Array, *, cut: int) -> None:
        """Nothing is factorised yet."""
        self.A = A
        self.cut = cut

    def solve(self, rights: Sequence[Array], alphas: Array) -> list[Array]:
        """Solutions (a, m) for each right-hand side (m,): its bits do not depend on the others.

        A few alphas take a Cholesky factorisation each, more of them one eigendecomposition, which is kept.
        """
        if len(alphas) <= FEW_ALPHAS and alphas.min() > self._rounding:
            with contextlib.suppress(scipy.linalg.LinAlgError):  # close to rounding; eigenvalues bear that
                return self._solve_each(rights, alphas)
        values, axes = self._eigen
        shifted = values + alphas[:, None]
        kept = (alphas[:, None] > self._rounding) | (
            values > values[-1] * self.cut * np.finfo(np.float64).eps
        )
        inverse = np.where(kept, 1.0 / np.where(kept, shifted, 1.0), 0.0)
        return [product(inverse * product(axes, right[:, None])[:, 0], axes) for right in rights]

    @cached_property
    def _rounding(self) -> float:
        return float(np.finfo(np.float64).eps * np.trace(self.A))

    @cached_property
    def _eigen(self) -> tuple[Array, Array]:
        """Eigenvalues (m,) and, in rows, eigenvectors (m, m)."""
        values, vectors = scipy.linalg.eigh(self.A, driver="evd", check_finite=False)
        return np.maximum(values, 0.0), np.ascontiguousarray(vectors.T)

    def _solve_each(self, rights: Sequence[Array], alphas: Array) -> list[Array]:
        solved = [np.empty((len(alphas), len(self.A))) for _ in rights]
        for index, alpha in enumerate(alphas):
            shifted = self.A.copy()
            shifted[np.diag_indices_from(shifted)] += alpha
            factor = scipy.linalg.cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
            for right, solutions in zip(rights, solved, strict=True):
                solutions[index] = scipy.linalg.cho_solve(factor, right, check_finite=False)
        return solved
