"""Spectra as images of one row (B, C, 1, L) or one column (B, C, L, 1): `axis`, that of the pixels, is 3 or 2."""

from torch import Tensor
from torch.nn import functional


def along(value: int, axis: int) -> tuple[int, int]:
    """(for rows, for columns), with `value` for the axis of the pixels and 1 for the flat one."""
    return (value, 1) if axis == 2 else (1, value)


def padded(image: Tensor, padding: tuple[int, int], axis: int) -> Tensor:
    """The image with so many zeros before and after its pixels."""
    return functional.pad(image, padding if axis == 3 else (0, 0, *padding))
