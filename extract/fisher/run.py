"""Fisher matrices of whole splits: checked input, a gradient for every kept star, one artefact per split."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cache.errors import ConfigError, NotExtracted, SchemaVersion
from cache.fisher import FISHER_SCHEMA, FisherMatrices, fisher_key, fisher_path, read_fisher, write_fisher
from cache.progress import progress
from cache.provenance import selection_of
from cache.runlog import run_log

from ..choices import DROP
from ..fingerprint import Fingerprint, checked_labels
from ..mask import Mask, load_mask, mask_digest
from ..remembered import forgotten_if_changed
from ..spectra import SpectraFile, open_spectra
from . import mock_gradient
from .information import PARAMETERS, Float64s, fisher_matrices
from .request import FisherRequest
from .stars import Rows, TrainStars, checked_spectra, read_stars, rows_with_labels

Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One split, opened and checked, and the provenance of its matrices."""

    spectra: SpectraFile
    known: Fingerprint
    mask: Mask | None
    rows: Rows
    """Those that get a matrix."""
    labels: Float64s
    """(N, 5) of all rows of the files, in the order of `LABELS`; finite in `rows`."""
    provenance: dict[str, Any]

    @property
    def is_mock(self) -> bool:
        """Whether the gradient is the generator's own."""
        return bool(self.provenance["method"]["name"] == "mock")


def make_fisher(
    request: FisherRequest, *, say: Say = lambda _: None, dry_run: bool = False
) -> dict[str, Path]:
    """Write the Fisher matrices that are missing, by split; what is there and whole is said and kept.

    With `dry_run` everything is checked and nothing written. Raises a BlindspotError before anything is computed when
    files, labels or settings are wrong.
    """
    paths = {}
    with contextlib.ExitStack() as files:
        of_train = None if request.train is None else files.enter_context(open_spectra(list(request.train)))
        spectra = {s: files.enter_context(open_spectra(list(paths))) for s, paths in request.data.items()}
        mask = None
        if request.mask is not None:
            mask = load_mask(request.mask, next(iter(spectra.values())).wave.size)
        train = None if of_train is None else TrainStars(of_train, request, mask)
        every = [*spectra.values(), *([] if of_train is None else [of_train])]
        files.enter_context(forgotten_if_changed(every, request.digests, mask=mask))
        planned = {split: _planned(request, split, of, train, mask) for split, of in spectra.items()}
        for split, plan in planned.items():
            path = paths[split] = fisher_path(request.out, plan.provenance)
            told = f"{len(plan.rows)} rows, gradient by {plan.provenance['method']['name']}"
            if _is_there(path):
                say(f"{split}: {path} is there and fresh")
            elif dry_run:
                say(f"{split}: {told}, to compute: {path}")
            else:
                _make(request, split, plan, train)
                say(f"{split}: wrote {path} ({told})")
    return paths


def _planned(
    request: FisherRequest, split: str, spectra: SpectraFile, train: TrainStars | None, mask: Mask | None
) -> Planned:
    known = checked_spectra(spectra, split, request, mask)
    rows, labels = rows_with_labels(spectra, known, split, missing=request.missing_labels)
    lacking = {} if len(rows) == len(known.kept) else {"missing_labels": DROP}
    return Planned(
        spectra=spectra,
        known=known,
        mask=mask,
        rows=rows,
        labels=labels,
        provenance={
            "schema": FISHER_SCHEMA,
            "input": known.digest,
            "data_kind": spectra.data_kind,
            "split": split,
            "rows": {
                "n": len(rows),
                "selection": selection_of(rows, spectra.n_spectra),
                **lacking,
            },
            "mask": mask_digest(mask),
            "noise_level": float(request.noise_level),
            "parameters": list(PARAMETERS),
            "method": _method(request, spectra, train),
        },
    )


def _method(request: FisherRequest, spectra: SpectraFile, train: TrainStars | None) -> dict[str, Any]:
    """How the gradient is made: of mock files by their generator, of others by an emulator, unless told otherwise."""
    name = request.method
    if name == "auto":
        name = "mock" if spectra.data_kind == "mock" else "emulator"
    if name == "mock":
        if spectra.data_kind != "mock":
            raise ConfigError(
                f"--method mock, but {spectra.files[0]} is no file of the mock survey; use --method emulator"
            )
        return mock_gradient.describe()
    if train is None:
        raise ConfigError(
            "the emulator needs train spectra with labels: name a folder that has train/ with --data, or --train FILE"
        )
    if not np.array_equal(train.spectra.wave, spectra.wave):
        raise ConfigError(
            f"{spectra.files[0]}: its wavelengths are not those of the train file {train.spectra.files[0]}; give train "
            "spectra on the same grid"
        )
    return train.describe()


def _make(request: FisherRequest, split: str, plan: Planned, train: TrainStars | None) -> None:
    started = time.time()
    matrices = _matrices(request, split, plan, train)
    about = {"files": [str(path) for path in plan.spectra.files]}
    _, note = run_log(started=started, command=request.command, about=about)
    write_fisher(request.out, matrices, run=note)


def _matrices(request: FisherRequest, split: str, plan: Planned, train: TrainStars | None) -> FisherMatrices:
    known, spectra = plan.known, plan.spectra
    keep: Any = slice(None) if plan.mask is None else plan.mask
    emulator = None if plan.is_mock or train is None else train.emulator()
    made = []
    with progress(len(plan.rows), f"fisher {split}", unit="spectra") as advance:
        for rows, flux, error in read_stars(spectra, known, plan.rows):
            labels = plan.labels[rows]
            if emulator is None:
                gradient = mock_gradient.mock_gradient(labels, flux, rows)[:, :, keep]
            else:
                gradient = emulator.gradient(labels)
            sigma = (error * request.noise_level)[:, keep]
            made.append(fisher_matrices(gradient, np.maximum(flux, 0)[:, keep], sigma))
            advance(len(rows))
    labels = checked_labels(spectra, known).values[plan.rows]
    return FisherMatrices(
        provenance=plan.provenance,
        key=fisher_key(plan.provenance),
        matrices=np.concatenate(made),
        rows=plan.rows,
        stars=known.stars[plan.rows],
        labels={name: labels[:, place] for place, name in enumerate(spectra.label_names)},
    )


def _is_there(path: Path) -> bool:
    """Whether whole Fisher matrices are there; Damaged when what is there is not what was written."""
    try:
        read_fisher(path)
    except (NotExtracted, SchemaVersion):
        return False
    return True
