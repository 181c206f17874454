"""The page: one HTML file with answers, tables, figures and records, that asks the network for nothing."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2

from cache.atomic import publish_bytes
from cache.canonical import digest_json

from .gallery import Skipped, tasks
from .generate import build_tables
from .page_cells import SCALE, ZERO
from .page_figures import Drawn, FigureView, views_of
from .page_provenance import Provenance, provenance_of
from .page_sections import sections_of
from .page_tables import short_run
from .rows import FRESH, SHORT
from .source import Source
from .table import Table

TEMPLATES = "templates"
ANCHOR_DIGITS = 16
"""Digits of a run id in the anchor of its record."""


def make_page(source: Source, *, out: Path, figures: Sequence[Drawn] | None = None) -> Path:
    """Write the page of a results folder to the file `out`, whole or not at all, and return it.

    `figures` as `page_figures.drawn_figures` gives them; drawn here, one after the other, when they are not given.
    Equal records and store states give equal bytes.
    """
    drawn = [view for task in tasks(source) for view in views_of(task)] if figures is None else figures
    text = render_page(
        source,
        tables=build_tables(source),
        figures=[item for item in drawn if isinstance(item, FigureView)],
        gaps=[item for item in drawn if isinstance(item, Skipped)],
    )
    publish_bytes(out, text.encode())
    return out


def render_page(
    source: Source,
    *,
    tables: Mapping[str, Sequence[Table]],
    figures: Sequence[FigureView] = (),
    gaps: Sequence[Skipped] = (),
) -> str:
    """The page as HTML text from what is ready to be shown.

    Every text is escaped, and the content security policy admits this script and these styles alone (by their digest)
    and embedded images, so that no name in a record can run or load anything.
    """
    records = provenance_of(source)
    styles, script = _asset("page.css"), _asset("page.js")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"short": short_run, "anchor": _anchor}
    return environment.get_template("page.html.j2").render(
        policy=_policy(styles, script),
        scale=SCALE,
        zero=ZERO,
        styles=styles,
        script=script,
        sections=sections_of(source, tables=tables, figures=figures, gaps=gaps),
        records=records,
        facts=_facts(source, records),
    )


def _facts(source: Source, records: Sequence[Provenance]) -> dict[str, str]:
    """What the page was made from, in words, with a digest of results and states."""
    kinds = dict(sorted(Counter(record.kind for record in source.records).items()))
    states = {record.run_id: record.stale or FRESH for record in records}
    content = [
        [record.run_id, record.result, record.files, states[record.run_id]]
        for record in sorted(source.records, key=lambda r: r.run_id)
    ]
    return {
        "data": " and ".join(sorted(set(source.frame["data_kind"]))) or "no",
        "records": ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none",
        "digest": digest_json(content)[:SHORT],
    }


def _policy(styles: str, script: str) -> str:
    """The content security policy: these styles, this script and embedded images, nothing else."""
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
