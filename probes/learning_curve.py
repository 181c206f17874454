"""What happened epoch by epoch while a head was trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from .base import Array
from .metrics import mae, r2

COLUMNS = ("epoch", "train_loss", "train_rmse", "val_loss", "val_rmse", "val_mae", "val_r2", "lr")
"""The columns of the document's table of training progress (its section 6.3), and the learning rate."""


@dataclass
class LearningCurve:
    """Curves by epoch; losses are mean squared residuals in the label's unit squared, the rest in its unit."""

    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    mean_val_r2: list[float] = field(default_factory=list)
    """Mean over labels of the val R2: what early stopping and learning rate go by."""
    best: int = 0
    """First epoch with the highest `mean_val_r2`."""

    def add(
        self, epoch: int, rate: float, train_loss: Array, *, y: Array | None, y_hat: Array | None
    ) -> None:
        """Append one epoch; train_loss (t,), y and y_hat (n, t) of val; without val its columns stay empty."""
        row: dict[str, Any] = {"epoch": epoch, "lr": rate, "train_loss": train_loss}
        row["train_rmse"] = np.sqrt(train_loss)
        if y is not None and y_hat is not None:
            pairs = list(zip(y.T, y_hat.T, strict=True))
            row["val_loss"] = np.mean((y_hat - y) ** 2, axis=0)
            row["val_rmse"] = np.sqrt(row["val_loss"])
            row["val_mae"] = np.array([mae(*pair) for pair in pairs])
            row["val_r2"] = np.array([r2(*pair) for pair in pairs])
            self.mean_val_r2.append(float(np.mean(row["val_r2"])))
            self.best = int(np.argmax(self.mean_val_r2))
        for name, value in row.items():
            self.columns[name].append(value)

    def as_arrays(self, *, single_label: bool) -> dict[str, Array]:
        """`history_*` arrays: (epochs,) for epoch, lr and a single label, (epochs, t) otherwise."""
        arrays = {f"history_{name}": np.array(values) for name, values in self.columns.items() if values}
        return {name: a[:, 0] if a.ndim == 2 and single_label else a for name, a in arrays.items()}

    def state(self) -> dict[str, Array]:
        """What was added so far, by column; `from_state` makes the same curve of it."""
        columns = {name: np.array(values) for name, values in self.columns.items() if values}
        return {**columns, "mean_val_r2": np.array(self.mean_val_r2, dtype=np.float64)}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Self:
        """The curve of which `state` was taken."""
        curve = cls()
        for name in curve.columns:
            curve.columns[name] = list(state.get(name, ()))
        curve.mean_val_r2 = state["mean_val_r2"].tolist()
        curve.best = int(np.argmax(curve.mean_val_r2)) if curve.mean_val_r2 else 0
        return curve
