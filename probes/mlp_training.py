"""The training loop of a stack of networks: epochs, val scores, and going on from a state on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cache.progress import Told, untold

from .base import Array
from .learning_curve import LearningCurve
from .mlp_adamw import make_optimiser
from .mlp_checkpoint import Checkpoint, TrainingState
from .mlp_dropout import make_masks
from .mlp_member import Member
from .mlp_network import Stack
from .mlp_order import Visits
from .mlp_step import Step, runner_of


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Scaled features X (n, d), X_val (n_val, d) and labels y (K n, t), member by member; float32 on the device."""

    X: Tensor
    y: Tensor
    X_val: Tensor | None
    visits: Visits


def train(
    members: Sequence[Member],
    stack: Stack,
    data: TrainingData,
    *,
    batch_size: int,
    checkpoint: Checkpoint | None = None,
    told: Told = untold,
) -> None:
    """Train until every member has stopped; each keeps its curve and `best_values`, or says why it failed.

    A member that has stopped is moved on with the others and not looked at. A checkpoint takes one member. `told` is
    called after every epoch.
    """
    training = _Training(members, stack, data, batch_size=batch_size)
    first = 0
    if checkpoint is not None:
        state = checkpoint.read()
        first = 0 if state is None else training.restore(state)
    n_epochs = max(member.recipe.max_epochs for member in members)
    for epoch in range(first, n_epochs):
        losses = training.one_epoch(epoch)
        y_hat = None if data.X_val is None else stack.predict(data.X_val).double().cpu().numpy()
        for k, member in enumerate(members):
            if member.running:
                member.end_epoch(
                    epoch,
                    train_loss=losses[k],
                    y_hat=None if y_hat is None else y_hat[k],
                    values=stack.values[k],
                )
        told(epoch + 1, n_epochs, "epochs")
        if not any(member.running for member in members):
            break
        if checkpoint is not None and checkpoint.due():
            checkpoint.write(training.state(epoch + 1))
    if checkpoint is not None:
        checkpoint.remove()


class _Training:
    """A stack, its data, and the steps that move it."""

    def __init__(
        self, members: Sequence[Member], stack: Stack, data: TrainingData, *, batch_size: int
    ) -> None:
        self._members, self._stack, self._data = members, stack, data
        self._batch_size = batch_size
        recipes = [member.recipe for member in members]
        device = data.X.device
        self._squared = torch.zeros(len(members), data.y.shape[1], device=device)
        self._optimiser = make_optimiser(stack, recipes)
        self._dropout = any(recipe.dropout > 0 for recipe in recipes)
        self._masks = make_masks([r.seed for r in recipes], [r.dropout for r in recipes], device)
        n = data.visits.n_visited
        self._steps = {size: self._step(size) for size in {min(batch_size, n), n % batch_size} if size}

    def _step(self, n_rows: int) -> tuple[Step, Callable[[], None]]:
        step = Step(
            self._stack,
            self._data.X,
            self._data.y,
            n_rows=n_rows,
            optimiser=self._optimiser,
            squared=self._squared,
            dropout=self._dropout,
        )
        return step, runner_of(step, self._stack)

    def one_epoch(self, epoch: int) -> Array:
        """One pass over the rows of the epoch; mean squared residual of each member and label, (K, t)."""
        rows = torch.stack([self._data.visits.rows(epoch, member.order) for member in self._members])
        batches = torch.split(rows.to(self._data.X.device), self._batch_size, dim=1)
        self._optimiser.start_epoch([member.plateau.rate for member in self._members], len(batches))
        self._masks.start_epoch()
        self._squared.zero_()
        for batch in batches:
            step, run = self._steps[batch.shape[1]]
            step.rows.copy_(batch)
            self._optimiser.next()
            if self._dropout:
                self._masks.fill(step.masks)
            run()
        losses: Array = self._squared.double().cpu().numpy() / rows.shape[1]
        return losses

    def state(self, n_epochs: int) -> TrainingState:
        """Everything that the rest of the training depends on, after n_epochs."""
        (member,) = self._members
        plateau = member.plateau
        tensors = {
            "values": self._stack.values,
            "means": self._stack.means,
            "squares": self._stack.squares,
            "order": member.order.get_state(),
            "plateau": torch.tensor([plateau.rate, plateau.best, plateau.n_bad], dtype=torch.float64),
            **({} if member.best_values is None else {"best_values": member.best_values}),
            **{f"curve.{name}": torch.from_numpy(v) for name, v in member.curve.state().items()},
        }
        numbers = {"n_epochs": n_epochs, "n_steps": self._stack.n_steps, "masks": self._masks.state()}
        return TrainingState({name: value.cpu().contiguous() for name, value in tensors.items()}, numbers)

    def restore(self, state: TrainingState) -> int:
        """Go on from a state; returns the next epoch."""
        (member,) = self._members
        tensors = dict(state.tensors)
        for name in ("values", "means", "squares"):
            getattr(self._stack, name).copy_(tensors.pop(name))
        member.order.set_state(tensors.pop("order"))
        member.plateau.rate, member.plateau.best, n_bad = tensors.pop("plateau").tolist()
        member.plateau.n_bad = int(n_bad)
        if "best_values" in tensors:
            member.best_values = tensors.pop("best_values").to(self._stack.values.device)
        member.curve = LearningCurve.from_state(
            {name.removeprefix("curve."): np.asarray(tensor.numpy()) for name, tensor in tensors.items()}
        )
        self._stack.n_steps = state.numbers["n_steps"]
        self._masks.restore(state.numbers["masks"])
        return int(state.numbers["n_epochs"])
