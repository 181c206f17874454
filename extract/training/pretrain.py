"""The pretraining loop: steps of Adam over an endless list of stars, snapshots, and a last look at the norms."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cache.atomic import replacing
from cache.errors import ConfigError, Damaged
from cache.progress import Advance

from ..encoder import BlindspotModel1D
from ..forks import may_fork
from . import channels_last
from .feeding import AheadFeeder
from .initialise import initialise, last_norm
from .losses import loss, predict
from .recipe import Recipe
from .reconstruction import reconstruction
from .stars import Batch, Feeder

LAST_LR = 0.01  # the cosine ends at this fraction of the learning rate
CALIBRATION_BATCH = 32

Report = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """What is done beside training, without effect on the weights."""

    snapshot: Path
    snapshot_every: int  # steps
    report_every: int  # steps
    val_stars: int
    report: Report
    advance: Advance
    device: str = "cpu"
    n_forks: int = 0  # processes that make stars ahead; 0 makes them when they are needed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A trained network in eval mode, with its history: one entry per report."""

    model: BlindspotModel1D
    history: list[dict[str, Any]]


class _Training:
    """What a snapshot holds: network, optimiser, steps done, history, losses since its last entry."""

    def __init__(self, recipe: Recipe, device: str) -> None:
        self.recipe = recipe
        self.device = device
        self.model = BlindspotModel1D(recipe.model_config())
        initialise(self.model, seed=recipe.seed)
        self.model.to(device)
        self.optimizer = _optimizer(self.model, recipe)
        self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.since_report: list[float] = []

    def save(self, path: Path) -> None:
        content = {
            "recipe": self.recipe.to_json(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "since_report": self.since_report,
        }
        with replacing(path) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path) -> None:
        content = _read_snapshot(path)
        differences = self.recipe.differences(content["recipe"])
        if differences:
            raise ConfigError(
                f"{path} is of another recipe:\n  "
                + "\n  ".join(differences)
                + "\nname another --out, or remove the snapshot to begin anew"
            )
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.seconds, self.history = content["step"], content["seconds"], content["history"]
        self.since_report = content.get("since_report", [])  # snapshots of before had none


def pretrain(recipe: Recipe, watch: Watch) -> Pretrained:
    """Train by `recipe`, going on from the snapshot if there is one; the snapshot is left for the caller to remove.

    Raises ConfigError for a recipe that cannot be trained or a snapshot of another one, Damaged for one cut short.
    """
    recipe.check()
    training = _Training(recipe, watch.device)
    if watch.snapshot.exists():
        training.load(watch.snapshot)
        watch.advance(training.step)
    validation = recipe.stars("pretrain-val").make(0, watch.val_stars)
    with _feeder(recipe, watch.n_forks) as feeder:
        _loop(training, feeder, validation, watch)
    calibrate(training.model, recipe)
    training.history.append(
        {"step": training.step, "calibrated": True, **val_scores(training.model, validation)}
    )
    watch.report(training.history[-1])
    training.model.cpu().eval()
    return Pretrained(model=training.model, history=training.history)


def _feeder(recipe: Recipe, n_forks: int) -> contextlib.AbstractContextManager[Feeder | AheadFeeder]:
    stars = recipe.stars("pretrain")
    if n_forks and may_fork():
        return AheadFeeder(stars, batch_size=recipe.batch_size, n_forks=n_forks)
    return contextlib.nullcontext(Feeder(stars, batch_size=recipe.batch_size))


def _loop(training: _Training, feeder: Feeder | AheadFeeder, validation: Batch, watch: Watch) -> None:
    training.model.train()
    total = training.recipe.steps
    started = time.monotonic() - training.seconds
    while training.step < total:
        training.since_report.append(train_step(training, feeder.batch(training.step)))
        training.step += 1
        watch.advance(1)
        if training.step % watch.report_every == 0 or training.step == total:
            entry = {
                "step": training.step,
                "loss": math.fsum(training.since_report) / len(training.since_report),
                "lr": learning_rate(training.recipe, training.step - 1),
                **val_scores(training.model, validation),
                "seconds": round(time.monotonic() - started, 1),
            }
            training.since_report = []
            training.history.append(entry)
            watch.report(entry)
        if training.step % watch.snapshot_every == 0 or training.step == total:
            training.seconds = time.monotonic() - started
            training.save(watch.snapshot)


def train_step(training: _Training, batch: Batch) -> float:
    """One step of the optimiser; returns the loss before it. Raises ConfigError when the loss is not finite."""
    recipe, model, batch = training.recipe, training.model, batch.to(training.device)
    rate = learning_rate(recipe, training.step)
    for group in training.optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    kind = model.config.sigma_kind
    assert kind is not None
    with torch.autocast(
        training.device.partition(":")[0], torch.bfloat16, enabled=recipe.precision == "bf16"
    ):
        out = channels_last.forward(model, batch.x)
    value = loss(
        recipe.loss_settings(), predict(out, kind), noisy=batch.noisy, error=batch.error, flux=batch.flux
    )
    if not bool(value.isfinite()):
        raise ConfigError(f"the loss is {value.item()!r} at step {training.step}; lower --lr or --clip-norm")
    training.optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    training.optimizer.step()
    return value.item()


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to LAST_LR of `lr` at the last step."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    along = (step - recipe.warmup_steps) / max(1, recipe.steps - 1 - recipe.warmup_steps)
    return recipe.lr * (LAST_LR + (1.0 - LAST_LR) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, along))))


def calibrate(model: BlindspotModel1D, recipe: Recipe) -> None:
    """Replace the running statistics of BatchNorm by plain means over `calibration_stars` stars, weights untouched.

    The running averages of training mix statistics of older weights and, in bf16, of rounded activations; eval mode
    should see those of the final weights in float32. The stars are the first of the training.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    model.train()
    device = str(next(model.parameters()).device)
    feeder = Feeder(recipe.stars("pretrain"), batch_size=CALIBRATION_BATCH)
    with torch.no_grad():
        for number in range(math.ceil(recipe.calibration_stars / CALIBRATION_BATCH)):
            model(feeder.batch(number).x.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def thread_limit(threads: int) -> None:
    """Use this many threads of the processor; bits depend on it. Raises ConfigError below 1."""
    if threads < 1:
        raise ConfigError(f"threads is {threads!r}; it must be at least 1")
    torch.set_num_threads(threads)


def _optimizer(model: BlindspotModel1D, recipe: Recipe) -> torch.optim.Adam:
    """Adam; the last norm, whose offset has to travel far through LeakyReLU, has its own larger rate."""
    output = list(last_norm(model).parameters())
    others = [p for p in model.parameters() if all(p is not q for q in output)]
    groups = [
        {"params": others, "factor": 1.0},
        {"params": output, "factor": recipe.output_lr_factor},
    ]
    return torch.optim.Adam(groups, lr=recipe.lr)


def val_scores(model: BlindspotModel1D, validation: Batch) -> dict[str, float]:
    """The reconstruction S/N of the validation stars under the names of the history."""
    return {
        f"val_snr_{name}": value
        for name, value in dataclasses.asdict(reconstruction(model, validation)).items()
    }


def _read_snapshot(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for a file cut short
        raise Damaged(f"{path}: not readable as a snapshot ({error}); remove it to begin anew") from error
    return content
