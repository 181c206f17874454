"""The product of features, heads, labels, controls, sizes and seeds that one command stands for."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cache.arrays import PSEUDO_LAYERS
from cache.errors import ConfigError, UnknownName

from .features import FeaturePart, n_segments
from .registry import HEADS, head_parameters, make_probe
from .samples import FAIL
from .spec import MIXED_LAYERS, ProbeRequest

JOIN = "+"
"""Joins what is taken together: layers enc_last+enc_pre_latent, labels log_g+T_eff, segments 0+1."""
ALL = "all"
EACH = "each"
"""Stands for every single segment of a pooling."""
ALL_BUT_EACH = "all-but-each"
"""Stands for all segments of a pooling but one, for every one."""
NONE = "none"
FORWARD = "forward"
SOFTMAX = "softmax"
MIXES = (NONE, SOFTMAX)

Assignment = tuple[str | None, str, Any]
"""Head or None for all, name of a parameter, value."""


@dataclass(frozen=True, kw_only=True)
class CellChoices:
    """What to combine; a name with '+' stands for several taken together.

    `pca` are numbers of axes or `none`, `segments` are `all`, `each`, `all-but-each`, or numbers, `train_sizes` numbers
    of stars or `all`; `mix` is `none` or `softmax`.
    """

    layers: tuple[str, ...]
    poolings: tuple[str, ...]
    directions: tuple[str, ...]
    heads: tuple[str, ...]
    labels: tuple[str, ...]
    controls: tuple[str, ...] = ("none",)
    params: tuple[str, ...] = ()
    pca: tuple[int | str, ...] = (NONE,)
    segments: tuple[int | str, ...] = (ALL,)
    mix: str = NONE
    train_sizes: tuple[int | str, ...] = (ALL,)
    seeds: tuple[int, ...] = (0,)
    cross: tuple[str, ...] = ()
    allow_leak: bool = False
    missing_labels: str = FAIL


@dataclass(frozen=True, kw_only=True)
class _Features:
    """One choice of columns."""

    parts: tuple[FeaturePart, ...]
    segments: tuple[int, ...] | None
    pca: int | None


def requests(choices: CellChoices) -> Iterator[ProbeRequest]:
    """Every combination, in a fixed order; raises ConfigError or UnknownName before the first.

    Where the seed changes nothing, the first seed alone is taken.
    """
    if choices.mix not in MIXES:
        raise UnknownName("mix of layers", choices.mix, MIXES)
    heads = tuple(HEADS) if choices.heads == (ALL,) else choices.heads
    settings = [(head, params) for head in heads for params in _settings(head, heads, choices.params)]
    features = list(_features(choices))
    sizes = [train_size(size) for size in choices.train_sizes]
    for chosen, control, (head, params), labels, size, seed in itertools.product(
        features, choices.controls, settings, choices.labels, sizes, choices.seeds
    ):
        request = ProbeRequest(
            features=chosen.parts,
            head=head,
            params=params | _mixed(choices.mix, head, chosen.parts),
            labels=tuple(labels.split(JOIN)),
            pca=chosen.pca,
            segments=chosen.segments,
            seed=seed,
            control=control,
            train_size=size,
            cross=choices.cross,
            allow_leak=choices.allow_leak,
            missing_labels=choices.missing_labels,
        )
        if seed == choices.seeds[0] or _seed_matters(request):
            yield request


def with_alpha_on_val(heads: tuple[str, ...], params: tuple[str, ...]) -> tuple[str, ...]:
    """The `params` of these heads, where ridge chooses its penalty on val unless they say otherwise."""
    told = any(text.partition("=")[0] in {"alpha", "ridge.alpha"} for text in params)
    takes = "ridge" in heads or heads == (ALL,)
    return params if told or not takes else (*params, "ridge.alpha=val")


def arrays_of(request: ProbeRequest) -> tuple[tuple[str, str, str], ...]:
    """The (layer, direction, pooling) that a request reads."""
    return tuple((part.layer, part.direction, part.pooling) for part in request.features)


def columns(choices: CellChoices) -> Iterator[tuple[str, str, str]]:
    """The (layers, direction, pooling) of the product that `extract run` stores; layers may be joined by '+'.

    Pooling `none` is for inputs (PSEUDO_LAYERS) alone, and these have the direction forward, whichever are asked for.
    Raises ConfigError for layers of which nothing is left.
    """
    for layer in choices.layers:
        parts = layer.split(JOIN)
        network = [part for part in parts if part not in PSEUDO_LAYERS]
        poolings = [name for name in choices.poolings if name != NONE or not network]
        if not poolings:
            raise ConfigError(
                f"--layers {layer} with --poolings {NONE}: pooling {NONE!r} is for {', '.join(PSEUDO_LAYERS)}; "
                f"{', '.join(network)} needs another, such as seg_mean_K8"
            )
        directions = choices.directions if len(network) == len(parts) else (FORWARD,)
        if network and not set(directions) <= set(choices.directions):
            raise ConfigError(
                f"--layers {layer} with --directions {','.join(choices.directions)}: inputs of the network are stored "
                f"forward alone; join layers of the network with them as --directions {FORWARD}"
            )
        for direction, pooling in itertools.product(directions, poolings):
            yield layer, direction, pooling


def _seed_matters(request: ProbeRequest) -> bool:
    """Whether another seed may give another answer: of the head, the shuffling, or the choice of stars."""
    return (
        request.train_size is not None
        or request.control == "shuffled_labels"
        or (
            "seed" not in request.params
            and make_probe(request.fitted_head(), **request.params).seed_matters()
        )
    )


def _features(choices: CellChoices) -> Iterator[_Features]:
    """Every choice of columns, those of one store beside each other."""
    axes = [_number("--pca", k, NONE) for k in choices.pca]
    for layer, direction, pooling in columns(choices):
        parts = tuple(
            FeaturePart(layer=part, pooling=pooling, direction=direction) for part in layer.split(JOIN)
        )
        segments = [chosen for text in choices.segments for chosen in _segments(text, pooling)]
        for chosen, pca in itertools.product(dict.fromkeys(segments), axes):
            yield _Features(parts=parts, segments=chosen, pca=pca)


def _segments(text: int | str, pooling: str) -> Iterator[tuple[int, ...] | None]:
    """The choices of segments that one word of --segments stands for; None is all of them."""
    if text == ALL:
        yield None
    elif text in (EACH, ALL_BUT_EACH):
        number = n_segments(pooling)
        if number is None:
            raise ConfigError(
                f"--segments {text}: pooling {pooling!r} is not cut into wavelength segments; use seg_mean_K8, or say "
                "--segments all"
            )
        every = range(number)
        if text == EACH:
            yield from ((segment,) for segment in every)
        elif len(every) > 1:
            yield from (tuple(other for other in every if other != segment) for segment in every)
    else:
        try:
            yield tuple(sorted({int(number) for number in str(text).split(JOIN)}))
        except ValueError:
            raise ConfigError(
                f"--segments {text!r}: expected all, each, or numbers such as 0,3,7 or 0+1,2 ('+' joins), "
                "or all-but-each"
            ) from None


def train_size(value: int | str) -> int | None:
    """A training size as it may be given; None for all stars, ConfigError for what is no number."""
    return _number("--train-sizes", value, ALL)


def _number(flag: str, value: int | str, no_number: str) -> int | None:
    """A number, or None for the word that stands for no choice."""
    if value == no_number:
        return None
    if isinstance(value, str) and not value.isdecimal():
        raise ConfigError(f"{flag} {value!r}: expected numbers or {no_number!r}")
    return int(value)


def _mixed(mix: str, head: str, parts: Sequence[FeaturePart]) -> dict[str, int]:
    """The parameter with which a head mixes layers, if it is to."""
    if mix == NONE:
        return {}
    if MIXED_LAYERS not in head_parameters(head):
        able = [name for name in HEADS if MIXED_LAYERS in head_parameters(name)]
        raise ConfigError(
            f"--mix softmax: {head} learns no weights of layers; heads that do: {', '.join(able) or 'none'}"
        )
    if len(parts) < 2:
        raise ConfigError(
            f"--mix softmax: {parts[0].layer} is one layer; join those to be mixed with '+', as in "
            "--layers enc_last+enc_pre_latent"
        )
    return {MIXED_LAYERS: len(parts)}


def _settings(head: str, heads: Sequence[str], params: Sequence[str]) -> list[dict[str, Any]]:
    """The parameters of one head among `name=value` and `head.name=value`; a name given twice makes two choices.

    A grid may hold parameters of heads that are not fitted this time; they are checked and left out.
    """
    known = head_parameters(head)
    values: dict[str, list[Any]] = {}
    for owner, name, value in map(_assignment, params):
        if owner is not None and owner not in {*HEADS, *heads}:
            raise UnknownName("head in --params", owner, HEADS)
        if owner not in (None, head):
            _check_parameter(owner, name)
            continue
        if name in known:
            values.setdefault(name, []).append(value)
        elif owner == head or not any(name in head_parameters(other) for other in heads):
            _check_parameter(head, name)
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def _check_parameter(head: str, name: str) -> None:
    known = head_parameters(head)
    if name not in known:
        raise UnknownName(f"parameter of {head}", name, known)


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
