"""`python -m probes ceiling`: how much of a label the noisy flux can tell, and what share of it each probe reaches."""

import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from cache.commandline import Command, Verb, say
from cache.errors import ConfigError, NotExtracted
from cache.progress import progress
from cache.records import (
    Record,
    read_predictions,
    read_record,
    read_records,
    run_id,
    unchanged,
    write_record,
)
from cache.runlog import run_log

from .ceiling_inputs import CeilingGroup, KeptStores, groups_of
from .ceiling_record import KIND, Ceiling, ceiling_of
from .comparable import PREDICTING, Comparable, comparable
from .on_record import check_named, starting_with
from .titles import recorded_description, telling_params


class CeilingSettings(Command):
    """Tell how much of a label noisy flux can tell at best, and what share of that each probe reaches.

    For every label and test set with records of probes: the mean over stars of the prior-aware bound (the headline, to
    be compared with a test R2), the median and mean of the unbiased Cramer-Rao figure, each probe's share of the
    headline and its distance from it, also by S/N and magnitude. It holds for probes whose features do not see the true
    error; others are listed without a share. Networks trained end to end (extract finetune) are rows like probes. Needs
    Fisher matrices of the test spectra: python -m extract fisher.
    docs/ceiling.md says what it bounds.
    """

    results: Path = Field(Path("artifacts/results"), description="folder of records and predictions")
    features: Path = Field(
        Path("artifacts/features"), description="folder of the stores that the records were made from"
    )
    fisher: Path = Field(
        Path("artifacts/fisher"), description="folder of Fisher matrices, or the .json of one set"
    )
    labels: tuple[str, ...] = Field((), description="only these labels (default: all)")
    runs: tuple[str, ...] = Field(
        (), description="first digits of run ids: only these records (default: all)"
    )
    ln_a_sd: float = Field(
        0.0, description="prior standard deviation of ln A, the scale of the flux: 0 known, inf free"
    )
    check: bool = Field(
        default=False, description="check what needs no Fisher matrices (labels, run ids, numbers), and stop"
    )


def run(settings: CeilingSettings) -> None:
    """Write one record per label and test set, and print it.

    What cannot be made is said; NotExtracted or ConfigError when that is all.
    """
    if not settings.ln_a_sd >= 0:
        raise ConfigError(f"--ln-a-sd is {settings.ln_a_sd}; expected 0 (known) to inf (free)")
    chosen = _chosen(settings)
    if settings.check:
        return
    stores, made, missing = KeptStores(settings.features), 0, []
    for found in _found(chosen, settings):
        try:
            groups = _groups(found, stores)
        except NotExtracted as error:
            missing.append(error)
            say(f"{found.rows.label}: no ceiling: {error}")
            continue
        for group in groups:
            try:
                made += _make(group, stores, settings)
            except NotExtracted as error:
                missing.append(error)
                say(f"{found.rows.label}: no ceiling: {error}")
    if made:
        return
    raise next(
        iter(missing),
        ConfigError(
            f"{settings.results}: no probe was found to make a ceiling for: it takes one of T_eff, log_g, M_H, a_M or "
            "C_M with a test R2 on noisy spectra; fit one: python -m probes run --labels log_g"
        ),
    )


def _chosen(settings: CeilingSettings) -> list[Record]:
    """The records asked for; ConfigError or UnknownName for run ids and labels that none has."""
    scored = [record for record in read_records(settings.results) if record.kind in PREDICTING]
    chosen = [
        record
        for record in starting_with(scored, settings.runs)
        if "predictions" in record.files and record.spec["control"] != "shuffled_labels"
    ]
    check_named("label", settings.labels, chosen, field="labels")
    return chosen


def _found(chosen: list[Record], settings: CeilingSettings) -> list[Comparable]:
    """The records by label and test set."""
    with progress(len(chosen), "predictions", unit="records") as advance:

        def read(name: str) -> Mapping[str, Any]:
            advance(1)
            return read_predictions(settings.results, name)

        groups = list(comparable(chosen, read, least=1))
    return [g for g in groups if not settings.labels or g.rows.label in settings.labels]


