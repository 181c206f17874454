"""The one family of errors: what was found, what was expected, what to do next."""

from collections.abc import Iterable


class BlindspotError(Exception):
    """Anything the user can mend; command lines print it and exit with 2."""


class ConfigError(BlindspotError):
    """A setting is unknown, contradictory or missing."""


class UnknownName(ConfigError):
    """A name is not in the registry it was looked up in; the message lists the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Name the `kind` of thing (singular noun), the `name` asked for and the `known` names."""
        self._parts = kind, name, tuple(known)
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(self._parts[2])}")

    def __reduce__(self) -> tuple[type["UnknownName"], tuple[str, str, tuple[str, ...]]]:
        """How it comes whole out of another process."""
        return type(self), self._parts


class InputError(BlindspotError):
    """A data file is not what it must be; nothing was written."""


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
