"""The network of a multilayer perceptron, and the weights of several as rows of one matrix."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .base import ROWS_AT_ONCE

ALIGNMENT = 16
"""Floats between starts of parameters, 64 bytes: the last bits of a matrix product may depend on alignment."""


class MixedLayers(nn.Module):
    """Learned softmax mean of equally wide blocks, (B, n_blocks D) -> (B, D); it starts as the plain mean.

    With one block per encoder layer this is the layer mixing of SUPERB (Yang et al. 2021).
    """

    def __init__(self, n_blocks: int) -> None:
        """Equal weights for `n_blocks` blocks."""
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Mix x (B, n_blocks D)."""
        return mixed(x, torch.softmax(self.logits, dim=-1))


def make_network(
    n_features: int,
    n_labels: int,
    *,
    hidden: Sequence[int] = (256,),
    dropout: float = 0.1,
    mixed_layers: int = 1,
) -> nn.Sequential:
    """Linear, GELU, Dropout for each hidden size, then Linear: (B, n_features) -> (B, n_labels).

    384 features, one hidden layer of 256 and one label have 98,817 parameters. With mixed_layers > 1 the features
    are that many blocks side by side, mixed into one by `MixedLayers` first.
    """
    modules: list[nn.Module] = [MixedLayers(mixed_layers)] if mixed_layers > 1 else []
    width = n_features // mixed_layers
    for size in hidden:
        modules += [nn.Linear(width, size), nn.GELU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*modules, nn.Linear(width, n_labels))


@dataclass(frozen=True)
class Parameters:
    """Views of the parameters of K networks; each has a leading axis of K where K > 1, and none for one network.

    `weights` (out, in) and `biases` (out,) of the linear layers, `logits` (n_blocks,) of the mixing, if any.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    logits: Tensor | None


class Stack:
    """Weights, gradients and AdamW's moments of K networks of one shape, each (K, P), float32 on one device.

    P counts the parameters of one network and the gaps between them, which stay zero.
    """

    def __init__(self, networks: Sequence[nn.Sequential], device: torch.device) -> None:
        """Take over the weights of the networks, which themselves are left alone."""
        self.shapes = {name: p.shape for name, p in networks[0].named_parameters()}
        sizes = [math.ceil(shape.numel() / ALIGNMENT) * ALIGNMENT for shape in self.shapes.values()]
        self._starts = [0, *itertools.accumulate(sizes)]
        self.values, self.gradients, self.means, self.squares = (
            torch.zeros(len(networks), self._starts[-1], device=device) for _ in range(4)
        )
        for k, network in enumerate(networks):
            for name, view in self._views(self.values[k : k + 1]).items():
                view.copy_(network.get_parameter(name).detach())
        self.n_steps = 0

    def __len__(self) -> int:
        """K, the number of networks."""
        return len(self.values)

    def state_dict(self, values: Tensor) -> dict[str, Tensor]:
        """Copies of one network's parameters by name, on the CPU, from its row of `values` (P,)."""
        return {name: view.detach().cpu().clone() for name, view in self._views(values[None]).items()}

    def parameters(self, matrix: Tensor) -> Parameters:
        """Views into `values` or `gradients` (K, P)."""
        views = self._views(matrix)
        return Parameters(
            weights=[view for name, view in views.items() if name.endswith("weight")],
            biases=[view for name, view in views.items() if name.endswith("bias")],
            logits=next((view for name, view in views.items() if name.endswith("logits")), None),
        )

    def predict(self, X: Tensor) -> Tensor:
        """What each network says to X (n, d), without dropout: (K, n, t)."""
        parameters = self.parameters(self.values)
        parts = [_forward(parameters, rows) for rows in torch.split(X, ROWS_AT_ONCE)]
        return torch.cat(parts, dim=-2).reshape(len(self), len(X), -1)

    def _views(self, matrix: Tensor) -> dict[str, Tensor]:
        """Views of (K, P) by the parameter's name; (P's part,) alone where there is one row."""
        rows = len(matrix)
        return {
            name: matrix[:, start : start + shape.numel()].view(*([rows] if rows > 1 else []), *shape)
            for (name, shape), start in zip(self.shapes.items(), self._starts, strict=False)
        }


def mixed(x: Tensor, shares: Tensor) -> Tensor:
    """The weighted sum of blocks of x (..., B, n_blocks D) with `shares` (..., n_blocks): (..., B, D)."""
    first, *others = x.chunk(shares.shape[-1], dim=-1)
    total = first * shares[..., 0, None, None]
    for k, block in enumerate(others, start=1):
        total = torch.addcmul(total, block, shares[..., k, None, None])
    return total


def affine(bias: Tensor, a: Tensor, weight: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product a W' + b for a (B, in), weight (out, in), bias (out,), or for K of each: (B, out) or (K, B, out)."""
    if a.ndim == 2:
        return torch.addmm(bias, a, weight.mT, out=out)
    return torch.baddbmm(bias.unsqueeze(-2), a, weight.mT, out=out)


def _forward(parameters: Parameters, X: Tensor) -> Tensor:
    stacked = parameters.weights[0].ndim == 3
    a = X.expand(len(parameters.weights[0]), *X.shape) if stacked else X
    if parameters.logits is not None:
        a = mixed(a, torch.softmax(parameters.logits, dim=-1))
    last = len(parameters.weights) - 1
    for k, (weight, bias) in enumerate(zip(parameters.weights, parameters.biases, strict=True)):
        a = affine(bias, a, weight)
        a = a if k == last else nn.functional.gelu(a)
    return a
