"""Making every table of a results folder, as files that appear whole."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cache import state
from cache.arrays import safe_name
from cache.atomic import publish_bytes
from cache.errors import CacheError, UnknownName
from cache.records import Record, read_arrays, read_records

from .pivots import heads_table, labels_table
from .progress_table import Arrays, progress_tables
from .render_csv import csv_text
from .render_markdown import markdown
from .rows import StoreState, frame_of
from .table import Table
from .tables import controls_table, layers_table
from .vocabulary import label_rank

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
    records = load_records(results_root)
    frame = frame_of(records, store_state(features_root))
    documents = build_documents(
        frame,
        label=label,
        arrays=lambda run_id: read_arrays(results_root, run_id),
        others=Counter(record.kind for record in records if record.kind != "probe"),
    )
    paths = []
    for name, text in documents.items():
        publish_bytes(out / name, text.encode())
        paths.append(out / name)
    return paths


def load_records(results_root: Path) -> list[Record]:
    """Every record of a results folder; CacheError when there is no probe record to make a table of."""
    records = read_records(results_root)
    if not any(record.kind == "probe" for record in records):
        raise CacheError(
            f"{results_root / 'records'}: {len(records)} records and none of a probe; run `python -m probes run` first"
        )
    return records


def store_state(features_root: Path | None) -> StoreState:
    """How stores stand under a features folder, each looked at once; 'missing' without such a folder."""
    if features_root is None or not features_root.is_dir():
        return lambda _key, _digest: "missing"
    return functools.cache(functools.partial(state, features_root))


def labels_of(frame: pd.DataFrame) -> list[str]:
    """The labels that have rows, in table order."""
    return sorted(frame["label"].unique(), key=label_rank)


def build_documents(
    frame: pd.DataFrame,
    *,
    arrays: ReadArrays,
    label: str | None = None,
    others: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """File name -> text of every document, in reading order; `others` counts records of other kinds."""
    known = labels_of(frame)
    if label is not None and label not in known:
        raise UnknownName("label", label, known)
    documents: dict[str, str] = {}
    for name in [label] if label else known:
        safe_name("label", name)
        documents |= _both(f"layers_{name}", [layers_table(frame, name)])
        documents |= _both(f"heads_{name}", [heads_table(frame, name)])
        documents |= _both(f"controls_{name}", [controls_table(frame, name)])
        curves = {run_id: arrays(run_id) for run_id in frame.loc[frame["label"] == name, "run_id"]}
        if progress := progress_tables(frame, name, curves):
            documents |= _both(f"progress_{name}", progress)
    return documents | _both("labels", [_with_others(labels_table(frame), others or {})])


def _both(name: str, tables: Sequence[Table]) -> dict[str, str]:
    return {f"{name}.md": markdown(tables), f"{name}.csv": csv_text(tables)}


def _with_others(table: Table, others: Mapping[str, int]) -> Table:
    if not others:
        return table
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
    return dataclasses.replace(
        table, notes=(*table.notes, f"Records of other kinds, not in these tables: {counts}.")
    )
