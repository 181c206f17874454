"""Settings of a command out of the YAML file that `--config` names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

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
    return {
        name: _as_list(value) if _takes_several(fields[name].annotation) else value
        for name, value in values.items()
    }


def _takes_several(annotation: Any) -> bool:
    """Whether a setting is a tuple, or a tuple or nothing."""
    return any(get_origin(each) is tuple for each in (annotation, *get_args(annotation)))


def _as_list(value: Any) -> Any:
    """What stands in a YAML file for several values: "a,b" as on the command line, or one name or number."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) else value
