"""The difference of two rows on the same stars, and when it holds."""

from dataclasses import dataclass, replace

ALPHA = 0.05
LEAST_EFFECTIVE = 12
"""A difference that fewer stars carry does not hold (docs/statistics.md)."""
FEW = "carried by few stars"


@dataclass(frozen=True, kw_only=True)
class Paired:
    """R2 of one row minus R2 of another on the same test rows; `p` holds for all `n_pairs` that it was judged with.

    `p_alone` is the p-value of this pair by itself, `of` says what it was judged with.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    n_pairs: int
    p_alone: float
    of: str = "pairs"
    n_eff: float | None = None
    """How many stars carry the difference; None in comparisons made before that was told."""

    def reversed(self) -> "Paired":
        """The other row minus the one."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return replace(self, difference=-self.difference, low=low, high=high)

    @property
    def holds(self) -> bool:
        """Whether the one is better: interval above 0, chance at most 5 % over all pairs, many stars behind it."""
        return self.low is not None and self.low > 0 and self.p <= ALPHA and not self.on_few

    @property
    def on_few(self) -> bool:
        """Whether few stars carry the difference, so that the next sample may have another."""
        return self.n_eff is not None and self.n_eff < LEAST_EFFECTIVE

    @property
    def others(self) -> str:
        """How many it was judged with, in words."""
        return f"{self.n_pairs} {self.of.removesuffix('s') if self.n_pairs == 1 else self.of}"

    @property
    def even_by(self) -> str:
        """What fails where the two are not told apart, in words; the p-value where they are."""
        p = f"{p_text(self.p)} after Holm"
        if self.p > ALPHA:
            return p
        if self.low is None or self.high is None:
            return f"the difference has no interval, though {p}"
        if self.low <= 0 <= self.high:
            return f"the interval of the difference holds 0, though {p}"
        return f"{FEW}, though {p}" if self.on_few else p


def p_text(p: float) -> str:
    """A p-value as tables print it."""
    return "p below 0.001" if p < 0.001 else f"p = {p:.2g}"
