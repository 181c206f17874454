"""What changed between two comparisons of one name: verdicts on pairs, their numbers, what is told of each record."""

from collections.abc import Iterator, Mapping
from typing import Any

from cache.records import Record

from .changes import Change, change, number
from .paired import Paired
from .rows import SHORT

OF_PAIRS: Mapping[str, str] = {
    "difference": "difference",
    "lo": "interval",
    "hi": "interval",
    "p": "p",
    "p_holm": "p after Holm",
    "n_eff": "n_eff",
}
"""What a comparison says of each pair, and how it is called."""
TOLD = frozenset({"runs", "predictions", "r2", "seeds", "selectivity", "bins", *OF_PAIRS})
"""The results that are told here."""


def of_comparison(old: Record, new: Record, name: str) -> Iterator[Change]:
    """All changes but of results that are not in TOLD; `name` is the comparison in words."""
    yield from _pairs(old, new, name)
    yield from _of_runs(old, new, name)


def _pairs(old: Record, new: Record, name: str) -> Iterator[Change]:
    """Pairs whose verdict changed, and what else is told of how many of those compared in both."""
    before, after = (dict(_by_pair(record)) for record in (old, new))
    shared = sorted(before.keys() & after.keys())
    for pair in shared:
        a, b = before[pair], after[pair]
        if _holds(a) != _holds(b):
            one, other = (run[:SHORT] for run in pair)
            yield change(
                "pair",
                old.run_id,
                f"{name}, {one} minus {other}",
                old=number(a["difference"]),
                new=number(b["difference"]),
                words="now holds" if _holds(b) else "holds no more",
            )
    moved = [{OF_PAIRS[key] for key in OF_PAIRS if before[pair][key] != after[pair][key]} for pair in shared]
    counts = {what: sum(what in told for told in moved) for what in OF_PAIRS.values()}
    parts = ", ".join(f"{what} of {n}" for what, n in counts.items() if n)
    came, went = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    if parts or came or went:
        changed = f"{sum(map(bool, moved))} changed{f' ({parts})' * bool(parts)}"
        words = f"of {len(shared)} pairs in both {changed}; {came} pairs came, {went} went"
        yield change("pair", old.run_id, name, words=words)


def _by_pair(record: Record) -> Iterator[tuple[tuple[str, str], dict[str, float | None]]]:
    """By pair of runs, what the comparison says of it; None for what an older one does not say."""
    runs, result = record.result["runs"], record.result
    names = ((one, other) for index, one in enumerate(runs) for other in runs[index + 1 :])
    columns = [result.get(key) or [None] * len(result["p_holm"]) for key in OF_PAIRS]
    for name, *numbers in zip(names, *columns, strict=True):
        yield name, dict(zip(OF_PAIRS, numbers, strict=True))


def _holds(numbers: Mapping[str, Any]) -> bool:
    pair = Paired(
        difference=numbers["difference"],
        low=numbers["lo"],
        high=numbers["hi"],
        p=numbers["p_holm"],
        p_alone=numbers["p"],
        n_pairs=1,
        n_eff=numbers["n_eff"],
    )
    return pair.holds or pair.reversed().holds


def _of_runs(old: Record, new: Record, name: str) -> Iterator[Change]:
    """What else a comparison says of each record, and of how many of those compared in both it changed."""
    before, after = (_by_run(record.result) for record in (old, new))
    shared = set(old.result["runs"]) & set(new.result["runs"])
    for what in before:
        n = sum(before[what].get(run) != after[what].get(run) for run in shared)
        if n:
            words = f"{what} of {n} of {len(shared)} records in both changed"
            yield change("result", old.run_id, name, words=words)


def _by_run(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By what is told and by run; of bins also their edges and numbers of stars."""
    bins = (result.get("bins") or {}).items()
    runs = result["runs"]
    return {
        "predictions": dict(result["predictions"]),
        "R2": dict(zip(runs, result.get("r2") or [None] * len(runs), strict=True)),
        "selectivity": {item["run"]: item for item in result["selectivity"]},
        "spread over seeds": {run: item for item in result["seeds"] for run in item["runs"]},
        "R2 in bins": {
            run: [(by, told["edges"], told["n"], told["r2"].get(run)) for by, told in bins] for run in runs
        },
    }
