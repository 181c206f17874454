"""`python -m probes audit`: whether a score comes through the error channel."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from cache.canonical import canonical_json
from cache.commandline import Verb, say
from cache.errors import ConfigError
from cache.progress import Advance, progress
from cache.records import Record, read_record, record_path, run_id, write_record
from cache.runlog import run_log

from .audit_fits import latent_fits, leftover, n_latent_fits, n_leftover_fits
from .audit_record import KIND, audit_arrays, audit_result, audit_spec, store_digests_of
from .audit_rows import Scored
from .audit_stores import ERROR_INPUTS, AuditViews, audit_views, check_audited
from .audit_table import audit_lines, audit_title
from .cells import JOIN, CellChoices, arrays_of, requests
from .checks import check_choices
from .groups import with_all_of
from .left_out import Settled
from .spec import ProbeRequest, check_request
from .study_settings import StudySettings
from .threads import blas_threads


class AuditSettings(StudySettings):
    """Ask whether a score comes through the error channel, and say so in plain words.

    In simulated data error is nearly sqrt(flux + sky) of the noise-free star, so a network may read the star off its
    error. The audit asks what the error alone tells (A1), what that leaves (A2), whether flux (A3) and latents (A4)
    tell the rest, and how much of the score survives when the network is fed something else in place of the error: with
    the probe fitted anew (refit: what do the features hold?) and applied as it is (apply: does this probe lean on it?).
    Stores are those of `extract run --error-input ...`; `make audit` makes them. Audits with a fresh record are not
    made again. docs/audit.md has the rules of the verdict.
    """

    labels: tuple[str, ...] = Field(("log_g",), description="labels of the stores, one audit each")
    error_inputs: tuple[str, ...] = Field(
        ERROR_INPUTS,
        description="what the channel was fed instead; with more of its name where several are stored",
    )
    folds: int = Field(5, ge=2, description="of train, by star, for the residuals")
    selection: Path | None = Field(
        None,
        description="file of extract run --selection with the true error; the other stores are found beside it",
    )
    family: str | None = Field(
        None, description="first digits of the family of the true error, without --selection"
    )
    again: bool = Field(default=False, description="audit again even what has a fresh record")
    check: bool = Field(
        default=False, description="check what needs no stores (names, numbers, parameters), and stop"
    )
    dry_run: bool = Field(default=False, description="check stores and settings, say what is to do, and stop")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One audit: what is asked, of which stores, under which names."""

    request: ProbeRequest
    views: AuditViews
    spec: Mapping[str, Any]
    origin: Mapping[str, Any]
    """Names of encoder and data files, as `StoreChoice.origin` gives them."""

    @property
    def name(self) -> str:
        """Run id of its record."""
        return run_id(KIND, self.spec)

    def same_leftover(self) -> str:
        """Equal for audits that fit the same head to the same stored spectra, of the same stars."""
        spectra = {
            layer: {
                split: [[view.provenance["input"], dict(view.stores)] for view in members]
                for split, members in views.items()
            }
            for layer, views in self.views.inputs.items()
        }
        head, stars = [self.request.head, dict(self.request.params)], with_all_of(self.request)
        return canonical_json({"head": head, "stars": stars, "spectra": spectra})


def run(settings: AuditSettings) -> None:
    """Make the audits that have no fresh record, and print all of them."""
    check_choices(_choices(settings))
    check_audited(settings.layers, settings.error_inputs)
    if settings.check:
        return
    audits = list(_audits(settings))
    missing = [a for a in audits if settings.again or not is_fresh(settings.results, a)]
    say(f"audits on record: {len(audits) - len(missing)}, to make: {len(missing)}")
    if settings.dry_run:
        for audit in audits:
            say(f"  {audit_title(audit.spec)}: {'to make' if audit in missing else 'on record'}")
        return
    groups = _by_leftover(missing)
    total = sum(_n_fits(group, settings.folds) for group in groups)
    if groups:
        with progress(total, "audit", unit="fits") as advance, blas_threads(settings.threads):
            for group in groups:
                _make(group, settings, advance)
    for audit in audits:
        record = read_record(settings.results, audit.name)
        for line in audit_lines(record.spec, record.result):
            say(line)


