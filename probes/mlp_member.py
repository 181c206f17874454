"""What one network goes by while it is trained: its recipe, learning rate, learning curve and best epoch."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .base import Array
from .learning_curve import LearningCurve
from .scaling import Scaling

PLATEAU_THRESHOLD = 1e-4
"""Relative rise that counts as better, and ..."""
SMALLEST_CHANGE = 1e-8
"""... the smallest change of a learning rate: the defaults of torch's ReduceLROnPlateau."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings in which networks trained together may differ; see `MLP`."""

    dropout: float
    selection: str
    max_epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    plateau_factor: float
    plateau_patience: int
    clip: float
    seed: int


@dataclass
class Plateau:
    """Multiply the learning rate by `factor` after more than `patience` epochs in a row without a better score."""

    rate: float
    factor: float
    patience: int
    best: float = -np.inf
    n_bad: int = 0

    def step(self, score: float) -> None:
        """Take note of the score of one epoch; higher is better."""
        if score > self.best * (1 + PLATEAU_THRESHOLD):
            self.best, self.n_bad = score, 0
        else:
            self.n_bad += 1
        if self.n_bad > self.patience:
            lower = self.rate * self.factor
            self.rate = lower if self.rate - lower > SMALLEST_CHANGE else self.rate
            self.n_bad = 0


@dataclass
class Member:
    """One network of a stack; it stops by its own rule, whatever the others do."""

    recipe: Recipe
    y_scaling: Scaling
    Y_val: Array | None
    """(n, t) in the unit of the label; None without val."""
    curve: LearningCurve = field(default_factory=LearningCurve)
    best_values: Tensor | None = None
    """The weights (P,) to keep: those of the best epoch, or of the last."""
    failure: str | None = None
    running: bool = True
    plateau: Plateau = field(init=False)
    order: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Start at the recipe's learning rate and seed."""
        recipe = self.recipe
        self.plateau = Plateau(recipe.learning_rate, recipe.plateau_factor, recipe.plateau_patience)
        self.order = torch.Generator().manual_seed(recipe.seed)

    def end_epoch(self, epoch: int, *, train_loss: Array, y_hat: Array | None, values: Tensor) -> None:
        """Take note of an epoch: train_loss (t,) and y_hat (n, t) of val as the network sees them, scaled."""
        if not np.isfinite(train_loss).all():
            self.failure = (
                f"the training loss became {train_loss.tolist()}; lower learning_rate "
                f"({self.recipe.learning_rate:g}) or set label_scaling to 'standard'"
            )
            self.running = False
            return
        scaling = self.y_scaling
        y_hat = None if y_hat is None else y_hat * scaling.scale + scaling.mean
        self.curve.add(epoch, self.plateau.rate, train_loss * scaling.scale**2, y=self.Y_val, y_hat=y_hat)
        last = epoch + 1 == self.recipe.max_epochs
        if self.recipe.selection == "fixed":
            self.best_values = values.clone() if last else None
        else:
            if self.curve.best == epoch:
                self.best_values = values.clone()
            elif epoch - self.curve.best >= self.recipe.patience:
                last = True
            self.plateau.step(self.curve.mean_val_r2[-1])
        self.running = not last
