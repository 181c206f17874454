"""How far the ceiling is from the best that any reader of the noisy flux can do.

Three parts. Toys with one label, whose posterior means are made on a grid: a uniform prior, and curved models. Coverage
of the intervals of gap and share where the posterior mean is exact. The mock
survey itself: posteriors of test stars by importance sampling with the survey's generator (uniform prior within its
ranges, the noise of draw 0), against the prior-aware variances of the same stars.
Prints machine and versions, effective sample sizes, and R2 with the variance of the uniform prior below.
"""

import argparse
import platform
import time

import numpy as np

from cache.progress import progress
from cache.runlog import versions
from extract.fisher.information import LABELS, PARAMETERS, fisher_matrices
from extract.fisher.mock_gradient import mock_gradient
from extract.mock.instrument import ELECTRONS, REFERENCE_MAGNITUDE, transmission
from extract.mock.spectrum import clean_flux
from extract.mock.survey import FIRST_ROW, RANGES, draw_stars, generate
from extract.noise import standard_normal
from probes.ceiling import label_information, prior_aware_variances
from probes.ceiling_scores import Bounded, row_items

LOW, HIGH = np.array([RANGES[name] for name in LABELS]).T
PRIOR_VARIANCE = (HIGH - LOW) ** 2 / 12
HELD = ("interval of the gap holds 0", "interval of the share holds 1", "above")
MOST_ROUNDS, ENOUGH, SOFT = 20, 400, 50
FREEDOM = 5
"""Degrees of freedom of the t distributions that samples are drawn from: tails wider than those of the posterior."""


def toys() -> None:
    """Best R2 of a reader of one noisy pixel, against the ceiling: uniform prior of variance 1, or curved flux."""
    uniform = np.sqrt(3) * (np.arange(-799, 800, 2) / 800)
    normal = np.linspace(-4, 4, 801)
    weight = np.exp(-0.5 * normal**2)
    models = {
        "flux = label, uniform prior": (uniform, uniform, np.ones_like(uniform)),
        "flux = tanh(label), normal prior": (np.tanh(normal), normal, weight),
        "flux = exp(label / 2), normal prior": (np.exp(normal / 2), normal, weight),
    }
    for name, model in models.items():
        print(f"{name}: sigma of the noise, ceiling, best possible, difference")
        for sigma in (0.03, 0.1, 0.3, 0.6, 1.0, 2.0):
            ceiling, best = ceiling_and_best(*model, sigma)
            print(f"  {sigma:4.2f}  {ceiling:.4f}  {best:.4f}  {best - ceiling:+.4f}")


def ceiling_and_best(
    flux: np.ndarray, grid: np.ndarray, prior: np.ndarray, sigma: float
) -> tuple[float, float]:
    """From flux and prior (n,) on a grid of the label; the posterior mean is that of the grid."""
    prior = prior / prior.sum()
    seen = np.linspace(flux.min() - 7 * sigma, flux.max() + 7 * sigma, 3001)
    joint = prior * np.exp(-0.5 * ((seen[:, None] - flux) / sigma) ** 2)
    mass = joint.sum(axis=1)
    mean = joint @ grid / mass
    spread = float(prior @ (grid - prior @ grid) ** 2)
    squared = float(np.sum(joint * (mean[:, None] - grid) ** 2) / mass.sum())
    information = (np.gradient(flux, grid) / sigma)[:, None, None] ** 2
    variances = prior_aware_variances(information, np.array([[spread]]))[:, 0]
    return 1 - float(prior @ variances) / spread, 1 - squared / spread


