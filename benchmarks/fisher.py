"""Fisher matrices of the mock survey: how far finite differences have converged, how near the emulator comes.

Prints machine and versions; for other steps and a stencil of four points, the change of the prior-aware variances; for
the exact gradient and the emulator, the mean R2 that the matrices allow. Prior of the labels: Gaussian with the
variance of the survey's uniform ranges; of ln A: variance 1.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from cache.fisher import read_fisher
from cache.runlog import versions
from extract.fisher.information import LABELS, fisher_matrices
from extract.fisher.mock_gradient import STEPS
from extract.fisher.request import FisherRequest
from extract.fisher.run import make_fisher
from extract.mock.spectrum import clean_flux
from extract.mock.survey import FIRST_ROW, RANGES, generate, write_survey

PRIOR = np.array([12.0 / (high - low) ** 2 for low, high in RANGES.values()] + [1.0])


def variances(matrices: np.ndarray) -> np.ndarray:
    """Prior-aware variances of the labels, (n, 5)."""
    return np.diagonal(np.linalg.inv(matrices + np.diag(PRIOR)), axis1=1, axis2=2)[:, : len(LABELS)]


def with_stencil(stars: object, factor: float, points: int) -> np.ndarray:
    """Fisher matrices with steps times `factor` and a stencil of two or four points."""
    base = {name: stars.labels[name] for name in LABELS}
    gradient = []
    for name in LABELS:
        step = factor * STEPS[name]
        f = {k: clean_flux({**base, name: base[name] + k * step}).astype(np.float64) for k in (-2, -1, 1, 2)}
        near, far = f[1] - f[-1], f[2] - f[-2]
        gradient.append(near / (2 * step) if points == 2 else (8 * near - far) / (12 * step))
    flux, error = stars.flux.astype(np.float64), stars.error.astype(np.float64)
    return fisher_matrices(np.stack(gradient, axis=1), flux, error)


def main() -> None:
    """Run both parts and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-train", type=int, default=6000)
    parser.add_argument("--n-test", type=int, default=1000)
    asked = parser.parse_args()
    print(platform.machine(), versions())
    stars = generate(np.arange(512) + FIRST_ROW["test"], seed=0)
    reference = variances(with_stencil(stars, 1, 2))
    for factor, points in ((4, 2), (2, 2), (0.5, 2), (0.25, 2), (2, 4), (1, 4), (0.5, 4)):
        ratio = variances(with_stencil(stars, factor, points)) / reference
        typical = np.median(np.abs(np.sqrt(ratio) - 1), axis=0)
        mean = (ratio * reference)[:, 1].mean() / reference[:, 1].mean() - 1
        print(
            f"steps x {factor}, {points} points: median change of sigma {typical.round(5)}, "
            f"mean variance of log_g {mean:+.1e}"
        )
    for factor in (0.25, 1, 4, 16):
        known = np.linalg.inv(
            with_stencil(stars, factor, 2)[:, : len(LABELS), : len(LABELS)] + np.diag(PRIOR[:-1])
        )
        r2 = 1 - np.diagonal(known, axis1=1, axis2=2).mean(axis=0) * PRIOR[:-1]
        print(f"steps x {factor}, ln A known: R2", dict(zip(LABELS, r2.round(4).tolist(), strict=True)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_survey(folder, n_train=asked.n_train, n_val=1, n_test=asked.n_test, seed=0)
        for method in ("mock", "emulator"):
            request = FisherRequest(
                data={"test": (folder / "test/dataset.h5",)},
                train=(folder / "train/dataset.h5",),
                method=method,
                out=folder / "fisher",
                digests=folder / "digests",
            )
            started = time.perf_counter()
            matrices = read_fisher(make_fisher(request)["test"]).matrices
            seconds = time.perf_counter() - started
            r2 = 1 - variances(matrices).mean(axis=0) * PRIOR[: len(LABELS)]
            print(method, f"{seconds:.1f} s", dict(zip(LABELS, r2.round(3).tolist(), strict=True)))


if __name__ == "__main__":
    main()
