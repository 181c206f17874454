"""The ceiling that the noise sets, and the share of it that each probe reaches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from cache.records import Record

from .audit_tables import flat
from .bins_tables import bin_columns, bin_ends, few_note, of_bin, with_ends
from .comparable import name_of
from .footnotes import MOCK_NOTE
from .rows import SHORT
from .runs import Runs, identity_of, runs_in_order
from .source import Source
from .standing import origin, origin_notes
from .table import Cell, Column, Table, estimate_of
from .tables import STATE
from .vocabulary import unit_of

KIND = "ceiling"
FIGURES: Mapping[str, str] = {
    "prior_aware_mean": "ceiling: mean over stars of the prior-aware bound",
    "unbiased_median": "median over stars of the unbiased Cramer-Rao figure (not a ceiling for a mean)",
    "unbiased_mean": "mean over stars of the unbiased Cramer-Rao figure",
    "ln_A_free": "for sensitivity: the ceiling with the amplitude unknown",
    "ln_A_known": "for sensitivity: the ceiling with the amplitude known",
    "van_trees": "van Trees bound, for labels with a normal prior (not for uniform ones)",
}
VALUE = Column(key="value", heading="R2 (95 % interval)")
SHARE = Column(key="share", heading="share of the ceiling (95 % interval)")
_ROWS = (
    Column(key="r2", heading="test R2 (95 % interval)"),
    SHARE,
    Column(key="gap", heading="ceiling minus R2 (95 % interval)"),
    Column(key="applies", heading="ceiling", align="left"),
)
NOT_APPLICABLE = (
    "The ceiling bounds what the noisy flux holds. It says nothing of rows whose features saw the true error."
)


def ceiling_tables(source: Source, label: str) -> list[Table]:
    """Of each ceiling of the label: its figures, the share that each record reaches, and both by bins."""
    records = [record for record in source.of_kind(KIND) if record.spec["label"] == label]
    return [table for record in records for table in _tables(record, source)]


def _tables(record: Record, source: Source) -> Iterator[Table]:
    result, label = record.result, record.spec["label"]
    name = f"{label}: ceiling of a test R2{_setting(record)}"
    notes = (
        *([MOCK_NOTE] if record.spec["test"].get("data_kind") == "mock" else []),
        *([f"Flags: {', '.join(result['flags'])}."] if result.get("flags") else []),
        *origin_notes(record, source),
    )
    told = origin(record, source) | {"label": label, "unit": unit_of(label)}
    if result["status"] != "ok":
        error: dict[str, Cell] = {"name": "failed", "error": str(result["error"])}
        columns = (Column(key="error", heading="failed", align="left"),)
        yield Table(
            title=name, columns=columns, rows=(error,), notes=notes, tidy=pd.DataFrame([told | error])
        )
        return
    yield _figures(record, told, name, notes)
    runs = runs_in_order(source, label, [item["run"] for item in result["rows"]])
    if result["rows"]:
        yield _rows(record, told, name, notes, runs)
    for quantity, bins in sorted((result.get("bins") or {}).items()):
        yield _by_bins(quantity, bins, told, name, notes, runs)


def _setting(record: Record) -> str:
    level, seed = record.spec["test"].get("noise_level"), record.spec["test"].get("noise_seed")
    of_seed = f", noise seed {seed}" if seed else ""
    return of_seed if level in (None, 1) else f" at noise level {level:g}{of_seed}"


def _figures(record: Record, told: dict[str, Any], name: str, notes: Sequence[str]) -> Table:
    figures = {key: found for key, found in record.result["figures"].items() if found is not None}
    also: Mapping[str, float | None] = record.result.get("also") or {}
    figures |= {key: {"value": value, "interval": None} for key, value in also.items() if value is not None}
    known = {key: figures[key] for key in FIGURES if key in figures}
    figures = known | figures
    n = record.result["n"]
    n_test = n["test"] if isinstance(n, dict) else n
    return Table(
        title=name,
        columns=(
            Column(key="figure", heading="figure", align="left"),
            VALUE,
            Column(key="n", heading="n test"),
            *_stale(told),
        ),
        rows=tuple(
            {
                "figure": FIGURES.get(key, key),
                "value": estimate_of(found["value"], found["interval"]),
                "n": n_test,
                "state": told["state"],
            }
            for key, found in figures.items()
        ),
        notes=(
            f"n counts stars. Brackets: 95 % interval ({record.spec['method']}).",
            f"Formula: {record.result['formula']}",
            f"Prior: {record.result['prior']}",
            f"Fisher matrices: {record.result['fisher_method']}.",
            *notes,
        ),
        tidy=pd.DataFrame(
            [
                told | {"part": "figures", "figure": key, "n_test": n_test} | _flat_value(found)
                for key, found in figures.items()
            ]
        ),
    )


def _flat_value(found: Mapping[str, Any]) -> dict[str, Any]:
    low, high = found["interval"] or (None, None)
    return {"r2": found["value"], "r2_lo": low, "r2_hi": high}


def _rows(record: Record, told: dict[str, Any], name: str, notes: Sequence[str], runs: Runs) -> Table:
    items = {item["run"]: item for item in record.result["rows"]}
    order = [run for run in runs.cells if run in items]
    return Table(
        title=f"{name}: what each record reaches",
        lead=tuple(_alarms(items.values(), runs)),
        columns=(*runs.columns, *_ROWS, *_stale(told)),
        rows=tuple({**runs.cells[run], **_row_cells(items[run]), "state": told["state"]} for run in order),
        notes=(NOT_APPLICABLE, *notes),
        tidy=pd.DataFrame(
            [told | {"part": "rows"} | identity_of(runs, run) | flat(items[run]) for run in order]
        ),
    )


def _alarms(items: Iterable[Mapping[str, Any]], runs: Runs) -> Iterator[str]:
    above = [item["run"] for item in items if item["above"]]
    if above:
        row = runs.rows.get(above[0])
        named = f"record {above[0][:SHORT]}" if row is None else name_of(row)
        more = f" and {len(above) - 1} more" * (len(above) > 1)
        yield (
            f"RED FLAG: {named}{more} above the ceiling beyond the interval; it is right to a few hundredths, far "
            "above means a leak."
        )


def _row_cells(item: Mapping[str, Any]) -> dict[str, Cell]:
    applies = "applies" if item["applicable"] else str(item["why"])
    if item["above"]:
        applies = "RED FLAG: above the ceiling beyond its interval"
    return {
        "r2": estimate_of(item["r2"], item["interval"]),
        "share": estimate_of(item["share"], item["share_interval"]),
        "gap": estimate_of(item["gap"], item["gap_interval"]),
        "applies": applies,
    }


def _by_bins(
    quantity: str,
    bins: Mapping[str, Any],
    told: Mapping[str, Any],
    name: str,
    notes: Sequence[str],
    runs: Runs,
) -> Table:
    what = Column(key="what", heading="quantity", align="left")
    lines: list[dict[str, Cell]] = [
        {"what": words, **of_bin(bins[key])}
        for key, words in (("ceiling", "ceiling"), ("unbiased_median", "unbiased median"))
        if bins.get(key)
    ]
    shares = bins.get("share") or {}
    order = [run for run in runs.cells if run in shares]
    lines += [{"what": "share of the ceiling", **runs.cells[run], **of_bin(shares[run])} for run in order]
    return Table(
        title=f"{name}, by {quantity}",
        columns=(what, *runs.columns, *bin_columns(quantity, bins), *_stale(told)),
        rows=tuple(line | {"state": told["state"]} for line in lines),
        notes=("R2 and its ceiling are relative to the mean of the bin.", *few_note(bins), *notes),
        tidy=pd.DataFrame(list(_tidy_bins(quantity, bins, told, runs))),
    )


def _tidy_bins(
    quantity: str, bins: Mapping[str, Any], told: Mapping[str, Any], runs: Runs
) -> Iterator[dict[str, Any]]:
    series = [(key, None, bins[key]) for key in ("ceiling", "unbiased_median") if bins.get(key)]
    series += [("share", run, values) for run, values in sorted((bins.get("share") or {}).items())]
    for figure, run, values in series:
        for index, (value, low, high) in enumerate(map(with_ends, values)):
            where = {
                "bin_by": quantity,
                "bin": index,
                **dict(zip(("bin_lo", "bin_hi"), bin_ends(bins, index), strict=True)),
                "n_test": bins["n"][index],
            }
            name = "share" if figure == "share" else "r2"
            yield {
                **told,
                "part": "bins",
                "figure": figure,
                **({} if run is None else identity_of(runs, run)),
                **where,
                name: value,
                f"{name}_lo": low,
                f"{name}_hi": high,
            }


def _stale(told: Mapping[str, Any]) -> tuple[Column, ...]:
    return (STATE,) if str(told["state"]).startswith("stale") else ()
