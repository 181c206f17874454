"""`python -m extract finetune`: settings of the command line, and the YAML of the group's own script."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from cache.commandline import Command, Verb
from cache.errors import ConfigError

from .finetune_yaml import settings_from


class FinetuneSettings(Command):
    """Train encoder, pooling and head end to end, the encoder frozen or fine-tuned.

    Every batch gets fresh noise; early stopping and learning rate go by val R2; the best epoch is scored on test, once,
    with the noise that cached probes are scored on, and recorded like a probe. The YAML of the group's script is read
    as it stands (sections model, logg_head, train, opt, data, noise, ...). A run that was killed goes on.
    Example: python -m extract finetune --config configs/logg_from_encoder.yaml --encoder-ckpt shipped:reference
    --data artifacts/data/mock --freeze-encoder
    """

    data: str | None = Field(None, description="folder with train/, val/ and test/")
    train: str | None = Field(None, description="file(s) of the train split, instead of --data")
    val: str | None = Field(None, description="file(s) of the val split")
    test: str | None = Field(None, description="file(s) of the test split")
    num_samples: int | None = Field(
        None, ge=2, description="train on the first so many spectra (default: all)"
    )
    num_test_samples: int | None = Field(
        None, ge=2, description="score on the first so many of test (default: all)"
    )
    encoder_ckpt: str = Field(
        "shipped",
        description="Lightning checkpoint, 'shipped', 'shipped:reference', or random:SEED (a control)",
    )
    config_model: Path | None = Field(None, description="the YAML that stands beside the checkpoint")
    model: dict[str, Any] = Field(
        {}, description="the YAML's model section: the checkpoint must agree with it"
    )
    error_mode: str | None = Field(None, description="pixel, none, L0 ... L5, when no YAML tells")
    profile: Path | None = Field(None, description=".npy, for error modes L4 and L5")
    mask: Path | None = Field(None, description=".npy of bool, one per file pixel, True = keep")
    mask_ratio: float = Field(1.0, description="of the YAML; below 1 a --mask is needed")
    freeze_encoder: bool = Field(default=True, description="train the head alone")
    labels: tuple[str, ...] = Field(("log_g",), description="labels to predict; commas between")
    missing_labels: Literal["fail", "drop"] = Field(
        "fail",
        description="stars without a finite value of each label: refused, or left out of training and scores; told in "
        "the record, and another test set in tables",
    )
    encoder_layer: str = Field("enc_pre_latent", description="any layer of the encoder")
    pooling: str = Field(
        "seg_mean_K8",
        description="global_mean, mean_max, seg_mean_K8 (any K), or attention_K8, which is learned",
    )
    direction: Literal["forward", "backward", "mean", "concat"] = Field("forward", description="stream(s)")
    architecture: str = Field("mlp_1", description="mlp_1 or mlp_2 (hidden layers)")
    hidden_dim: tuple[int, ...] = Field(
        (256,), description="widths; of mlp_2 the second is a quarter if not said"
    )
    dropout: float = Field(0.1, description="of the hidden layers")
    noise: Literal["draw", "stored", "none"] = Field("draw", description="where the noise comes from")
    noise_level: float = Field(1.0, description="noise in units of the file's error")
    train_draws: str = Field(
        "fresh", description="fresh: new noise in every epoch; or a number of fixed draws, taken in turn"
    )
    error_input: str = Field("true", description="true, zero, shuffled, constant, from-noisy (audits)")
    batch_size: int = Field(256, description="spectra of a step, of all devices together")
    max_epochs: int = Field(100, description="most passes over train")
    patience: int = Field(15, description="epochs without a better val R2 before the end")
    lr: float = Field(1e-3, description="AdamW's learning rate of the head")
    encoder_lr: float = Field(1e-4, description="AdamW's learning rate of a learning encoder")
    weight_decay: float = Field(1e-4, description="AdamW's")
    plateau_factor: float = Field(0.5, description="both rates are multiplied by it where val R2 has stalled")
    plateau_patience: int = Field(5, description="epochs without a better val R2 before that")
    clip: float = Field(0.5, description="largest norm of the gradient")
    feature_scaling: Literal["standard", "none"] = Field(
        "standard", description="features on train; none: as they are"
    )
    label_scaling: Literal["standard", "none"] = Field(
        "standard", description="labels on train; none: as they are"
    )
    encoder_norm: Literal["batch", "stored"] = Field(
        "batch", description="what the norms of a learning encoder go by; stored: they stay as they are"
    )
    seed: int = Field(0, ge=0, description="of head, order and dropout")
    noise_seed: int = Field(
        0, description="of the noise; compare with cached probes of the same (extract run --seed)"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0,1")
    processes: int = Field(1, ge=1, description="on the CPU: processes that share each batch")
    strategy: str = Field("auto", description="Lightning's, for several devices: ddp, ...")
    precision: str = Field("32-true", description="Lightning's: 32-true, bf16-mixed, 16-mixed")
    engine: Literal["fast", "plain"] = Field("fast", description="of a frozen encoder")
    threads: int | None = Field(None, ge=1, description="threads on the CPU (default: cores)")
    workers: int = Field(1, ge=0, description="threads that make noise ahead; 0: when it is needed")
    logger: tuple[Literal["csv", "tensorboard"], ...] = Field(
        ("csv",), description="learning curves; commas between"
    )
    wandb: bool = Field(
        default=False, description="log to Weights & Biases too, offline unless --wandb-mode online"
    )
    wandb_mode: Literal["offline", "online"] = Field(
        "offline", description="online sends the log to their server"
    )
    project: str = Field("blindspot", description="the log's project there")
    on_bad_rows: Literal["fail", "drop"] = Field(
        "fail", description="refuse a file with bad rows, or leave them out"
    )
    refit: bool = Field(default=False, description="train again what is on record")
    out: Path = Field(
        Path("artifacts/finetune"), description="folder of states, logs and fine-tuned encoders"
    )
    results: Path = Field(Path("artifacts/results"), description="folder of the records")
    features: Path = Field(
        Path("artifacts/features"), description="folder of the feature stores; none is written"
    )
    encoders: Path = Field(Path("artifacts/encoders"), description="folder of calibrated random encoders")
    digests: Path = Field(Path("artifacts/digests"), description="folder of remembered file digests")

    @field_validator("hidden_dim", mode="before")
    @classmethod
    def _as_widths(cls, value: Any) -> Any:
        """One width, as the group's YAML has it, is a list of one."""
        return (value,) if isinstance(value, int) else value

    @classmethod
    def from_yaml(cls, content: Mapping[str, Any], source: Path) -> dict[str, Any]:
        """Settings of a YAML file, sections opened."""
        return settings_from(content, source)


def run(settings: FinetuneSettings) -> None:
    """Train and write the record; see `finetune_run.finetune`."""
    check_installed("lightning", "extract finetune")
    from .finetune_run import finetune  # noqa: PLC0415  imports torch and lightning

    finetune(settings)


def check_installed(package: str, what: str) -> None:
    """Raise ConfigError when what is asked for needs a package that is not there."""
    if find_spec(package) is None:
        raise ConfigError(
            f"{what} needs {package}, which is not installed: pip install 'blindspot-probes[train]'"
        )


VERB = Verb(FinetuneSettings, run)
