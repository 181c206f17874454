"""Probes from request to record: join, check, fit together what shares features, score one by one."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cache.errors import ConfigError, Damaged, ProbeError, Stale
from cache.grouping import grouped
from cache.progress import Told, untold
from cache.records import run_id, write_record
from cache.runlog import run_log

from .groups import Basis, Column, Group, basis_key, columns_of, training_set
from .kinship import TRAINED_ON
from .persistence import save_head
from .registry import head_entry
from .scoring import ProbeOutcome, failed_outcome, scored_outcome
from .spec import ProbeRequest, check_request, spec_of
from .splits import Views, check_views
from .together import Fit, TrainingSet, fit_together
from .wavelengths import WINDOWS

KIND = "probe"

Outcomes = Iterator[tuple[ProbeRequest, ProbeOutcome]]


def run_probe(
    request: ProbeRequest,
    views: Views,
    *,
    about: Mapping[str, Any] | None = None,
    unfinished: Path | None = None,
    told: Told = untold,
) -> ProbeOutcome:
    """Fit on train, choose on val, score train, val and test once.

    `about` is added to `run` (display name of the encoder, threads). In the folder `unfinished` long fits keep their
    state, from which they go on after a kill, to the same bits; `told` is called as they proceed. Raises what
    `check_request`, `check_views` and the views raise, ProbeError for a label that is absent or not finite; what a
    head cannot fit becomes an outcome with status `failed`.
    """
    check_request(request)
    check_views(views, request.features, request.cross, allow_leak=request.allow_leak)
    notes = _Notes(about or {})
    group = Group([request], views)
    refused = group.refusal(request)
    if refused is not None:
        raise refused
    basis = group.basis(request)
    notes.loaded(n_cells=1)
    ((_, outcome),) = _fit_together([request], group, basis, notes, unfinished, told)
    return outcome


def run_group(
    requests: Sequence[ProbeRequest],
    views: Views,
    *,
    about: Mapping[str, Any] | None = None,
    unfinished: Path | None = None,
) -> Outcomes:
    """The outcome of every request of one group (see `group_key`), those that share a fit one after the other.

    Requests and views were checked before. An outcome does not depend on which other requests there are: on the CPU
    it has the bits that `run_probe` gives. What is wrong with a request becomes its outcome, with status `failed`;
    raises what concerns all of them (a damaged store), and faults of ours.
    """
    notes = _Notes(about or {})
    group = Group(requests, views)
    notes.loaded(n_cells=len(requests))
    left = []
    for request in requests:
        refused = group.refusal(request)
        if refused is None:
            left.append(request)
        else:
            yield request, failed_outcome(request, views, str(refused), run=notes.take())
    for on_basis in grouped(left, basis_key).values():
        yield from _run_on_basis(on_basis, group, notes, unfinished)


def _run_on_basis(
    requests: Sequence[ProbeRequest], group: Group, notes: "_Notes", unfinished: Path | None
) -> Outcomes:
    try:
        basis = group.basis(requests[0])
    except (ConfigError, ProbeError) as error:  # more axes than the rows have
        for request in requests:
            yield request, failed_outcome(request, group.views, str(error), run=notes.take())
        return
    for of_head in grouped(requests, ProbeRequest.fitted_head).values():
        at_once = head_entry(of_head[0].fitted_head()).at_once
        for start in range(0, len(of_head), at_once):
            yield from _fit_together(of_head[start : start + at_once], group, basis, notes, unfinished)


def _fit_together(
    requests: Sequence[ProbeRequest],
    group: Group,
    basis: Basis,
    notes: "_Notes",
    unfinished: Path | None,
    told: Told = untold,
) -> Outcomes:
    """Fit, then score one by one; anything but ProbeError is a fault of ours and passes."""
    columns: dict[Column, int] = {}
    for request in requests:
        for column in columns_of(request):
            columns.setdefault(column, len(columns))
    fits = [
        Fit(
            head=request.make_head(),
            columns=tuple(columns[column] for column in columns_of(request)),
            n_rows=group.n_rows(request),
        )
        for request in requests
    ]
    states = [] if unfinished is None else [_state_of(r, group.views, unfinished) for r in requests]
    failures = _fit_all(fits, replace(training_set(group, basis, columns), told=told), states)
    notes.fitted(n_cells=len(fits))
    for request, fit, failure in zip(requests, fits, failures, strict=True):
        samples = group.cell(request, basis)
        if failure is None:
            outcome = scored_outcome(
                request,
                group.views,
                samples,
                head=fit.head,
                resamples=group.resamples,
                windows=group.windows,
                axes=basis.axes,
            )
        else:
            outcome = failed_outcome(request, group.views, failure, samples=samples)
        yield request, replace(outcome, run=notes.take())


def _state_of(request: ProbeRequest, views: Views, unfinished: Path) -> Path:
    return unfinished / f"{run_id(KIND, spec_of(request, views))}.safetensors"


def _fit_all(fits: Sequence[Fit], data: TrainingSet, states: Sequence[Path]) -> list[str | None]:
    """Fit together; a state that is broken, or of features that were extracted anew since, is not gone on from."""
    if not states:
        return fit_together(fits, data)
    for fit, state in zip(fits, states, strict=True):
        fit.head.keep_state_at(state)
    try:
        return fit_together(fits, data)
    except (Stale, Damaged):
        for state in states:
            state.unlink(missing_ok=True)
        return fit_together(fits, data)


def unfinished_folder(results_root: Path) -> Path:
    """Where long fits keep their state until they are done."""
    return results_root / "unfinished"


def store_result(results_root: Path, outcome: ProbeOutcome) -> str:
    """Write the fitted head, then the record with its predictions and arrays; returns the run id."""
    if outcome.head is not None:
        spec = outcome.spec
        use = {
            "labels": spec["labels"],
            "parts": spec["features"]["parts"],
            "segments": spec["features"]["segments"],
            "family": spec["family"],
            "noise_level": spec["noise_levels"]["train"],
            "control": spec["control"],
            TRAINED_ON: outcome.trained_on,
            WINDOWS: outcome.windows,
        }
        save_head(
            head_folder(results_root, run_id(KIND, spec)),
            outcome.head,
            name=spec["head"],
            use=use,
            axes=outcome.axes,
        )
    return write_record(
        results_root,
        kind=KIND,
        spec=outcome.spec,
        result=outcome.result,
        run=outcome.run,
        predictions=outcome.predictions,
        arrays=outcome.arrays,
    )


def head_folder(results_root: Path, name: str) -> Path:
    """Where the fitted head of a run id is kept."""
    return results_root / "heads" / name


class _Notes:
    """What goes to `run` and is never compared; seconds that cells share are divided among them."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        _, self._common = run_log(started=time.time(), about=about)
        self._seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def loaded(self, *, n_cells: int) -> None:
        """Reading is done, for so many cells."""
        self._seconds["load"] = self._lap() / n_cells

    def fitted(self, *, n_cells: int) -> None:
        """A fit is done, of so many cells."""
        self._seconds["fit"] = self._lap() / n_cells

    def take(self) -> dict[str, Any]:
        """The note of the cell that was scored last."""
        seconds = {**self._seconds, "score": self._lap()}
        return {**self._common, "seconds": {step: round(value, 3) for step, value in seconds.items()}}

    def _lap(self) -> float:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed
