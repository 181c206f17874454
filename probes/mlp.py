"""Small multilayer perceptrons, trained by the recipe of the group's end-to-end system."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from cache.errors import ConfigError, Damaged, ProbeError, UnknownName

from .base import ROWS_AT_ONCE, Array, Head, check_numbers
from .gram import Scaling, column_scaling, slabs
from .learning_curve import LearningCurve

SCALING_FIELDS = tuple(Scaling.__dataclass_fields__)
CUT_SHORT_FLAG = "best epoch is the last one allowed"
CHOICES: dict[str, tuple[str, ...]] = {
    "selection": ("val_r2", "fixed"),
    "label_scaling": ("standard", "none"),
    "device": ("cpu", "cuda", "auto"),
}


def make_network(
    n_features: int, n_labels: int, *, hidden: Sequence[int] = (256,), dropout: float = 0.1
) -> nn.Sequential:
    """Linear, GELU, Dropout for each hidden size, then Linear: (B, n_features) -> (B, n_labels).

    384 features, one hidden layer of 256 and one label have 98,817 parameters.
    """
    modules: list[nn.Module] = []
    width = n_features
    for size in hidden:
        modules += [nn.Linear(width, size), nn.GELU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*modules, nn.Linear(width, n_labels))


class MLP(Head):
    """A network of `make_network` on features standardised on train.

    Defaults are the recipe of REFERENCE 5: MSE, AdamW, at most 100 epochs of batches of 256, early stopping and
    halving of the learning rate on val R2 (the mean over labels), gradient clipped to norm 0.5, best epoch
    restored. With `selection="fixed"` it trains `max_epochs` at one learning rate, keeps the last, and needs no
    val. `label_scaling="standard"` trains on labels of mean 0 and std 1, so that one learning rate and one clip
    suit kelvins and dex; the document trained on raw labels (`none`). The learning curve is in the label's units either
    way, its losses in their square. Equal seed, threads and torch version repeat bit for bit on CPU.
    """

    network_: nn.Sequential
    x_scaling_: Scaling
    y_scaling_: Scaling

    def __init__(
        self,
        hidden: Sequence[int] = (256,),
        *,
        dropout: float = 0.1,
        selection: str = "val_r2",
        max_epochs: int = 100,
        patience: int = 15,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        plateau_factor: float = 0.5,
        plateau_patience: int = 5,
        clip: float = 0.5,
        label_scaling: str = "standard",
        seed: int = 0,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        """Settings; `device` is cpu, cuda or auto (cuda where there is one).

        Batches of 256 are too small for a second CPU thread to pay, and on a shared machine it costs.
        """
        self.hidden = hidden
        self.dropout = dropout
        self.selection = selection
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.plateau_factor = plateau_factor
        self.plateau_patience = plateau_patience
        self.clip = clip
        self.label_scaling = label_scaling
        self.seed = seed
        self.device = device
        self.threads = threads

    def settings(self) -> dict[str, Any]:
        """Every setting, with device `auto` resolved."""
        return {**super().settings(), "device": self._device().type}

    def selection_rule(self) -> str:
        """`val_r2`, unless the number of epochs is fixed."""
        return self.selection

    def check_settings(self) -> None:
        """Refuse unknown names, sizes below 1, rates outside their range, and a GPU that is not there."""
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UnknownName(f"mlp {name}", getattr(self, name), known)
        words = {*CHOICES, "hidden"}
        check_numbers(
            {name: value for name, value in self.get_params(deep=False).items() if name not in words}
        )
        check_numbers({f"hidden[{k}]": size for k, size in enumerate(self.hidden)})
        counts = {"max_epochs", "patience", "batch_size", "plateau_patience", "threads"}
        wrong = [name for name in sorted(counts) if getattr(self, name) < 1]
        wrong += [name for name in ("learning_rate", "clip", "plateau_factor") if getattr(self, name) <= 0]
        wrong += ["plateau_factor"] if self.plateau_factor >= 1 else []
        wrong += ["weight_decay"] if self.weight_decay < 0 else []
        wrong += ["dropout"] if not 0 <= self.dropout < 1 else []
        wrong += ["hidden"] if not self.hidden or min(self.hidden) < 1 else []
        if wrong:
            told = ", ".join(f"{name} {getattr(self, name)!r}" for name in wrong)
            raise ConfigError(f"mlp: {told}: out of range")
        self._device()

    def _device(self) -> torch.device:
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise ConfigError("device 'cuda' was asked for and this machine offers none; say 'cpu' or 'auto'")
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")

    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        self.x_scaling_ = column_scaling(X)
        self.y_scaling_ = _label_scaling(Y, self.label_scaling)
        device = self._device()
        train = _Data(_scaled(self.x_scaling_, X, device), _scaled(self.y_scaling_, Y, device))
        val = None if X_val is None else _scaled(self.x_scaling_, X_val, device)
        with _quiet_seed(self.seed, device), _torch_threads(self.threads):
            network = make_network(
                self.n_features_in_, self.n_labels_, hidden=self.hidden, dropout=self.dropout
            ).to(device)
            curve = self._train(network, train, val, Y_val)
        self.network_ = network.cpu().eval()
        self.arrays_ = curve.as_arrays(single_label=self.single_label_)
        if self.selection == "val_r2":
            self.chosen_ = {"best_epoch": curve.best}
            if curve.best == self.max_epochs - 1:
                self.flags_ = [(CUT_SHORT_FLAG, None)]

    def _train(
        self, network: nn.Sequential, train: "_Data", val: Tensor | None, Y_val: Array | None
    ) -> LearningCurve:
        """Train in place, restore the best epoch where one is chosen, and return the learning curve."""
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, mode="max", factor=self.plateau_factor, patience=self.plateau_patience
        )
        order = torch.Generator().manual_seed(self.seed)
        curve = LearningCurve()
        best_state: dict[str, Tensor] = {}
        for epoch in range(self.max_epochs):
            rate = float(optimiser.param_groups[0]["lr"])
            train_loss = self._one_epoch(network, optimiser, train, order)
            y_hat = None if val is None else _unscaled(self.y_scaling_, _forward(network, val))
            curve.add(epoch, rate, train_loss, y=Y_val, y_hat=y_hat)
            if self.selection == "fixed":
                continue
            if curve.best == epoch:
                best_state = {name: value.clone() for name, value in network.state_dict().items()}
            elif epoch - curve.best >= self.patience:
                break
            plateau.step(curve.mean_val_r2[-1])
        if best_state:
            network.load_state_dict(best_state)
        return curve

    def _one_epoch(
        self,
        network: nn.Sequential,
        optimiser: torch.optim.Optimizer,
        train: "_Data",
        order: torch.Generator,
    ) -> Array:
        """One pass in random order; returns the mean squared residual per label (t,), in the label's unit."""
        network.train()
        rows = torch.randperm(len(train.X), generator=order).to(train.X.device)
        squared = torch.zeros(train.y.shape[1], device=train.X.device)
        for batch in torch.split(rows, self.batch_size):
            y = train.y[batch]
            y_hat = network(train.X[batch])
            loss = nn.functional.mse_loss(y_hat, y)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), self.clip)
            optimiser.step()
            squared += (y_hat.detach() - y).square().sum(dim=0)
        mean: Array = squared.double().cpu().numpy() / len(train.X) * self.y_scaling_.scale**2
        if not np.isfinite(mean).all():
            raise ProbeError(
                f"the training loss became {mean.tolist()}; lower learning_rate ({self.learning_rate:g}) "
                "or set label_scaling to 'standard'"
            )
        return mean

    def _predict(self, X: Array) -> Array:
        with _torch_threads(self.threads):
            scaled = [
                _forward(self.network_, _scaled(self.x_scaling_, X[rows], torch.device("cpu")))
                for rows in slabs(X)
            ]
        return _unscaled(self.y_scaling_, torch.cat(scaled))

    def to_files(self) -> dict[str, bytes]:
        """One safetensors file: weights `network.*`, and mean, scale and constancy of features and labels."""
        tensors = {f"network.{name}": value for name, value in self.network_.state_dict().items()}
        for side, scaling in (("x", self.x_scaling_), ("y", self.y_scaling_)):
            tensors |= {f"{side}_{name}": torch.from_numpy(value) for name, value in vars(scaling).items()}
        return {"weights.safetensors": safetensors.torch.save(tensors)}

    def from_files(self, files: Mapping[str, bytes]) -> None:
        """Read what `to_files` gave; Damaged when tensors are missing or of another shape."""
        network = make_network(self.n_features_in_, self.n_labels_, hidden=self.hidden, dropout=self.dropout)
        try:
            tensors = safetensors.torch.load(files["weights.safetensors"])
            scalings = {
                side: Scaling(**{name: tensors.pop(f"{side}_{name}").numpy() for name in SCALING_FIELDS})
                for side in ("x", "y")
            }
            network.load_state_dict({name.removeprefix("network."): t for name, t in tensors.items()})
        except (KeyError, RuntimeError, safetensors.SafetensorError) as error:
            raise Damaged(
                f"weights.safetensors does not fit the head: {error}; fit the head again"
            ) from error
        self.network_, self.x_scaling_, self.y_scaling_ = network.eval(), scalings["x"], scalings["y"]


@dataclass(frozen=True)
class _Data:
    """Scaled features (n, d) and labels (n, t), float32, on the device for the whole training."""

    X: Tensor
    y: Tensor


def _label_scaling(Y: Array, how: str) -> Scaling:
    if how == "standard":
        return column_scaling(Y)
    ones = np.ones(Y.shape[1])
    return Scaling(mean=0 * ones, scale=ones, constant=np.zeros(Y.shape[1], dtype=bool))


def _scaled(scaling: Scaling, values: Array, device: torch.device) -> Tensor:
    """Scaled in float64, kept in float32 on the device; a slab of rows at a time."""
    scaled = np.empty(values.shape, dtype=np.float32)
    for rows in slabs(values):
        scaled[rows] = scaling.apply(values[rows])
    return torch.from_numpy(scaled).to(device)


def _unscaled(scaling: Scaling, y: Tensor) -> Array:
    return y.double().cpu().numpy() * scaling.scale + scaling.mean


@torch.no_grad()
def _forward(network: nn.Sequential, X: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(rows) for rows in torch.split(X, ROWS_AT_ONCE)])


@contextlib.contextmanager
def _quiet_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, which initialisation and dropout use, and put them back afterwards."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
