"""The heads by name; their libraries are imported when a head is made, not before."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cache.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn

LINEAR_AT_ONCE = 512
"""Linear fits of one matrix cost little more than the first of them."""


@dataclass(frozen=True, kw_only=True)
class HeadEntry:
    """Where a head lives; `version` is raised by hand when the same settings come to mean another fit."""

    module: str
    estimator: str
    version: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What this name fixes differently from the estimator's own defaults."""
    n_hidden: int | None = None
    """Number of hidden layers that the name promises."""
    fixed: str = ""
    """A parameter with which the head chooses nothing on val, where it can."""
    at_once: int = 8
    """How many fits of a sweep are made together at most, before their records are written: a kill loses these."""


HEADS: Mapping[str, HeadEntry] = MappingProxyType(
    {
        "ols": HeadEntry(
            module="linear",
            estimator="OLS",
            at_once=LINEAR_AT_ONCE,
        ),
        "ridge": HeadEntry(
            module="ridge",
            estimator="Ridge",
            fixed="alpha=0.001",
            at_once=LINEAR_AT_ONCE,
        ),
        "lightgbm": HeadEntry(
            module="boosting",
            estimator="LightGBM",
            fixed="early_stopping=null",
            version=2,  # bins no longer depend on the seed
        ),
        "mlp_1": HeadEntry(
            module="mlp",
            estimator="MLP",
            version=2,  # dropout masks come from another stream
            settings={"hidden": (256,)},
            n_hidden=1,
            fixed="selection=fixed",
        ),
        "mlp_2": HeadEntry(
            module="mlp",
            estimator="MLP",
            version=2,
            settings={"hidden": (256, 64)},
            n_hidden=2,
            fixed="selection=fixed",
        ),
    }
)
"""The probes. `HEAD=all` means these."""

BASELINES: Mapping[str, HeadEntry] = MappingProxyType(
    {
        "mean": HeadEntry(
            module="linear",
            estimator="Mean",
            at_once=LINEAR_AT_ONCE,
        )
    }
)
"""Made like heads, but used as controls only."""

DISTILLED: Mapping[str, HeadEntry] = MappingProxyType(
    {
        "student": HeadEntry(
            module="student",
            estimator="Student",
            version=1,  # raised also when its network or its probe comes to mean another fit
        )
    }
)
"""Fitted to labels and latents, so that a verb of its own fits them."""


def head_entry(head: str) -> HeadEntry:
    """The entry of a head, baseline or student; UnknownName lists the known ones."""
    known = {**HEADS, **BASELINES, **DISTILLED}
    if head not in known:
        raise UnknownName("head", head, known)
    return known[head]


def make_probe(head: str, **params: Any) -> "Head":
    """A fresh estimator; parameters not given are those of REFERENCE 5.

    One number for `hidden` is one layer. Raises UnknownName for an unknown head or parameter and ConfigError for a
    value out of range.
    """
    entry = head_entry(head)
    estimator = _estimator(entry)
    known = parameter_names(estimator)
    for name in params:
        if name not in known:
            raise UnknownName(f"parameter of {head}", name, known)
    if type(params.get("hidden")) is int:
        params["hidden"] = (params["hidden"],)
    made: Head = estimator(**{**entry.settings, **params})
    made.check_settings()
    hidden = made.get_params().get("hidden")
    if entry.n_hidden is not None and len(hidden) != entry.n_hidden:
        raise ConfigError(f"{head} has {entry.n_hidden} hidden layers; hidden is {hidden!r}")
    return made


def head_parameters(head: str) -> list[str]:
    """The parameters that a head takes, by its name; raises UnknownName for an unknown head."""
    return parameter_names(_estimator(head_entry(head)))


def _estimator(entry: HeadEntry) -> Any:
    return getattr(importlib.import_module(f".{entry.module}", __package__), entry.estimator)


def parameter_names(estimator: type) -> list[str]:
    """The parameters that an estimator takes, in order."""
    initialiser = inspect.signature(estimator).parameters
    return [name for name, p in initialiser.items() if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}]
