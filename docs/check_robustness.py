"""Verdicts on predictions R1 to R12 of docs/predictions.md from the records of `make robustness`, as Markdown."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cache.errors import NotExtracted
from cache.records import Record, read_arrays, read_predictions, read_records
from probes.statistics import paired_difference

LABEL = "log_g"
PLAIN = {"head": "ridge", "train": 1.0, "test": 1.0, "draws": 1, "size": None, "pca": None, "segments": None}
SIXTH = 6

Ends = Sequence[float]


class Runs:
    """The records of one results folder, found by what varies."""

    def __init__(self, results: Path) -> None:
        """Read the probe records of the label that are no controls."""
        self.results = results
        self.every = read_records(results)
        plain = [r for r in self.every if r.kind == "probe" and r.spec["control"] == "none"]
        self.probes = [r for r in plain if r.spec["labels"] == [LABEL]]

    def of(self, **changes: Any) -> Record:
        """The one record that differs from the plain probe as said; NotExtracted when there is none, or several."""
        asked = PLAIN | changes
        found = [record for record in self.probes if self._about(record) == asked]
        if len(found) != 1:
            raise NotExtracted(f"{len(found)} records of {asked}; run make robustness in a clean OUT")
        return found[0]

    def _about(self, record: Record) -> dict[str, Any]:
        spec = record.spec
        levels, features = spec["noise_levels"], spec["features"]
        return {
            "head": spec["head"],
            "train": levels["train"],
            "test": levels["test"],
            "draws": len(spec["draws"]["train"]),
            "size": spec["train_size"],
            "pca": features["pca"],
            "segments": features["segments"],
        }

    def r2(self, **changes: Any) -> tuple[float, Ends]:
        """Test R2 and its interval."""
        record = self.of(**changes)
        return record.result["scores"]["test"][LABEL]["r2"], record.result["intervals"]["test"][LABEL]["r2"]

    def gain(self, better: dict[str, Any], worse: dict[str, Any]) -> tuple[float, Ends]:
        """The difference in R2 of two records on the same test stars, paired by star."""
        one, two = (self._test(self.of(**changes)) for changes in (better, worse))
        if not np.array_equal(one["row"], two["row"]) or not np.array_equal(one["star"], two["star"]):
            raise NotExtracted("the two records were not scored on the same test stars")
        found = paired_difference(one["y"], one["y_hat"], two["y_hat"], stars=one["star"])
        return found.difference, [float(end) for end in found.interval.as_list() if end is not None]

    def _test(self, record: Record) -> dict[str, Any]:
        columns = read_predictions(self.results, record.run_id)
        test = columns["split"] == "test"
        return {name: values[test] for name, values in columns.items()}

    def importance(self) -> dict[str, Any]:
        """The arrays of the plain probe's importance."""
        run = self.of().run_id
        (record,) = [r for r in self.every if r.kind == "importance" and r.spec["run"] == run]
        return read_arrays(self.results, record.run_id)

    def by_snr(self) -> list[list[float]]:
        """R2 of the plain probe with its ends, by bin of S/N, from the comparison on its test rows."""
        run = self.of().run_id
        (record,) = [r for r in self.every if r.kind == "comparison" and run in r.result["runs"]]
        return record.result["bins"]["snr"]["r2"][run]


def verdict(ends: Ends, *, above: float) -> str:
    """What an interval says of 'the value is above'."""
    lo, hi = ends
    return "true" if lo > above else "false" if hi < above else "undecided"


def all_of(verdicts: Sequence[str]) -> str:
    """True when all are, false when one is."""
    return "false" if "false" in verdicts else "true" if set(verdicts) == {"true"} else "undecided"


def largest(lo: Any, hi: Any, k: int) -> str:
    """What intervals say of 'number k is the largest'."""
    others = np.arange(len(lo)) != k
    return "true" if lo[k] > hi[others].max() else "false" if lo[others].max() > hi[k] else "undecided"


def row(name: str, told: str, said: str) -> None:
    """Print one line of the table."""
    print(f"| {name} | {told} | {said} |")


def text(value: float, ends: Ends) -> str:
    """A value with its interval."""
    return f"{value:.4f} [{ends[0]:.4f}, {ends[1]:.4f}]"


def main() -> None:
    """Read the records under --results and print one line per prediction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("artifacts/results"))
    runs = Runs(parser.parse_args().results)
    clean = {"train": 0.0, "test": 0.0}
    print("| # | measured on test | verdict |\n|---|---|---|")
    value, ends = runs.r2(**clean)
    row("R1", f"R2 {text(value, ends)}", verdict(ends, above=0.8))
    found = runs.gain({"train": 0.5, "test": 0.5}, {})
    row("R2", f"difference {text(*found)}", verdict(found[1], above=0.1))
    gains = {level: runs.gain({}, {"train": level}) for level in (0.0, 0.1, 0.5)}
    told = "; ".join(f"over {level:g}: {text(*gain)}" for level, gain in gains.items())
    row("R3", told, all_of([verdict(ends, above=0) for _, ends in gains.values()]))
    value, (lo, hi) = runs.r2(train=0.0)
    row("R4", f"R2 {text(value, (lo, hi))}", verdict((-hi, -lo), above=0))
    found = runs.gain({}, {"test": 0.0})
    row("R5", f"1 → 1 minus 1 → 0: {text(*found)}", verdict(found[1], above=0))
    found = runs.gain({"draws": 8}, {})
    row("R6", f"difference {text(*found)}", verdict(found[1], above=0))
    found = runs.gain({"draws": 8, "head": "mlp_1"}, {"head": "mlp_1"})
    row("R7", f"difference {text(*found)}", verdict(found[1], above=0.02))
    value, (lo, hi) = runs.gain({"draws": 8}, {"draws": 4})
    row("R8", f"difference {text(value, (lo, hi))}", verdict((-hi, -lo), above=-0.01))
    found = runs.gain({}, {"pca": 64})
    row("R9", f"difference {text(*found)}", verdict(found[1], above=0))
    arrays = runs.importance()
    _segments(arrays)
    bins = runs.by_snr()
    told = f"best quartile {text(bins[-1][0], bins[-1][1:])}, worst {text(bins[0][0], bins[0][1:])}"
    lo, hi = (np.array([bin_[k] for bin_ in (bins[0], bins[-1])]) for k in (1, 2))
    row("R12", told, largest(lo, hi, 1))


def _segments(arrays: dict[str, Any]) -> None:
    """R10 and R11."""
    whole, lo, hi = (arrays[f"whole{end}/{LABEL}"] for end in ("", "_lo", "_hi"))
    told = ", ".join(
        f"{segment}: {text(*of)}" for segment, *of in zip(range(8), whole, _pairs(lo, hi), strict=True)
    )
    row("R10", told, largest(lo, hi, SIXTH))
    without, lo, hi = (arrays[f"without{end}/{LABEL}"] for end in ("", "_lo", "_hi"))
    told = ", ".join(f"{s}: {text(*of)}" for s, *of in zip(range(8), without, _pairs(lo, hi), strict=True))
    row("R11", told, all_of([verdict((-b, -a), above=-0.1) for a, b in _pairs(lo, hi)]))


def _pairs(lo: Any, hi: Any) -> list[tuple[float, float]]:
    return list(zip(lo.tolist(), hi.tolist(), strict=True))


if __name__ == "__main__":
    main()
