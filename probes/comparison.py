"""Records on the same test rows, compared pair by pair: one comparison record per label and test set."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cache.canonical import canonical_json
from cache.grouping import grouped
from cache.records import Record
from cache.stars import count_stars

from .bins import binned_r2, quantile_bins
from .carried import LEAST_EFFECTIVE
from .comparable import Comparable
from .metrics import r2
from .paired import paired_table
from .rounding import all_significant
from .statistics import PAIRED_METHOD, Resamples, spread

KIND = "comparison"
VERSION = 6
"""Raised when pairs are judged otherwise or more is said of them: older comparisons are made anew.

2: how many stars carry a difference; 3: flips fine enough for all pairs (`flips.FLIPS_PER_PAIR`); 4 and 5: what stands
without the stars that speak most for it (`carried.carrying_stars`); 6: how far an interval reaches where a star or two
hold its standard error (`paired.MOST_ERRORS`).
"""


def comparison_spec(found: Comparable, *, runs: Sequence[str]) -> dict[str, Any]:
    """What names a comparison: label, test set and method; `runs` are the run ids asked for, none for all on record.

    The records compared are in the result, so that a comparison of all is made anew when another record has come.
    """
    return {
        "label": found.rows.label,
        "test": dict(found.rows.about),
        "runs": sorted(runs) or "all",
        "method": PAIRED_METHOD,
    }


def described(found: Comparable, every: Sequence[Record]) -> dict[str, Any]:
    """What a comparison says of its records one by one; it is cheap, and tells whether what is on record holds.

    `every` are all records, among which shuffled-label controls are looked up. `predictions` are the digests of those
    compared; `seeds` are fits that differ in the seed alone; `selectivity` is R2 minus that of the controls,
    with the digest of their predictions.
    """
    rows = found.rows
    scores = [r2(rows.y, y_hat) for y_hat in found.y_hat.T]
    return {
        "version": VERSION,
        "n": {"test": count_stars(rows.stars)},
        "n_rows": {"test": rows.y.size},
        "runs": [record.run_id for record in found.records],
        "predictions": {record.run_id: record.files["predictions"] for record in found.records},
        "r2": all_significant(scores),
        "seeds": list(_seeds(found.records, scores)),
        "selectivity": list(_selectivity(rows.label, found.records, scores, every)),
    }


def paired(found: Comparable) -> dict[str, Any]:
    """What it says of its pairs (0, 1), (0, 2), ... of `runs`, each a list.

    `difference` is R2 of the first minus R2 of the second, `lo` and `hi` are the ends of its interval; `p` is the
    sign-flip value, `p_holm` that which holds for all pairs at once, `n_eff` how many stars carry the difference.
    """
    rows = found.rows
    table = paired_table(Resamples(rows.stars), rows.y, found.y_hat)
    return {
        "difference": all_significant(table.difference),
        "lo": all_significant(interval.lo for interval in table.intervals),
        "hi": all_significant(interval.hi for interval in table.intervals),
        "p": all_significant(table.p),
        "p_holm": all_significant(table.p_holm),
        "n_eff": all_significant(table.n_eff),
    }


def n_holding(result: Mapping[str, Any], *, alpha: float) -> int:
    """How many differences hold: p at most alpha for all pairs at once, 0 outside the interval, many stars behind."""
    pairs = zip(*(result[name] for name in ("lo", "hi", "p_holm", "n_eff")), strict=True)
    return sum(
        lo is not None and (lo > 0 or hi < 0) and p <= alpha and n_eff >= LEAST_EFFECTIVE
        for lo, hi, p, n_eff in pairs
    )


def binned(found: Comparable) -> dict[str, Any]:
    """What it says of bins of the rows, by what is in BIN_BY: edges, number of stars, and R2 with its ends by run.

    `r2` has of each run a list of [R2, lower end, upper end], bin by bin.
    """
    told = {}
    rows = found.rows
    for name, values in rows.stored.items():
        bins = quantile_bins(values)
        parts = list(binned_r2(rows.y, found.y_hat, stars=rows.stars, bins=bins))
        told[name] = {
            "edges": all_significant(bins.edges),
            "n": [n_stars for n_stars, _ in parts],
            "r2": {
                record.run_id: [all_significant([value, *interval.as_list()]) for value, interval in by_bin]
                for record, by_bin in zip(
                    found.records, zip(*(scores for _, scores in parts), strict=True), strict=True
                )
            },
        }
    return {"bins": told}


def _seeds(records: Sequence[Record], scores: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Mean and spread of records that differ in the seed alone, where there are two or more."""
    for members in grouped(range(len(records)), lambda index: _question(records[index], without=())).values():
        if len(members) > 1:
            found = spread(np.array([scores[index] for index in members]))
            numbers = all_significant((found.mean, found.std, found.lowest, found.highest))
            yield {
                "runs": [records[index].run_id for index in members],
                **dict(zip(("mean", "std", "lowest", "highest"), numbers, strict=True)),
            }


def _selectivity(
    label: str, records: Sequence[Record], scores: Sequence[float], every: Sequence[Record]
) -> Iterator[dict[str, Any]]:
    """R2 of each record minus that of its control: the same probe on shuffled labels, and on a random encoder.

    A control is fitted with one seed, so that of the record is not asked for; of several the first by seed counts.
    The random encoder has the shape of the record's; where several such were drawn, none of them counts.
    """
    shuffled = _by_question(
        [r for r in every if r.spec.get("control") == "shuffled_labels" and r.result["status"] == "ok"],
        without=(),
    )
    elsewhere = ("family", "stores")
    random = _by_question([r for r in records if r.spec["control"] == "random_encoder"], without=elsewhere)
    for record, score in zip(records, scores, strict=True):
        if record.spec["control"] != "none":
            continue
        controls = {
            "shuffled_labels": next(iter(shuffled.get(_question(record, without=()), ())), None),
            "random_encoder": _twin(record, random.get(_question(record, without=elsewhere), ())),
        }
        told = {
            name: {
                "run": control.run_id,
                "predictions": control.files.get("predictions"),
                "difference": all_significant([score - value])[0],
            }
            for name, control in controls.items()
            if control is not None and (value := control.result["scores"]["test"][label]["r2"]) is not None
        }
        if told:
            yield {"run": record.run_id, **told}


def _by_question(records: Sequence[Record], *, without: Sequence[str]) -> dict[str, list[Record]]:
    """The records that ask each question, by seed."""
    by_seed = sorted(records, key=lambda r: (r.spec["seed"], r.run_id))
    return grouped(by_seed, lambda record: _question(record, without=without))


def _twin(record: Record, controls: Sequence[Record]) -> Record | None:
    """The first control on an encoder of the same shape; None without one, and where encoders of other weights fit too.

    The shape is told by the digest of the encoder's configuration; by the number of features where an older record
    lacks it.
    """

    def alike(name: str, other: Record) -> bool:
        own, theirs = record.result.get(name), other.result.get(name)
        return own is None or theirs is None or own == theirs

    fit = [c for c in controls if alike("architecture", c) and alike("d", c)]
    return fit[0] if len({c.result.get("weights") for c in fit}) == 1 else None


def _question(record: Record, *, without: Sequence[str]) -> str:
    """The spec without seed, control and the fields named: equal for a probe and its control."""
    left_out = {"seed", "control", "group", *without}
    spec = {name: value for name, value in record.spec.items() if name not in left_out}
    spec["params"] = {name: value for name, value in spec["params"].items() if name != "seed"}
    return canonical_json([record.spec["control"] == "mean_predictor", spec])
