"""What to say where a feature store was asked for and none is: which stores may have been meant."""

import glob
import re
from itertools import chain
from pathlib import Path

from .provenance import KEY_DIGITS

LISTED = Path("artifacts/features")
"""Where stores lie unless a command says otherwise: digits alone are looked up there."""
SHOWN = 3
STORE_NAME = re.compile(f"[0-9a-f]{{{KEY_DIGITS}}}")
"""Of the folder of a store: the first digits of its key."""


def meant(path: Path) -> str:
    """`; N stores begin so: ...` or `; N stores are in it: ...`; empty when there are none."""
    begun = f"{glob.escape(path.name)}*"
    if path.is_dir():
        how, found = "are in it", _stores(path, "*", "*/*")
    else:
        how, found = "begin so", _stores(path.parent, begun)
        if not found and path.parent == Path():
            found = _stores(LISTED, f"*/{begun}")
    if not found:
        return ""
    if len(found) == 1:
        return f"; did you mean {found[0]}?"
    named = ", ".join(map(str, found[:SHOWN])) + (", ..." if len(found) > SHOWN else "")
    return f"; {len(found)} stores {how}: {named}; name one"


def _stores(folder: Path, *patterns: str) -> list[Path]:
    found = chain.from_iterable(folder.glob(f"{pattern}/zarr.json") for pattern in patterns)
    return sorted(path.parent for path in found if STORE_NAME.fullmatch(path.parent.name))
