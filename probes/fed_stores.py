"""Test stores that differ from those of train in what the error channel was fed."""

from collections.abc import Sequence
from pathlib import Path

from cache import FeatureView, Want
from cache.arrays import ArrayName
from cache.errors import ConfigError, NotExtracted
from cache.extract_command import array_flags
from cache.store_folders import stores_of

from .extract_command import extract_command
from .splits import same_but_error_input


def family_fed(root: Path, name: str, train: FeatureView, arrays: Sequence[tuple[str, str, str]]) -> str:
    """The family of test stores whose error input begins with `name`, and that are otherwise of the family of train.

    Raises NotExtracted, with the command, where none has all the arrays; ConfigError where several do.
    """
    wanted = set(Want(arrays=tuple(arrays)).of_network(train.provenance).stored_arrays())
    held: dict[str, set[ArrayName]] = {}
    fed: dict[str, str] = {}
    for _, header in stores_of(root, "test").readable:
        error_input = str(header.provenance["error_input"])
        if error_input.startswith(name) and same_but_error_input(train.provenance, header.provenance):
            held.setdefault(header.family, set()).update(header.arrays)
            fed[header.family] = error_input
    whole = sorted(of_family for of_family, there in held.items() if wanted <= there)
    if not whole:
        stored = array_flags((array.layer, array.direction, array.pooling) for array in sorted(wanted))
        flags = {**stored, "--error-input": name.partition(":")[0]}
        raise NotExtracted(
            f"{root}: no test features with error input {name!r} that are otherwise made as those of train (family "
            f"{train.family[:12]}); extract them: {extract_command(train, flags)}"
        )
    if len(whole) > 1:
        raise ConfigError(
            f"several test stores with error input {name!r} would do: {', '.join(fed[one] for one in whole)}; say "
            "which by more of its name in --test-error-input"
        )
    return whole[0]
