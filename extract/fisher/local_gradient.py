"""Approximate gradients of spectra whose generator is not at hand: a local fit of train spectra around each star.

Around a star with labels t, the clean flux of its k nearest train stars (distance in labels over their standard
deviations in train, the farthest at r) is fitted by weighted least squares, pixel by pixel, with

    flux(t + d) = c + g . d + sum over i <= j of h_ij d_i d_j,   weights (1 - (|d| / r)^3)^3,   ridge on g r and h r^2

and g is the gradient. Tricube weights and local quadratics: Cleveland & Devlin 1988, JASA 83, 596. A label without
much of a trace gets some from what the fit leaves of the others, so that bounds made of these gradients are, if
anything, too small, most for labels that a spectrum hardly tells (docs/guide.md has figures).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache.errors import ConfigError

from .information import LABELS, Float64s

NEIGHBOURS = 128
RIDGE = 1e-3
"""Of the sum of weights, in coordinates where the farthest neighbour is at 1; keeps nearly degenerate fits bounded."""
EMULATOR_VERSION = 1
"""Raised by hand when equal stars would give other gradients."""
N_TERMS = 1 + len(LABELS) + len(LABELS) * (len(LABELS) + 1) // 2
_PAIRS = np.triu_indices(len(LABELS))


@dataclass(frozen=True)
class LocalEmulator:
    """Train stars by scaled label: `points` (N, 5) float64, `scale` (5,), clean `flux` (N, L) float32, k neighbours."""

    points: Float64s
    scale: Float64s
    flux: npt.NDArray[np.float32]
    neighbours: int

    def gradient(self, labels: Float64s) -> Float64s:
        """D flux / d label at `labels` (n, 5), in the unit of flux per unit of label: (n, 5, L) float64."""
        return np.stack([self._at(point) for point in labels / self.scale])

    def _at(self, point: Float64s) -> Float64s:
        square = ((self.points - point) ** 2).sum(axis=1)
        near = np.argpartition(square, self.neighbours - 1)[: self.neighbours]
        reach = np.sqrt(square[near].max())
        if reach == 0:
            raise ConfigError(
                f"{self.neighbours} train stars all have the labels {(point * self.scale).tolist()}: they tell no "
                "gradient; raise --neighbours"
            )
        offsets = (self.points[near] - point) / reach
        weights = (1.0 - (square[near] / reach**2) ** 1.5) ** 3
        terms = np.concatenate(
            [np.ones((len(near), 1)), offsets, offsets[:, _PAIRS[0]] * offsets[:, _PAIRS[1]]], axis=1
        )
        weighted = terms.T * weights
        normal = weighted @ terms
        normal[np.diag_indices(N_TERMS)] += RIDGE * weights.sum() * (np.arange(N_TERMS) > 0)
        to_gradient = np.linalg.solve(normal, weighted)[1 : 1 + len(LABELS)] / reach
        return np.asarray(to_gradient @ self.flux[near].astype(np.float64) / self.scale[:, None])


def local_emulator(
    labels: Float64s, flux: npt.NDArray[np.float32], *, neighbours: int = NEIGHBOURS
) -> LocalEmulator:
    """An emulator from train labels (N, 5), all finite, and clean flux (N, L); raises what `scale_of` raises."""
    scale = scale_of(labels, neighbours=neighbours)
    return LocalEmulator(labels / scale, scale, flux, neighbours)


def scale_of(labels: Float64s, *, neighbours: int) -> Float64s:
    """Standard deviation of each label in train, (5,).

    Raises ConfigError when there are fewer stars than neighbours, fewer neighbours than a quadratic needs, or when a
    label is the same for all stars.
    """
    if neighbours <= N_TERMS:
        raise ConfigError(f"--neighbours is {neighbours}; a quadratic in 5 labels needs more than {N_TERMS}")
    if len(labels) < neighbours:
        raise ConfigError(
            f"the emulator has {len(labels)} train stars, fewer than --neighbours {neighbours}; give more train stars"
        )
    scale = labels.std(axis=0)
    for name, spread in zip(LABELS, scale, strict=True):
        if spread == 0:
            raise ConfigError(
                f"label {name} is the same for all {len(labels)} train stars; they do not tell the gradient along it"
            )
    return np.asarray(scale)
