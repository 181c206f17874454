"""What each wavelength segment is worth to a probe: permuted, alone, and left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cache.errors import ProbeError
from cache.records import Record

from .bootstrap import NO_INTERVAL, Array, Interval, Resamples
from .carried import few_stars
from .features import n_segments
from .importance import METHOD, N_PERMUTATIONS, SEED, donor_rows, drops, permuted_squares
from .recorded import RecordedProbe, recorded_predictions, take_up
from .rounding import all_significant
from .segments import SegmentColumns, segment_columns

KIND = "importance"
ALONE, WITHOUT = "alone", "without"
NO_SKILL_FLAG = "no skill: test R2 is not clearly above 0, no importance is worth reading"

Refits = Mapping[str, Mapping[int, Record]]
"""By ALONE and WITHOUT, by segment: the record refitted to that segment, or to all but that one."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What a record of kind `importance` holds beside what rests on other records."""

    result: dict[str, Any]
    arrays: dict[str, Array]


def importance_spec(record: Record) -> dict[str, Any]:
    """What names the importance of the segments of a probe; the fields beside `run` are the probe's own."""
    own = ("head", "params", "labels", "features", "noise_levels", "draws", "data_kind")
    return {
        "run": record.run_id,
        **{name: record.spec[name] for name in own},
        "seed": SEED,
        "permutations": N_PERMUTATIONS,
        "method": METHOD,
    }


def rests_on(record: Record, found: Mapping[tuple[int, ...], Record]) -> tuple[Refits, dict[str, Any]]:
    """Refits by kind and segment, and what tells whether a record of importance still holds.

    `found` are the probe's refits by their segments.
    """
    number = min(n_segments(part["pooling"]) or 0 for part in record.spec["features"]["parts"])
    sorted_out: dict[str, dict[int, Record]] = {ALONE: {}, WITHOUT: {}}
    for segments, refit in found.items():
        absent = [segment for segment in range(number) if segment not in segments]
        if len(segments) == 1:
            sorted_out[ALONE][segments[0]] = refit
        if len(absent) == 1:
            sorted_out[WITHOUT][absent[0]] = refit
    named = [record, *(refit for by_segment in sorted_out.values() for refit in by_segment.values())]
    return sorted_out, {
        "model": record.result["model"],
        "predictions": {other.run_id: other.files["predictions"] for other in named},
        "refits": {
            kind: {str(segment): refit.run_id for segment, refit in sorted(by_segment.items())}
            for kind, by_segment in sorted_out.items()
        },
        "flags": [
            *(f"{NO_SKILL_FLAG} ({label})" for label in record.spec["labels"] if not skilled(record, label)),
            *few_stars(record.result["n"]["test"]),
        ],
    }


def skilled(record: Record, label: str) -> bool:
    """Whether the whole interval of a probe's test R2 lies above 0: what has no skill loses none when permuted."""
    _, interval = _score(record, label)
    return interval.lo is not None and interval.lo > 0


