"""The verbs of `python -m reports`."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from cache.commandline import Command, Verb
from cache.errors import ConfigError, UnknownName

WIDTH = 120
"""Characters of a line where there is no terminal and COLUMNS is not set."""


class _OfRecords(Command):
    """Which records, and whose stores."""

    results: Path = Field(Path("artifacts/results"), description="folder of the records")
    features: Path = Field(
        Path("artifacts/features"), description="folder of the stores, to tell stale scores"
    )


class TablesSettings(_OfRecords):
    """Regenerate every comparison table from the stored records.

    Markdown to read, CSV and ECSV (with units) to compute with, tex (AASTeX deluxetable) and mrt (machine-readable
    format of the AAS journals) for a paper, and tidy.parquet, one row per number of all tables, for pandas. Equal
    records give the same bytes. A score whose feature store is gone or has changed is marked, never hidden.

    What is printed is as much of the tables of --show as the terminal is wide (120 characters where there is none).
    """

    out: Path = Field(Path("artifacts/reports"), description="folder to write into")
    label: tuple[str, ...] = Field((), description="only these labels (default: every label)")
    formats: tuple[str, ...] = Field(
        ("md", "csv", "ecsv", "tex", "mrt", "parquet"), description="formats to write: any of these"
    )
    show: tuple[str, ...] = Field(
        ("grid", "controls"),
        description=(
            "tables to print: layers, grid, heads, controls, sizes, noise, draws, pca, bins, importance, audit, "
            "ceiling, progress, published, labels"
        ),
    )
    rows: int = Field(16, ge=1, description="most rows of a table to print; the files hold all")


def run_tables(settings: TablesSettings) -> None:
    """Write all tables and print those asked for."""
    from .generate import BUILDERS, SUMMARY, left_over, make_tables  # noqa: PLC0415  pandas is needed only now
    from .render_terminal import terminal  # noqa: PLC0415

    for name in settings.show:
        if name not in (*BUILDERS, SUMMARY):
            raise UnknownName("table", name, (*BUILDERS, SUMMARY))
    made = make_tables(
        settings.results, settings.features, out=settings.out, label=settings.label, formats=settings.formats
    )
    paths = made.paths
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    for name, tables in made.documents.items():
        if name.split("_")[0] in settings.show:
            for table in tables:
                sys.stdout.write(terminal(table, width=width, most_rows=settings.rows) + "\n")
    first = paths[0].suffix
    sys.stdout.write("".join(f"{path}\n" for path in paths if path.suffix == first))
    endings = dict.fromkeys(
        path.suffix for path in paths if path.suffix != first and path.stem == paths[0].stem
    )
    if endings:
        sys.stdout.write(f"and beside each: {', '.join(endings)}\n")
    if paths[-1].suffix != first and paths[-1].stem != paths[0].stem:
        sys.stdout.write(f"{paths[-1]}\n")
    if not settings.label and (older := left_over(settings.out, paths)):
        first_few = ", ".join([*(path.name for path in older[:3]), *(["..."] if len(older) > 3 else [])])
        sys.stdout.write(f"{len(older)} older tables there, not written now: {first_few}\n")


class DiffSettings(Command):
    """Tell what changed between two results folders: records, scores, comparisons.

    Records only are read. A changed score says whether it lies within the old 95 % interval. When and where records
    were made is not compared.
    """

    old: CliPositionalArg[Path] = Field(description="folder of the old records")
    new: CliPositionalArg[Path] = Field(description="folder of the new records")
    format: Literal["text", "csv"] = Field("text", description="plain text, or one line of CSV per change")


def run_diff(settings: DiffSettings) -> None:
    """Print the difference."""
    from .diff import csv_of, difference, text_of  # noqa: PLC0415  pandas is needed only now
    from .source import load_records  # noqa: PLC0415

    found = difference(load_records(settings.old), load_records(settings.new))
    sys.stdout.write({"text": text_of, "csv": csv_of}[settings.format](found))


class FigureSettings(_OfRecords):
    """Draw the overview of one label: test R2 by layer and pooling, with intervals and controls."""

    label: str = Field("log_g", description="label to draw")
    out: Path = Field(Path("artifacts/reports/overview.png"), description="PNG file to write")


def run_figure(settings: FigureSettings) -> None:
    """Write one PNG."""
    from .figure_overview import overview_figure  # noqa: PLC0415  matplotlib is needed only now
    from .source import read_source  # noqa: PLC0415

    source = read_source(settings.results, settings.features)
    overview_figure(source.frame, settings.label, settings.out, paired=source.paired)
    sys.stdout.write(f"{settings.out}\n")


class FiguresSettings(_OfRecords):
    """Draw every figure that the records have data for, as PNG and PDF, with titles that tell what they show.

    Heat maps, R2 by depth, predictions and residuals, bins of S/N, audit, ceiling, learning curves, sweeps, segments,
    spectra. What has no data is named with the command that gives it some. Equal records give the same bytes.
    """

    out: Path = Field(Path("artifacts/reports/figures"), description="folder to write into")
    label: str | None = Field(None, description="only this label (default: every label)")
    jobs: int = Field(0, ge=0, description="processes that draw (0: one per core, at most 4)")


def run_figures(settings: FiguresSettings) -> None:
    """Write the figures and name what has no data."""
    from .figure_files import Written, make_figures, missing  # noqa: PLC0415  matplotlib is needed only now

    jobs = settings.jobs or min(4, os.cpu_count() or 1)
    outcomes = make_figures(
        settings.results, settings.features, out=settings.out, label=settings.label, jobs=jobs
    )
    written = [item for item in outcomes if isinstance(item, Written)]
    sys.stdout.write("".join(f"{item.name}: {item.title}\n" for item in written))
    sys.stdout.write("".join(f"not drawn: {line}\n" for line in missing(outcomes)))
    sys.stdout.write(f"{settings.out}: {len(written)} figures as PNG and PDF, captions.md\n")


class PageSettings(_OfRecords):
    """Write the report as one HTML file: answers, figures, sortable tables, and the record behind every number.

    The file needs no network and no server: open it, send it, print it. Equal records give the same bytes.
    """

    out: Path = Field(Path("artifacts/reports/report.html"), description="HTML file to write")
    figures: Path | None = Field(
        None, description="folder for the figures as PNG and PDF too, each drawn once (default: none)"
    )
    jobs: int = Field(0, ge=0, description="processes that draw the figures (0: one per core, at most 4)")


def run_page(settings: PageSettings) -> None:
    """Write the page."""
    from .page import make_page  # noqa: PLC0415  pandas, matplotlib and jinja2 are needed only now
    from .page_figures import drawn_figures  # noqa: PLC0415
    from .source import read_source  # noqa: PLC0415

    if settings.out.is_dir():
        raise ConfigError(
            f"--out {settings.out}: is a folder; name the file, as in --out {settings.out}/report.html"
        )
    source = read_source(settings.results, settings.features)
    jobs = settings.jobs or min(4, os.cpu_count() or 1)
    drawn = drawn_figures(settings.results, settings.features, files=settings.figures, jobs=jobs)
    path = make_page(source, out=settings.out, figures=drawn)
    sys.stdout.write(f"{path}\n")


VERBS: Mapping[str, Verb] = {
    "tables": Verb(TablesSettings, run_tables),
    "diff": Verb(DiffSettings, run_diff),
    "figure": Verb(FigureSettings, run_figure),
    "figures": Verb(FiguresSettings, run_figures),
    "page": Verb(PageSettings, run_page),
}
