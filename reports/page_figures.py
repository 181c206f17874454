"""Figures as the page embeds them: WebP with a palette of their own, in a data URI."""

import base64
import io
from dataclasses import dataclass

from matplotlib.figure import Figure
from PIL import Image

from .style import styled

COLORS = 128
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
