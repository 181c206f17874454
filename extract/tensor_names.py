"""Which names of a state dict are the network's: bare, behind `model.`, or behind what wrappers put before them."""

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from cache.errors import CheckpointError

PREFIX = "model."
FIRST = "encoders.0.conv.weight"
"""The tensor that every network has, and by which it is found."""
WRAPPED = re.compile(r"(?:module\.|_orig_mod\.)*(?:model\.)?(?:module\.|_orig_mod\.)*")
"""What DataParallel (`module.`) and torch.compile (`_orig_mod.`) make of `model.` or of no prefix."""
_SHOWN = 5

RENAME = """\
import torch; found = torch.load({source!r}, map_location="cpu", weights_only=True)
new = {{n.replace({prefix!r}, "model.", 1) if n.startswith({prefix!r}) else n: t for n, t in {state}.items()}}
torch.save({{{rest}"state_dict": new}}, {target!r})
"""
MOVE = """\
import torch; found = torch.load({source!r}, map_location="cpu", weights_only=True)
torch.save({{"state_dict": found[{key!r}]}}, {target!r})
"""


def network_prefix(path: Path, state: Mapping[str, Any], *, nested: bool) -> str:
    """What stands before the network's names in a state dict: `model.`, nothing, or one of these wrapped.

    `model.` goes before no prefix, and both before a wrapped one. Raises CheckpointError, which shows the first names,
    when there is no such network; where there is one behind another prefix, or several behind wrapped ones, it says how
    to rename. `nested` tells whether the state dict stands under `state_dict`, for that advice.
    """
    names = [str(name) for name in state]
    found = sorted(
        {name.removesuffix(FIRST) for name in names if name == FIRST or name.endswith(f".{FIRST}")}
    )
    plain = [prefix for prefix in (PREFIX, "") if prefix in found]
    wrapped = [prefix for prefix in found if WRAPPED.fullmatch(prefix)]
    if plain or len(wrapped) == 1:
        return (plain or wrapped)[0]
    if not found:
        raise CheckpointError(
            f"{path}: the tensor {FIRST!r} is missing, under any prefix: this is not a blind-spot network; the first "
            f"names are {_first(names)}"
        )
    one = (wrapped or found)[0]
    advice = RENAME.format(
        source=str(path),
        target=str(path.with_suffix(".renamed.ckpt")),
        prefix=one,
        rest="**found, " if nested else "",
        state='found["state_dict"]' if nested else "found",
    )
    raise CheckpointError(
        f"{path}: a blind-spot network stands under {' and under '.join(map(repr, found))}; expected {PREFIX!r}, or no "
        "prefix, which says that it is the network to use, and no average or copy. The first names are "
        f"{_first(names)}. If the one under {one!r} is meant, rename its tensors, with\n{advice}and use the new file."
    )


def elsewhere_advice(path: Path, keys: Iterable[str]) -> str:
    """How to move a state dict that stands under another top-level key than `state_dict`; empty without `keys`."""
    named = list(keys)
    if not named:
        return ""
    advice = MOVE.format(source=str(path), target=str(path.with_suffix(".renamed.ckpt")), key=named[0])
    told = ", ".join(map(repr, named))
    return f". There are tensors under {told}: if those under {named[0]!r} are the network, move them, with\n{advice}"


def bare_names(state: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A state dict divided in two: what stands behind `prefix`, without it, and the rest, without a wrapper's part."""
    outer = prefix.partition(PREFIX)[0] if PREFIX in prefix else prefix
    inside: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in state.items():
        if str(name).startswith(prefix):
            inside[str(name).removeprefix(prefix)] = value
        else:
            rest[str(name).removeprefix(outer)] = value
    return inside, rest


def _first(names: list[str]) -> str:
    return ", ".join(islice(names, _SHOWN)) + (", ..." if len(names) > _SHOWN else "")
