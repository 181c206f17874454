"""Small multilayer perceptrons, trained by the recipe of the group's end-to-end system."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from cache.errors import ConfigError, ProbeError

from .base import ROWS_AT_ONCE, Array, CheckedSample, Head
from .learning_curve import LearningCurve
from .mlp_checkpoint import Checkpoint
from .mlp_dropout import Masks, make_masks
from .mlp_features import Features, data_digest, label_scaling, scaled, unscaled
from .mlp_member import Member
from .mlp_network import Stack, make_network
from .mlp_order import EveryRow, OneRowPerStar, Visits
from .mlp_settings import check_mlp_settings
from .mlp_stacking import fit_in_stacks, fit_stack, torch_threads
from .mlp_weights import read_weights, weights_files
from .scaling import Scaling, column_scaling, slabs
from .together import Fit, TrainingSet

__all__ = [
    "CUT_SHORT_FLAG",
    "MLP",
    "EveryRow",
    "LearningCurve",
    "Masks",
    "OneRowPerStar",
    "Scaling",
    "Visits",
    "column_scaling",
    "label_scaling",
    "make_masks",
    "make_network",
    "scaled",
    "torch_threads",
    "unscaled",
]
"""The head, and the parts of its training that end-to-end training shares with it."""

CUT_SHORT_FLAG = "best epoch is the last one allowed"


class MLP(Head):
    """A network of `make_network` on features standardised on train.

    Defaults are the recipe of REFERENCE 5: MSE, AdamW, at most 100 epochs of batches of 256, early stopping and
    halving of the learning rate on val R2 (the mean over labels), gradient clipped to norm 0.5, best epoch
    restored. With `selection="fixed"` it trains `max_epochs` at one learning rate, keeps the last, and needs no
    val. `label_scaling="standard"` trains on labels of mean 0 and std 1, so that one learning rate and one clip
    suit kelvins and dex; the document trained on raw labels (`none`). The learning curve is in the label's units either
    way, its losses in their square. Equal seed, threads and torch version repeat bit for bit on CPU.

    `augment="draw_per_epoch"`: with several rows (noise draws) of one star, given by groups, each epoch visits one row
    of each star, the next one each time; `none` visits all rows. `mixed_layers` > 1: the features are that many
    equally wide blocks (encoder layers) side by side, and a learned softmax over them makes one; the shares at the
    end are `arrays_["layer_weights"]`.
    """

    network_: nn.Sequential
    x_scaling_: Scaling
    y_scaling_: Scaling
    _checkpoint: tuple[Path, float] | None = None

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
        augment: str = "none",
        mixed_layers: int = 1,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        """Settings; `device` is cpu, cuda or auto (cuda where there is one).

        A second CPU thread makes a fit 1.4 times faster where it has a core to itself; two fits of one thread side
        by side gain 1.8. Fit side by side in processes: threads of one process share torch's generator and settings.
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
        self.augment = augment
        self.mixed_layers = mixed_layers
        self.device = device
        self.threads = threads

    def settings(self) -> dict[str, Any]:
        """Every setting, with device `auto` resolved."""
        return {**super().settings(), "device": self.torch_device().type}

    def selection_rule(self) -> str:
        """`val_r2`, unless the number of epochs is fixed."""
        return self.selection

    def check_settings(self) -> None:
        """Refuse unknown names, sizes below 1, rates outside their range, and a GPU that is not there."""
        check_mlp_settings(self.get_params(deep=False))
        self.torch_device()

    def torch_device(self) -> torch.device:
        """The device that `device` means here."""
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise ConfigError("device 'cuda' was asked for and this machine offers none; say 'cpu' or 'auto'")
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")

    def checkpoint_to(self, path: Path, *, seconds: float = 30.0) -> Self:
        """Keep the state of later fits at `path`, at most every `seconds`, and go on from what is there.

        A fit that goes on ends with the bits of one that was never stopped; when it is done the file is removed. `fit`
        raises Stale when the file is of another fit (settings, data, torch version) and Damaged when it is not
        whole. Not a setting: a clone has none.
        """
        self._checkpoint = (Path(path), seconds)
        return self

    def keep_state_at(self, path: Path) -> None:
        """Keep the state at `path` on the CPU; on a GPU a fit is short and alike ones are trained as one stack."""
        if self.torch_device().type == "cpu":
            self.checkpoint_to(path)

    def keeps_checkpoint(self) -> bool:
        """Whether `checkpoint_to` was called."""
        return self._checkpoint is not None

    @classmethod
    def fit_several(cls, fits: Sequence[Fit], data: TrainingSet) -> list[str | None]:
        """Fit one after another on the CPU and as stacks on a GPU; rows are scaled once for each training size.

        Two fits of one thread side by side would be faster on two idle cores, but `threads` is what a head may use, and
        whoever runs several processes has given those cores away.
        """
        return fit_in_stacks(fits, data)

    def prepare(self, X: Array, y: Array, **others: Array | None) -> CheckedSample:
        """As every head, and refuse what augmentation and mixing cannot work on."""
        sample = super().prepare(X, y, **others)
        if self.augment == "draw_per_epoch" and sample.groups is None:
            raise ProbeError(
                "augment 'draw_per_epoch' was given no groups; it must know which rows are draws of one star"
            )
        if sample.X.shape[1] % self.mixed_layers:
            raise ProbeError(
                f"features have {sample.X.shape[1]} columns, not {self.mixed_layers} blocks of one width; give "
                "mixed_layers layers of one pooling, or set mixed_layers to 1"
            )
        return sample

    def _fit_sample(self, sample: CheckedSample) -> None:
        features = Features.of(sample, self.torch_device())
        (failure,) = fit_stack([self], [sample], features)
        if failure is not None:
            raise ProbeError(failure)

    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        self._fit_sample(CheckedSample(X=X, Y=Y, X_val=X_val, Y_val=Y_val))

    def take_over(self, member: Member, stack: Stack, scaling: Scaling) -> None:
        """Keep what a finished member learned."""
        network = self.seeded_network()
        assert member.best_values is not None
        network.load_state_dict(stack.state_dict(member.best_values))
        self.network_ = network.eval()
        self.x_scaling_, self.y_scaling_ = scaling, member.y_scaling
        self.arrays_ = member.curve.as_arrays(single_label=self.single_label_)
        if self.mixed_layers > 1:
            logits = network.get_parameter("0.logits").detach()
            self.arrays_["layer_weights"] = torch.softmax(logits.double(), dim=0).numpy()
        if self.selection == "val_r2":
            self.chosen_ = {"best_epoch": member.curve.best}
            if member.curve.best == self.max_epochs - 1:
                self.flags_ = [(CUT_SHORT_FLAG, None)]

    def seeded_network(self) -> nn.Sequential:
        """The network as it starts; torch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            return make_network(
                self.n_features_in_,
                self.n_labels_,
                hidden=self.hidden,
                dropout=self.dropout,
                mixed_layers=self.mixed_layers,
            )

    def checkpoint(self, sample: CheckedSample) -> Checkpoint | None:
        """Where this fit keeps its state, if anywhere."""
        if self._checkpoint is None:
            return None
        path, seconds = self._checkpoint
        described = {**self.settings(), "torch": str(torch.__version__), "data": data_digest(sample)}
        return Checkpoint(path, fit=described, seconds=seconds)

    def _predict(self, X: Array) -> Array:
        with torch_threads(self.threads):
            parts = [
                _forward(self.network_, scaled(self.x_scaling_, X[rows], torch.device("cpu")))
                for rows in slabs(X)
            ]
        return unscaled(self.y_scaling_, torch.cat(parts))

    def to_files(self) -> dict[str, bytes]:
        """One safetensors file; see `weights_files`."""
        return weights_files(self.network_, self.x_scaling_, self.y_scaling_)

    def from_files(self, files: Mapping[str, bytes]) -> None:
        """Read what `to_files` gave; Damaged when tensors are missing or of another shape."""
        network = self.seeded_network()
        self.x_scaling_, self.y_scaling_ = read_weights(files, network)
        self.network_ = network.eval()


@torch.no_grad()
def _forward(network: nn.Sequential, X: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(rows) for rows in torch.split(X, ROWS_AT_ONCE)])
