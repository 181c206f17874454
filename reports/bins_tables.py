"""Test R2 in bins of the test stars by S/N or magnitude, from comparison records."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from cache.records import Record

from .comparisons import KIND
from .footnotes import MOCK_NOTE, provenance_notes
from .rows import FRESH, SHORT
from .runs import Runs, identity_of, runs_in_order
from .source import Source
from .table import Cell, Column, Estimate, Table
from .tables import STATE
from .vocabulary import unit_of

LEAST_STARS = 30
"""Below it intervals are too short (docs/statistics.md)."""
NOTE = (
    "R2 is relative to the mean of the bin: where labels vary less, equal errors give a lower R2, so compare records "
    "within a bin, not bins. Nothing is bold: no paired differences are made within bins."
)


def bins_tables(source: Source, label: str) -> list[Table]:
    """One table for each test set compared and each quantity by which it is binned."""
    digests = {record.run_id: record.files.get("predictions") for record in source.records}
    return [
        _table(record, source, digests, quantity=quantity)
        for record in source.of_kind(KIND)
        if record.spec["label"] == label
        for quantity in sorted(record.result.get("bins") or {})
    ]


def _table(record: Record, source: Source, digests: Mapping[str, str | None], *, quantity: str) -> Table:
    label, result = record.spec["label"], record.result
    bins = result["bins"][quantity]
    runs = runs_in_order(source, label, bins["r2"])
    seen = result["predictions"]
    states = {run: _state(run, runs, digests.get(run) == seen.get(run)) for run in runs.cells}
    stale = (STATE,) if set(states.values()) != {FRESH} else ()
    test = record.spec.get("test") or {}
    level, seed = test.get("noise_level"), test.get("noise_seed")
    return Table(
        title=f"{label}: test R2 by {quantity}{'' if level in (None, 1) else f' at noise level {level:g}'}"
        f"{f', noise seed {seed}' if seed else ''}",
        columns=(*runs.columns, *bin_columns(quantity, bins), *stale),
        rows=tuple(
            {**runs.cells[run], **of_bin(bins["r2"][run]), STATE.key: states[run]} for run in runs.cells
        ),
        notes=(
            "Brackets: 95 % interval over the stars of the bin; n counts stars.",
            NOTE,
            *few_note(bins),
            *([MOCK_NOTE] if test.get("data_kind") == "mock" else []),
            f"Comparison record {record.run_id[:SHORT]}.",
            *provenance_notes(source.frame[source.frame["run_id"].isin(list(runs.rows))]),
        ),
        tidy=pd.DataFrame(list(_tidy(record, runs, states, quantity, bins))),
    )


def _state(run: str, runs: Runs, same: bool) -> str:  # noqa: FBT001  a fact looked up, not a switch
    """How a line stands: its record's stores, and whether the comparison is of the predictions now on record."""
    if run not in runs.rows:
        return "stale: its record is gone"
    return str(runs.rows[run]["state"]) if same else "stale: fitted anew since it was compared"


def few_note(bins: Mapping[str, Any]) -> list[str]:
    """What to say where bins hold too few stars for their intervals; nothing where none does."""
    few = [n for n in bins["n"] if n < LEAST_STARS]
    return (
        [f"{len(few)} bins hold fewer than {LEAST_STARS} stars: their intervals are too short."]
        if few
        else []
    )


def bin_columns(quantity: str, bins: Mapping[str, Any]) -> tuple[Column, ...]:
    """A column of each bin, headed by its edges in the unit of the quantity and its number of stars."""
    unit, digits = unit_of(quantity), 1 if quantity == "snr" else 2
    columns = []
    for index, n in enumerate(bins["n"]):
        low, high = bin_ends(bins, index)
        heading = f"{quantity} {low:.{digits}f} to {high:.{digits}f} {unit}".rstrip()
        columns.append(Column(key=bin_key(index), heading=f"{heading}, n {n}"))
    return tuple(columns)


def bin_ends(bins: Mapping[str, Any], index: int) -> tuple[float, float]:
    """Lower and upper edge of a bin; where all values are equal there is one edge, which is both."""
    edges = bins["edges"]
    return edges[index], edges[min(index + 1, len(edges) - 1)]


def bin_key(index: int) -> str:
    """Key of the column of a bin."""
    return f"bin {index}"


def of_bin(values: Sequence[Sequence[float | None] | float | None]) -> dict[str, Cell]:
    """Cells of the bins, of a value or [value, lower end, upper end] each."""
    return {
        bin_key(index): None if value is None else Estimate(value, low, high)
        for index, (value, low, high) in enumerate(map(with_ends, values))
    }


def with_ends(
    value: Sequence[float | None] | float | None,
) -> tuple[float | None, float | None, float | None]:
    """A value of a bin and the ends of its interval, None where it has none."""
    if isinstance(value, Sequence):
        number, low, high = value
        return number, low, high
    return value, None, None


def _tidy(
    record: Record, runs: Runs, states: Mapping[str, str], quantity: str, bins: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    for run in runs.cells:
        for index, (value, low, high) in enumerate(bins["r2"][run]):
            yield {
                "run_id": record.run_id,
                "kind": KIND,
                "state": states[run],
                "label": record.spec["label"],
                "unit": unit_of(record.spec["label"]),
                **identity_of(runs, run),
                "bin_by": quantity,
                "bin": index,
                **dict(zip(("bin_lo", "bin_hi"), bin_ends(bins, index), strict=True)),
                "n_test": bins["n"][index],
                "test_r2": value,
                "test_r2_lo": low,
                "test_r2_hi": high,
            }
