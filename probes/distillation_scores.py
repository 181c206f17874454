"""How near the latents that a network says are to the true ones: MSE, R2 and cosine, with intervals over stars."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import Interval, Resamples, percentile_ends, widest
from .rounding import all_significant, significant
from .scaling import Scaling
from .views import Array

METHOD = (
    "latents standardised on train; mse: mean over rows and latents; r2: mean over latents of the R2 of each; cosine: "
    "mean over rows of that between centred vectors; intervals: percentile bootstrap over stars, 95 %, 1000 resamples, "
    "seed 0"
)
"""What a record says about its scores of latents."""
FLAT = 1e-12
"""Variance of a standardised latent at and below which its R2 is not defined."""


@dataclass(frozen=True, kw_only=True)
class LatentScores:
    """Scores of latents, with intervals: `mse` (1 for the mean of train), `r2` (0) and `cosine`.

    Without a latent that varies, r2 is NaN without an interval. `mse_by_latent`, `r2_by_latent` are (d,), NaN where
    not defined; `cosine_by_row` is (n,), 0 where one of the vectors is.
    """

    mse: float
    r2: float
    cosine: float
    intervals: dict[str, Interval]
    mse_by_latent: Array
    r2_by_latent: Array
    cosine_by_row: Array

    def to_json(self) -> dict[str, dict[str, Any]]:
        """By score, value and interval, as records hold them."""
        return {
            name: {
                "value": significant(getattr(self, name)),
                "interval": all_significant(self.intervals[name].as_list()),
            }
            for name in ("mse", "r2", "cosine")
        }


def latent_scores(resamples: Resamples, Z: Array, Z_hat: Array, scaling: Scaling) -> LatentScores:
    """Score latents Z_hat (n, d) against the true Z (n, d), rows those of `resamples`, scaled by `scaling` (d).

    All scores are of standardised latents, so that one with large numbers counts as much as another.
    """
    truth, said = scaling.apply(Z), scaling.apply(Z_hat)
    squared = (said - truth) ** 2
    norms = np.linalg.norm(truth, axis=1) * np.linalg.norm(said, axis=1)
    cosine = np.sum(truth * said, axis=1) / np.where(norms > 0, norms, 1.0)
    rows = np.column_stack([np.ones(len(truth)), cosine, truth, truth**2, squared])
    sums = resamples.star_sums(rows)
    observed, drawn = sums.sum(axis=0)[None], resamples.totals(sums)
    r2_by_latent = _r2(observed)[0]
    defined = np.isfinite(r2_by_latent)
    values, replicates = (dict(_scores(totals, defined)) for totals in (observed, drawn))
    no_errors = np.full((2, 1), np.nan)
    return LatentScores(
        **{name: float(value[0]) for name, value in values.items()},
        intervals={
            name: widest(percentile_ends(score[:, None]), no_errors)[0] for name, score in replicates.items()
        },
        mse_by_latent=squared.mean(axis=0),
        r2_by_latent=r2_by_latent,
        cosine_by_row=cosine,
    )


def _scores(totals: Array, defined: Array) -> list[tuple[str, Array]]:
    """Every score, (b,) each, from totals (b, 2 + 3 d) of rows 1, cosine, z, z^2, squared residual."""
    d = defined.size
    n = totals[:, 0]
    r2 = _r2(totals)[:, defined]
    return [
        ("mse", totals[:, 2 + 2 * d :].mean(axis=1) / n),
        ("r2", r2.mean(axis=1) if r2.shape[1] else np.full(len(n), np.nan)),
        ("cosine", totals[:, 1] / n),
    ]


def _r2(totals: Array) -> Array:
    """R2 of every latent, (b, d); NaN where it does not vary."""
    n = totals[:, :1]
    first, second, squared = np.split(totals[:, 2:], 3, axis=1)
    spread = second - first**2 / n
    return np.asarray(1.0 - squared / np.where(spread > FLAT * n, spread, np.nan))
