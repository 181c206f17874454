"""The stars that a network is pretrained on: made when needed, each with its own noise, a function of the position.

Star i of the training is row TRAIN_ROW + i of the mock survey, that of the validation row VAL_ROW + i. The surveys that
`python -m extract mock` writes use rows below 3e9, so that the encoder has never seen a star of theirs.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..error_input import PROFILE_MODES, channels
from ..mock.survey import generate
from ..noise import noisy_flux, standard_normal

FIRST_ROW = {"pretrain": 3 * 10**9, "pretrain-val": 4 * 10**9}
CHUNK = 256  # stars made at once: the generator works in batches of 128
PROFILE_STARS = 1024


@dataclass(frozen=True, kw_only=True)
class Batch:
    """n spectra, float32: x (n, C_in, L) for the network; noisy, error (of the noise in it) and flux, (n, L)."""

    x: Tensor
    noisy: Tensor
    error: Tensor
    flux: Tensor

    def rows(self, first: int, last: int) -> "Batch":
        """The spectra first ... last - 1."""
        part = slice(first, last)
        return Batch(x=self.x[part], noisy=self.noisy[part], error=self.error[part], flux=self.flux[part])

    def to(self, device: str) -> "Batch":
        """The same spectra on a device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Stars:
    """A numbered, endless list of noisy stars; `split` is 'pretrain' or 'pretrain-val'."""

    split: str
    seed: int
    mag: tuple[float, float]
    noise_level: float
    error_mode: str

    def make(self, first: int, n_stars: int) -> Batch:
        """The stars first ... first + n_stars - 1; the same star gets the same noise in every call."""
        rows = np.arange(first, first + n_stars, dtype=np.int64) + FIRST_ROW[self.split]
        spectra = generate(rows, seed=self.seed, mag=self.mag)
        z = standard_normal(
            seed=self.seed, split=self.split, rows=rows, draw=0, n_pixels=spectra.flux.shape[1]
        )
        noisy = torch.from_numpy(
            noisy_flux(spectra.flux, spectra.error, mode="draw", level=self.noise_level, z=z)
        )
        error = torch.from_numpy(spectra.error.astype(np.float32) * np.float32(self.noise_level))
        return Batch(
            x=channels(self.error_mode, noisy, error, profile=self.profile),
            noisy=noisy,
            error=error,
            flux=torch.from_numpy(np.maximum(spectra.flux, 0).astype(np.float32)),
        )

    @cached_property
    def profile(self) -> npt.NDArray[np.float64] | None:
        """Mean error per pixel (L,) over the first training stars, for the modes that need it; None otherwise."""
        if self.error_mode not in PROFILE_MODES:
            return None
        rows = np.arange(PROFILE_STARS, dtype=np.int64) + FIRST_ROW["pretrain"]
        error = generate(rows, seed=self.seed, mag=self.mag).error
        return np.asarray(error.mean(axis=0, dtype=np.float64) * self.noise_level)


class Feeder:
    """Batches by number: keeps the last chunk of stars, because making them one batch at a time wastes work."""

    def __init__(self, stars: Stars, *, batch_size: int) -> None:
        """Serve batches of `batch_size` stars; a batch never depends on which were asked for before."""
        self._stars = stars
        self._batch_size = batch_size
        self._per_chunk = max(1, CHUNK // batch_size)
        self._chunk: tuple[int, Batch] | None = None

    def batch(self, number: int) -> Batch:
        """The stars number * batch_size and the following ones."""
        index, position = divmod(number, self._per_chunk)
        if self._chunk is None or self._chunk[0] != index:
            size = self._per_chunk * self._batch_size
            self._chunk = index, self._stars.make(index * size, size)
        return self._chunk[1].rows(position * self._batch_size, (position + 1) * self._batch_size)
