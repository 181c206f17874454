"""Figures as the page embeds them: a data URI of the smaller of SVG and PNG, with its size."""

import base64
import io
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

DPI = 150
SVG_BELOW = 60_000
"""Bytes: a larger SVG (thousands of points) is embedded as PNG instead."""


@dataclass(frozen=True, kw_only=True)
class FigureView:
    """One figure: `uri` its image, `width` and `height` in CSS pixels (96 an inch)."""

    name: str
    title: str
    caption: str
    uri: str
    width: int
    height: int


def figure_view(figure: Figure, *, name: str, title: str, caption: str) -> FigureView:
    """Draw a figure into a data URI; equal figures give equal bytes."""
    width, height = figure.get_size_inches()
    image, kind = _svg(figure), "svg+xml"
    if len(image) > SVG_BELOW:
        image, kind = _png(figure), "png"
    return FigureView(
        name=name,
        title=title,
        caption=caption,
        uri=f"data:image/{kind};base64,{base64.b64encode(image).decode()}",
        width=round(96 * width),
        height=round(96 * height),
    )


def _svg(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "blindspot-probes", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()
