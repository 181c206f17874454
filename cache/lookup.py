"""Looking a request up among the stores that are there: which of them meet it, or which comes nearest and why not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .inventory import StoreInfo
from .nearest import Near, difference_json, held_by, nearest
from .provenance import Provenance


def explain(wanted: Provenance, there: Sequence[StoreInfo]) -> dict[str, Any]:
    """Which of the stores that are there meet a request, or which comes nearest and how it differs.

    {"hit": names of stores, "nearest": None or {"path", "state", "differences", "texts"}, "unreadable": paths}; `hit`
    is empty when arrays are missing. Unreadable are damaged and outdated stores of the split, which are no hits.
    """
    readable = {
        str(i.path): i for i in there if i.header is not None and i.state in ("finished", "unfinished")
    }
    known = [(name, i.header.provenance) for name, i in readable.items() if i.header is not None]
    held = held_by(wanted, [store for store in known if readable[store[0]].state == "finished"])
    near = None if not held.missing else nearest(wanted, known)
    return {
        "hit": list(held.names) if not held.missing else [],
        "nearest": None if near is None else _near_json(near, readable[near.name]),
        "unreadable": [
            f"{info.path} ({info.state})"
            for info in there
            if str(info.path) not in readable and info.path.parent.name == wanted["split"]
        ],
    }


def _near_json(near: Near, info: StoreInfo) -> dict[str, Any]:
    return {
        "path": near.name,
        "state": info.state_text,
        "differences": difference_json(near.differences, "wanted", "found"),
        "texts": [d.text("the request", "the store") for d in near.differences],
    }


def explanation_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """What `explain` found, in words, one indented line each."""
    near = answer["nearest"]
    if answer["hit"]:
        yield f"  hit: {', '.join(answer['hit'])}\n"
    elif near is None:
        yield "  no hit: no store of this split is there\n"
    elif not near["texts"]:
        yield f"  no hit yet: {near['path']} is {near['state']}\n"
    else:
        yield f"  no hit; nearest: {near['path']} ({near['state']}), which differs in\n"
        for text in near["texts"]:
            yield f"    {text}\n"
    if answer["unreadable"] and not answer["hit"]:
        yield f"  not looked into: {', '.join(answer['unreadable'])}\n"
