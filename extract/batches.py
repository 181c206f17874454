"""From stored rows to what the network is fed, in batches that do not depend on how rows are read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .error_input import channels
from .fingerprint import Fingerprint, check_rows_unchanged
from .noise import noisy_flux, standard_normal
from .request import ExtractConfig
from .spectra import SpectraFile

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Spectra:
    """Rows as read: clean flux clipped at 0, error times noise level, stored noise; each (n, L_file) float32."""

    rows: NDArray[np.int64]
    flux: Float32
    error: Float32
    stored: Float32 | None


@dataclass(frozen=True)
class Batch:
    """One noisy realisation of some spectra after the mask, (B, L) float32, and the network's input."""

    noisy: torch.Tensor
    error: torch.Tensor
    clean: torch.Tensor
    x: torch.Tensor


def runs_of(rows: NDArray[np.int64], longest: int) -> Iterator[tuple[int, int]]:
    """Cut increasing row numbers into (first, one past last) stretches without gaps, at most `longest` rows."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end] != rows[end - 1] + 1 or end - start == longest:
            yield int(rows[start]), int(rows[end - 1]) + 1
            start = end


def read_batches(
    spectra: SpectraFile, rows: NDArray[np.int64], fingerprint: Fingerprint, config: ExtractConfig
) -> Iterator[Spectra]:
    """Yield the rows in groups of `micro_batch`, the last one shorter, whatever `slab_rows` is.

    Every row read is compared with its digest in `fingerprint`; raises InputError when a file has changed.
    """
    waiting: list[Spectra] = []
    n_waiting = 0
    for lo, hi in runs_of(rows, config.slab_rows):
        slab = _read(spectra, slice(lo, hi), fingerprint, config)
        waiting.append(slab)
        n_waiting += hi - lo
        if n_waiting >= config.micro_batch:
            joined = _join(waiting)
            whole = n_waiting - n_waiting % config.micro_batch
            for start in range(0, whole, config.micro_batch):
                yield _part(joined, slice(start, start + config.micro_batch))
            waiting, n_waiting = [_part(joined, slice(whole, None))], n_waiting - whole
    if n_waiting:
        yield _join(waiting)


def make_batch(
    group: Spectra,
    *,
    split: str,
    draw: int | None,
    mask: NDArray[np.bool_] | None,
    error_mode: str,
    profile: NDArray[np.float64] | None,
    config: ExtractConfig,
) -> Batch:
    """Add the noise of one draw, apply the mask, build the error channels, and pad with zeros to `micro_batch`.

    Zero rows at the end keep the shape of every computation the same, hence its rounding.
    """
    noisy = _noisy(group, split=split, draw=draw, config=config)
    keep: Any = slice(None) if mask is None else mask
    noisy_t, error_t, clean_t = (
        torch.from_numpy(np.ascontiguousarray(a[:, keep])) for a in (noisy, group.error, group.flux)
    )
    x = channels(error_mode, noisy_t, error_t, profile=None if profile is None else torch.from_numpy(profile))
    if config.error_input == "zero":  # what the network is fed, whatever the mode makes of an error of zero
        x[:, 1:] = 0
    missing = config.micro_batch - len(x)
    if missing:
        x = torch.cat([x, x.new_zeros(missing, *x.shape[1:])])
    return Batch(noisy_t, error_t, clean_t, x)


def _noisy(group: Spectra, *, split: str, draw: int | None, config: ExtractConfig) -> Float32:
    normal = None
    if draw is not None:
        normal = standard_normal(
            seed=config.seed, split=split, rows=group.rows, draw=draw, n_pixels=group.flux.shape[1]
        )
    # the error already carries the noise level
    return noisy_flux(group.flux, group.error, mode=config.noise, z=normal, stored=group.stored)


def _read(spectra: SpectraFile, rows: slice, fingerprint: Fingerprint, config: ExtractConfig) -> Spectra:
    slab = check_rows_unchanged(spectra, rows, fingerprint)
    return Spectra(
        rows=np.arange(rows.start, rows.stop, dtype=np.int64),
        flux=np.maximum(slab.flux, 0).astype(np.float32),
        error=slab.repaired_error().astype(np.float32) * np.float32(config.noise_level),
        stored=None if slab.noisy is None or config.noise != "stored" else slab.noisy.astype(np.float32),
    )


def _join(groups: list[Spectra]) -> Spectra:
    stored = [g.stored for g in groups if g.stored is not None]
    return Spectra(
        rows=np.concatenate([g.rows for g in groups]),
        flux=np.concatenate([g.flux for g in groups]),
        error=np.concatenate([g.error for g in groups]),
        stored=np.concatenate(stored) if stored else None,
    )


def _part(group: Spectra, rows: slice) -> Spectra:
    return Spectra(
        group.rows[rows],
        group.flux[rows],
        group.error[rows],
        None if group.stored is None else group.stored[rows],
    )
