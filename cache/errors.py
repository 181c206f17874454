"""The one family of errors: what was found, what was expected, what to do next."""

import difflib
from collections.abc import Iterable

LIKE = 0.7
"""Share of letters in common from which a name is offered: `gpu` is not `cpu`."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, the known name that is most like `name` whatever the case; empty when none is like it.

    What stands where a name should (a number, a list, from a YAML value) is looked up by its text.
    """
    plain = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), plain, n=1, cutoff=LIKE)
    return f"; did you mean {plain[near[0]]!r}?" if near else ""


class BlindspotError(Exception):
    """Anything the user can mend; command lines print it and exit with 2."""


class ConfigError(BlindspotError):
    """A setting is unknown, contradictory or missing."""


class UnknownName(ConfigError):
    """A name is not in the registry it was looked up in; the message lists the known ones, and says which is near."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        """Name the `kind` of thing (singular noun), the `name` asked for and the `known` names."""
        self._parts = kind, name, tuple(known)
        near = did_you_mean(name, self._parts[2])
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(self._parts[2])}{near}")

    def __reduce__(self) -> tuple[type["UnknownName"], tuple[str, object, tuple[str, ...]]]:
        """How it comes whole out of another process."""
        return type(self), self._parts


class InputError(BlindspotError):
    """A data file is not what it must be; nothing was written."""


class FileChanged(InputError):
    """A data file is not what its fingerprint says."""

    def __init__(self, what: str) -> None:
        """Say `what` was found and expected; what to do is the same always."""
        self._what = what
        super().__init__(
            f"{what}; the file changed meanwhile: run the command again, with files that nobody writes to"
        )

    def __reduce__(self) -> tuple[type["FileChanged"], tuple[str]]:
        """How it comes whole out of another process."""
        return type(self), (self._what,)


class CheckpointError(BlindspotError):
    """A checkpoint or its configuration cannot be used."""


class ProbeError(BlindspotError, ValueError):
    """A head cannot be fitted or applied to what it was given; a ValueError too, as scikit-learn's tools expect."""


class LeakError(BlindspotError):
    """The same star stands on both sides of a split."""


class CacheError(BlindspotError):
    """A feature store or a result record cannot be used."""


class NotExtracted(CacheError):
    """No store holds what was asked for; the message names the command that makes it."""


class Incomplete(CacheError):
    """A store lacks committed blocks; the message names them."""


class Damaged(CacheError):
    """A file differs from what was committed; the message names it."""


class Stale(CacheError):
    """A store or record was made from something else; the message names the field and both values."""


class Busy(CacheError):
    """Another process is writing the same store."""


class SchemaVersion(CacheError):
    """A file was written by another version of the format."""
