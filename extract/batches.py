"""From stored rows to what the network is fed, in batches that do not depend on how rows are read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .error_input import channels
from .fed_error import FedError
from .fingerprint import Fingerprint, check_unchanged
from .noise import noisy_flux, standard_normal
from .request import ExtractConfig
from .shuffled_error import donor_errors
from .slabs import RawRows, SlabReader, pieces_of, runs_of
from .spectra import SpectraFile
from .stored_slab import repair_edges, repair_noisy_edges

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Spectra:
    """Rows as used: clean flux clipped at 0, error times noise level, stored noise; each (n, L_file) float32.

    `shuffled`: the errors of the donors times noise level, where the network is fed those.
    """

    rows: NDArray[np.int64]
    flux: Float32
    error: Float32
    stored: Float32 | None
    shuffled: Float32 | None = None


@dataclass(frozen=True)
class Batch:
    """One noisy realisation of some spectra after the mask, (B, L) float32, and the network's input."""

    noisy: torch.Tensor
    error: torch.Tensor
    clean: torch.Tensor
    x: torch.Tensor


def read_batches(
    spectra: SpectraFile,
    rows: NDArray[np.int64],
    fingerprint: Fingerprint,
    config: ExtractConfig,
    fed: FedError,
) -> Iterator[Spectra]:
    """Yield the rows in groups of `micro_batch`, the last one shorter, whatever `slab_rows` is.

    Every row read is compared with its digest in `fingerprint`; raises InputError when a file has changed.
    """
    reader = SlabReader(spectra, config.slab_rows)
    for raw in pieces_of(map(reader.read, runs_of(rows, config.slab_rows)), config.n_together):
        yield checked(spectra, raw, fingerprint, config, fed)
        reader.give_back(raw)


def checked(
    spectra: SpectraFile, raw: RawRows, fingerprint: Fingerprint, config: ExtractConfig, fed: FedError
) -> Spectra:
    """Rows as they are used, in memory of their own; InputError when one is not that of the fingerprint.

    Where `fed` has donors, their rows are read and checked too.
    """
    check_unchanged(spectra, raw, fingerprint)
    error = raw.slab.error.astype(np.float32)
    repair_edges(error)
    if config.noise_level != 1:
        error *= np.float32(config.noise_level)
    shuffled = None
    if fed.donors is not None:
        shuffled = donor_errors(spectra, fed.donors[raw.rows], fingerprint).astype(np.float32)
        shuffled *= np.float32(config.noise_level)
    flux = np.empty_like(error)
    np.maximum(raw.slab.flux, 0, out=flux, casting="same_kind")  # clipped in float64, then rounded
    stored = None
    if config.noise == "stored" and raw.slab.noisy is not None:
        stored = raw.slab.noisy.astype(np.float32)
        repair_noisy_edges(stored, raw.slab.error)
    return Spectra(
        rows=raw.rows,
        flux=flux,
        error=error,
        stored=stored,
        shuffled=shuffled,
    )


def make_batch(
    group: Spectra,
    *,
    split: str,
    draw: int | None,
    mask: NDArray[np.bool_] | None,
    error_mode: str,
    profile: NDArray[np.float64] | None,
    config: ExtractConfig,
    fed: FedError,
) -> Batch:
    """Add the noise of one draw, apply the mask, build the error channels, and pad with zeros to `micro_batch`.

    The channels are made of what `fed` puts in place of the error; noise and `Batch.error` have the true one. Zero
    rows at the end keep the shape of every computation the same, hence its rounding.
    """
    noisy = _noisy(group, split=split, draw=draw, config=config)
    keep: Any = slice(None) if mask is None else mask
    noisy, error, clean = (np.ascontiguousarray(a[:, keep]) for a in (noisy, group.error, group.flux))
    shuffled = None if group.shuffled is None else np.ascontiguousarray(group.shuffled[:, keep])
    seen = fed.seen_for(noisy=noisy, error=error, shuffled=shuffled, level=config.noise_level)
    x = channels(error_mode, noisy, seen, profile=profile)
    if fed.kind == "zero":  # what the network is fed, whatever the mode makes of an error of zero
        x[:, 1:] = 0
    missing = config.n_together - len(x)
    if missing:
        x = torch.cat([x, x.new_zeros(missing, *x.shape[1:])])
    return Batch(torch.from_numpy(noisy), torch.from_numpy(error), torch.from_numpy(clean), x)


def _noisy(group: Spectra, *, split: str, draw: int | None, config: ExtractConfig) -> Float32:
    normal = None
    if draw is not None:
        normal = standard_normal(
            seed=config.seed, split=split, rows=group.rows, draw=draw, n_pixels=group.flux.shape[1]
        )
    # the error already carries the noise level
    return noisy_flux(group.flux, group.error, mode=config.noise, z=normal, stored=group.stored)
