"""Settings of end-to-end trainings on the tiny survey, and a training that is cut off."""

from survey_fakes import CHECKPOINT, LAYER, POOLING, YAML

from extract.training import finetune_fit
from extract.training.finetune_command import FinetuneSettings


def settings(survey, folder, **changes):
    """Four epochs of the tiny survey in batches of 16."""
    plain = {
        "data": str(survey),
        "encoder_ckpt": str(CHECKPOINT),
        "config_model": YAML,
        "encoder_layer": LAYER,
        "pooling": POOLING,
        "labels": ("log_g",),
        "hidden_dim": (16,),
        "batch_size": 16,
        "max_epochs": 4,
        "lr": 1e-2,
        "device": "cpu",
        "threads": 1,
        "workers": 0,
        "logger": (),
        "out": folder / "finetune",
        "results": folder / "results",
        "features": folder / "features",
        "encoders": folder / "encoders",
        "digests": folder / "digests",
    }
    return FinetuneSettings(**{**plain, **changes})


class CutOff(Exception):
    """The power is gone."""


def cut_off_after(monkeypatch, epoch):
    """Let trainings end with CutOff once the state of an epoch is on disk."""
    keep = finetune_fit.KeepState.on_train_epoch_end

    def keep_and_fall(self, trainer, pl_module):
        keep(self, trainer, pl_module)
        if trainer.current_epoch == epoch:
            raise CutOff

    monkeypatch.setattr(finetune_fit.KeepState, "on_train_epoch_end", keep_and_fall)
