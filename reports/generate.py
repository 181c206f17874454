"""Making every table of a results folder, as files that appear whole."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cache.arrays import safe_name
from cache.atomic import publish_bytes
from cache.errors import UnknownName

from .comparisons import NOT_COMPARED, Comparisons
from .pivots import heads_table, labels_table
from .progress_table import Arrays, progress_tables
from .render_csv import csv_text
from .render_markdown import markdown
from .rows import rows_of
from .source import read_source
from .table import Table
from .tables import controls_table, layers_table
from .verdict import name_of
from .vocabulary import label_rank

RED_FLAGS: Mapping[str, str] = {
    "shuffled labels score above 0, so something leaks and no score here can be trusted": "control scores above zero",
    "fitted although stars stand in two splits (--allow-leak), so these scores are no test scores": "LEAK FORCED",
}
"""Words above the tables, and the flag of a record that calls for them."""

ReadArrays = Callable[[str], Arrays]


def make_tables(
    results_root: Path, features_root: Path | None, *, out: Path, label: str | None = None
) -> list[Path]:
    """Write every table as Markdown and CSV under `out`; return the paths, in reading order.

    With `label`, only that label's tables and the comparison of labels. Everything is built before anything is
    written. Without a features folder every store counts as missing, and the tables say so. Equal records and
    store states give equal bytes. Raises CacheError when there is no probe record, UnknownName for a label none
    has.
    """
    source = read_source(results_root, features_root)
    documents = build_documents(
        source.frame,
        label=label,
        arrays=source.arrays,
        others=Counter(
            record.kind for record in source.records if record.kind not in ("probe", "comparison")
        ),
        paired=source.paired,
    )
    paths = []
    for name, text in documents.items():
        publish_bytes(out / name, text.encode())
        paths.append(out / name)
    return paths


def labels_of(frame: pd.DataFrame) -> list[str]:
    """The labels that have rows, in table order."""
    return sorted(frame["label"].unique(), key=label_rank)


def build_documents(
    frame: pd.DataFrame,
    *,
    arrays: ReadArrays,
    label: str | None = None,
    others: Mapping[str, int] | None = None,
    paired: Comparisons = NOT_COMPARED,
) -> dict[str, str]:
    """File name -> text of every document, in reading order.

    `others` counts records of other kinds; by `paired` rows are judged that were compared in pairs.
    """
    known = labels_of(frame)
    if label is not None and label not in known:
        raise UnknownName("label", label, known)
    documents: dict[str, str] = {}
    for name in [label] if label else known:
        safe_name("label", name)
        alarms = red_flags(frame, name)
        documents |= _both(f"layers_{name}", [_led(layers_table(frame, name, paired), alarms)])
        documents |= _both(f"heads_{name}", [_led(heads_table(frame, name, paired), alarms)])
        documents |= _both(f"controls_{name}", [_led(controls_table(frame, name, paired), alarms)])
        curves = {run_id: arrays(run_id) for run_id in frame.loc[frame["label"] == name, "run_id"]}
        if progress := progress_tables(frame, name, curves):
            documents |= _both(f"progress_{name}", progress)
    alarms = tuple(alarm for name in known for alarm in red_flags(frame, name))
    return documents | _both("labels", [_led(_with_others(labels_table(frame), others or {}), alarms)])


def _both(name: str, tables: Sequence[Table]) -> dict[str, str]:
    return {f"{name}.md": markdown(tables), f"{name}.csv": csv_text(tables)}


def red_flags(frame: pd.DataFrame, label: str) -> tuple[str, ...]:
    """What makes every score of a label doubtful, to stand above each of its tables: a control that scores, a leak."""
    rows = [row for row in rows_of(frame[frame["label"] == label]) if row["flags"]]
    alarms = []
    for words, start in RED_FLAGS.items():
        named = [name_of(row) for row in rows if start in row["flags"]]
        if named:
            more = f" and {len(named) - 1} more" if len(named) > 1 else ""
            alarms.append(f"RED FLAG, {label}: {words} ({named[0]}{more}).")
    return tuple(alarms)


def _led(table: Table, alarms: tuple[str, ...]) -> Table:
    return dataclasses.replace(table, lead=(*alarms, *table.lead)) if alarms else table


def _with_others(table: Table, others: Mapping[str, int]) -> Table:
    if not others:
        return table
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
    return dataclasses.replace(
        table, notes=(*table.notes, f"Records of other kinds, not in these tables: {counts}.")
    )
