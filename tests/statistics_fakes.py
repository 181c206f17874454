"""Made-up predictions whose true scores are known, and the slow plain twins of the bootstrap."""

import math

import numpy as np

from probes import metrics

TRUE_R2 = 0.55


def predictions(rng, n_stars, *, clustered=False, worse_by=0.0, shared=0.7):
    """(y, y_hat a, y_hat b, stars): R2 of a is TRUE_R2, that of b less by `worse_by`; errors of both correlate.

    Clustered stars have one to five rows with one label, and errors that are mostly the star's own.
    """
    rows = rng.integers(1, 6, n_stars) if clustered else np.ones(n_stars, dtype=int)
    member = np.repeat(np.arange(n_stars), rows)
    y = rng.standard_normal(n_stars)[member]

    def error():
        own, per_row = rng.standard_normal(n_stars)[member], rng.standard_normal(member.size)
        return math.sqrt(0.6) * own + math.sqrt(0.4) * per_row if clustered else per_row

    common = error()

    def prediction(r2):
        mixed = math.sqrt(shared) * common + math.sqrt(1 - shared) * error()
        return r2 * y + math.sqrt(r2 * (1 - r2)) * mixed

    return y, prediction(TRUE_R2), prediction(TRUE_R2 - worse_by), member


def gathered(values, stars, *, n_resamples, seed):
    """Yield (values, index of star) of the rows of stars drawn with replacement, one resample at a time."""
    unique = np.unique(stars)
    rng = np.random.default_rng(seed)
    for _ in range(n_resamples):
        drawn = unique[rng.integers(0, unique.size, size=unique.size)]
        rows = [np.flatnonzero(stars == star) for star in drawn]
        nth = np.repeat(np.arange(unique.size), [len(r) for r in rows])
        yield values[np.concatenate(rows)], nth


def log_unexplained(pair, stars):
    """log(1 - R2) and its standard error, star by star: what a star adds to it, by the derivative of each term."""
    y, residual = pair[:, 0], pair[:, 1] - pair[:, 0]
    deviation, squared = (y - y.mean()) ** 2, residual**2
    parts = [
        squared[stars == s].sum() / squared.sum() - deviation[stars == s].sum() / deviation.sum()
        for s in np.unique(stars)
    ]
    return math.log(squared.sum() / deviation.sum()), math.sqrt(sum(part**2 for part in parts))


def difference(triple, stars):
    """R2 of a minus R2 of b and its standard error, star by star."""
    y, a, b = triple.T
    deviation = (y - y.mean()) ** 2
    lost = (b - y) ** 2 - (a - y) ** 2
    value = metrics.r2(y, a) - metrics.r2(y, b)
    parts = [
        (lost[stars == s].sum() - value * deviation[stars == s].sum()) / deviation.sum()
        for s in np.unique(stars)
    ]
    return value, math.sqrt(sum(part**2 for part in parts))


def plain_ends(estimate, values, stars, *, scale, n_resamples, seed, level=0.95):
    """Percentile and symmetric bootstrap-t ends of `estimate(values, stars) -> (value, error)`, whichever is wider."""
    value, error = estimate(values, stars)
    drawn = [estimate(*sample) for sample in gathered(values, stars, n_resamples=n_resamples, seed=seed)]
    replicates, errors = np.array(drawn).T
    reach = error * np.quantile(np.abs(replicates - value) / errors, level)
    percentile = np.quantile(scale(replicates), [(1 - level) / 2, (1 + level) / 2])
    studentised = sorted(scale(np.array([value - reach, value + reach])))
    return min(percentile[0], studentised[0]), max(percentile[1], studentised[1])


def labels_and_predictions(n=300, *, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    y = 5000 + 700 * rng.standard_normal(n)
    return y, y + 700 * noise * rng.standard_normal(n) + 30
