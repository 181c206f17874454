"""`python -m cache why`: how two stores differ, or why the stores of a plan are no hits."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import CliPositionalArg

from .commandline import Command
from .errors import ConfigError
from .header import read_header
from .inventory import look, store_folders
from .lookup import explain, explanation_lines
from .near_stores import LISTED
from .nearest import difference_json, field_differences, nearest, relation
from .plan_file import read_plan
from .provenance import Provenance, store_key


class WhySettings(Command):
    """Tell how two stores differ and what they may be used for together, or why a plan's stores are no hits.

    A and B are folders of stores or plan files (python -m extract plan ... --plan FILE). With a plan alone, each of
    its stores is looked up where the plan puts it, or under --root: a hit, or the store that comes nearest and the
    fields that differ.
    Example: python -m cache why artifacts/features/test/0123456789abcdef artifacts/features/test/fedcba9876543210
    Example: python -m cache why plan.json --root artifacts/features
    """

    a: CliPositionalArg[Path] = Field(
        None, validate_default=True, description="folder of a store, or a plan file"
    )
    b: CliPositionalArg[Path | None] = Field(None, description="another; not needed when A is a plan")
    root: Path | None = Field(
        None,
        description="folder of the stores a plan is looked up in (default: where the plan puts its stores)",
    )
    as_json: bool = Field(
        default=False, description="one JSON object per pair of stores, or store of the plan"
    )


def run_why(settings: WhySettings) -> None:
    """Print the answer for every store of A."""
    if settings.b is not None:
        found, lines = _compare(_provenances(settings.a), _provenances(settings.b)), _pair_lines
    elif settings.a.is_dir():
        raise ConfigError(
            f"{settings.a}: a store alone has nothing to differ from; name another one as B (python -m cache ls lists "
            "them), or a plan file instead (python -m extract plan ... --plan FILE)"
        )
    else:
        found, lines = _look_up(settings.a, settings.root), _plan_lines
    for answer in found:
        text = json.dumps(answer) + "\n" if settings.as_json else "".join(lines(answer))
        sys.stdout.write(text)


def _provenances(path: Path) -> list[tuple[str, Provenance]]:
    """(name, provenance) of the store at `path`, or of every store of the plan there."""
    if path.is_dir():
        return [(str(path), read_header(path).provenance)]
    return [
        (f"{path} {split} {store_key(store.provenance)[:12]}", store.provenance)
        for split, stores in read_plan(path).stores.items()
        for store in stores
    ]


def _compare(
    one: list[tuple[str, Provenance]], two: list[tuple[str, Provenance]]
) -> Iterator[dict[str, Any]]:
    """Each store of the first with the only one, or the one that comes nearest, of the second."""
    for name, provenance in one:
        other, found = two[0]
        if len(two) > 1:
            near = nearest(provenance, two)
            if near is None:
                raise ConfigError(f"{name}: nothing of split {provenance['split']!r} to compare it with")
            other, found = near.name, dict(two)[near.name]
        related, differing = relation(provenance, found), field_differences(provenance, found)
        yield {
            "a": name,
            "b": other,
            "differences": difference_json(differing, "a", "b"),
            "texts": [d.text("A", "B") for d in differing],
            "same_key": related.same_key,
            "same_family": related.same_family,
            "meaning": related.meaning,
        }


def _pair_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"A  {answer['a']}\nB  {answer['b']}\n"
    for text in answer["texts"]:
        yield f"{text}\n"
    key, family = ("the same" if answer[name] else "different" for name in ("same_key", "same_family"))
    yield f"key {key}, family {family}: {answer['meaning']}\n"


def _look_up(path: Path, root: Path | None) -> Iterator[dict[str, Any]]:
    """For every store of the plan at `path` the stores that meet it, or the nearest one."""
    plan = read_plan(path)
    there = [look(store) for store in store_folders(root or Path(plan.request.get("out", LISTED)))]
    for split, planned in plan.stores.items():
        for store in planned:
            yield {
                "split": split,
                "rows": store.rows,
                "arrays": [path for path, _ in store.provenance["arrays"]],
                **explain(store.provenance, there),
            }


def _plan_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"{answer['split']}: {answer['rows']} rows, {', '.join(answer['arrays'])}\n"
    yield from explanation_lines(answer)