def _groups(found: Comparable, stores: KeptStores) -> list[CeilingGroup]:
    """The groups of one label and test set; none, which is said, where no ceiling can be meant.

    Raises NotExtracted when all test stores are gone.
    """
    label, about, n_records = found.rows.label, found.rows.about, len(found.records)
    if about["noise_mode"] == "none" or not about["noise_level"]:
        say(f"{label}: no ceiling for {n_records} records on test spectra without noise")
        return []
    if len(about["input"] or ()) != 1:
        say(f"{label}: no ceiling for {n_records} records that do not name one test input")
        return []
    groups = list(groups_of(found, stores))
    if not groups:
        raise NotExtracted(
            f"{stores.root}/test: the test stores of all {n_records} records of {label} are gone, and with them the "
            "mask and what the network saw; extract test again (python -m extract run), or name the folder with "
            "--features"
        )
    return groups


def _make(group: CeilingGroup, stores: KeptStores, settings: CeilingSettings) -> int:
    """Make and print the ceiling of one group; 0 where its label has none, which is said, else 1."""
    started = time.time()
    ceiling = ceiling_of(
        group, stores, fisher=settings.fisher, amplitude_sd=settings.ln_a_sd, runs=settings.runs
    )
    if ceiling is None:
        say(f"{group.found.rows.label}: no ceiling: Fisher matrices do not tell of it")
        return 0
    say(_words(_recorded(ceiling, started, settings.results), group.found.records))
    return 1


def _recorded(ceiling: Ceiling, started: float, results: Path) -> Record:
    """The record of a ceiling: that of before where it rests on the same things, else made now."""
    name, about = run_id(KIND, ceiling.spec), ceiling.about()
    before = unchanged(results, name, about)
    if before is not None:
        return before
    result, arrays = ceiling.result(), ceiling.arrays()
    _, log = run_log(started=started, about={})
    write_record(results, kind=KIND, spec=ceiling.spec, result=result, run=log, arrays=arrays)
    return read_record(results, name)


def _words(record: Record, probes: tuple[Record, ...]) -> str:
    """The figures, a line for each probe with a share, best first, and one for all that have none for one reason."""
    result = record.result
    told = {name: _text(figure) for name, figure in result["figures"].items()}
    headline = (
        f"{record.spec['label']}, {result['n']['test']} test stars: ceiling R2 {told['prior_aware_mean']} "
        f"(prior-aware mean); unbiased median {told['unbiased_median']}, mean {told['unbiased_mean']} "
        f"({result['fisher_method']})"
    )
    lines = [headline]
    params = telling_params(probes)
    named = {probe.run_id: _name(probe, params[probe.run_id]) for probe in probes}
    for row in sorted(result["rows"], key=lambda row: -(row["share"] or -math.inf)):
        if row["applicable"]:
            share = "-"
            if row["share"] is not None:
                share = _text({"value": row["share"], "interval": row["share_interval"]})
            r2 = _text({"value": row["r2"], "interval": row["interval"]})
            above = ", ABOVE THE CEILING" if row["above"] else ""
            lines.append(f"  {named[row['run']]}: R2 {r2}, share {share}{above}")
    reasons = Counter(row["why"] for row in result["rows"] if not row["applicable"])
    lines += [f"  {n} without a share: {why}" for why, n in reasons.items()]
    lines += [f"  flag: {flag}" for flag in result["flags"]]
    return "\n".join(lines)


def _name(probe: Record, params: Mapping[str, Any]) -> str:
    trained = ""
    if probe.kind == "finetune":
        frozen = probe.spec["params"]["freeze_encoder"]
        trained = f", end to end, encoder {'frozen' if frozen else 'fine-tuned'}"
        params = {name: value for name, value in params.items() if name != "freeze_encoder"}
    fed = probe.spec.get("test_error_input", probe.spec["error_input"]).split(":")[0]
    return f"{probe.run_id[:8]} {recorded_description(probe.spec, params)}{trained}, error input {fed}"


def _text(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "not finite"
    lo, hi = figure["interval"]
    return f"{figure['value']:.3f}" + ("" if lo is None else f" [{lo:.3f}, {hi:.3f}]")


VERB = Verb(CeilingSettings, run)
