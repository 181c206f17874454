"""Sizes, ages and tables as people read them."""

from collections.abc import Sequence

UNITS = (("days", 86400), ("h", 3600), ("min", 60))


def size_text(n_bytes: float) -> str:
    """Bytes in the unit (powers of 1000) that leaves one to three digits before the point."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes:.0f} bytes"


def age_text(seconds: float) -> str:
    """An age in whole days, hours, minutes or seconds, whichever is at least 2."""
    for unit, length in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Aligned columns with a line of heads; columns named in `right` are set to the right."""
    lines = [head, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "".join(
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )
