"""The best probe of a sweep for each label, chosen on val, as the command prints it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cache.arrays import PSEUDO_LAYERS
from cache.errors import NotExtracted
from cache.records import read_record
from cache.texts import table

from .sweep_plan import Cells
from .titles import description, r2_text

HEADINGS = ("label", "best on val", "val R2", "test R2 (95 % interval)")


def best_lines(results: Path, cells: Cells) -> Iterator[str]:
    """Yield a table of the best cell of each label, without controls, baselines and what has no val R2.

    Baselines are features that come from no network or from an untrained one, unless they are all there is. Of equal
    val R2 the first cell wins. The test score is that of the chosen cell; test chooses nothing.
    """
    best: dict[str, tuple[float, tuple[str, str, str, str]]] = {}
    plain = [cell for cell in cells if cell.request.control == "none"]
    latents = [cell for cell in plain if not any(p.layer in PSEUDO_LAYERS for p in cell.request.features)]
    learned = [cell for cell in latents if cell.control == "none"]
    for cell in learned or latents or plain:
        result = _result(results, cell.name)
        for label in cell.request.labels:
            r2 = result.get("scores", {}).get("val", {}).get(label, {}).get("r2")
            if r2 is not None and (label not in best or r2 > best[label][0]):
                test = r2_text(result, "test", label)
                named = description(cell.request, control=cell.control) + cell.told
                best[label] = (r2, (label, named, f"{r2:.4f}", test))
    if best:
        yield from table(HEADINGS, [row for _, row in best.values()]).splitlines()


def _result(results: Path, name: str) -> dict[str, Any]:
    try:
        return read_record(results, name).result
    except NotExtracted:  # the sweep was stopped before
        return {}
