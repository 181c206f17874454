"""What a YAML file beside a checkpoint states about the network (REFERENCE.md, section 2).

Keys that are absent have the default of the group's code: dilation 1, an error channel, per-pixel error.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cache.errors import CheckpointError, ConfigError, UnknownName

from .architecture import ModelConfig
from .error_input import N_BINS, SMOOTHING_PIXELS, n_error_channels

OUTPUT_MODES = {"mu": 1, "mu_sigma": 2}
LINEAR_KEYS = ("output_mode", "sigma_input_mode", "norm_type")  # keys of 2026: no Softplus at the end
INTEGER_KEYS = ("num_layers", "embed_dim", "kernel_size", "input_channels", "dilation")
INTERPRETED_KEYS = (
    *INTEGER_KEYS,
    *LINEAR_KEYS,
    "output_channels",
    "blindspot",
    "use_bn",
    "input_sigma",
    "sigma_input_bins",
    "sigma_input_lowpass",
)
# names and training matters; `sigma_feature_channels` follows from the mode, the profile is in the checkpoint
IRRELEVANT_KEYS = ("name", "huber_delta", "fix_sigma", "sigma_feature_channels", "sigma_profile_path")


@dataclasses.dataclass(frozen=True)
class Statement:
    """What one source says: fields of ModelConfig by name, and remarks worth showing."""

    fields: Mapping[str, Any]
    remarks: Mapping[str, str]


def read_yaml(config: Path | str | Mapping[str, Any]) -> Statement:
    """Read a YAML file, or a mapping, that is a whole configuration or its `model` section.

    Raises CheckpointError when the file cannot be read or holds no model section, ConfigError and UnknownName
    for values that are not known.
    """
    content: Any = config
    source = "the configuration"
    if not isinstance(config, Mapping):
        source = str(config)
        try:
            content = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(
                f"{source}: cannot read the model's YAML ({error}); name the one that stands beside the checkpoint"
            ) from error
        except yaml.YAMLError as error:
            raise CheckpointError(f"{source}: not readable as YAML ({error})") from error
    section = content.get("model", content) if isinstance(content, Mapping) else content
    if not isinstance(section, Mapping) or not set(INTERPRETED_KEYS) & set(section):
        raise CheckpointError(
            f"{source}: has no `model` section; expected a mapping with num_layers, embed_dim, kernel_size, ..."
        )
    return _interpret(section)


def config_from_yaml(config: Path | str | Mapping[str, Any]) -> ModelConfig:
    """The whole ModelConfig of a YAML, for a network without weights.

    Raises ConfigError when the YAML does not say num_layers, embed_dim, kernel_size, the norm or input_sigma.
    """
    stated = read_yaml(config)
    fields = {"output_channels": 2, "blindspot": True, **stated.fields}
    needed = [field.name for field in dataclasses.fields(ModelConfig) if field.default is dataclasses.MISSING]
    missing = [name for name in needed if name not in fields]
    if missing:
        raise ConfigError(
            f"the YAML's model section does not say {', '.join(missing)}; without weights it must say "
            "num_layers, embed_dim, kernel_size, and use_bn or norm_type"
        )
    return ModelConfig(**fields)


def _interpret(section: Mapping[str, Any]) -> Statement:
    fields: dict[str, Any] = {"dilation": 1}
    for name in INTEGER_KEYS:
        if name in section:
            fields[name] = _integer(section, name)
    blindspot = _flag(section, "blindspot", absent=True)
    if "blindspot" in section:
        fields["blindspot"] = blindspot
    fields |= _norm(section) | _error(section) | _outputs(section, blindspot=blindspot)
    # the Softplus belonged to mean and sigma: a network without blindspot, one mean, never had it
    linear = not blindspot or any(key in section for key in LINEAR_KEYS)
    fields["ending"] = "linear" if linear else "softplus"
    unknown = [key for key in section if key not in (*INTERPRETED_KEYS, *IRRELEVANT_KEYS) and section[key]]
    remarks = {
        f"yaml:{key}": f"{key} {section[key]!r} in the YAML's model section is not known here and was ignored"
        for key in unknown
    }
    return Statement(fields=fields, remarks=remarks)


def stated_keys(section: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ModelConfig that the keys of a model section state; one that is absent or None states nothing.

    The keys of 2026 tell the ending by being there, whatever their value. Raises as `read_yaml`.
    """
    said = {key: value for key, value in section.items() if value is not None}
    fields: dict[str, Any] = {name: _integer(said, name) for name in INTEGER_KEYS if name in said}
    blindspot = _flag(said, "blindspot", absent=True)
    if "blindspot" in said:
        fields["blindspot"] = blindspot
    fields |= _norm(said) | _outputs(said, blindspot=blindspot)
    if "sigma_input_mode" in said or said.get("input_sigma") is False:
        fields |= _error(said)
    if not blindspot or any(key in section for key in LINEAR_KEYS):
        fields["ending"] = "linear"
    return fields


def _norm(section: Mapping[str, Any]) -> dict[str, Any]:
    if section.get("norm_type") is not None:
        return {"norm": str(section["norm_type"])}
    if "use_bn" in section:
        return {"norm": "bn" if _flag(section, "use_bn", absent=False) else "none"}
    return {}


def _error(section: Mapping[str, Any]) -> dict[str, Any]:
    if not _flag(section, "input_sigma", absent=True):
        return {"error_mode": "none", "error_channels": 0}
    mode = str(section.get("sigma_input_mode", "pixel"))
    for key, relevant, known in (
        ("sigma_input_bins", "L2", N_BINS),
        ("sigma_input_lowpass", "L3", SMOOTHING_PIXELS),
    ):
        if mode == relevant and section.get(key, known) != known:
            raise ConfigError(f"{key} is {section[key]!r}; error mode {mode!r} is known with {known} only")
    return {"error_mode": mode, "error_channels": n_error_channels(mode)}


def _outputs(section: Mapping[str, Any], *, blindspot: bool) -> dict[str, Any]:
    mode = section.get("output_mode", "mu_sigma")
    if mode not in OUTPUT_MODES:
        raise UnknownName("output_mode", str(mode), OUTPUT_MODES)
    if mode == "mu" or not blindspot:
        return {"output_channels": 1}  # output_channels has no effect there
    return {"output_channels": _integer(section, "output_channels")} if "output_channels" in section else {}


def _integer(section: Mapping[str, Any], key: str) -> int:
    value = section[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{key} is {value!r} in the YAML's model section; expected a whole number")
    return value


def _flag(section: Mapping[str, Any], key: str, *, absent: bool) -> bool:
    value = section.get(key, absent)
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is {value!r} in the YAML's model section; expected true or false")
    return value
