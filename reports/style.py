"""The one look of every figure: colours, sizes, titles that fit, and files with equal bytes."""

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .typesetting import LARGE, NORMAL, POINTS_PER_INCH, SMALL, elided, line_height, text_width, wrapped

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): told apart with every common colour blindness;
# the markers differ too, so that figures also work in grey.
STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#56B4E9", "v"),
    ("#E69F00", "P"),
)
INK, SOFT, FAINT, GRID, ALARM = "#222222", "#555555", "#888888", "#E4E4E4", "#A33B00"
SEQUENTIAL = "cividis"
DENSITY = "cividis_r"
"""Perceptually uniform and the same for colour-blind eyes (Nunez, Anderton and Renslow 2018, PLoS ONE 13, e0199239)."""

# Widths in inches: one and two columns of a journal page.
ONE_COLUMN, TWO_COLUMNS = 3.5, 7.0
PAD = 0.06
"""Inches between text and the edge of a figure."""
DPI = 200
KEY_LINE = 0.16
"""Inches between the lines of a key."""
KEY_HANDLE_LENGTH = 1.6
"""Of the sample of a series, in units of the font's size."""
KEY_HANDLE = 0.36
"""Inches that the sample takes, with the space to its sides."""

Format = Literal["png", "pdf", "svg"]

_SETTINGS: Mapping[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": NORMAL,
    "axes.titlesize": NORMAL,
    "axes.labelsize": NORMAL,
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    # As in texts; characters beyond Latin-1 cost a PDF one more embedded font, a third of the time of writing it.
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "text.color": INK,
    # Names may hold a dollar sign.
    "text.parse_math": False,
    "image.cmap": SEQUENTIAL,
    "figure.constrained_layout.use": False,
    # TrueType outlines: journals and editors can read the text.
    "pdf.fonttype": 42,
    "svg.hashsalt": "blindspot-probes",
    "svg.fonttype": "path",
}


def styled() -> AbstractContextManager[None]:
    """Draw in the house style, whatever matplotlibrc or earlier code has set (but for the back end, never used)."""
    settings: Any = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
    return mpl.rc_context(settings | _SETTINGS)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn without a display."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure, file_format: Format) -> bytes:
    """The figure as the bytes of a file: equal figures give equal bytes, without dates and versions."""
    shown, dpi, buffer = figure.canvas, figure.dpi, io.BytesIO()
    # Canvases themselves: Figure.savefig draws everything once more to lay it out, which `tell` has done.
    printers: Mapping[Format, tuple[Any, str, tuple[str, ...]]] = {
        "png": (FigureCanvasAgg, "print_png", ("Software",)),
        "pdf": (FigureCanvasPdf, "print_pdf", ("Creator", "Producer", "CreationDate")),
        "svg": (FigureCanvasSVG, "print_svg", ("Creator", "Date", "Format", "Type")),
    }
    canvas, printer, left_out = printers[file_format]
    try:
        with styled():
            getattr(canvas(figure), printer)(buffer, metadata=dict.fromkeys(left_out))
    finally:
        figure.set_canvas(shown)
        figure.dpi = dpi
    return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class Words:
    """What stands around the axes: the story above, a key of the series under it, what to know below.

    `alarm` stands above the note in a colour of its own. `key` holds the names of the series, in the order of the
    handles that `tell` is given.
    """

    title: str
    note: str = ""
    alarm: str = ""
    key: tuple[str, ...] = ()

    def room(self, width: float) -> float:
        """Inches of height that the words take in a figure of this width."""
        inside = width - 2 * PAD
        n_small = len(wrapped(self.note, inside, size=SMALL)) + len(wrapped(self.alarm, inside, size=SMALL))
        n_title = len(wrapped(self.title, inside, size=LARGE, bold=True))
        return (
            3 * PAD
            + line_height(LARGE) * n_title
            + line_height(SMALL) * n_small
            + KEY_LINE * -(-len(self.key) // self.key_columns(width))
        )

    def key_names(self, width: float) -> list[str]:
        """The names of the series, each short enough for a line of its own."""
        return [elided(name, width - 2 * PAD - KEY_HANDLE, size=SMALL) for name in self.key]

    def key_columns(self, width: float) -> int:
        """Names that stand side by side: as many as the longest leaves room for."""
        longest = max((text_width(name, size=SMALL) for name in self.key_names(width)), default=0.0)
        return max(1, min(len(self.key), int((width - 2 * PAD) / (longest + KEY_HANDLE))))


def tell(figure: Figure, words: Words, *, handles: Sequence[Any] = ()) -> None:
    """Write the words, wrapped to the width, and lay the axes out between them; call it last.

    The figure keeps its size: `Words.room` says how much of the height the words take. `handles` are the artists of
    the series named in `words.key`.
    """
    width, height = figure.get_size_inches()
    inside = width - 2 * PAD
    y = height - PAD
    for line in wrapped(words.title, inside, size=LARGE, bold=True):
        figure.text(PAD / width, y / height, line, fontsize=LARGE, weight="bold", va="top", ha="left")
        y -= line_height(LARGE)
    if words.key:
        y -= PAD / 2
        y -= _draw_key(figure, words, handles, top=y)
    bottom = PAD
    notes = [(line, SOFT) for line in reversed(wrapped(words.note, inside, size=SMALL))]
    notes += [(line, ALARM) for line in reversed(wrapped(words.alarm, inside, size=SMALL))]
    for line, color in notes:
        figure.text(PAD / width, bottom / height, line, fontsize=SMALL, va="bottom", ha="left", color=color)
        bottom += line_height(SMALL)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    top = y - PAD / 2
    engine.set(rect=(0, bottom / height, 1, max(top - bottom, 0.1) / height), w_pad=PAD, h_pad=PAD)
    # Laid out once, so that PNG and PDF agree and the second costs less.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _draw_key(figure: Figure, words: Words, handles: Sequence[Any], *, top: float) -> float:
    """Draw the key of the series below `top`; its height in inches."""
    width, height = figure.get_size_inches()
    columns = words.key_columns(width)
    legend = figure.legend(
        handles,
        words.key_names(width),
        loc="upper left",
        bbox_to_anchor=(PAD / width, top / height),
        ncols=columns,
        borderpad=0,
        borderaxespad=0,
        labelspacing=(KEY_LINE - SMALL / POINTS_PER_INCH) * POINTS_PER_INCH / SMALL,
        handlelength=KEY_HANDLE_LENGTH,
        columnspacing=1.0,
    )
    legend.set_in_layout(False)
    return KEY_LINE * -(-len(words.key) // columns)


def style_of(index: int) -> tuple[str, str]:
    """Colour and marker of the n-th of several series."""
    return STYLES[index % len(STYLES)]


def horizontal_grid(axes: Axes) -> None:
    """Faint lines at the ticks of the vertical axis."""
    axes.grid(axis="y")


def bin_edges(axes: Axes, edges: Iterable[float]) -> None:
    """Faint vertical lines where bins meet and end."""
    for edge in edges:
        axes.axvline(edge, color=GRID, linewidth=0.6, zorder=0)
