"""Making every table of a results folder, as files that appear whole."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cache.arrays import safe_name
from cache.atomic import publish_bytes
from cache.errors import UnknownName

from .audit_tables import audit_tables
from .audits import current_audits
from .axes import AXES, axis_table
from .bins_tables import bins_tables
from .ceiling_tables import ceiling_tables
from .comparable import comparable_rows, name_of
from .formats import FORMATS, check_formats, rendered
from .importance_tables import importance_tables
from .ordering import ordered
from .pivots import heads_table, labels_table
from .progress_table import progress_tables
from .published_check import published_table
from .rows import rows_of
from .source import Source, read_source
from .table import Table
from .tables import controls_table, layers_table, of_label
from .uncompared import gaps
from .vocabulary import label_rank

RED_FLAGS: Mapping[str, str] = {
    "shuffled labels score above 0, so something leaks and no score here can be trusted": "control scores above zero",
    "fitted although stars stand in two splits (--allow-leak), so these scores are no test scores": "LEAK FORCED",
}
"""Words above the tables, and the flag of a record that calls for them."""

Builder = Callable[[Source, str], Sequence[Table]]
"""The tables of one document, from a source and a label; tables without rows are left out."""


def _axis(name: str) -> Builder:
    return lambda source, label: _some(axis_table(source.frame, label, name, source.paired))


def _some(table: Table | None) -> list[Table]:
    return [] if table is None else [table]


OF_SCORES: Mapping[str, Builder] = {
    "layers": lambda source, label: [layers_table(source.frame, label, source.paired)],
    "grid": _axis("grid"),
    "heads": lambda source, label: [heads_table(source.frame, label, source.paired)],
    "controls": lambda source, label: [
        controls_table(source.frame, label, source.paired, audits=current_audits(source, label))
    ],
    **{name: _axis(name) for name in AXES if name != "grid"},
}
OF_OTHERS: Mapping[str, Builder] = {
    "bins": bins_tables,
    "importance": importance_tables,
    "audit": audit_tables,
    "ceiling": ceiling_tables,
    "progress": progress_tables,
    "published": lambda source, label: _some(published_table(source, label)),
}
"""Tables that hold more than the scores of records."""
BUILDERS: Mapping[str, Builder] = {**OF_SCORES, **OF_OTHERS}
"""Documents of each label, in reading order; a file is named by document and label."""
SUMMARY = "labels"


@dataclass(frozen=True, kw_only=True)
class WrittenTables:
    """Tables by document (see `build_tables`), and the files that they were written to, in reading order."""

    documents: Mapping[str, Sequence[Table]]
    paths: Sequence[Path]


def make_tables(
    results_root: Path,
    features_root: Path | None,
    *,
    out: Path,
    label: str | Sequence[str] | None = None,
    formats: Sequence[str] = FORMATS,
) -> WrittenTables:
    """Write every table in every format of `formats` under `out`.

    With `label`, only the tables of that label or those labels, and the comparison of labels. Everything is built
    before anything is written; files of an earlier run stay where they are (see `left_over`). Without a features
    folder every store counts as missing, and the tables say so. Equal records and store states give equal bytes.
    Raises CacheError when no record scores a head, UnknownName for a label none has and for an unknown format.
    """
    check_formats(formats)
    source = read_source(results_root, features_root)
    documents = build_tables(source, label=label)
    paths = []
    for name, content in build_files(source, documents, label=label, formats=formats).items():
        publish_bytes(out / name, content)
        paths.append(out / name)
    return WrittenTables(documents=documents, paths=paths)


def left_over(out: Path, written: Sequence[Path]) -> list[Path]:
    """Tables under `out`, of the formats written, that were not written now: made earlier, perhaps of other records."""
    kinds, endings = {*BUILDERS, SUMMARY}, {path.suffix for path in written}
    tables = (p for p in out.iterdir() if p.stem.split("_")[0] in kinds and p.suffix in endings)
    return sorted(set(tables) - set(written))


def build_files(
    source: Source,
    documents: Mapping[str, Sequence[Table]],
    *,
    label: str | Sequence[str] | None = None,
    formats: Sequence[str] = FORMATS,
) -> dict[str, bytes]:
    """File name -> content of the documents of a source (see `build_tables`), in the formats asked for."""
    others = {
        kind: [table for name in labels_of(source.frame) for table in documents.get(f"{kind}_{name}", ())]
        for kind in OF_OTHERS
    }
    frame = ordered(source.frame[source.frame["label"].isin(_chosen(source.frame, label))])
    return rendered(documents, frame=frame, others=others, formats=formats)


def labels_of(frame: pd.DataFrame) -> list[str]:
    """The labels that have rows, in table order."""
    return sorted(frame["label"].unique(), key=label_rank)


def _chosen(frame: pd.DataFrame, label: str | Sequence[str] | None) -> list[str]:
    """The labels asked for, all when none is; UnknownName for one without rows."""
    known = labels_of(frame)
    asked = [label] if isinstance(label, str) else list(label or known)
    for name in asked:
        if name not in known:
            raise UnknownName("label", name, known)
    return asked


def build_tables(source: Source, *, label: str | Sequence[str] | None = None) -> dict[str, list[Table]]:
    """The tables of every document that has rows, by name (`layers_log_g`), in reading order.

    With `label`, only the documents of that label or those labels, and the comparison of labels. Raises UnknownName
    for a label without rows, ConfigError for one that cannot be part of a file name.
    """
    documents = {}
    for name in _chosen(source.frame, label):
        safe_name("label", name)
        alarms = red_flags(source.frame, name)
        careful = tuple(gaps(comparable_rows(of_label(source.frame, name)), source.paired))
        for kind, build in BUILDERS.items():
            above = (*alarms, *careful) if kind in OF_SCORES else alarms
            documents[f"{kind}_{name}"] = [_led(table, above) for table in build(source, name) if table.rows]
    alarms = tuple(alarm for name in labels_of(source.frame) for alarm in red_flags(source.frame, name))
    documents[SUMMARY] = [_led(_with_others(labels_table(source.frame), source), alarms)]
    return {name: tables for name, tables in documents.items() if tables}


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


IN_TABLES = ("probe", "finetune", "comparison", "audit", "ceiling", "importance")


def _with_others(table: Table, source: Source) -> Table:
    """The table with a note on records of kinds that no table shows."""
    others = Counter(record.kind for record in source.records if record.kind not in IN_TABLES)
    if not others:
        return table
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
    return dataclasses.replace(
        table, notes=(*table.notes, f"Records of other kinds, not in these tables: {counts}.")
    )
