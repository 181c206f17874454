"""Which rows an epoch of training visits, and in which order."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .base import Array


class Visits(Protocol):
    """The rows of each epoch, `n_visited` of them."""

    n_visited: int

    def rows(self, epoch: int, generator: torch.Generator) -> Tensor:
        """The rows of this epoch, (n_visited,) int64 on the CPU, in random order."""


class EveryRow:
    """All rows in every epoch."""

    def __init__(self, n_rows: int) -> None:
        """There are n_rows rows."""
        self.n_visited = n_rows

    def rows(self, epoch: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002  # the same rows in every epoch
        """See `Visits`."""
        return torch.randperm(self.n_visited, generator=generator)


class OneRowPerStar:
    """In epoch e a star with m rows (its noise draws) contributes its row number e mod m, in the order of the rows."""

    def __init__(self, stars: Array) -> None:
        """`stars` (n,) says whose row each is."""
        _, star, counts = np.unique(stars, return_inverse=True, return_counts=True)
        self.n_visited = len(counts)
        self._counts = counts
        self._by_star = np.argsort(star, kind="stable")
        self._first = np.cumsum(counts) - counts

    def rows(self, epoch: int, generator: torch.Generator) -> Tensor:
        """See `Visits`."""
        turn = torch.from_numpy(self._by_star[self._first + epoch % self._counts])
        return turn[torch.randperm(self.n_visited, generator=generator)]