def is_fresh(results: Path, audit: Audit) -> bool:
    """Whether a record of that audit was made from stores with the digests of today."""
    if not record_path(results, audit.name).exists():
        return False
    record: Record = read_record(results, audit.name)
    return bool(record.result["stores"] == store_digests_of(audit.views))


def _audits(settings: AuditSettings) -> Iterator[Audit]:
    """Every combination that the flags stand for, checked; stores are looked up once for each feature set."""
    asked, stores = _choices(settings), settings.stores()
    choices = replace(asked, layers=stores.layers(settings.layers, settings.poolings))
    found: dict[Any, AuditViews] = {}
    settled = Settled()
    for one in requests(choices):
        check_request(one)
        arrays = arrays_of(one)
        if arrays not in found:
            found[arrays] = audit_views(stores, arrays, settings.error_inputs)
        views = found[arrays]
        request = settled.request(one, views.true, of=arrays)
        spec = audit_spec(request, views, n_folds=settings.folds)
        yield Audit(request=request, views=views, spec=spec, origin=stores.origin(views.true))


def _choices(settings: AuditSettings) -> CellChoices:
    """The combinations as the flags say them; ConfigError where one is of several layers or labels."""
    joined = [name for name in (*settings.layers, *settings.labels) if JOIN in name]
    if joined:
        raise ConfigError(
            f"{', '.join(joined)}: an audit is of one layer and one label; use commas instead of '+'"
        )
    return settings.choices()


def _by_leftover(audits: Sequence[Audit]) -> list[dict[Any, list[Audit]]]:
    """Audits that share what the error leaves, and among them those of one feature set."""
    groups: dict[str, dict[Any, list[Audit]]] = {}
    for audit in audits:
        of_features = groups.setdefault(audit.same_leftover(), {})
        of_features.setdefault(audit.request.features, []).append(audit)
    return list(groups.values())


def _n_fits(group: Mapping[Any, Sequence[Audit]], n_folds: int) -> int:
    first = next(iter(group.values()))[0]
    of_latents = sum(n_latent_fits(audits[0].views) for audits in group.values())
    return n_leftover_fits(first.request, first.views, n_folds=n_folds) + of_latents


def _make(group: Mapping[Any, Sequence[Audit]], settings: AuditSettings, advance: Advance) -> None:
    """Fit and write the audits of one head, feature set by feature set."""
    started = time.time()
    by_label = {audit.request.labels[0]: audit.request for audits in group.values() for audit in audits}
    labels, asked = list(by_label), list(by_label.values())
    first = next(iter(group.values()))[0]
    left = leftover(asked, first.views, n_folds=settings.folds, seed=settings.seed, advance=advance)
    for audits in group.values():
        mine = [labels.index(audit.request.labels[0]) for audit in audits]
        part_left = left.of(mine)
        latents = latent_fits([a.request for a in audits], audits[0].views, part_left, advance=advance)
        for k, audit in enumerate(audits):
            part = audit.request.features[0]
            source = f"{part.layer}/{part.direction}/{part.pooling}"
            scored = Scored.of(audit.request.labels[0], k, source, part_left, latents)
            _, log = run_log(started=started, about={"threads": settings.threads, **audit.origin})
            write_record(
                settings.results,
                kind=KIND,
                spec=audit.spec,
                result=audit_result(
                    scored,
                    audit.views,
                    request=audit.request,
                    samples=part_left.samples,
                    flags=[*part_left.flags[k], *latents.flags[k]],
                ),
                run=log,
                arrays=audit_arrays(scored, part_left.samples["test"].rows),
            )


VERB = Verb(AuditSettings, run)
