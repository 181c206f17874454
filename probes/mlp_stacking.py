"""Perceptrons fitted together: rows scaled once, and on a GPU one stack of networks for one pass over the rows."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch

from cache.errors import ProbeError
from cache.progress import Told, untold

from .base import CheckedSample
from .mlp_features import Features, label_scaling, scaled
from .mlp_member import Member, Recipe
from .mlp_network import Stack
from .mlp_order import EveryRow, OneRowPerStar, Visits
from .mlp_training import TrainingData, train
from .together import Fit, TrainingSet, arguments_of

if TYPE_CHECKING:
    from .mlp import MLP  # which imports this module

STACKED = ("hidden", "batch_size", "mixed_layers", "augment", "threads")
"""Settings that heads must share to be trained as one stack; in the others each goes its own way."""
STACK_LIMIT = 64
"""Networks in one stack; by then a GPU is busy, and more would only take memory."""


def fit_in_stacks(fits: Sequence[Fit], data: TrainingSet) -> list[str | None]:
    """Fit heads that are all MLP, in place; for each, None or why not (see `probes.together`)."""
    heads: list[MLP] = [fit.head for fit in fits]  # fit_together sorts by class
    failures: list[str | None] = [None] * len(fits)
    for stacks in _stacks_by_features(fits, heads):
        features = None
        for stack in stacks:
            samples: dict[int, CheckedSample] = {}
            for k in stack:
                try:
                    samples[k] = heads[k].prepare(**arguments_of(fits[k], data))
                except ProbeError as error:
                    failures[k] = str(error)
            if not samples:
                continue
            features = features or Features.of(samples[min(samples)], heads[stack[0]].torch_device())
            found = fit_stack([heads[k] for k in samples], list(samples.values()), features, told=data.told)
            failures = [found.pop(0) if k in samples else old for k, old in enumerate(failures)]
    return failures


def fit_stack(
    heads: "Sequence[MLP]", samples: Sequence[CheckedSample], features: Features, *, told: Told = untold
) -> list[str | None]:
    """Train heads that are alike in `STACKED`, the features and the number of labels as one; None or why not."""
    head, sample = heads[0], samples[0]
    device = features.X.device
    members = [_member(head, sample) for head, sample in zip(heads, samples, strict=True)]
    labels = [scaled(m.y_scaling, s.Y, device) for m, s in zip(members, samples, strict=True)]
    stack = Stack([each.seeded_network() for each in heads], device)
    data = TrainingData(
        X=features.X,
        y=torch.cat(labels),
        X_val=features.X_val,
        visits=_visits(sample, head.augment),
    )
    with torch_threads(head.threads):
        checkpoint = head.checkpoint(sample) if len(heads) == 1 else None
        train(members, stack, data, batch_size=head.batch_size, checkpoint=checkpoint, told=told)
    for each, member in zip(heads, members, strict=True):
        if member.failure is None:
            each.take_over(member, stack, features.scaling)
    return [member.failure for member in members]


def _visits(sample: CheckedSample, augment: str) -> Visits:
    if augment == "none":
        return EveryRow(len(sample.X))
    assert sample.groups is not None  # checked by `prepare`
    return OneRowPerStar(sample.groups)


def _member(head: "MLP", sample: CheckedSample) -> Member:
    recipe = Recipe(**{field.name: getattr(head, field.name) for field in fields(Recipe)})
    return Member(recipe, label_scaling(sample.Y, head.label_scaling), sample.Y_val)


def _stacks_by_features(fits: Sequence[Fit], heads: "Sequence[MLP]") -> list[list[list[int]]]:
    """Indices of fits: those with the same scaled features, and of them those that are trained as one stack."""
    groups: dict[Any, dict[Any, list[int]]] = {}
    for k, (fit, head) in enumerate(zip(fits, heads, strict=True)):
        device = head.torch_device()
        settings = head.settings()
        alike = (*(str(settings[name]) for name in STACKED), len(fit.columns))
        single = device.type == "cpu" or head.keeps_checkpoint()
        groups.setdefault((fit.n_rows, device), {}).setdefault(k if single else alike, []).append(k)
    return [
        [
            stack[first : first + STACK_LIMIT]
            for stack in stacks.values()
            for first in range(0, len(stack), STACK_LIMIT)
        ]
        for stacks in groups.values()
    ]


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use this many CPU threads, then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
