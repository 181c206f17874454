"""One optimisation step of a stack of networks, written out by hand.

Autograd computes the same numbers, but allocates every result anew and spends much of a small batch on bookkeeping.
Here all results have their place, gradients lie in one matrix, no gradient of the features is formed. The plain twin is
in tests/test_probes_mlp_step.py.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .mlp_adamw import Optimiser
from .mlp_network import Stack, affine, mixed

WARM_UPS = 3
"""Runs before a capture, in which the libraries of the GPU choose and allocate."""


class Step:
    """Forward, mean squared error, backward, clipping and AdamW for K networks on K batches of B rows.

    Inputs, to be filled before each run: `rows` (K, B) of X; `masks`, one (K, B, width) for each hidden layer, holding
    0 or 1 / (1 - dropout), or empty without dropout. `squared` (K, t) adds up squared residuals over runs. Inputs,
    weights and results keep their places, so that a run can be captured as a CUDA graph.
    """

    def __init__(
        self,
        stack: Stack,
        X: Tensor,
        y: Tensor,
        *,
        n_rows: int,
        optimiser: Optimiser,
        squared: Tensor,
        dropout: bool,
    ) -> None:
        """Place for batches of n_rows from X (n, d) and y (K n, t), member by member; squared (K, t)."""
        self._X, self._y, self._optimiser = X, y, optimiser
        self._values, self._gradients = stack.parameters(stack.values), stack.parameters(stack.gradients)
        n_stacked = len(stack)

        def place(width: int) -> Tensor:
            shape = (n_stacked, n_rows, width) if n_stacked > 1 else (n_rows, width)
            return torch.zeros(shape, device=X.device)

        widths = [weight.shape[-2] for weight in self._values.weights]
        hidden = widths[:-1]
        self.rows = torch.zeros(n_stacked, n_rows, dtype=torch.int64, device=X.device)
        self.masks = [torch.ones(n_stacked, n_rows, w, device=X.device) for w in hidden] if dropout else []
        self._masks = [mask if n_stacked > 1 else mask[0] for mask in self.masks]
        self._squared = squared if n_stacked > 1 else squared[0]
        self._first_rows = torch.arange(n_stacked, device=X.device)[:, None] * len(X)
        self._gathered, self._truth = place(X.shape[1]), place(y.shape[1])
        self._inputs = [self._gathered, *map(place, hidden)]
        self._sums = [place(width) for width in widths]  # of each linear layer, before its GELU
        self._deltas = [place(width) for width in widths]  # gradient of the loss by `_sums`
        self._to_mean = 2.0 / (n_rows * y.shape[1])

    def run(self) -> None:
        """Move every network by one step."""
        self._gather()
        self._forward()
        self._backward()
        self._optimiser.update()

    def _gather(self) -> None:
        torch.index_select(self._X, 0, self.rows.view(-1), out=self._gathered.view(-1, self._X.shape[1]))
        of_members = (self.rows + self._first_rows).view(-1)
        torch.index_select(self._y, 0, of_members, out=self._truth.view(-1, self._y.shape[1]))

    def _forward(self) -> None:
        if self._values.logits is not None:
            self._shares = torch.softmax(self._values.logits, dim=-1)
            self._inputs[0] = mixed(self._gathered, self._shares)
        last = len(self._sums) - 1
        for k, (weight, bias) in enumerate(zip(self._values.weights, self._values.biases, strict=True)):
            affine(bias, self._inputs[k], weight, out=self._sums[k])
            if k < last:
                torch.ops.aten.gelu.out(self._sums[k], out=self._inputs[k + 1])
                if self._masks:
                    self._inputs[k + 1].mul_(self._masks[k])

    def _backward(self) -> None:
        residual = torch.sub(self._sums[-1], self._truth, out=self._deltas[-1])
        self._squared.add_(residual.square().sum(dim=-2))
        residual.mul_(self._to_mean)
        for k in reversed(range(len(self._deltas))):
            delta = self._deltas[k]
            torch.matmul(delta.mT, self._inputs[k], out=self._gradients.weights[k])
            torch.sum(delta, dim=-2, out=self._gradients.biases[k])
            if k > 0:
                # done with as input
                passed = torch.matmul(delta, self._values.weights[k], out=self._inputs[k])
                if self._masks:
                    passed.mul_(self._masks[k - 1])
                torch.ops.aten.gelu_backward.grad_input(
                    passed, self._sums[k - 1], grad_input=self._deltas[k - 1]
                )
        if self._gradients.logits is not None:
            self._mixing_gradient(self._gradients.logits)

    def _mixing_gradient(self, out: Tensor) -> None:
        """Through the softmax: shares * (g - sum of shares * g), where g is the gradient by the shares."""
        by_input = torch.matmul(self._deltas[0], self._values.weights[0])
        blocks = self._gathered.chunk(self._shares.shape[-1], dim=-1)
        by_share = torch.stack([(by_input * block).sum(dim=(-2, -1)) for block in blocks], dim=-1)
        torch.mul(self._shares, by_share - (self._shares * by_share).sum(dim=-1, keepdim=True), out=out)


def runner_of(step: Step, stack: Stack) -> Callable[[], None]:
    """What runs the step: on a GPU the replay of its captured graph, elsewhere the step itself."""
    return _captured(step, stack) if stack.values.device.type == "cuda" else step.run


def _captured(step: Step, stack: Stack) -> Callable[[], None]:
    """Capture one run as a CUDA graph: some forty small kernels cost more to launch than to run."""
    state = (stack.values, stack.means, stack.squares)
    before = [tensor.clone() for tensor in state]
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it so
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            step.run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step.run()
    for tensor, old in zip(state, before, strict=True):
        tensor.copy_(old)
    replay: Callable[[], None] = graph.replay
    return replay
