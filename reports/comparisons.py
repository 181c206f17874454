"""Paired comparisons of records, as far as the records compared are still those on record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cache.records import Record

from .paired import Paired
from .rows import SCORED_KINDS, Row
from .table import Estimate

METHOD = (
    "paired bootstrap over stars, the wider of percentile and symmetric studentised (4 standard errors at most; "
    "percentile alone where one star holds half of the difference), 95 %, 1000 resamples, seed 0; sign flips by star, "
    "9999 flips, seed 0, Holm"
)
"""The method of today's comparisons, as their spec says it; those of another are asked last."""
KIND = "comparison"
NUMBERS = ("difference", "lo", "hi", "p_holm")


class Judge(Protocol):
    """What knows paired differences: all comparisons on record, or a family of few contrasts."""

    def between(self, row: Row, other: Row) -> Paired | None:
        """The paired difference of two rows; None where it knows none."""


@dataclass(frozen=True)
class Comparisons:
    """What is known of pairs of records, seeds and controls, by label and run id."""

    pairs: Sequence["Pairs"] = ()
    """Of comparisons, in the order in which they are asked."""
    selectivity: Mapping[tuple[str, str], Mapping[str, "AboveControl"]] = field(default_factory=dict)
    """How far a record is above its controls as stored, by name of the control; to be shown by `selectivity_of`."""
    seeds: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Mean and spread of the fits that differ from a record in the seed alone, itself among them."""

    held: frozenset[tuple[str, str]] = frozenset()
    """Label and run id of records that some comparison holds, with the predictions they have."""
    predicting: frozenset[tuple[str, str]] = frozenset()
    """Label and run id of records whose predictions can be compared."""

    def holds(self, row: Row) -> bool:
        """Whether some comparison is of this row."""
        return (row["label"], row["run_id"]) in self.held

    def takes(self, row: Row) -> bool:
        """Whether a row has predictions that can be compared in pairs."""
        return (row["label"], row["run_id"]) in self.predicting

    def between(self, row: Row, other: Row) -> Paired | None:
        """The paired difference of two rows of one label, if they were compared."""
        return self._between(row["label"], row["run_id"], other["run_id"])

    def _between(self, label: str, run: str, other: str) -> Paired | None:
        found = (pairs.between(label, run, other) for pairs in self.pairs)
        return next((pair for pair in found if pair is not None), None)

    def selectivity_of(self, row: Row) -> dict[str, Estimate]:
        """R2 of a row minus that of each of its controls, by name; empty where none was compared.

        A control below 0 counts as 0: a fit that exploded makes no row better, so selectivity is never above R2. It has
        the interval of the paired difference where the control is not below 0 and was compared on the same labels.
        """
        known = self.selectivity.get((row["label"], row["run_id"]), {})
        return {name: self._above(row, control) for name, control in known.items()}

    def _above(self, row: Row, control: "AboveControl") -> Estimate:
        if control.difference > row["test_r2"]:
            return Estimate(row["test_r2"])
        pair = self._between(row["label"], row["run_id"], control.run)
        return (
            Estimate(control.difference)
            if pair is None
            else Estimate(control.difference, pair.low, pair.high)
        )


@dataclass(frozen=True, kw_only=True)
class AboveControl:
    """R2 of a record minus R2 of a control, and the run id of that."""

    run: str
    difference: float


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The pairs of one comparison: numbers of (0, 1), (0, 2), ... of `order`, looked up one by one.

    A comparison of 500 records has 124,750 pairs, of which a table asks for some hundred.
    """

    label: str
    order: Mapping[str, int]
    """Place of each run id among those compared."""
    same: frozenset[str]
    """Those whose predictions are still the ones compared."""
    numbers: Mapping[str, Sequence[float | None]]
    """`difference`, `lo`, `hi` and `p_holm` of each pair."""
    p_alone: Sequence[float]
    """The p-value of each pair by itself."""
    n_eff: Sequence[float] | None
    """How many stars carry each difference; None in a comparison made before that was told."""

    def between(self, label: str, one: str, other: str) -> Paired | None:
        """The difference of two runs; None when this comparison does not hold them or they were fitted anew."""
        if label != self.label or one == other or not {one, other} <= self.same:
            return None
        i, j = self.order[one], self.order[other]
        if i > j:
            found = self.between(label, other, one)
            return None if found is None else found.reversed()
        n = len(self.order)
        at = i * n - i * (i + 1) // 2 + j - i - 1
        difference, low, high, p = (self.numbers[name][at] for name in NUMBERS)
        p_alone = self.p_alone[at]
        assert difference is not None
        assert p is not None
        return Paired(
            difference=difference,
            low=low,
            high=high,
            p=p,
            n_pairs=len(self.numbers["p_holm"]),
            p_alone=p_alone,
            n_eff=None if self.n_eff is None else self.n_eff[at],
        )


NOT_COMPARED = Comparisons()


def comparisons_of(records: Sequence[Record]) -> Comparisons:
    """Everything that comparison records say of records whose predictions are still the same.

    Where two comparisons hold one pair, that of today's method counts, then the newer version, so that what is compared
    anew replaces what it was made for; then that of more records, whose p-values answer for more pairs.
    """
    digests = {
        record.run_id: record.files.get("predictions") for record in records if record.kind in SCORED_KINDS
    }
    pairs: list[Pairs] = []
    selectivity: dict[tuple[str, str], dict[str, AboveControl]] = {}
    seeds: dict[tuple[str, str], dict[str, Any]] = {}
    compared = [record for record in records if record.kind == KIND]
    for record in sorted(compared, key=_rank):
        label, result = record.spec["label"], record.result
        same = {run for run, digest in result["predictions"].items() if digests.get(run) == digest}
        pairs.insert(0, _pairs(label, result, frozenset(same)))
        for item in result["selectivity"]:
            if item["run"] in same:
                selectivity[label, item["run"]] = {
                    name: AboveControl(run=control["run"], difference=control["difference"])
                    for name, control in item.items()
                    if name != "run" and _is_of(control, digests)
                }
        for item in result["seeds"]:
            if same.issuperset(item["runs"]):
                seeds |= {(label, run): item for run in item["runs"]}
    held = frozenset((found.label, run) for found in pairs for run in found.same)
    return Comparisons(pairs, selectivity, seeds, held, frozenset(_predicting(records)))


def _rank(comparison: Record) -> tuple[bool, int, int, str]:
    """Higher for what is to be asked first."""
    spec, result = comparison.spec, comparison.result
    return spec.get("method") == METHOD, result.get("version", 0), len(result["runs"]), comparison.run_id


def _predicting(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """Label and run id of what `probes compare` takes: predictions of the labels themselves."""
    for record in records:
        if (
            record.kind in SCORED_KINDS
            and record.files.get("predictions")
            and record.spec["control"] != "shuffled_labels"
        ):
            yield from ((label, record.run_id) for label in record.spec["labels"])


def _is_of(control: Mapping[str, Any], digests: Mapping[str, str | None]) -> bool:
    """Whether a control is on record with the predictions that were compared; older comparisons name its run alone."""
    run = control["run"]
    return run in digests and ("predictions" not in control or control["predictions"] == digests[run])


def _pairs(label: str, result: Mapping[str, Any], same: frozenset[str]) -> Pairs:
    order = {run: place for place, run in enumerate(result["runs"])}
    numbers = {name: result[name] for name in NUMBERS}
    return Pairs(
        label=label,
        order=order,
        same=same,
        numbers=numbers,
        p_alone=result["p"],
        n_eff=result.get("n_eff"),
    )