def segment_importance(results: Path, features: Path, record: Record, refits: Refits) -> Importance:
    """Permute, compare with the refits, and say how sure it is; raises what `take_up` raises.

    Arrays, for g groups of columns (part, direction, segment) and s segments, in units of R2 and Angstrom: `part`,
    `segment`, `direction`, `wave_lo`, `wave_hi` (g,); `importance/<label>` (g,), the drop in test R2 when a group is
    permuted; `segments` (s,); `whole/<label>` (s,), the same for all groups of a segment at once; `alone/<label>` (s,),
    R2 of the refit to a segment; `without/<label>` (s,), R2 minus that of the refit without it. Each of the last four
    has its interval as `<name>_lo/<label>` and `<name>_hi/<label>`; what has no record is NaN.
    """
    probe = take_up(results, features, record)
    groups = segment_columns(probe.view, probe.parts)
    segments = sorted({group.segment for group in groups})
    whole = [np.concatenate([g.columns for g in groups if g.segment == segment]) for segment in segments]
    squares = permuted_squares(
        probe.predict,
        probe.test.X,
        probe.test.y,
        groups=[*(group.columns for group in groups), *whole],
        donors=donor_rows(probe.test.stars),
    )
    arrays = _coordinates(groups) | {"segments": np.array(segments)}
    resamples = Resamples(probe.test.stars)
    left_out = _squares_without(results, probe, refits[WITHOUT])
    for k, label in enumerate(record.spec["labels"]):
        base = (probe.y_hat[:, k] - probe.test.y[:, k]) ** 2
        columns = np.column_stack([base, squares[:, k], *(of[:, k] for of in left_out.values())])
        found = drops(resamples, probe.test.y[:, k], columns)
        ends = np.cumsum([len(groups), len(whole)])
        parts = np.split(np.arange(found.value.size), ends)
        for name, part in zip(("importance", "whole"), parts[:2], strict=True):
            arrays |= _with_ends(name, label, found.value[part], [found.intervals[i] for i in part])
        of_segment = dict(zip(left_out, parts[2].tolist(), strict=True))
        arrays |= _by_segment(
            WITHOUT,
            label,
            segments,
            {s: (float(found.value[i]), found.intervals[i]) for s, i in of_segment.items()},
        )
        arrays |= _by_segment(
            ALONE, label, segments, {s: _score(refit, label) for s, refit in refits[ALONE].items()}
        )
    return Importance(result=_result(record, probe, groups), arrays=arrays)


def _squares_without(results: Path, probe: RecordedProbe, without: Mapping[int, Record]) -> dict[int, Array]:
    """Squared residuals (n, t) of the refits on the rows of the probe, by the segment left out."""
    squares = {}
    for segment, refit in sorted(without.items()):
        y_hat = recorded_predictions(results, refit)
        if y_hat.shape != probe.y_hat.shape:
            raise ProbeError(
                f"{refit.run_id[:12]} predicts {len(y_hat)} test rows, the probe {len(probe.y_hat)}; fit it again"
            )
        squares[segment] = (y_hat - probe.test.y) ** 2
    return squares


def _coordinates(groups: Sequence[SegmentColumns]) -> dict[str, Array]:
    return {
        "part": np.array([group.part for group in groups]),
        "segment": np.array([group.segment for group in groups]),
        "direction": np.array([group.direction for group in groups]),
        "wave_lo": np.array([group.wave_lo for group in groups], dtype=np.float64),
        "wave_hi": np.array([group.wave_hi for group in groups], dtype=np.float64),
    }


def _with_ends(name: str, label: str, value: Array, intervals: Sequence[Interval]) -> dict[str, Array]:
    """A value (k,) of a label and its ends, by name; an end that is not defined is NaN."""
    return {
        f"{name}/{label}": value,
        f"{name}_lo/{label}": np.array([interval.lo for interval in intervals], dtype=np.float64),
        f"{name}_hi/{label}": np.array([interval.hi for interval in intervals], dtype=np.float64),
    }


def _by_segment(
    name: str, label: str, segments: Sequence[int], found: Mapping[int, tuple[float, Interval]]
) -> dict[str, Array]:
    nothing = (float("nan"), NO_INTERVAL)
    values = [found.get(segment, nothing) for segment in segments]
    return _with_ends(name, label, np.array([value for value, _ in values]), [i for _, i in values])


def _score(record: Record, label: str) -> tuple[float, Interval]:
    r2 = record.result["scores"]["test"][label]["r2"]
    return (float("nan") if r2 is None else r2), Interval(*record.result["intervals"]["test"][label]["r2"])


def _result(record: Record, probe: RecordedProbe, groups: Sequence[SegmentColumns]) -> dict[str, Any]:
    scores = {label: _score(record, label) for label in record.spec["labels"]}
    return {
        "status": "ok",
        "error": None,
        "n": {"test": probe.test.n_stars},
        "n_rows": {"test": len(probe.test.rows)},
        "stores": dict(probe.view.stores),
        "r2": {label: all_significant([r2, *interval.as_list()]) for label, (r2, interval) in scores.items()},
        "groups": [group.to_json() for group in groups],
    }