def coverage(n_sets: int, n_stars: int) -> None:
    """Of data sets whose posterior means are exact: how often the intervals hold gap 0 and share 1, and `above`."""
    held = np.zeros(3)
    with progress(n_sets, f"sets of {n_stars} stars", unit="sets") as advance:
        for k in range(n_sets):
            rng = np.random.default_rng([k, n_stars])
            y, sigma = rng.standard_normal(n_stars), rng.uniform(0.3, 2, n_stars)
            variance = 1 / (1 + sigma**-2)
            mean = variance * (y + sigma * rng.standard_normal(n_stars)) / sigma**2
            bounded = Bounded(y=y, stars=np.arange(n_stars), prior_aware=variance, unbiased=sigma**2)
            (row,) = row_items(bounded, ["exact"], mean[:, None], [None])
            gap, share = row["gap_interval"], row["share_interval"] or [np.nan, np.nan]
            held += (gap[0] <= 0 <= gap[1], share[0] <= 1 <= share[1], row["above"])
            advance(1)
    told = ", ".join(f"{name} {100 * value / n_sets:.1f} %" for name, value in zip(HELD, held, strict=True))
    print(f"exact posterior means, {n_sets} sets of {n_stars} stars: {told}")


def log_posterior(points: np.ndarray, noisy: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Up to a constant, (n,), of labels (n, 5); -inf outside of the survey's ranges."""
    inside = np.flatnonzero(((points >= LOW) & (points <= HIGH)).all(axis=1))
    found = np.full(len(points), -np.inf)
    for start in range(0, inside.size, 128):
        rows = inside[start : start + 128]
        flux = clean_flux({name: points[rows, k] for k, name in enumerate(LABELS)}).astype(np.float64)
        found[rows] = -0.5 * (((noisy - flux) / sigma) ** 2).sum(axis=1)
    return found


class Proposal:
    """Multivariate t about `mean` (5,) with scale matrix `scale` (5, 5)."""

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        self.mean, self.root = mean, np.linalg.cholesky(scale)

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """n points, (n, 5)."""
        normal = rng.standard_normal((n, len(self.mean)))
        stretch = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, size=(n, 1)))
        return self.mean + (normal @ self.root.T) * stretch

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """(n,), up to a constant that all proposals share."""
        distance = (np.linalg.solve(self.root, (points - self.mean).T) ** 2).sum(axis=0)
        log_root = np.log(np.diag(self.root)).sum()
        return -log_root - 0.5 * (FREEDOM + len(self.mean)) * np.log1p(distance / FREEDOM)


