"""A tiny extraction to be killed: its spectra, its checkpoint, its request, and what it must end in."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from extract.architecture import ModelConfig
from extract.checkpoint import save_checkpoint
from extract.encoder import BlindspotModel1D
from extract.mock.files import write_pfsspec
from extract.request import ExtractConfig

N_PIXELS = 64
BLOCK_ROWS = 4
LAYER, POOLING = "enc_pre_latent", "global_mean"
DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True)
class Scenario:
    """Input files that every trial reads; what a trial writes lies in a folder of its own."""

    data: dict[str, Path]
    checkpoint: Path

    def request(self, trial: Path, workers: int) -> ExtractConfig:
        """The extraction into the folder `trial`, two arrays per split, by 1 or more worker processes."""
        return ExtractConfig(
            data={split: (path,) for split, path in self.data.items()},
            checkpoint=str(self.checkpoint),
            layers=(LAYER,),
            poolings=(POOLING,),
            directions=DIRECTIONS,
            device="cpu",
            threads=1,
            micro_batch=2,
            block_rows=BLOCK_ROWS,
            scheduler="local" if workers == 1 else "processes",
            jobs=workers,
            out=trial / "features",
            encoders=trial / "encoders",
            digests=trial / "digests",
        )

    def command(self, trial: Path, workers: int) -> list[str]:
        """The same extraction as a user types it."""
        request = self.request(trial, workers)
        flags = {
            **{split: str(path) for split, path in self.data.items()},
            "checkpoint": request.checkpoint,
            "layers": LAYER,
            "poolings": POOLING,
            "directions": ",".join(DIRECTIONS),
            "device": "cpu",
            "threads": "1",
            "micro-batch": str(request.micro_batch),
            "block-rows": str(BLOCK_ROWS),
            "scheduler": request.scheduler,
            "jobs": str(workers),
            "out": str(request.out),
            "encoders": str(request.encoders),
            "digests": str(request.digests),
        }
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        return [sys.executable, "-m", "extract", "run", *words]


def make_scenario(folder: Path, sizes: dict[str, int]) -> Scenario:
    """Write spectra of `sizes` rows per split and a network of random weights into `folder`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    data = {}
    for split, n_rows in sizes.items():
        data[split] = write_pfsspec(
            folder / f"{split}.h5",
            np.linspace(7100.0, 8850.0, N_PIXELS),
            flux=1 + 0.1 * rng.standard_normal((n_rows, N_PIXELS)),
            error=np.full((n_rows, N_PIXELS), 0.1),
            params={"log_g": rng.uniform(1, 5, n_rows), "id": np.arange(n_rows)},
        )
    torch.manual_seed(0)
    config = ModelConfig(
        num_layers=2,
        embed_dim=1,
        kernel_size=3,
        error_mode="pixel",
        error_channels=1,
        norm="none",
        ending="softplus",
    )
    save_checkpoint(BlindspotModel1D(config), folder / "tiny.ckpt")
    return Scenario(data, folder / "tiny.ckpt")
