"""Encoder, pooling and head as one Lightning module, trained and validated as the cached heads are."""

from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cache.errors import ProbeError

from .encoder_features import EncoderFeatures
from .finetune import LearningCurve, Scaling, make_masks, make_network
from .finetune_data import TrainingBatch
from .finetune_recipe import FinetuneRecipe

STATE = "blindspot_probes"
"""Where a checkpoint of Lightning has what Lightning does not know of: curve, plateau, dropout streams."""


class Head(nn.Module):
    """The multilayer perceptron of the cached heads; what it drops is given from outside."""

    def __init__(self, n_features: int, recipe: FinetuneRecipe) -> None:
        """Weights from the recipe's seed, as `probes.mlp` has them; torch's global generator is left as it was."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(recipe.seed)
            self.network = make_network(
                n_features, len(recipe.labels), hidden=recipe.hidden, dropout=recipe.dropout
            )

    def forward(self, x: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """Scaled labels of scaled features (B, D); `masks`, one (B, width) for each hidden layer, or none."""
        given = iter(masks)
        for layer in self.network:
            if not isinstance(layer, nn.Dropout):
                x = layer(x)
            elif masks:
                x = x * next(given)
        return x


class EndToEnd(lightning.LightningModule):  # type: ignore[misc]  # lightning is not looked into
    """Input (B, C_in, L) to labels (B, t): mean squared error, AdamW, learning rate halved and epochs chosen on val R2.

    Val R2 is the mean over labels, as for cached heads; the learning curve is theirs too. Each of several processes
    drops units of its own.
    """

    def __init__(
        self,
        features: EncoderFeatures,
        recipe: FinetuneRecipe,
        *,
        x_scaling: Scaling,
        y_scaling: Scaling,
        noise_level: float,
    ) -> None:
        """Scalings of features (D,) and labels (t,) stay as they are while the encoder learns."""
        super().__init__()
        self.features, self.recipe, self.noise_level = features, recipe, noise_level
        self.head = Head(len(x_scaling.mean), recipe)
        self.x_scaling, self.y_scaling = x_scaling, y_scaling
        for name, scaling in (("x", x_scaling), ("y", y_scaling)):
            self.register_buffer(f"{name}_mean", torch.from_numpy(scaling.mean.copy()))
            self.register_buffer(f"{name}_scale", torch.from_numpy(scaling.scale.copy()))
        self.register_buffer("x_constant", torch.from_numpy(x_scaling.constant.copy()))
        self.curve = LearningCurve()
        self._resumed: dict[str, Any] | None = None
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Labels in their units, (B, t) float64."""
        y: Tensor = self.head(self.scaled_features(x)).double() * self.y_scale + self.y_mean
        return y

    def scaled_features(self, x: Tensor) -> Tensor:
        """Features as the head sees them: scaled in float64, float32, constant ones zero."""
        scaled: Tensor = (self.features(x).double() - self.x_mean) / self.x_scale
        return scaled.masked_fill(self.x_constant, 0.0).float()

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:  # noqa: ARG002  Lightning's signature
        """Loss of one batch."""
        y = self.checked(batch)
        target = ((y - self.y_mean) / self.y_scale).float()
        residual = self.head(self.scaled_features(batch.x), self._drawn(len(y))).float() - target
        self._squared += residual.detach().double().square().sum(dim=0)
        self._n_seen += len(y)
        loss: Tensor = residual.square().mean()
        return loss

    def validation_step(self, batch: TrainingBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Keep predictions for the end of the epoch."""
        self._seen.append((self.checked(batch).cpu(), self(batch.x).cpu()))

    def checked(self, batch: TrainingBatch) -> Tensor:
        """The labels of a batch; ProbeError when it lacks them or the noise level that was asked for."""
        if batch.y is None or batch.y.shape != (len(batch.x), len(self.recipe.labels)):
            found = "none" if batch.y is None else f"shape {tuple(batch.y.shape)}"
            raise ProbeError(
                f"a batch of {len(batch.x)} spectra has labels: {found}; expected {', '.join(self.recipe.labels)} for "
                "each. Without them the head learns nothing and R2 is negative: put the labels into the batch"
            )
        if not bool(batch.y.isfinite().all()):
            raise ProbeError(
                f"labels of a batch are not finite in {int((~batch.y.isfinite()).any(dim=1).sum())} of {len(batch.x)} "
                "spectra; leave those out"
            )
        if batch.noise_level != self.noise_level:
            raise ProbeError(
                f"a batch has noise level {batch.noise_level!r}, the training was asked for {self.noise_level!r}; pass "
                "the level on with every batch"
            )
        return batch.y

    def _drawn(self, n_rows: int) -> Sequence[Tensor]:
        """What to drop in one step, (n_rows, width) for each hidden layer."""
        if self.recipe.dropout == 0:
            return ()
        masks = [torch.ones(1, n_rows, width, device=self.device) for width in self.recipe.hidden]
        self._masks.fill(masks)
        return [mask[0] for mask in masks]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the encoder has a learning rate of its own."""
        recipe = self.recipe
        groups = [
            {"params": [*self.head.parameters(), *self.features.attention.parameters()], "lr": recipe.lr}
        ]
        encoder = [p for p in self.features.encoder.parameters() if p.requires_grad]
        if encoder:
            groups.append({"params": encoder, "lr": recipe.encoder_lr})
        optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
        self._plateau = ReduceLROnPlateau(
            optimizer, mode="max", factor=recipe.plateau_factor, patience=recipe.plateau_patience
        )
        return optimizer

    def on_train_start(self) -> None:
        """Begin, or go on from what a checkpoint held."""
        rank = self.global_rank
        self._masks = make_masks([self.recipe.seed + rank], [self.recipe.dropout], self.device)
        if self._resumed is not None:
            self._plateau.load_state_dict(self._resumed["plateau"])
            self._masks.restore([self._resumed["masks"], *self._resumed.get("masks_of_others", ())][rank])
            self._resumed = None

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before; a learning encoder's norms go by the batch unless told otherwise."""
        self._masks.start_epoch()
        self._squared = torch.zeros(len(self.recipe.labels), dtype=torch.float64, device=self.device)
        self._n_seen = 0
        if self.recipe.encoder_norm == "stored":
            self.features.encoder.eval()

    def on_validation_epoch_end(self) -> None:
        """Add the epoch to the curve, tell the loggers, and lower the learning rate where val R2 has stalled."""
        y, y_hat = (torch.cat(parts).numpy() for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        reduce = self.trainer.strategy.reduce
        squared = reduce(self._squared, reduce_op="sum").cpu().numpy()
        n_seen = float(reduce(torch.tensor(float(self._n_seen), device=self.device), reduce_op="sum"))
        loss = squared / n_seen * self.y_scaling.scale**2
        if not np.isfinite(loss).all() or not np.isfinite(y_hat).all():
            raise ProbeError(f"the training loss became {loss.tolist()}; lower --lr or --encoder-lr")
        rate = float(self.optimizers().param_groups[0]["lr"])
        self.curve.add(self.current_epoch, rate, loss, y=y, y_hat=y_hat)
        self._plateau.step(self.curve.mean_val_r2[-1])
        self._tell(rate)

    def _tell(self, rate: float) -> None:
        """Log the last epoch of the curve under the document's names, such as val/r2."""
        columns = {name: values[-1] for name, values in self.curve.columns.items() if values}
        told = {"epoch": float(self.current_epoch), "val/r2": self.curve.mean_val_r2[-1], "lr": rate}
        for column in ("train_loss", "train_rmse", "val_loss", "val_rmse", "val_mae", "val_r2"):
            name = column.replace("_", "/", 1)
            for label, value in zip(self.recipe.labels, columns[column], strict=True):
                told[name if len(self.recipe.labels) == 1 else f"{name}/{label}"] = float(value)
        for logger in self.loggers:  # not by `self.log`, which would average what is whole in every process
            logger.log_metrics(told, step=self.global_step)
            logger.save()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put in what Lightning does not know of: plain values and tensors alone, for loading with weights_only."""
        masks = of_every_process(self._masks.state())
        checkpoint[STATE] = {
            "curve": {name: torch.from_numpy(values) for name, values in self.curve.state().items()},
            "plateau": {name: plain(value) for name, value in self._plateau.state_dict().items()},
            "masks": masks[0],
            "masks_of_others": masks[1:],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curve at once, the rest when training starts."""
        self._resumed = checkpoint[STATE]
        self.curve = curve_of(checkpoint)


def of_every_process(own: dict[str, Any]) -> list[dict[str, Any]]:
    """What each of the processes that train together gives, by rank; every one must call this."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    found: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return found


def curve_of(checkpoint: dict[str, Any]) -> LearningCurve:
    """The learning curve that a checkpoint holds."""
    return LearningCurve.from_state({name: t.numpy() for name, t in checkpoint[STATE]["curve"].items()})


def plain(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    return value.item() if isinstance(value, np.generic) else value
