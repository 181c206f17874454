"""How well labels can be told from noisy flux at best: variances per star, from Fisher matrices and a prior.

With F the Fisher matrix of a star's labels and ln A (`extract.fisher.information`), and ln A a priori normal about 0
with standard deviation a, what is left of it for the labels is

    G = F_ll - F_lA F_Al / (F_AA + 1 / a^2)            a = 0: the amplitude is known; a = inf: nothing is known of it

and with P the prior covariance of the labels

    unbiased     [G^-1]_kk                             Cramer-Rao (Kay 1993, section 3.7), a = inf
    prior-aware  [(G + P^-1)^-1]_kk                    the posterior variance of a linear model with normal prior
    van Trees    [(mean over stars of G + P^-1)^-1]_kk (Van Trees 1968, section 2.4.3, for a normal prior)

docs/ceiling.md says what each bounds, and what not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cache import label_markers
from cache.errors import ProbeError

Array = np.ndarray[Any, np.dtype[Any]]

AMPLITUDE = "ln_A"
UNTOLD = 1e-12
"""Eigenvalues of a Fisher matrix scaled to a unit diagonal that are not above it are 0: float64 tells no more."""
ROUNDING = 1e-6
"""By so much, relatively, a matrix may miss symmetry or a scaled eigenvalue lie below 0."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is known of a star before its spectrum is seen.

    `covariance` (p, p) of `labels`, in their units; `amplitude_sd` the standard deviation of ln A: 0 where the scale
    of the flux is known, inf where nothing is. `n_stars`: train stars that the covariance was taken from.
    """

    labels: tuple[str, ...]
    covariance: Array
    n_stars: int
    amplitude_sd: float = 0.0

    def sd(self, label: str) -> float:
        """Standard deviation of one label."""
        place = self.labels.index(label)
        return float(np.sqrt(self.covariance[place, place]))


def label_prior(
    labels: Mapping[str, Array], names: Sequence[str], *, stars: Array, amplitude_sd: float = 0.0
) -> Prior:
    """The covariance of train labels (N,), each star once; stars that lack one of them are left out.

    Raises ProbeError when a label is absent or marks what is missing by a number such as -999, when fewer than two
    stars are left, or for an `amplitude_sd` below 0.
    """
    if not amplitude_sd >= 0:
        raise ProbeError(
            f"the standard deviation of ln A is {amplitude_sd}; expected 0 (known) to inf (free)"
        )
    absent = [name for name in names if name not in labels]
    if absent:
        raise ProbeError(
            f"the train stores have no label {', '.join(absent)}; a prior needs all of {', '.join(names)}"
        )
    for name in names:
        marked = label_markers.told(np.asarray(labels[name], dtype=np.float64), np.arange(stars.size))
        if marked is not None:
            raise ProbeError(f"the train stores: label {name!r} {marked}")
    first = np.unique(stars, return_index=True)[1]
    values = np.stack([np.asarray(labels[name], dtype=np.float64)[first] for name in names], axis=1)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 2:
        raise ProbeError(
            f"{len(values)} train stars have all of {', '.join(names)}; a prior needs two or more"
        )
    deviations = values - values.mean(axis=0)
    return Prior(
        labels=tuple(names),
        covariance=deviations.T @ deviations / len(values),
        n_stars=len(values),
        amplitude_sd=amplitude_sd,
    )


def label_information(matrices: Array, parameters: Sequence[str], *, amplitude_sd: float) -> Array:
    """G of every star, (n, p, p) float64, from matrices (n, P, P) over `parameters`; without ln A it is F itself.

    Raises ProbeError, naming the first of them, for matrices that are not finite, symmetric and positive semidefinite.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    if matrices.ndim != 3 or matrices.shape[1:] != (len(parameters), len(parameters)):
        raise ProbeError(
            f"Fisher matrices have shape {matrices.shape}; expected (n, {len(parameters)}, {len(parameters)}) for the "
            f"parameters {', '.join(parameters)}"
        )
    _check_information(matrices)
    if AMPLITUDE not in parameters:
        return matrices
    place = list(parameters).index(AMPLITUDE)
    labels = np.array([k for k in range(len(parameters)) if k != place])
    own = matrices[:, labels[:, None], labels]
    if amplitude_sd == 0:
        return own
    cross, amplitude = matrices[:, labels, place], matrices[:, place, place] + amplitude_sd**-2
    share = np.divide(cross, amplitude[:, None], out=np.zeros_like(cross), where=amplitude[:, None] > 0)
    return np.asarray(own - share[:, :, None] * cross[:, None, :])


def unbiased_variances(information: Array) -> Array:
    """Diagonals of the inverses, (n, p), of G (n, p, p); inf where a direction that holds the label tells nothing."""
    scaled, scale = _scaled(information)
    values, vectors = np.linalg.eigh(scaled)
    weight = vectors**2 / np.maximum(values, UNTOLD)[:, None, :]
    lost = (values <= UNTOLD)[:, None, :] & (vectors**2 > UNTOLD)
    weight = np.where((values <= UNTOLD)[:, None, :], np.where(lost, np.inf, 0.0), weight)
    return np.asarray(weight.sum(axis=2) / scale**2)


def prior_aware_variances(information: Array, covariance: Array) -> Array:
    """Diagonals of (G + P^-1)^-1, (n, p), of G (n, p, p) and P (p, p), which may be singular.

    Computed as those of L (1 + L' G L)^-1 L' with P = L L': that inverse exists for every G and P.
    Raises ProbeError for a P that is not symmetric, finite and positive semidefinite.
    """
    root = _root(covariance)
    inner = np.eye(len(root)) + root.T @ information @ root
    return np.asarray(np.einsum("ij,njk,ik->ni", root, np.linalg.inv(inner), root))


def van_trees_variances(information: Array, covariance: Array) -> Array:
    """Diagonal of (mean of G over stars + P^-1)^-1, (p,)."""
    return np.asarray(prior_aware_variances(information.mean(axis=0, keepdims=True), covariance)[0])


def _root(covariance: Array) -> Array:
    """L (p, p) with P = L L', for labels of very different sizes."""
    covariance = np.asarray(covariance, dtype=np.float64)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0))
    unit = np.where(sd > 0, sd, 1.0)
    scaled = covariance / unit[:, None] / unit
    good = bool(np.isfinite(scaled).all()) and np.abs(scaled - scaled.T).max() <= ROUNDING
    values, vectors = np.linalg.eigh(scaled) if good else (np.array([-1.0]), scaled)
    if values.min() < -ROUNDING:
        raise ProbeError("the prior covariance is not finite, symmetric and positive semidefinite")
    return np.asarray(unit[:, None] * vectors * np.sqrt(np.maximum(values, 0)))


def _scaled(matrices: Array) -> tuple[Array, Array]:
    """Matrices with a unit diagonal (0 where it was 0), and the square roots of the diagonals, (n, p), 1 for 0."""
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    return matrices / scale[:, :, None] / scale[:, None, :], scale


def _check_information(matrices: Array) -> None:
    bad = ~np.isfinite(matrices).all(axis=(1, 2))
    if not bad.any():
        scaled, _ = _scaled(matrices)
        bad = np.abs(scaled - scaled.transpose(0, 2, 1)).max(axis=(1, 2)) > ROUNDING
        bad |= np.linalg.eigvalsh(scaled)[:, 0] < -ROUNDING
    if bad.any():
        raise ProbeError(
            f"{int(bad.sum())} of {len(matrices)} Fisher matrices are not finite, symmetric and positive semidefinite "
            f"(first: {np.flatnonzero(bad)[:5].tolist()}); remove the file and run python -m extract fisher again"
        )
