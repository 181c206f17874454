"""Products by the BLAS that SciPy's factorisations use.

NumPy has a BLAS of its own, whose threads go on spinning for a while after a product; on the same cores they make
SciPy's wait, and the eigenvalues of a 96 x 96 matrix then take 30 ms instead of 1.
"""

import numpy as np
import scipy.linalg.blas

from .scaling import Array


def product(A: Array, B: Array) -> Array:
    """A B for A (m, k), B (k, n), float64, each in C order."""
    return np.asarray(scipy.linalg.blas.dgemm(1.0, B.T, A.T)).T


def add_gram(scatter: Array, Z: Array) -> None:
    """Add Z'Z to the upper triangle of `scatter` (d, d), in Fortran order, in place; Z (n, d) in C order."""
    scipy.linalg.blas.dsyrk(1.0, Z.T, beta=1.0, c=scatter, overwrite_c=1)


def add_product(total: Array, Z: Array, y: Array) -> None:
    """Add Z'y to `total` (d,), in place; Z (n, d) in C order, y (n,)."""
    scipy.linalg.blas.dgemv(1.0, Z.T, y, beta=1.0, y=total, overwrite_y=1)
