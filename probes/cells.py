"""The product of features, heads, labels and controls that one command stands for."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cache.errors import ConfigError, UnknownName

from .features import FeaturePart
from .registry import HEADS, head_parameters
from .spec import ProbeRequest

JOIN = "+"
"""Joins layers, or labels, that are taken together: enc_last+enc_pre_latent."""

Assignment = tuple[str | None, str, Any]
"""Head or None for all, name of a parameter, value."""


@dataclass(frozen=True, kw_only=True)
class CellChoices:
    """What to combine; a name with '+' stands for several taken together."""

    layers: tuple[str, ...]
    poolings: tuple[str, ...]
    directions: tuple[str, ...]
    heads: tuple[str, ...]
    labels: tuple[str, ...]
    controls: tuple[str, ...] = ("none",)
    params: tuple[str, ...] = ()
    seed: int = 0
    train_size: int | None = None
    cross: tuple[str, ...] = ()


def requests(choices: CellChoices) -> Iterator[ProbeRequest]:
    """Every combination, in a fixed order; raises ConfigError or UnknownName before the first."""
    heads = tuple(HEADS) if choices.heads == ("all",) else choices.heads
    settings = {head: _settings(head, heads, choices.params) for head in heads}
    for layer, direction, pooling, control, head, labels in itertools.product(
        choices.layers, choices.directions, choices.poolings, choices.controls, heads, choices.labels
    ):
        yield ProbeRequest(
            features=tuple(
                FeaturePart(layer=part, pooling=pooling, direction=direction) for part in layer.split(JOIN)
            ),
            head=head,
            params=settings[head],
            labels=tuple(labels.split(JOIN)),
            seed=choices.seed,
            control=control,
            train_size=choices.train_size,
            cross=choices.cross,
        )


def arrays_of(request: ProbeRequest) -> tuple[tuple[str, str, str], ...]:
    """The (layer, direction, pooling) that a request reads."""
    return tuple((part.layer, part.direction, part.pooling) for part in request.features)


def _settings(head: str, heads: Sequence[str], params: Sequence[str]) -> Mapping[str, Any]:
    """The parameters of one head among `name=value` and `head.name=value`."""
    known = head_parameters(head)
    chosen = {}
    for owner, name, value in map(_assignment, params):
        if owner is not None and owner not in heads:
            raise UnknownName("head in --params", owner, heads)
        if owner not in (None, head):
            continue
        if name in known:
            chosen[name] = value
        elif owner == head or not any(name in head_parameters(other) for other in heads):
            raise UnknownName(f"parameter of {head}", name, known)
    return chosen


def _assignment(text: str) -> Assignment:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(
            f"--params {text!r}: expected name=value or head.name=value, such as ridge.alpha=val"
        )
    owner, dot, rest = name.partition(".")
    parsed = _value(text, value)
    return (owner, rest, parsed) if dot else (None, name, parsed)


def _value(text: str, value: str) -> Any:
    """A YAML value, and 1e-3 as the number that YAML 1.1 takes for text."""
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--params {text!r}: {error}") from error
    try:
        return float(parsed) if isinstance(parsed, str) else parsed
    except ValueError:
        return parsed