def moments(points: np.ndarray, log_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Weighted mean (5,), covariance (5, 5) and effective sample size."""
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean = weight @ points
    deviations = points - mean
    return mean, (deviations * weight[:, None]).T @ deviations, float(1 / np.sum(weight**2))


def posterior(
    noisy: np.ndarray, sigma: np.ndarray, first: Proposal, *, rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and covariance of one star's posterior: n points from `first`, then n each from what all so far tell.

    It goes on, up to MOST_ROUNDS, until the effective sample size is that of ENOUGH.
    """
    proposals, points, heights = [first], np.empty((0, len(first.mean))), np.empty(0)
    for _ in range(MOST_ROUNDS):
        new = proposals[-1].draw(rng, n)
        points = np.concatenate([points, new])
        heights = np.concatenate([heights, log_posterior(new, noisy, sigma)])
        log_weight = heights - np.logaddexp.reduce([p.log_density(points) for p in proposals], axis=0)
        mean, covariance, size = found = moments(points, log_weight)
        if size >= ENOUGH:
            break
        while size < SOFT:  # too few points carry all: soften, so that a covariance can be told
            log_weight = 0.5 * log_weight
            mean, covariance, size = moments(points, log_weight)
        proposals.append(Proposal(mean, 1.2 * covariance + 1e-9 * np.diag(PRIOR_VARIANCE)))
    return found


def of_the_noise(
    gradient: np.ndarray, sigma: np.ndarray, *, seed: int, mag: tuple[float, float]
) -> np.ndarray:
    """What the size of the noise in the flux tells beside its mean, (n, 5, 5): the second term of Kay 1993, eq. 3.31.

    sigma^2 = (scale flux + sky) / scale^2 (`extract.mock.instrument.one_sigma`), so that its gradient is that of the
    flux over scale.
    """
    rows = np.arange(len(sigma)) + FIRST_ROW["test"]
    labels, night = draw_stars(rows, seed=seed, mag=mag)
    brightness = 10.0 ** (-0.4 * (labels["mag"] - REFERENCE_MAGNITUDE))
    scale = (ELECTRONS * night.throughput * brightness)[:, None] * transmission()
    relative = gradient / (scale * sigma**2)[:, None]
    return 0.5 * relative @ relative.transpose(0, 2, 1)


def survey(seed: int, mag: tuple[float, float], n_stars: int, n: int) -> None:
    """Posterior variances of test stars against the prior-aware ones."""
    rows = np.arange(n_stars)
    stars = generate(rows + FIRST_ROW["test"], seed=seed, mag=mag)
    labels = np.stack([stars.labels[name] for name in LABELS], axis=1)
    flux, sigma = stars.flux.astype(np.float64), stars.error.astype(np.float64)
    noise = standard_normal(seed=0, split="test", rows=rows, draw=0, n_pixels=flux.shape[1]) * sigma
    gradient = mock_gradient(labels, flux, rows)
    matrices = fisher_matrices(gradient, flux, sigma)
    known = label_information(matrices, PARAMETERS, amplitude_sd=0.0)
    inverse_prior = np.diag(1 / PRIOR_VARIANCE)
    rng = np.random.default_rng(0)
    means, variances, sizes, started = [], [], [], time.perf_counter()
    with progress(n_stars, "posteriors", unit="stars") as advance:
        for k in range(n_stars):
            scale = np.linalg.inv(known[k] + inverse_prior)
            pull = gradient[k] @ (noise[k] / sigma[k] ** 2) + ((LOW + HIGH) / 2 - labels[k]) / PRIOR_VARIANCE
            first = Proposal(np.clip(labels[k] + scale @ pull, LOW, HIGH), 1.3 * scale)
            mean, covariance, size = posterior(flux[k] + noise[k], sigma[k], first, rng=rng, n=n)
            means.append(mean)
            variances.append(np.diag(covariance))
            sizes.append(size)
            advance(1)
    print(f"mock survey, seed {seed}, mag {mag}: {n_stars} stars, {time.perf_counter() - started:.0f} s")
    print("  effective sample size, quantiles 0, 5, 50 %:", np.quantile(sizes, [0, 0.05, 0.5]).round())
    free = label_information(matrices, PARAMETERS, amplitude_sd=np.inf)
    by_known, by_free = (prior_aware_variances(g, np.diag(PRIOR_VARIANCE)) for g in (known, free))
    exact, squared = np.array(variances), (np.array(means) - labels) ** 2
    more = known + of_the_noise(gradient, sigma, seed=seed, mag=mag)
    with_noise = prior_aware_variances(more, np.diag(PRIOR_VARIANCE))
    gain = (by_known - with_noise).mean(axis=0) / PRIOR_VARIANCE
    print(
        "  R2 gained if the size of the noise is counted:",
        dict(zip(LABELS, gain.round(5).tolist(), strict=True)),
    )
    for k, name in enumerate(LABELS):
        better = (by_known - exact)[:, k] / PRIOR_VARIANCE[k]
        r2 = [1 - part[:, k].mean() / PRIOR_VARIANCE[k] for part in (by_known, by_free, exact, squared)]
        print(
            f"  {name}: R2 {r2[0]:.4f} ln A known, {r2[1]:.4f} ln A free; posterior variance {r2[2]:.4f}, squared "
            f"error of its mean {r2[3]:.4f}; posterior minus known {better.mean():+.4f} +- "
            f"{better.std() / np.sqrt(n_stars):.4f}"
        )


def main() -> None:
    """Run both parts and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mag", type=float, nargs=2, default=(21.5, 21.5))
    parser.add_argument("--stars", type=int, default=200)
    parser.add_argument(
        "--points", type=int, default=700, help="of the first proposal; the second has twice as many"
    )
    parser.add_argument("--sets", type=int, default=1000, help="of made-up stars, for the coverage")
    asked = parser.parse_args()
    print(platform.machine(), versions())
    toys()
    for n_stars in (200, 2000):
        coverage(asked.sets, n_stars)
    survey(asked.seed, tuple(asked.mag), asked.stars, asked.points)


if __name__ == "__main__":
    main()
