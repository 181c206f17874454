"""Names that a request may choose from; what they stand for is imported by whoever uses it."""

import re

from cache.errors import UnknownName

ENGINES = ("fast", "plain")
PRECISIONS = ("fp32", "tf32", "bf16")
FAIL, DROP = "fail", "drop"
MISSING_LABELS = (FAIL, DROP)
"""What becomes of stars without a label that is needed: they are refused, or left out."""
BAD_ROW_POLICIES = ("fail", "drop")
NOISE_MODES = ("draw", "stored", "none")
ERROR_INPUTS = ("true", "zero", "shuffled", "constant", "from-noisy")
FROM_TRAIN = ("constant", "from-noisy")
"""Error inputs that are fitted on the train split."""
MICRO_BATCH = {"cpu": 32, "cuda": 256}
"""Spectra computed together, by the kind of device, unless a request says otherwise (docs/performance.md)."""


def devices_of(device: str) -> tuple[str, ...]:
    """The devices of one machine that `--device` names: `cuda:0,1` is ('cuda:0', 'cuda:1'), else the name itself.

    Raises UnknownName for anything but cpu, cuda, cuda:0, cuda:0,1 and the like, or a GPU that is named twice.
    """
    found = re.fullmatch(r"cpu|cuda|cuda:(\d+(?:,\d+)*)", device, flags=re.ASCII)
    numbers = found[1].split(",") if found and found[1] else []
    if not found or len(set(numbers)) < len(numbers):
        raise UnknownName("device", device, ("auto", "cpu", "cuda", "cuda:0", "cuda:0,1"))
    return tuple(f"cuda:{number}" for number in numbers) or (device,)
