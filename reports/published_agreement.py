"""Whether a published value and one of ours agree: their difference, its interval, and what that says."""

import math
from dataclasses import dataclass

from .published import Published
from .rows import Row
from .table import Estimate

N_TRAIN = 100_000
N_SCORED = 1000
"""Stars of train, and of val and of test, behind the published values: the source document's data version."""
Z = 1.96
AGREES, DIFFERS, CANNOT_TELL = "agrees", "differs", "cannot tell"
NOT_COMPARABLE = "not comparable"
TOO_WIDE = 2.0
"""Where our interval is so many times as wide as the published one, that the difference holds 0 says nothing."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One published value beside one record of ours; `why` says what keeps them from being compared ('' if nothing)."""

    published: Published
    row: Row | None
    ours: Estimate | None
    why: str

    @property
    def difference(self) -> Estimate | None:
        """Ours minus published with its 95 % interval; None without ours, and for mock data."""
        if self.ours is None or self.row is None or self.row["data_kind"] == "mock":
            return None
        value = self.ours.value - self.published.value
        below, above = self._own_widths(self.ours, self.row)
        return Estimate(
            value, value - math.hypot(below, self._their_width), value + math.hypot(above, self._their_width)
        )

    @property
    def _their_width(self) -> float:
        return half_width(self.published.metric, self.published.value, _n_published(self.published.split))

    def _own_widths(self, ours: Estimate, row: Row) -> tuple[float, float]:
        """Our interval below and above our value; by the number of stars where none is stored."""
        if ours.low is None or ours.high is None:
            own = half_width(self.published.metric, ours.value, row[f"n_{self.published.split}"])
            return own, own
        return ours.value - ours.low, ours.high - ours.value

    @property
    def verdict(self) -> str:
        """One of AGREES, DIFFERS, CANNOT_TELL, NOT_COMPARABLE."""
        difference = self.difference
        if self.why or difference is None or difference.low is None or difference.high is None:
            return NOT_COMPARABLE
        if not difference.low <= 0 <= difference.high:
            return DIFFERS
        assert self.ours is not None
        assert self.row is not None
        wide = sum(self._own_widths(self.ours, self.row)) / 2 > TOO_WIDE * self._their_width
        return CANNOT_TELL if wide else AGREES


def half_width(metric: str, value: float, n: int) -> float:
    """Half of the 95 % interval of a score on n stars, for normal residuals and a uniform label independent of them.

    By the delta method with Var(e^2) = 2 sigma^4 (normal), Var((y - mean)^2) = 0.8 Var(y)^2 (uniform, kurtosis 9/5),
    Var|e| = (1 - 2/pi) sigma^2. Metric 'r2', 'rmse' or 'mae'; KeyError otherwise.
    """
    relative = {"r2": math.sqrt(2.8 / n), "rmse": math.sqrt(0.5 / n), "mae": math.sqrt((math.pi / 2 - 1) / n)}
    scale = 1 - value if metric == "r2" else value
    return Z * scale * relative[metric]


def _n_published(split: str) -> int:
    return N_TRAIN if split == "train" else N_SCORED
