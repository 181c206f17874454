"""What a perceptron is trained on: features and labels scaled on train, in float32 on the device."""

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .base import Array, CheckedSample
from .scaling import Scaling, column_scaling, slabs


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features scaled on train, float32 on the device: X (n, d), X_val (n_val, d) or None."""

    scaling: Scaling
    X: Tensor
    X_val: Tensor | None

    @classmethod
    def of(cls, sample: CheckedSample, device: torch.device) -> Self:
        """The features of a sample."""
        scaling = column_scaling(sample.X)
        X_val = None if sample.X_val is None else scaled(scaling, sample.X_val, device)
        return cls(scaling=scaling, X=scaled(scaling, sample.X, device), X_val=X_val)


def label_scaling(Y: Array, how: str) -> Scaling:
    """The scaling of labels Y (n, t) that `how` means: `standard`, or `none`, which changes nothing."""
    if how == "standard":
        return column_scaling(Y)
    ones = np.ones(Y.shape[1])
    return Scaling(mean=0 * ones, scale=ones, constant=np.zeros(Y.shape[1], dtype=bool))


def scaled(scaling: Scaling, values: Array, device: torch.device) -> Tensor:
    """Scaled in float64, kept in float32 on the device; a slab of rows at a time."""
    answer = np.empty(values.shape, dtype=np.float32)
    for rows in slabs(values):
        answer[rows] = scaling.apply(values[rows])
    return torch.from_numpy(answer).to(device)


def unscaled(scaling: Scaling, y: Tensor) -> Array:
    """Scaled labels (n, t) back in their unit, float64."""
    return y.double().cpu().numpy() * scaling.scale + scaling.mean


def data_digest(sample: CheckedSample) -> str:
    """sha256 over shapes, types and bytes of everything a fit sees."""
    digest = hashlib.sha256()
    for name, values in vars(sample).items():
        if values is None:
            continue
        digest.update(f"{name} {values.shape} {values.dtype}".encode())
        for rows in slabs(values):
            digest.update(np.ascontiguousarray(values[rows]).data)
    return digest.hexdigest()
