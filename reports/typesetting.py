"""How wide text is in the figures' font, and text wrapped or shortened to a width."""

from collections.abc import Iterator
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

SMALL, NORMAL, LARGE = 7.0, 8.0, 9.5
"""Sizes of text, points."""
LINE_SPACING = 1.3
POINTS_PER_INCH = 72


def line_height(size: float) -> float:
    """Height of a line of text of this size in points, inches."""
    return LINE_SPACING * size / POINTS_PER_INCH


def text_width(text: str, *, size: float = NORMAL, bold: bool = False) -> float:
    """Width of one line of text in inches, by the font's own metrics."""
    return sum(_advance(character, bold) for character in text) * size / POINTS_PER_INCH


@cache
def _advance(character: str, bold: bool) -> float:  # noqa: FBT001  a cache takes positions
    """Width of a character in units of the font's size."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")))
    font.set_size(100, POINTS_PER_INCH)
    # FreeType's 16.16 fixed point.
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 100


def wrapped(text: str, width: float, *, size: float, bold: bool = False) -> list[str]:
    """Lines of the text that fit into `width` inches; a word longer than a line is cut, a no-break space is kept."""
    return list(_lines(text, width, size=size, bold=bold))


def _lines(text: str, width: float, *, size: float, bold: bool) -> Iterator[str]:
    line = ""
    for whole in text.split(" "):
        word = whole
        candidate = f"{line} {word}" if line else word
        if text_width(candidate, size=size, bold=bold) <= width:
            line = candidate
            continue
        if line:
            yield line
        while text_width(word, size=size, bold=bold) > width and len(word) > 1:
            fits = next(
                n
                for n in range(len(word) - 1, 0, -1)
                if n == 1 or text_width(word[:n], size=size, bold=bold) <= width
            )
            yield word[:fits]
            word = word[fits:]
        line = word
    if line:
        yield line


def elided(text: str, width: float, *, size: float = SMALL) -> str:
    """The text if it fits into `width` inches, else its beginning and end with an ellipsis between."""
    if text_width(text, size=size) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: (kept + 1) // 2].rstrip()}…{text[len(text) - kept // 2 :].lstrip()}"
        if text_width(short, size=size) <= width:
            return short
    return "…"
