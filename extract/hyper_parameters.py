"""What the `hyper_parameters` that Lightning keeps in a checkpoint state about the network."""

from collections.abc import Mapping
from typing import Any

from cache.errors import ConfigError

from .model_yaml import INTEGER_KEYS, LINEAR_KEYS, stated_keys

SOURCE = "the checkpoint's hyper_parameters"
WHOLE = (*INTEGER_KEYS, "output_channels", "sigma_input_bins", "sigma_input_lowpass")
FLAGS = ("blindspot", "use_bn", "input_sigma")
KINDS = {
    **dict.fromkeys(WHOLE, (int, "a whole number")),
    **dict.fromkeys(FLAGS, (bool, "true or false")),
    **dict.fromkeys(LINEAR_KEYS, (str, "a name")),
}
"""Type of each key of a YAML's model section that is read here too, and what it is called."""

WITHOUT = (
    "where the hyper_parameters are not true, write the checkpoint without them: found = torch.load(FILE, "
    'weights_only=True); del found["hyper_parameters"]; torch.save(found, NEW_FILE)'
)


def hyper_statements(found: object) -> dict[str, dict[str, Any]]:
    """Fields of ModelConfig by source: the keys at the top of `hyper_parameters`, and those of a section `model` in it.

    `found` is what safe loading gives, so plain values; None where there are none. Keys have the meaning that they have
    in the YAML, but a key that is absent or None states nothing. Raises ConfigError or UnknownName for a value that
    cannot be meant.
    """
    if not isinstance(found, Mapping):
        return {}
    section = found.get("model")
    sources = {SOURCE: found, f"{SOURCE} (section model)": section if isinstance(section, Mapping) else {}}
    return {source: _fields(values, source) for source, values in sources.items()}


def _fields(values: Mapping[Any, Any], source: str) -> dict[str, Any]:
    known = {key: values[key] for key in KINDS if key in values}
    for key, value in known.items():
        kind, called = KINDS[key]
        if value is not None and type(value) is not kind:
            raise ConfigError(f"{key} is {value!r} in {source}; expected {called}; {WITHOUT}")
    return stated_keys(known)
