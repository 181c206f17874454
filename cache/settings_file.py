"""Settings of a command out of the YAML file that `--config` names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from .comma_lists import split_values
from .errors import ConfigError


def read_settings(
    path: Path,
    fields: Mapping[str, FieldInfo],
    from_yaml: Callable[[Mapping[str, Any], Path], dict[str, Any]],
) -> dict[str, Any]:
    """Settings by the names of `fields`, as `from_yaml` finds them in the file's mapping.

    Raises ConfigError for a file that is not there, is no YAML mapping in UTF-8, or sets what is no field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"--config {path}: no such file; --print-config writes one to begin with") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: {error}; expected YAML in UTF-8") from error
    if not isinstance(content, dict):
        raise ConfigError(f"--config {path}: expected a mapping of settings, found {type(content).__name__}")
    values = from_yaml(content, path)
    unknown = sorted(set(values) - set(fields))
    if unknown:
        known = ", ".join(sorted(fields))
        raise ConfigError(f"--config {path}: unknown settings {unknown}; known: {known}")
    return {name: _read(path, name, value, fields[name].annotation) for name, value in values.items()}


def takes_texts(annotation: Any) -> bool:
    """Whether a setting is a tuple of texts, or such a tuple or nothing: names, or `name=value`."""
    return (str, ...) in [get_args(each) for each in _tuples(annotation)]


def _tuples(annotation: Any) -> list[Any]:
    """The tuples among the types that a setting may have."""
    return [each for each in (annotation, *get_args(annotation)) if get_origin(each) is tuple]


def _read(path: Path, name: str, value: Any, annotation: Any) -> Any:
    """One setting; of several values, "a,b" as on the command line, or one name or number, are a list."""
    if not _tuples(annotation):
        return value
    if isinstance(value, int | float):
        return [value]
    if not isinstance(value, str):
        return value
    if not takes_texts(annotation):
        return [part.strip() for part in value.split(",")]
    try:
        return list(split_values(value))
    except ConfigError as error:
        raise ConfigError(f"--config {path}: {name}: {error}") from None
