"""The Fisher matrix of labels and amplitude, from the gradient of the clean spectrum and the error.

For noisy = A flux(labels) + N(0, 1) sigma with sigma = error noise_level known and A = 1, pixels p independent,

    F[i, j] = sum over p of  d flux[p] / d theta_i  d flux[p] / d theta_j / sigma[p]^2,   d flux / d ln A = flux

(Kay 1993, Fundamentals of Statistical Signal Processing I, eq. 3.31 with a fixed covariance). What the size of the
noise itself tells of the labels, since error follows flux, is not counted: it is for networks that see the error.
"""

import numpy as np
import numpy.typing as npt

from cache.errors import InputError

LABELS = ("T_eff", "log_g", "M_H", "a_M", "C_M")
"""Labels that a spectrum depends on, in the order of the matrices' rows; K and dex."""
AMPLITUDE = "ln_A"
PARAMETERS = (*LABELS, AMPLITUDE)

Float64s = npt.NDArray[np.float64]


def fisher_matrices(gradient: Float64s, flux: Float64s, sigma: Float64s) -> Float64s:
    """Matrices (n, P + 1, P + 1) of P labels and ln A, float64, symmetric to the bit.

    gradient (n, P, L): d flux / d label.  flux, sigma (n, L): clean flux, one sigma of the noise, above 0, in one
    unit.  Raises InputError when shapes differ, or sigma is 0 or less or not finite.
    """
    if gradient.shape[::2] != flux.shape or flux.shape != sigma.shape:
        raise InputError(
            f"gradient of shape {gradient.shape}, flux {flux.shape}, sigma {sigma.shape}; expected (n, P, L), (n, L), "
            "(n, L)"
        )
    if not (np.isfinite(sigma) & (sigma > 0)).all():
        raise InputError(
            "the noise has pixels whose sigma is not finite and above 0; their information is endless"
        )
    scaled = np.concatenate([gradient, flux[:, None]], axis=1) / sigma[:, None]
    matrices = scaled @ scaled.transpose(0, 2, 1)
    return np.asarray(0.5 * (matrices + matrices.transpose(0, 2, 1)))
