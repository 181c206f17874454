"""Figures as the page embeds them: WebP with a palette of their own, in a data URI."""

import base64
import functools
import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from .figure_files import Written, each_task, write_captions, write_figure
from .gallery import Skipped, Task
from .style import styled

COLORS = 96
"""Colours kept of each figure; side by side with all of them no difference was seen, at a third of the size."""
# Effort of the lossless encoder: more changes nothing on such images.
EFFORT, METHOD = 50, 2


@dataclass(frozen=True, kw_only=True)
class FigureView:
    """One figure: `uri` its image, `width` and `height` in CSS pixels (96 an inch); `label` None for several."""

    name: str
    label: str | None
    title: str
    caption: str
    uri: str
    width: int
    height: int


Drawn = FigureView | Skipped


def drawn_figures(
    results_root: Path, features_root: Path | None, *, files: Path | None = None, jobs: int = 1
) -> list[Drawn]:
    """Every figure of a results folder and what has no data, in reading order; `jobs` processes draw.

    Under `files` they are also written as `figure_files.make_figures` does, each being drawn once. Equal records give
    equal bytes, whatever the number of jobs. ConfigError for less than one.
    """
    drawn = each_task(results_root, features_root, functools.partial(views_of, files=files), jobs=jobs)
    if files is not None:
        write_captions([_outcome(item) for item in drawn], files)
    return drawn


def _outcome(item: Drawn) -> Written | Skipped:
    if isinstance(item, Skipped):
        return item
    return Written(name=item.name, title=item.title, caption=item.caption)


def views_of(task: Task, *, files: Path | None = None) -> list[Drawn]:
    """The figures of one task as the page embeds them; under `files` they are also written."""
    views: list[Drawn] = []
    for item in task.run():
        if isinstance(item, Skipped):
            views.append(item)
            continue
        if files is not None:
            write_figure(item, files)
        told = {"name": item.name, "title": item.title, "caption": item.caption}
        views.append(figure_view(item.figure, label=item.label, **told))
    return views


def figure_view(figure: Figure, *, name: str, label: str | None, title: str, caption: str) -> FigureView:
    """Draw a figure into a data URI at its own resolution; equal figures give equal bytes."""
    width, height = figure.get_size_inches()
    return FigureView(
        name=name,
        label=label,
        title=title,
        caption=caption,
        uri=f"data:image/webp;base64,{base64.b64encode(_webp(figure)).decode()}",
        width=round(96 * width),
        height=round(96 * height),
    )


def _webp(figure: Figure) -> bytes:
    pixels = io.BytesIO()
    with styled():
        figure.savefig(pixels, format="rgba")
    size = int(figure.bbox.width), int(figure.bbox.height)
    image = Image.frombytes("RGBA", size, pixels.getvalue()).convert("RGB")
    few = image.quantize(COLORS, method=Image.Quantize.MEDIANCUT)
    stream = io.BytesIO()
    few.convert("RGB").save(stream, format="webp", lossless=True, quality=EFFORT, method=METHOD)
    return stream.getvalue()
