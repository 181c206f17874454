"""Settings of heads that are of the wrong kind, refused in words."""

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from cache.errors import ConfigError, UnknownName


def check_numbers(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first setting that is no number; "1e-3" from a YAML file is text, 1.0e-3 is not."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ConfigError(f"{name} is {value!r}; expected a number")


def check_counts(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first setting that is no whole number."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ConfigError(f"{name} is {value!r}; expected a whole number")


def check_word(kind: str, value: Any, known: Iterable[str]) -> None:
    """Raise UnknownName for what is none of the `known` words; a list or a number from a YAML value is none."""
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise UnknownName(kind, value, known)
