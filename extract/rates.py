"""What the stages of an extraction did: added up over blocks and processes, told in one line and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cache.atomic import publish_json, writing

from .stages import StageTimes

WAITS = {"read": "reading", "noise": "noise", "commit": "committing"}
"""What the compute threads may wait for, in words."""


@dataclass(frozen=True)
class Rates:
    """One split: `rows` spectra in `seconds` of wall time by `workers` processes, and what each stage did."""

    rows: int = 0
    seconds: float = 0.0
    workers: int = 1
    stages: Mapping[str, StageTimes] = field(default_factory=dict)

    def plus(self, times: Mapping[str, StageTimes]) -> "Rates":
        """With what was done for one more block."""
        names = dict.fromkeys((*self.stages, *times))
        nothing = StageTimes()
        added = {name: self.stages.get(name, nothing).plus(times.get(name, nothing)) for name in names}
        return replace(self, stages=added)

    def and_then(self, other: "Rates") -> "Rates":
        """The sum of two turns of work."""
        added = self.plus(other.stages)
        workers = max(self.workers, other.workers)
        return Rates(self.rows + other.rows, self.seconds + other.seconds, workers, added.stages)

    def line(self, what: str) -> str:
        """One line for the user; shares are of the time of the compute threads."""
        rate = self.rows / self.seconds if self.seconds else 0.0
        told = f"{what}: {self.rows} spectra in {self.seconds:.1f} s, {rate:.0f}/s"
        compute = self.stages.get("compute")
        if compute is None:
            return told
        shared = [part for part in self.stages.values() if part.shares_threads]
        whole = compute.busy_s + compute.waiting_s + sum(part.busy_s for part in shared)
        parts = [f"compute busy {_percent(compute.busy_s, whole)}"]
        if shared:
            parts.append(f"noise {_percent(sum(part.busy_s for part in shared), whole)}")
        for name, words in WAITS.items():
            if name in self.stages and not self.stages[name].shares_threads:
                parts.append(f"waited for {words} {_percent(compute.waiting_for.get(name, 0.0), whole)}")
        return f"{told}; {', '.join(parts)}"

    def to_json(self) -> dict[str, Any]:
        """Plain values, seconds to the millisecond; `threads` counts those of all processes."""
        return {
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows / self.seconds, 1) if self.seconds else 0.0,
            "stages": {
                name: {
                    "threads": self.workers * stage.threads,
                    "shares_compute_threads": stage.shares_threads,
                    "busy_s": round(stage.busy_s, 3),
                    "waiting_s": round(stage.waiting_s, 3),
                    "waiting_for_s": {other: round(s, 3) for other, s in sorted(stage.waiting_for.items())},
                    "items": stage.items,
                }
                for name, stage in sorted(self.stages.items())
            },
        }


def write_stats(path: Path, rates: Mapping[str, Rates]) -> None:
    """Write the figures of all splits, whole or not at all; CacheError when the disk refuses."""
    with writing(f"{path}: the statistics"):
        publish_json(path, {"splits": {split: one.to_json() for split, one in rates.items()}})


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole else 0:.0f} %"
