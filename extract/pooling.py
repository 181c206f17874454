"""Poolings of a feature map into a vector, and what each number of the vector stands for (REFERENCE.md, 2)."""

import dataclasses
import re
import warnings

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache.errors import ConfigError, InputError, UnknownName

KNOWN = ("global_mean", "mean_max", "seg_mean_K<number>", "none")
MEAN, MAX, VALUE = 0, 1, 2  # codes of the coordinate `statistic`


class UnevenSegments(UserWarning):
    """The last segment is more than twice as long as the others."""


@dataclasses.dataclass(frozen=True)
class Pooling:
    """A parsed pooling name; `n_segments` is 1 except for `seg_mean`."""

    kind: str
    n_segments: int = 1


def parse_pooling(name: str) -> Pooling:
    """Read `global_mean`, `mean_max`, `seg_mean_K{K}` or `none`; raises UnknownName for anything else."""
    if name in ("global_mean", "mean_max", "none"):
        return Pooling(name)
    found = re.fullmatch(r"seg_mean_K([1-9]\d*)", name, flags=re.ASCII)
    if found is None:
        raise UnknownName("pooling", name, KNOWN)
    return Pooling("seg_mean", int(found[1]))


def segment_edges(n_cells: int, n_segments: int) -> npt.NDArray[np.int64]:
    """First cell of every segment, then the end: int64 (n_segments + 1,).

    Segments have `n_cells // n_segments` cells; the last takes the remainder. Raises InputError for more
    segments than cells, warns (UnevenSegments) when the last is more than twice as long as the others.
    """
    edges = plain_edges(n_cells, n_segments)
    width = n_cells // n_segments
    if edges[-1] - edges[-2] > 2 * width:
        warnings.warn(
            f"{n_segments} segments of {n_cells} cells: the last has {edges[-1] - edges[-2]}, "
            f"the others {width}; a number that divides better makes them comparable",
            UnevenSegments,
            stacklevel=3,
        )
    return edges


def plain_edges(n_cells: int, n_segments: int) -> npt.NDArray[np.int64]:
    """`segment_edges` without its warning, for what was planned before; safe in several threads."""
    if n_segments > n_cells:
        raise InputError(
            f"{n_segments} segments asked of a feature map of {n_cells} cells; use a seg_mean_K of at most {n_cells}"
        )
    edges = np.arange(n_segments + 1, dtype=np.int64) * (n_cells // n_segments)
    edges[-1] = n_cells
    return edges


def pool(feature_map: Tensor, name: str) -> Tensor:
    """Pool (B, C, L') into (B, D).

    `global_mean`: D = C. `mean_max`: D = 2C, means then maxima. `seg_mean_K{K}`: D = C K, segment by segment,
    feature = segment * C + channel. `none`: D = L', one channel only. Raises InputError for a feature map of
    another shape or with fewer cells than segments, UnknownName for the name.
    """
    pooling = parse_pooling(name)
    if feature_map.ndim != 3 or feature_map.shape[-1] < 1:
        raise InputError(f"feature map of shape {tuple(feature_map.shape)}; expected (B, C, L') with L' >= 1")
    _check_unpooled(pooling, feature_map.shape[1])
    if pooling.kind == "seg_mean":
        segment_edges(feature_map.shape[2], pooling.n_segments)
    return pool_quietly(feature_map, pooling)


def pool_quietly(feature_map: Tensor, pooling: Pooling) -> Tensor:
    """`pool` without its checks and its warning, for what was checked before; safe in several threads."""
    if pooling.kind == "none":
        return feature_map[:, 0]
    if pooling.kind == "global_mean":
        return feature_map.mean(dim=2)
    if pooling.kind == "mean_max":
        return torch.cat([feature_map.mean(dim=2), feature_map.amax(dim=2)], dim=1)
    edges = plain_edges(feature_map.shape[2], pooling.n_segments)
    last_edge, width = int(edges[-2]), int(edges[1])
    equal = feature_map[..., :last_edge].reshape(*feature_map.shape[:2], pooling.n_segments - 1, width)
    last = feature_map[..., last_edge:].mean(dim=2, keepdim=True)
    return torch.cat([equal.mean(dim=3), last], dim=2).transpose(1, 2).flatten(1)


def feature_coordinates(
    name: str, n_channels: int, newest: npt.NDArray[np.int64], wave: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[np.generic]]:
    """What each of the D numbers of a pooling is: `channel`, `segment`, `statistic`, `wave_lo`, `wave_hi`.

    `newest` (L',) are the newest pixels of the cells (extract.layers.newest_pixels, increasing in both
    directions), `wave` (L,) the wavelengths of the masked pixels. `wave_lo` and `wave_hi`, float64 in the
    unit of `wave`, bound the newest pixels of the segment: "context up to" (or "from"), not "information
    at". `channel` and `segment` are int32, `statistic` int8 (0 mean, 1 maximum, 2 value).
    """
    pooling = parse_pooling(name)
    _check_unpooled(pooling, n_channels)
    if newest.size == 0 or newest.min() < 0 or newest.max() >= wave.size:
        raise InputError(
            f"newest pixels of {newest.size} cells do not fit a wavelength grid of {wave.size} pixels"
        )
    if pooling.kind == "none":
        first = last = np.arange(newest.size)
    else:
        edges = segment_edges(newest.size, pooling.n_segments)
        first, last = edges[:-1], edges[1:] - 1
    statistics = {"none": [VALUE], "mean_max": [MEAN, MAX]}.get(pooling.kind, [MEAN])
    n_segments, n_statistics = first.size, len(statistics)
    segment = np.repeat(np.arange(n_segments), n_channels)
    return {
        "channel": np.tile(np.arange(n_channels, dtype=np.int32), n_segments * n_statistics),
        "segment": np.tile(segment, n_statistics).astype(np.int32),
        "statistic": np.repeat(np.array(statistics, dtype=np.int8), segment.size),
        "wave_lo": np.tile(wave[newest[first]][segment], n_statistics).astype(np.float64),
        "wave_hi": np.tile(wave[newest[last]][segment], n_statistics).astype(np.float64),
    }


def _check_unpooled(pooling: Pooling, n_channels: int) -> None:
    if pooling.kind == "none" and n_channels != 1:
        raise ConfigError(
            f"pooling 'none' is for pseudo-layers of one channel; this feature map has {n_channels}: use seg_mean_K"
        )
