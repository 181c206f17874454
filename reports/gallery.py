"""Every figure of a results folder, in reading order; those without data are named, never drawn empty."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from cache.arrays import safe_name
from cache.errors import CacheError, UnknownName

from . import figure_bins, figure_curves, figure_layers, figure_predictions, figure_sweeps
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
    "predicted": Kind(
        draw=figure_predictions.predicted_against_true,
        needs="a latent row with val R2 and 20 predictions: python -m probes run",
    ),
    "residuals": Kind(
        draw=figure_predictions.residuals,
        needs="predictions of a latent row beside snr, mag or T_eff: python -m probes run",
    ),
    "bins": Kind(
        draw=figure_bins.by_bin, needs="a comparison of records with snr or mag: python -m probes compare"
    ),
    "curves": Kind(
        draw=figure_curves.learning_curves,
        needs="an MLP with a learning curve: python -m probes run --heads mlp_1",
    ),
    "size": Kind(
        draw=figure_sweeps.against_size,
        needs="probes of several training sizes: python -m probes sweep --train-sizes 1000,all",
    ),
    "noise": Kind(draw=figure_sweeps.against_noise, needs="probes at several noise levels: make robustness"),
    "draws": Kind(
        draw=figure_sweeps.against_draws, needs="probes on several numbers of noise draws: make robustness"
    ),
    "axes": Kind(
        draw=figure_sweeps.against_axes,
        needs="probes on several numbers of principal axes: python -m probes sweep --pca none,16,64",
    ),
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
