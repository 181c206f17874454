"""What extractions keep beside the stores: Fisher matrices, calibrated random encoders, errors of train."""

from dataclasses import dataclass
from pathlib import Path

KEY = "[0-9a-f]" * 16
"""Pattern of the digits in their names."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """All files of one kind in a folder: `n` things, a description and its arrays being one, and their bytes."""

    what: str
    folder: Path
    n: int
    n_bytes: int


def beside(*, fisher: Path, encoders: Path) -> tuple[Beside, ...]:
    """What there is of each kind, by its names; nothing is opened. Kinds of which there is none are left out."""
    kinds = (
        ("Fisher matrices", fisher, f"*/{KEY}.json", f"*/{KEY}.npz"),
        ("calibrated random encoders", encoders, f"random-{KEY}.ckpt", ""),
        ("errors of train", encoders, f"train-error-{KEY}.json", ""),
    )
    found = []
    for what, folder, named, with_it in kinds:
        counted = sorted(folder.glob(named))
        files = counted + (sorted(folder.glob(with_it)) if with_it else [])
        n_bytes = sum(path.stat().st_size for path in files)
        if files:
            found.append(Beside(what=what, folder=folder, n=len(counted), n_bytes=n_bytes))
    return tuple(found)
