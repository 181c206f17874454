"""The page: one HTML file with answers, tables, figures and records, that asks the network for nothing."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2

from cache.atomic import publish_bytes
from cache.canonical import digest_json

from .generate import labels_of, red_flags
from .page_answers import Answer, best_answer, certainty_answer, field_of
from .page_audit import audit_alarms, ceiling_answer, shortcut_answer
from .page_figures import FigureView
from .page_provenance import Provenance, provenance_of
from .page_tables import TableView, short_run, table_view
from .rows import FRESH, SHORT
from .source import Source
from .table import Table

TEMPLATES = "templates"
ANCHOR_DIGITS = 16
"""Digits of a run id in the anchor of its record."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page says of one label; `label` '' is for what concerns several."""

    label: str
    title: str
    alarms: tuple[str, ...]
    notices: tuple[str, ...]
    answers: tuple[Answer, ...]
    tables: tuple[TableView, ...]
    figures: tuple[FigureView, ...]


def write_page(text: str, out: Path) -> Path:
    """Write the page's text to `out`, whole or not at all."""
    publish_bytes(out, text.encode())
    return out


def render_page(
    source: Source, *, tables: Mapping[str, Sequence[Table]], figures: Iterable[tuple[str | None, FigureView]]
) -> str:
    """The page as HTML text; equal records, store states, tables and figures give equal text.

    `tables` are named as their files are, `layers_log_g`; those of no label come last. `figures` go with their label,
    None for several.
    """
    drawn = list(figures)
    records = tuple(provenance_of(record, source.state) for record in source.records)
    sections = _sections(source, tables, drawn)
    styles, script = _asset("page.css"), _asset("page.js")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short_run, "anchor": _anchor}
    return environment.get_template("page.html.j2").render(
        policy=_policy(styles, script),
        styles=styles,
        script=script,
        sections=sections,
        records=records,
        facts=_facts(source, records),
    )


def _sections(
    source: Source, tables: Mapping[str, Sequence[Table]], figures: Sequence[tuple[str | None, FigureView]]
) -> list[Section]:
    labels = labels_of(source.frame)
    owners = {name: _owner(name, labels) for name in tables}
    sections = [
        Section(
            label=label,
            title=label,
            alarms=(*red_flags(source.frame, label), *audit_alarms(source, label)),
            notices=_notices(source, label),
            answers=_answers(source, label),
            tables=_views(tables, owners, label),
            figures=tuple(view for owner, view in figures if owner == label),
        )
        for label in labels
    ]
    common = Section(
        label="",
        title="all labels",
        alarms=(),
        notices=(),
        answers=(),
        tables=_views(tables, owners, ""),
        figures=tuple(view for owner, view in figures if owner not in labels),
    )
    return [*sections, common] if common.tables or common.figures else sections


def _owner(name: str, labels: Sequence[str]) -> str:
    """The label that a document's name ends in: the longest that fits, '' for none."""
    fitting = [label for label in labels if name.endswith(f"_{label}")]
    return max(fitting, key=len, default="")


def _views(
    tables: Mapping[str, Sequence[Table]], owners: Mapping[str, str], label: str
) -> tuple[TableView, ...]:
    return tuple(
        table_view(table, f"{name}-{index}" if index else name)
        for name, several in tables.items()
        if owners[name] == label
        for index, table in enumerate(several)
    )


def _answers(source: Source, label: str) -> tuple[Answer, ...]:
    field = field_of(source.frame, label)
    return (
        best_answer(field),
        certainty_answer(field, source.paired),
        shortcut_answer(source, field),
        ceiling_answer(source, field),
    )


def _notices(source: Source, label: str) -> tuple[str, ...]:
    """How many rows of a label are stale or failed, where any are."""
    rows = source.frame[source.frame["label"] == label]
    stale = int(rows["state"].str.startswith("stale").sum())
    failed = int((rows["status"] != "ok").sum())
    texts = []
    if stale:
        texts.append(f"{stale} of {len(rows)} rows are stale: feature stores they rest on are missing or changed.")
    if failed:
        texts.append(f"{failed} of {len(rows)} rows failed; their error stands in place of a score.")
    return tuple(texts)


def _facts(source: Source, records: Sequence[Provenance]) -> dict[str, str]:
    """What the page was made from, in words, with a digest of all of it."""
    kinds = {kind: len(source.of_kind(kind)) for kind in sorted({record.kind for record in source.records})}
    states = sorted((record.run_id, record.stale or FRESH) for record in records)
    digest = digest_json(
        [[record.run_id, record.result, record.files] for record in sorted(source.records, key=lambda r: r.run_id)] + [list(pair) for pair in states]
    )
    return {
        "data": " and ".join(sorted(set(source.frame["data_kind"]))),
        "records": ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
        "digest": digest[:SHORT],
    }


def _policy(styles: str, script: str) -> str:
    """The content security policy: nothing but these styles, this script and embedded images."""
    return (
        f"default-src 'none'; style-src '{_hash(styles)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _asset(name: str) -> str:
    return resources.files("reports").joinpath(TEMPLATES, name).read_text(encoding="utf-8")


def _anchor(run_id: str) -> str:
    """The id of a record on the page."""
    return f"r-{run_id[:ANCHOR_DIGITS]}"
