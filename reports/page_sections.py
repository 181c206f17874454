"""What the page says of each label: answers, red flags, tables, figures, and what could not be drawn."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .audits import current_audits
from .comparable import comparable_rows
from .gallery import Skipped
from .generate import labels_of, red_flags
from .page_answers import Answer, best_answer, certainty_answer, field_of
from .page_audit import shortcut_answer
from .page_ceiling import ceiling_alarms, ceiling_answer
from .page_figures import FigureView
from .page_tables import TableView, table_view
from .source import Source
from .table import Table
from .uncompared import gaps

FIRST = "controls"
"""The document that holds the verdict; it leads."""
_NOT_IN_ANCHORS = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page says of one label under the anchor `name`; the last section is of what concerns several."""

    name: str
    title: str
    alarms: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()
    figures: tuple[FigureView, ...] = ()
    gaps: tuple[Skipped, ...] = ()
    tables: tuple[TableView, ...] = ()


def sections_of(
    source: Source,
    *,
    tables: Mapping[str, Sequence[Table]],
    figures: Sequence[FigureView],
    gaps: Sequence[Skipped],
) -> list[Section]:
    """One section per label in table order, then one of all labels together if there is anything to show in it.

    `tables` by the names of their files, which end in the label.
    """
    labels = labels_of(source.frame)
    owners = {name: _owner(name, labels) for name in tables}
    sections = [
        Section(
            name=f"label-{index}-{_NOT_IN_ANCHORS.sub('-', label)}",
            title=label,
            alarms=_alarms(source, label),
            notices=tuple(_notices(source, label)),
            answers=_answers(source, label),
            figures=tuple(view for view in figures if view.label == label),
            gaps=tuple(gap for gap in gaps if gap.label == label),
            tables=_views(tables, owners, label),
        )
        for index, label in enumerate(labels)
    ]
    common = Section(
        name="all-labels",
        title="all labels",
        alarms=tuple(alarm for label in labels for alarm in red_flags(source.frame, label)),
        figures=tuple(view for view in figures if view.label not in labels),
        gaps=tuple(gap for gap in gaps if gap.label not in labels),
        tables=_views(tables, owners, ""),
    )
    return [*sections, common] if common.tables or common.figures else sections


def _owner(name: str, labels: Sequence[str]) -> str:
    """The label that a document's name ends in: the longest that fits, '' for none."""
    return max((label for label in labels if name.endswith(f"_{label}")), key=len, default="")


def _views(
    tables: Mapping[str, Sequence[Table]], owners: Mapping[str, str], label: str
) -> tuple[TableView, ...]:
    names = sorted((name for name in tables if owners[name] == label), key=lambda n: _kind(n, label) != FIRST)
    return tuple(
        table_view(
            table,
            name=_NOT_IN_ANCHORS.sub("-", f"table-{name}-{index}" if index else f"table-{name}"),
            kind="" if index else _link(_kind(name, label), len(tables[name])),
        )
        for name in names
        for index, table in enumerate(tables[name])
    )


def _kind(name: str, label: str) -> str:
    """The kind of a document: its name without the label."""
    return (name.removesuffix(f"_{label}") if label else name).replace("_", " ")


def _link(kind: str, n_tables: int) -> str:
    return kind if n_tables == 1 else f"{kind} ({n_tables} tables)"


def _alarms(source: Source, label: str) -> tuple[str, ...]:
    return (*red_flags(source.frame, label), *ceiling_alarms(source, label))


def _answers(source: Source, label: str) -> tuple[Answer, ...]:
    field = field_of(source.frame, label)
    return (
        best_answer(field, source.paired),
        certainty_answer(
            field, source.paired, alarms=_alarms(source, label), audits=current_audits(source, label)
        ),
        shortcut_answer(source, field),
        ceiling_answer(source, field),
    )


def _notices(source: Source, label: str) -> Iterator[str]:
    """How many rows of a label are stale or failed, where any are."""
    rows = source.frame[source.frame["label"] == label]
    stale = int(rows["state"].str.startswith("stale").sum())
    failed = int((rows["status"] != "ok").sum())
    if stale:
        yield f"{stale} of {len(rows)} rows are stale: feature stores they rest on are missing, changed or unreadable."
    if failed:
        yield f"{failed} of {len(rows)} rows failed and have no score; notes below the tables say why."
    yield from gaps(comparable_rows(rows), source.paired)
