"""Which columns of X belong to which wavelength segment, and which part of the spectrum they have seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cache.arrays import stored_directions

from .features import FeaturePart, stored_segments
from .views import Array, FeatureView

_WAVES = ("wave_lo", "wave_hi")


@dataclass(frozen=True, kw_only=True)
class SegmentColumns:
    """The columns of X, (k,), that one segment of one part brings in one direction.

    `part` is the place of the part among those of the probe, `direction` forward, backward or mean. `wave_lo` and
    `wave_hi`, in Angstrom, are the window of newest pixels of the segment; None for the mean of two directions, which
    has none.
    """

    part: int
    layer: str
    direction: str
    pooling: str
    segment: int
    columns: Array
    wave_lo: float | None
    wave_hi: float | None

    @property
    def context(self) -> str | None:
        """What the columns have seen: a forward cell all that lies to its left, a backward one all to its right."""
        if self.wave_lo is None or self.wave_hi is None:
            return None
        if self.direction == "forward":
            return f"context up to {self.wave_hi:.0f} A"
        return f"context from {self.wave_lo:.0f} A"

    def to_json(self) -> dict[str, Any]:
        """As records hold it, without the columns."""
        fields = {name: value for name, value in vars(self).items() if name != "columns"}
        return {**fields, "context": self.context}


def segment_columns(view: FeatureView, parts: Sequence[FeaturePart]) -> list[SegmentColumns]:
    """The columns of the parts side by side, by part, direction (forward first) and segment.

    Raises what the view raises, ProbeError for a part whose pooling is not cut into wavelength segments.
    """
    found: list[SegmentColumns] = []
    first = 0
    for number, part in enumerate(parts):
        segments = stored_segments(view, part)
        found += _of_part(view, part, segments, number=number, first=first)
        first += segments.size
    return found


def _of_part(
    view: FeatureView, part: FeaturePart, segments: Array, *, number: int, first: int
) -> Iterator[SegmentColumns]:
    coordinates = view.coordinates(part.layer, part.pooling, part.direction)
    names = stored_directions(part.direction) if part.direction == "concat" else (part.direction,)
    directions = np.repeat(names, segments.size // len(names))
    for direction in names:
        for segment in np.unique(segments).tolist():
            columns = np.flatnonzero((directions == direction) & (segments == segment))
            lo, hi = (coordinates[name][columns] if name in coordinates else None for name in _WAVES)
            yield SegmentColumns(
                part=number,
                layer=part.layer,
                direction=direction,
                pooling=part.pooling,
                segment=segment,
                columns=first + columns,
                wave_lo=None if lo is None else float(lo.min()),
                wave_hi=None if hi is None else float(hi.max()),
            )
