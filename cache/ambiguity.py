"""Words for a request that several groups of stores meet: what tells them apart, and what chooses one."""

from collections.abc import Iterator
from pathlib import Path

from .header import Header
from .provenance import differences


def ambiguous(root: Path, split: str, groups: list[list[tuple[Path, Header]]]) -> str:
    """What tells the groups of stores apart, the first of which the others are set against, and what chooses one."""
    first, *others = [stores[0][1] for stores in groups]
    differing = [
        [told for told in differences(first.provenance, header.provenance) if told[0] != "arrays"]
        for header in others
    ]
    lines = [f"several feature stores under {root}/{split} meet the request; narrow it down:"]
    for stores, found in zip(groups, [[], *differing], strict=True):
        header = stores[0][1]
        told = "; ".join(f"{field}: {one!r} / {other!r}" for field, one, other in found)
        lines.append(
            f"  {', '.join(path.name for path, _ in stores)}: family {header.family[:12]} input "
            f"{header.provenance['input'][:12]}" + (f" differs in {told}" if found else "")
        )
    fields = {field for found in differing for field, _, _ in found}
    return "\n".join([*lines, *_ways_to_choose(fields, {stores[0][1].family for stores in groups})])


def _ways_to_choose(fields: set[str], families: set[str]) -> Iterator[str]:
    """What singles out one of the stores that differ in these fields of their provenance."""
    flags = [("--family DIGITS", len(families) > 1), ("--noise-level LEVEL", "noise.level" in fields)]
    helpful = [flag for flag, helps in flags if helps]
    if helpful:
        yield f"say which: {' and '.join(helpful)}"
    if "input" in fields:
        yield (
            "another input is another file of spectra, or one that was edited since: no flag tells them apart, but a "
            "selection does"
        )
    if helpful or "input" in fields:
        yield (
            "--selection FILE says it as well: give it to the extract run that made the stores, which then writes the "
            "file and computes nothing again, and to this command"
        )
    if any(field.partition(".")[0] == "rows" for field in fields) and "input" not in fields:
        yield "other rows of one file (--on-bad-rows): no flag tells them apart"
    yield "or remove the folders above that you no longer need"
