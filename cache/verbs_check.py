"""`python -m cache verify`, `digest` and `repair`: is a store what was committed, and mending it."""

import sys
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from .commandline import MENDABLE, Command
from .errors import BlindspotError
from .header import rebuild_command
from .repair import repair
from .store import FeatureStore

ONE_STORE = "folder of a store; python -m cache ls lists them"
STORES = "folders of stores; python -m cache ls lists them"


class _Stores(Command):
    """Several stores, by their folders."""

    # as paths, a name such as 12e4 would be read as a number
    paths: CliPositionalArg[tuple[str, ...]] = Field(
        (), min_length=1, validate_default=True, description=STORES
    )


class VerifySettings(_Stores):
    """Recompute the sha256 of everything in stores, and say whether all is as it was committed.

    Stops at no damaged store; the exit status is 2 when one of them is.
    Example: python -m cache verify artifacts/features/*/*
    """


def run_verify(settings: VerifySettings) -> int:
    """Verify one store after the other; what is wrong goes to standard error."""
    status = 0
    for path in settings.paths:
        try:
            store = FeatureStore.open(path)
            store.verify()
        except BlindspotError as error:
            status = MENDABLE
            sys.stderr.write(f"error: {error}\n")
        else:
            sys.stdout.write(f"{path}: {len(store.arrays)} arrays as they were committed\n")
    return status


class DigestSettings(_Stores):
    """Print the digest of stores, as records name it.

    Equal for equal request, features, rows, labels, coordinates and block size.

    One store gives its 64 hex digits alone; several give digest and folder, one line each.
    Example: python -m cache digest artifacts/features/test/0123456789abcdef
    """


def run_digest(settings: DigestSettings) -> None:
    """Open every store before the first line is printed."""
    digests = [FeatureStore.open(path).digest() for path in settings.paths]
    for path, digest in zip(settings.paths, digests, strict=True):
        sys.stdout.write(digest + (f"  {path}" if len(digests) > 1 else "") + "\n")


class RepairSettings(Command):
    """Take the damaged blocks out of one store; the next extraction computes only those again.

    Prints each block with what was wrong, and the command that computes it.
    Example: python -m cache repair artifacts/features/test/0123456789abcdef
    """

    path: CliPositionalArg[Path] = Field(None, validate_default=True, description=ONE_STORE)


def run_repair(settings: RepairSettings) -> None:
    """Print the blocks taken out, why, and the command that computes them."""
    found = repair(settings.path)
    for block, reason in zip(found.blocks, found.reasons, strict=True):
        sys.stdout.write(f"block {block} taken out: {reason.split('; mend it with')[0]}\n")
    sys.stdout.write(
        f"now run: {rebuild_command(settings.path)}\n"
        if found.blocks
        else f"{settings.path}: nothing to repair\n"
    )
