"""Every figure of a results folder, in reading order; those without data are named, never drawn empty."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from cache.arrays import safe_name
from cache.errors import CacheError, UnknownName

from . import figure_layers
from .drawn import Drawn, file_part
from .figures import draw_overview
from .generate import labels_of, red_flags
from .source import Source
from .style import styled


@dataclass(frozen=True, kw_only=True)
class NamedFigure:
    """A figure with its story: `name` is that of its file, without suffix; `label` is None where it shows several.

    `title` says what the numbers say and `caption` what is drawn; both stand in plain text.
    """

    name: str
    label: str | None
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A figure that has no data, and what would give it some."""

    name: str
    label: str | None
    needs: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of figure: how it is drawn, and what it needs."""

    draw: Callable[[Source, str], Sequence[Drawn]]
    needs: str


def _overview(source: Source, label: str) -> Sequence[Drawn]:
    try:
        return [draw_overview(source.frame, label)]
    except CacheError:
        return []


PER_LABEL: Mapping[str, Kind] = {
    "overview": Kind(draw=_overview, needs="a latent row with a test R2: python -m probes run"),
    "heatmap": Kind(draw=figure_layers.heat_maps, needs="a latent row with a test R2: python -m probes run"),
}
"""Figures of one label, in reading order."""


@dataclass(frozen=True, kw_only=True)
class KindOfAll:
    """One kind of figure of several labels, or of none."""

    draw: Callable[[Source, Sequence[str]], Sequence[Drawn]]
    needs: str


TOGETHER: Mapping[str, KindOfAll] = {
    "depth": KindOfAll(
        draw=figure_layers.depth, needs="latent rows of two layers or more: python -m probes run --layers all"
    ),
}
"""Figures of all labels asked for, and of the spectra themselves."""


def figures(source: Source, *, label: str | None = None) -> Iterator[NamedFigure]:
    """Every figure that has data, one at a time; with `label` those of that label alone.

    Render them with `style.rendered`. Raises UnknownName for a label that no record has.
    """
    for item in figures_or_gaps(source, label=label):
        if isinstance(item, NamedFigure):
            yield item


def figures_or_gaps(source: Source, *, label: str | None = None) -> Iterator[NamedFigure | Skipped]:
    """What `figures` gives, and in its place what has no data."""
    known = labels_of(source.frame)
    if label is not None and label not in known:
        raise UnknownName("label", label, known)
    labels = [label] if label is not None else known
    for name in labels:
        safe_name("label", name)
        for kind, drawer in PER_LABEL.items():
            with styled():
                drawn = drawer.draw(source, name)
            yield from _named(f"{kind}_{name}", name, drawn, drawer.needs, red_flags(source.frame, name))
    for kind, together in TOGETHER.items():
        with styled():
            drawn = together.draw(source, labels)
        stem = kind if label is None else f"{kind}_{label}"
        yield from _named(stem, label, drawn, together.needs, ())


def _named(
    stem: str, label: str | None, drawn: Sequence[Drawn], needs: str, flags: Sequence[str]
) -> Iterator[NamedFigure | Skipped]:
    if not drawn:
        yield Skipped(name=stem, label=label, needs=needs)
    for one in drawn:
        part = file_part(one.part)
        yield NamedFigure(
            name=f"{stem}_{part}" if part else stem,
            label=label,
            title=one.title,
            caption=" ".join([*flags, one.caption]),
            figure=one.figure,
        )
