"""Attention pooling over wavelength: learned weights where segment means have fixed ones."""

import math
import re

import torch
from torch import Tensor, nn

from ..pooling import plain_edges

OUTSIDE = -4.0
"""Score of a cell outside the segment that a head starts on: exp(-4) of one inside."""


def attention_heads(pooling: str) -> int | None:
    """K of `attention_K{K}`, or None for another pooling."""
    found = re.fullmatch(r"attention_K([1-9]\d*)", pooling, flags=re.ASCII)
    return None if found is None else int(found[1])


class AttentionPooling(nn.Module):
    """K weighted means over cells, the weights learned: (B, C, L') -> (B, K C), head by head.

    Head k weighs cell l by softmax_l(q_k . h_l / sqrt(C) + b_kl). Queries q start at zero and the bias b so that head k
    starts close to the mean of segment k of `seg_mean_K{K}`, whose order of features it has.
    """

    def __init__(self, n_channels: int, n_cells: int, n_heads: int) -> None:
        """Raises InputError for more heads than cells; nothing is random."""
        super().__init__()
        edges = plain_edges(n_cells, n_heads)
        bias = torch.full((n_heads, n_cells), OUTSIDE)
        for head in range(n_heads):
            bias[head, edges[head] : edges[head + 1]] = 0.0
        self.query = nn.Parameter(torch.zeros(n_heads, n_channels))
        self.bias = nn.Parameter(bias)

    def weights(self, feature_map: Tensor) -> Tensor:
        """The weights of each head, (B, K, L'), which add up to 1."""
        scores = torch.einsum("kc,bcl->bkl", self.query, feature_map)
        return torch.softmax(scores / math.sqrt(feature_map.shape[1]) + self.bias, dim=-1)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Pool (B, C, L')."""
        return torch.einsum("bkl,bcl->bkc", self.weights(feature_map), feature_map).flatten(1)
