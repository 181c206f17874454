"""Every figure of a results folder, in reading order; those without data are named, never drawn empty."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from cache.arrays import safe_name
from cache.errors import CacheError, UnknownName

from . import (
    figure_audit,
    figure_bins,
    figure_ceiling,
    figure_curves,
    figure_depth,
    figure_heatmap,
    figure_importance,
    figure_noise,
    figure_occlusion,
    figure_predictions,
    figure_spectra,
    figure_sweeps,
)
from .drawn import Drawn, file_part
from .figure_overview import draw_overview
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

    draw: Callable[..., Sequence[Drawn]]
    """Of a source, and beside it of one label, of several, or of none: see PER_LABEL, TOGETHER and OF_SPECTRA."""
    needs: str


def _overview(source: Source, label: str) -> Sequence[Drawn]:
    try:
        return [draw_overview(source.frame, label, source.paired)]
    except CacheError:
        return []


PER_LABEL: Mapping[str, Kind] = {
    "overview": Kind(draw=_overview, needs="a latent row with a test R2: python -m probes run"),
    "heatmap": Kind(draw=figure_heatmap.heat_maps, needs="a latent row with a test R2: python -m probes run"),
    "audit": Kind(draw=figure_audit.audits, needs="an audit: make audit"),
    "ceiling": Kind(draw=figure_ceiling.ceilings, needs="a ceiling with bins of snr or mag: make ceiling"),
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
    "importance": Kind(
        draw=figure_importance.importances,
        needs="a record of segment importance: python -m probes importance",
    ),
    "curves": Kind(
        draw=figure_curves.learning_curves,
        needs="an MLP with a learning curve: python -m probes run --heads mlp_1",
    ),
    "size": Kind(
        draw=figure_sweeps.against_size,
        needs="probes of several training sizes: python -m probes sweep --train-sizes 1000,all",
    ),
    "noise": Kind(draw=figure_noise.against_noise, needs="probes at several noise levels: make robustness"),
    "draws": Kind(
        draw=figure_sweeps.against_draws, needs="probes on several numbers of noise draws: make robustness"
    ),
    "axes": Kind(
        draw=figure_sweeps.against_axes,
        needs="probes on several numbers of principal axes: python -m probes sweep --pca none,16,64",
    ),
}
"""Figures of one label, in reading order."""


TOGETHER: Mapping[str, Kind] = {
    "depth": Kind(
        draw=figure_depth.depth, needs="latent rows of two layers or more: python -m probes run --layers all"
    ),
}
"""Figures of all labels asked for."""
OF_SPECTRA: Mapping[str, Kind] = {
    "examples": Kind(draw=figure_spectra.examples, needs="example spectra: python -m extract examples"),
    "occlusion": Kind(draw=figure_occlusion.occlusions, needs="occlusion: python -m extract occlude"),
}
"""Figures of the spectra themselves."""


Drawing = Callable[[], Sequence[Drawn]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Figures of one kind that are yet to be drawn."""

    stem: str
    label: str | None
    needs: str
    draw: Drawing
    flags: tuple[str, ...] = ()

    def run(self) -> list[NamedFigure | Skipped]:
        """Draw them; what has no data is named instead."""
        with styled():
            drawn = self.draw()
        if not drawn:
            return [Skipped(name=self.stem, label=self.label, needs=self.needs)]
        return [
            NamedFigure(
                name="_".join([self.stem, *([file_part(one.part)] if one.part else [])]),
                label=self.label,
                title=one.title,
                caption=" ".join([*self.flags, one.caption]),
                figure=one.figure,
            )
            for one in drawn
        ]


def figures(source: Source, *, label: str | None = None) -> Iterator[NamedFigure]:
    """Every figure that has data, one at a time; with `label` those of that label alone.

    Render them with `style.rendered`. Raises UnknownName for a label that no record has.
    """
    for task in tasks(source, label=label):
        yield from (item for item in task.run() if isinstance(item, NamedFigure))


def tasks(source: Source, *, label: str | None = None) -> list[Task]:
    """Every kind of figure and label, in reading order; nothing is drawn yet."""
    known = labels_of(source.frame)
    if label is not None and label not in known:
        raise UnknownName("label", label, known)
    labels = [label] if label is not None else known
    of_labels = [
        Task(
            stem=f"{name}_{safe_name('label', of)}",
            label=of,
            needs=kind.needs,
            draw=partial(kind.draw, source, of),
            flags=red_flags(source.frame, of),
        )
        for of in labels
        for name, kind in PER_LABEL.items()
    ]
    together = [
        Task(
            stem=name if label is None else f"{name}_{label}",
            label=label,
            needs=kind.needs,
            draw=partial(kind.draw, source, labels),
            flags=tuple(flag for of in labels for flag in red_flags(source.frame, of)),
        )
        for name, kind in TOGETHER.items()
    ]
    of_spectra = [
        Task(stem=name, label=None, needs=kind.needs, draw=partial(kind.draw, source))
        for name, kind in OF_SPECTRA.items()
    ]
    return [*of_labels, *together, *of_spectra]
