"""`python -m probes importance`: what each wavelength segment is worth to the probes on record."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from cache.commandline import MENDABLE, Command, Verb, say
from cache.errors import BlindspotError, NotExtracted
from cache.progress import progress
from cache.records import Record, read_arrays, read_record, read_records, run_id, unchanged, write_record
from cache.runlog import run_log

from .bootstrap import Array
from .features import n_segments
from .on_record import check_named, starting_with
from .recorded import refits
from .segment_importance import KIND, NO_SKILL_FLAG, importance_spec, rests_on, segment_importance, skilled
from .threads import blas_threads
from .titles import recorded_description, telling_params


class ImportanceSettings(Command):
    """Find the wavelength segments that fitted probes rest on; one record per probe.

    Each segment's columns are permuted among the test stars, by direction and all at once, and the drop in test R2 is
    told with an interval paired by star. Where the same probe is on record refitted to each segment alone or to all
    but each (`python -m probes sweep --segments all,each,all-but-each`), these scores stand beside it. A forward
    segment holds the context up to its wavelengths, a backward one the context from them: a drop says where a
    direction had read what it needs, not where the information is. A probe whose test R2 is not clearly above 0 is
    flagged: it has no importance worth reading. What is on record and unchanged is not done again.
    """

    results: Path = Field(Path("artifacts/results"), description="folder of records, predictions and heads")
    features: Path = Field(Path("artifacts/features"), description="folder of the stores they were fitted to")
    labels: tuple[str, ...] = Field((), description="only probes of these labels (default: all)")
    heads: tuple[str, ...] = Field((), description="only these heads (default: all)")
    runs: tuple[str, ...] = Field(
        (),
        description="first digits of run ids (default: every probe on all segments, stars and columns, with one noise "
        "level, that is no control)",
    )
    threads: int = Field(1, ge=1, description="threads of linear algebra: more may change last digits")


def run(settings: ImportanceSettings) -> int:
    """Write one record per probe and print a line for each; exit status 2 when one could not be made."""
    every = read_records(settings.results)
    chosen = _chosen(every, settings)
    params = telling_params(record for record in every if record.kind == "probe")
    failures: list[str] = []
    with progress(len(chosen), "importance", unit="probes") as advance, blas_threads(settings.threads):
        for record in chosen:
            try:
                title = _title(record, params[record.run_id])
                say(f"{record.run_id[:12]} {title}: {_told(record, every, settings)}")
            except BlindspotError as error:
                failures.append(f"{record.run_id[:12]}: {error}")
            advance(1)
    for words in failures:
        sys.stderr.write(f"error: {words}\n")
    return MENDABLE if failures else 0


def _told(record: Record, every: Sequence[Record], settings: ImportanceSettings) -> str:
    """Compute what is not on record; what came out, in words."""
    spec = importance_spec(record)
    by_segments, about = rests_on(record, refits(record, every))
    name, started, words = run_id(KIND, spec), time.time(), "on record"
    if unchanged(settings.results, name, about) is None:
        found = segment_importance(settings.results, settings.features, record, by_segments)
        _, log = run_log(started=started, about={"threads": settings.threads})
        result = {**found.result, **about}
        write_record(settings.results, kind=KIND, spec=spec, result=result, run=log, arrays=found.arrays)
        words = f"{time.time() - started:.1f} s"
    result = read_record(settings.results, name).result
    arrays = read_arrays(settings.results, name)
    lines = [
        _costliest(label, result, arrays) if skilled(record, label) else _no_skill(label, result)
        for label in record.spec["labels"]
    ]
    return f"{'; '.join(lines)} ({words})"


def _no_skill(label: str, result: Mapping[str, Any]) -> str:
    r2, *ends = result["r2"][label]
    told = "" if None in ends else f" [{ends[0]:.3f}, {ends[1]:.3f}]"
    return f"{label} R2 {r2:.3f}{told} {NO_SKILL_FLAG.removeprefix('no skill: test R2 ')}"


def _costliest(label: str, result: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    values = arrays[f"importance/{label}"]
    g = int(np.argmax(values))
    group = result["groups"][g]
    lo, hi = arrays[f"importance_lo/{label}"][g], arrays[f"importance_hi/{label}"][g]
    where = f" ({group['context']})" if group["context"] else ""
    return (
        f"{label} R2 {result['r2'][label][0]:.3f}, {group['direction']} segment {group['segment']}{where} permuted "
        f"costs most, {values[g]:.3f} [{lo:.3f}, {hi:.3f}]"
    )


def _title(record: Record, params: Mapping[str, Any]) -> str:
    level = record.spec["noise_levels"]["test"]
    noise = "" if level is None else f", noise level {level:g}"
    draws = len(record.spec["draws"]["train"])
    drawn = f", {draws} draws" if draws > 1 else ""
    return f"{recorded_description(record.spec, params)}{noise}{drawn}"


def _chosen(every: Sequence[Record], settings: ImportanceSettings) -> list[Record]:
    """The probe records asked for; NotExtracted when there is none, ConfigError when digits or a name fit none."""
    whole = [record for record in every if record.kind == "probe" and _can_be_taken_apart(record)]
    check_named("head", settings.heads, whole, field="head")
    check_named("label", settings.labels, whole, field="labels")
    fitted = [
        record
        for record in whole
        if (not settings.heads or record.spec["head"] in settings.heads)
        and (not settings.labels or set(record.spec["labels"]) & set(settings.labels))
    ]
    if settings.runs:
        what = "a probe on all segments that predicts true labels and has a test R2"
        return starting_with(fitted, settings.runs, what=what)
    chosen = [record for record in fitted if _is_plain(record.spec)]
    if not chosen:
        raise NotExtracted(
            f"{settings.results}: no probe on all segments of a pooling such as seg_mean_K8 is on record; fit one: "
            "python -m probes run --poolings seg_mean_K8"
        )
    return chosen


def _can_be_taken_apart(record: Record) -> bool:
    """Whether a probe was fitted to true labels on all segments, and has an R2 to lose."""
    spec, result = record.spec, record.result
    return (
        result["status"] == "ok"
        and spec["control"] != "shuffled_labels"
        and spec["features"].get("segments") is None
        and all(result["scores"]["test"][label]["r2"] is not None for label in spec["labels"])
    )


def _is_plain(spec: Mapping[str, Any]) -> bool:
    """Whether a probe saw all stars and columns, was tested on what it was trained on, and is no control."""
    features = spec["features"]
    return (
        spec["control"] == "none"
        and spec["train_size"] is None
        and features["pca"] is None
        and not spec["cross"]
        and all((n_segments(part["pooling"]) or 1) > 1 for part in features["parts"])
    )


VERB = Verb(ImportanceSettings, run)
