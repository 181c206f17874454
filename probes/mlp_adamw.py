"""Gradient clipping and AdamW for a stack of networks, each with its own learning rate and weight decay."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from .mlp_member import Recipe
from .mlp_network import Stack

BETAS = (0.9, 0.999)
"""Decay of AdamW's moments, torch's default."""
EPSILON = 1e-8
"""Added to AdamW's denominator, torch's default."""
CLIP_EPSILON = 1e-6
"""Added to the norm of the gradient when clipping, as torch.nn.utils.clip_grad_norm_ does."""


class Optimiser(Protocol):
    """What moves the weights of a stack by its gradients."""

    def start_epoch(self, learning_rates: Sequence[float], n_steps: int) -> None:
        """The next n_steps go at these rates, one for each network."""

    def next(self) -> None:
        """Get ready for one step."""

    def update(self) -> None:
        """Clip the gradient of each network to its norm, then AdamW with decoupled weight decay."""


def make_optimiser(stack: Stack, recipes: Sequence[Recipe]) -> Optimiser:
    """Torch's fused kernel for one network on the CPU, where it is fastest; else a form that takes all at once."""
    if len(stack) == 1 and stack.values.device.type == "cpu":
        return FusedAdamW(stack, recipes[0])
    return StackedAdamW(stack, recipes)


class FusedAdamW:
    """One network, by torch's fused kernel: one pass over weights, gradient and moments."""

    def __init__(self, stack: Stack, recipe: Recipe) -> None:
        """Nothing is moved yet."""
        self._stack, self._recipe = stack, recipe
        self._n_done = torch.zeros(())
        self._rate = recipe.learning_rate

    def start_epoch(self, learning_rates: Sequence[float], n_steps: int) -> None:
        """See `Optimiser`."""
        (self._rate,) = learning_rates
        self._n_done.fill_(self._stack.n_steps)
        self._stack.n_steps += n_steps

    def next(self) -> None:
        """Torch's kernel counts steps by itself."""

    def update(self) -> None:
        """See `Optimiser`."""
        stack = self._stack
        shrink = self._recipe.clip / (float(torch.linalg.vector_norm(stack.gradients)) + CLIP_EPSILON)
        if not shrink >= 1:  # a gradient that is not finite spreads, so that the loss tells
            stack.gradients.mul_(shrink)
        adamw(
            [stack.values],
            [stack.gradients],
            [stack.means],
            [stack.squares],
            [],
            [self._n_done],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self._rate,
            weight_decay=self._recipe.weight_decay,
            eps=EPSILON,
            maximize=False,
        )


class StackedAdamW:
    """Any number of networks; `update` reads rates from one place on the device, so it can be captured as a graph."""

    def __init__(self, stack: Stack, recipes: Sequence[Recipe]) -> None:
        """Nothing is moved yet."""
        device = stack.values.device
        self._stack = stack
        self._clip = torch.tensor([[recipe.clip] for recipe in recipes], device=device)
        self._decays = torch.tensor([recipe.weight_decay for recipe in recipes], dtype=torch.float64)
        self._rates = torch.zeros(3, len(stack), 1, device=device)
        self._scratch = torch.zeros_like(stack.values)
        self._ahead = iter(self._rates[:0])

    def start_epoch(self, learning_rates: Sequence[float], n_steps: int) -> None:
        """See `Optimiser`."""
        rates = torch.tensor(learning_rates, dtype=torch.float64)
        table = adamw_rates(rates, self._decays, n_done=self._stack.n_steps, n_steps=n_steps)
        self._ahead = iter(table.to(self._rates.device))
        self._stack.n_steps += n_steps

    def next(self) -> None:
        """See `Optimiser`."""
        self._rates.copy_(next(self._ahead))

    def update(self) -> None:
        """See `Optimiser`."""
        stack, (kept, size, epsilon) = self._stack, self._rates
        gradients = stack.gradients
        norm = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        gradients.mul_((self._clip / (norm + CLIP_EPSILON)).clamp_(max=1.0))
        stack.means.lerp_(gradients, 1 - BETAS[0])
        stack.squares.mul_(BETAS[1]).addcmul_(gradients, gradients, value=1 - BETAS[1])
        denominator = torch.sqrt(stack.squares, out=self._scratch).add_(epsilon)
        direction = torch.div(stack.means, denominator, out=self._scratch)
        stack.values.mul_(kept).addcmul_(direction, size, value=-1)


def adamw_rates(rates: Tensor, decays: Tensor, *, n_done: int, n_steps: int) -> Tensor:
    """What the next n_steps of AdamW multiply by, (n_steps, 3, K, 1) float32; rates, decays (K,) float64.

    With c1 = 1 - beta1^s and c2 = 1 - beta2^s at step s = n_done + 1, ...: 1 - rate decay for the weights,
    rate sqrt(c2) / c1 for the direction and epsilon sqrt(c2) for its denominator.
    """
    s = torch.arange(n_done + 1, n_done + n_steps + 1, dtype=torch.float64)[:, None]
    first, root = 1 - BETAS[0] ** s, torch.sqrt(1 - BETAS[1] ** s)
    kept = (1 - rates * decays).expand(n_steps, -1)
    columns = [kept, rates * root / first, (EPSILON * root).expand(-1, len(rates))]
    return torch.stack(columns, dim=1)[..., None].float()
