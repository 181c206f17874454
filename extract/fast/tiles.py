"""How a convolution is cut into tiles for the frequency domain: tile size, transforms, and what they cost."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .folding import Folded

PRODUCT_RATE, TRANSFORM_RATE, DIRECT_RATE = 105.0, 95.0, 110.0
"""FLOP per ns for the products per frequency, the transforms and a direct convolution, on the core of
docs/performance.md. Only their ratios matter: they choose a tile, never a result."""
BUTTERFLY_TIME = 0.25
"""ns per input pixel and channel for sums and differences, on the same core."""
LARGEST_TILE = 256


@dataclass(frozen=True)
class Tile:
    """Overlap-save: every `hop` outputs come from a window of `size` inputs (size = hop + extent of the kernel)."""

    size: int
    hop: int

    @property
    def half(self) -> int:
        """Half of the size: the number of frequency slots, and of pixels of a folded window."""
        return self.size // 2


def tile_flops(n_in: int, n_out: int, tile: Tile) -> tuple[int, int]:
    """Floating-point operations for one tile: of the products per frequency, and of both transforms."""
    return 4 * n_in * n_out * tile.size, tile.size * (tile.size * n_in + 2 * tile.hop * n_out)


def choose_tile(folded: Folded, n_outputs: int) -> Tile | None:
    """The tile with which `n_outputs` outputs take the least time; None where the direct convolution is faster."""
    n_out, n_in, _ = folded.weight.shape
    best, least = None, 2 * folded.weight.numel() * n_outputs / DIRECT_RATE
    for size in range(4, LARGEST_TILE + 1, 4):
        tile = Tile(size, size - folded.extent)
        if tile.hop < 2 or tile.hop % 2:
            continue
        products, transforms = tile_flops(n_in, n_out, tile)
        time = products / PRODUCT_RATE + transforms / TRANSFORM_RATE + BUTTERFLY_TIME * tile.hop * n_in
        time *= -(-n_outputs // tile.hop)
        if time < least:
            best, least = tile, time
    return best


def analysis(size: int) -> tuple[Tensor, Tensor]:
    """Real DFT of `size` real samples after one butterfly: (even, odd), each (size/2, size/2) float64.

    With s[t] = x[t] + x[t + size/2] and d[t] = x[t] - x[t + size/2], X_k of even k is the transform of s, of odd k
    that of d (decimation in frequency, Cooley and Tukey 1965). Rows of `even`: X_0, X_{size/2}, then real and
    imaginary part of X_2, X_4, ...; of `odd`: of X_1, X_3, .... `size` is a multiple of 4.
    """
    t = torch.arange(size // 2, dtype=torch.float64)
    even = [torch.ones_like(t), torch.cos(math.pi * t)]
    odd: list[Tensor] = []
    for k in range(1, size // 2):
        angle = 2 * math.pi * k * t / size
        (odd if k % 2 else even).extend((torch.cos(angle), -torch.sin(angle)))
    return torch.stack(even), torch.stack(odd)


def slot_frequencies(size: int) -> list[int]:
    """Frequency k of every slot of two rows of `analysis`, `even` then `odd`; slot 0 holds k = 0 and size/2."""
    return [*range(0, size // 2, 2), *range(1, size // 2, 2)]


def synthesis(size: int, samples: list[int]) -> Tensor:
    """Inverse real DFT, only for some samples: (len(samples), size) float64, columns in the order of `analysis`."""
    t = torch.tensor(samples, dtype=torch.float64)
    columns = [torch.full_like(t, 1 / size), torch.cos(math.pi * t) / size]
    for k in slot_frequencies(size)[1:]:
        angle = 2 * math.pi * k * t / size
        columns += [2 * torch.cos(angle) / size, -2 * torch.sin(angle) / size]
    return torch.stack(columns, dim=1)


def transfer(folded: Folded, size: int) -> Tensor:
    """The kernel per frequency slot: (size/2, 2 C_in, 2 C_out) float64, for row vectors [real | imaginary].

    Output p of the circular convolution is right for `extent` <= p < size.
    """
    n_out, n_in, kernel = folded.weight.shape
    impulse = torch.zeros(n_out, n_in, folded.extent + 1, dtype=torch.float64)
    impulse[..., folded.extent - folded.dilation * torch.arange(kernel)] = folded.weight
    spectrum = torch.fft.rfft(impulse, n=size).permute(2, 1, 0)
    real, imaginary = spectrum.real, spectrum.imag
    slots = torch.cat([torch.cat([real, imaginary], dim=2), torch.cat([-imaginary, real], dim=2)], dim=1)[
        slot_frequencies(size)
    ]
    slots[0] = 0
    slots[0, :n_in, :n_out], slots[0, n_in:, n_out:] = real[0], real[size // 2]
    return slots
