"""One end-to-end training from its data to the best epoch: Trainer, state on disk, early stopping."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from numpy.typing import NDArray

from cache.atomic import sync
from cache.errors import ConfigError, Damaged
from cache.progress import Advance, progress

from ..prepare import Prepared
from .encoder_features import EncoderFeatures
from .finetune import LearningCurve, Scaling, column_scaling, label_scaling, torch_threads
from .finetune_module import EndToEnd, curve_of
from .finetune_order import EpochBatches, FinetuneData
from .finetune_recipe import FinetuneRecipe, Machine

LAST, BEST = "last.ckpt", "best.ckpt"
Float64s = NDArray[np.float64]


class KeepState(lightning.Callback):  # type: ignore[misc]  # lightning is not looked into
    """After each epoch: the state on disk, whole or not at all; the best epoch kept; an end when val R2 has stalled."""

    def __init__(self, folder: Path, advance: Advance) -> None:
        """`advance` is told of steps done."""
        self._folder, self._advance = folder, advance

    def on_train_batch_end(self, *_: Any) -> None:
        """Tell of one step."""
        self._advance(1)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: EndToEnd) -> None:
        """Write the state; stop after `patience` epochs without a better one."""
        curve = pl_module.curve
        names = [BEST, LAST] if curve.best == trainer.current_epoch else [LAST]
        for name in names:
            temporary = self._folder / f".{name}.new"
            # False: the optimiser's state too, which a resumed training needs; it is read with weights_only=True
            trainer.save_checkpoint(temporary, weights_only=False)
            if trainer.is_global_zero:
                sync(temporary)
                temporary.replace(self._folder / name)
                sync(self._folder)
        if stalled(pl_module):
            trainer.should_stop = True


def stalled(module: EndToEnd) -> bool:
    """Whether the last `patience` epochs brought nothing."""
    curve = module.curve
    return bool(curve.mean_val_r2) and len(curve.mean_val_r2) - 1 - curve.best >= module.recipe.patience


def make_module(prepared: Prepared, data: FinetuneData, recipe: FinetuneRecipe, machine: Machine) -> EndToEnd:
    """The module at its start: features of train are looked at once, to scale them."""
    maker = data.makers["train"]
    one = maker.make(np.zeros(1, dtype=np.int64), 0).x

    def features_of(*, frozen: bool) -> EncoderFeatures:
        made = EncoderFeatures(
            prepared.model, recipe.choice, frozen=frozen, engine=machine.engine, n_threads=machine.n_threads
        )
        made.make_attention(one)
        return made.eval()

    scaled = features_of(frozen=True).to(machine.first_device)  # no gradient: the fast engine
    x_scaling = _feature_scaling(scaled, data, recipe)
    return EndToEnd(
        features_of(frozen=recipe.freeze_encoder),
        recipe,
        x_scaling=x_scaling,
        y_scaling=label_scaling(maker.source.y, recipe.label_scaling),
        noise_level=recipe.noise_level,
    )


def _feature_scaling(features: EncoderFeatures, data: FinetuneData, recipe: FinetuneRecipe) -> Scaling:
    """Mean and standard deviation over train: of all fixed draws, or of the first of fresh ones."""
    if recipe.feature_scaling == "none":
        one = data.makers["train"].make(np.zeros(1, dtype=np.int64), 0).x
        with torch.no_grad():
            width = features(one.to(next(features.encoder.parameters()).device)).shape[1]
        return Scaling(mean=np.zeros(width), scale=np.ones(width), constant=np.zeros(width, dtype=bool))
    found = [all_features(features, data, "train", draw=draw) for draw in range(recipe.train_draws or 1)]
    return column_scaling(np.concatenate(found))


def all_features(
    features: EncoderFeatures, data: FinetuneData, split: str, *, draw: int = 0
) -> NDArray[np.float32]:
    """Features (n, D) of a split in ascending order of rows, where the module is."""
    device = next(features.encoder.parameters()).device
    return _of_all(features, device, data, split, draw=draw, what="features of")


def predictions(module: EndToEnd, data: FinetuneData, split: str) -> Float64s:
    """Predictions (n, t) of draw 0 in ascending order of rows."""
    return _of_all(module.eval(), module.device, data, split, draw=0, what="score")


@torch.no_grad()
def _of_all(
    module: torch.nn.Module, device: torch.device, data: FinetuneData, split: str, *, draw: int, what: str
) -> NDArray[Any]:
    parts = []
    with progress(len(data.makers[split].source), f"{what} {split}", unit="spectra") as advance:
        for batch in data.in_order(split, draw=draw):
            parts.append(module(batch.x.to(device)).cpu().numpy())
            advance(len(batch.x))
    return np.concatenate(parts)


def fit(
    module: EndToEnd,
    data: FinetuneData,
    recipe: FinetuneRecipe,
    machine: Machine,
    *,
    folder: Path,
    loggers: list[Any],
) -> bool:
    """Train, or go on from the state in `folder`; restore the best epoch. True in the process that leads the others."""
    folder.mkdir(parents=True, exist_ok=True)
    n_batches = EpochBatches(recipe, data.makers["train"].source).n_batches
    with (
        torch_threads(machine.n_threads),
        _quiet(),
        progress(recipe.max_epochs * n_batches, "training", unit="steps") as advance,
    ):
        trainer = _trainer(recipe, machine, KeepState(folder, advance), loggers)
        last = folder / LAST
        if last.exists():
            module.curve = curve_of(_read_state(last))
            advance(len(module.curve.mean_val_r2) * n_batches)
        module.train()
        if not stalled(module) and len(module.curve.mean_val_r2) < recipe.max_epochs:
            try:
                trainer.fit(
                    module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True
                )
            except SystemExit as stop:  # what Lightning makes of Ctrl-C
                raise KeyboardInterrupt from stop
    best = _read_state(folder / BEST)
    _check_best(folder / BEST, curve_of(best), module.curve)
    module.load_state_dict(best["state_dict"])
    return bool(trainer.is_global_zero)


def _trainer(
    recipe: FinetuneRecipe, machine: Machine, keep: KeepState, loggers: list[Any]
) -> lightning.Trainer:
    """Lightning's Trainer; ConfigError with its words for devices or a strategy that it refuses."""
    try:
        return lightning.Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            strategy=machine.strategy,
            precision=machine.precision,
            max_epochs=recipe.max_epochs,
            gradient_clip_val=recipe.clip,
            logger=loggers or False,
            callbacks=[keep],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(
            f"--strategy {machine.strategy} on {machine.devices} {machine.accelerator}: Lightning says: {error}"
        ) from error


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise Damaged(
            f"{path}: not a whole training state ({error}); remove its folder, the training starts anew"
        ) from error
    return state


def _check_best(path: Path, kept: LearningCurve, curve: LearningCurve) -> None:
    """Refuse weights that are not those of the epoch that the curve chooses (Damaged).

    So it is when a kill came between the two files and the epoch, computed once more, came out otherwise (on a GPU).
    """
    if kept.mean_val_r2 != curve.mean_val_r2[: curve.best + 1]:
        raise Damaged(
            f"{path}: holds epoch {len(kept.mean_val_r2) - 1} of a training, and val R2 of this one chooses epoch "
            f"{curve.best} of {len(curve.mean_val_r2)}; remove its folder, the training starts anew"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Lightning tell of warnings alone, and not of what is meant: a frozen encoder is in eval mode."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(before)
