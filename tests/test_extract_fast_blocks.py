"""Convolutions on rows, direct and in the frequency domain, through one check against torch in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from extract.fast import first_block, spectral
from extract.fast.blocks import DirectBlock, Placement
from extract.fast.first_block import FirstBlock
from extract.fast.folding import Folded
from extract.fast.spectral import SpectralBlock
from extract.fast.tiles import LARGEST_TILE, Tile

KERNELS = [  # C_out, C_in, kernel size, dilation
    (3, 2, 1, 1),
    (2, 3, 3, 1),
    (1, 1, 5, 2),
    (4, 4, 25, 1),
    (2, 2, 7, 3),
]
JUNK = 1e20  # finite, and its products with a weight too


def random_folded(n_out, n_in, kernel, dilation, *, side="causal", seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n_out, n_in, kernel, generator=generator, dtype=torch.float64)
    bias = torch.randn(n_out, generator=generator, dtype=torch.float64)
    extent = (kernel - 1) * dilation
    return Folded(weight, bias, dilation, 0 if side == "causal" else extent // 2)


def legal_tiles(folded):
    hops = ((size, size - folded.extent) for size in range(4, LARGEST_TILE + 1, 4))
    return [Tile(size, hop) for size, hop in hops if hop >= 2 and hop % 2 == 0]


def exact_convolution(folded, x):
    """Float64 (b, L, C_in) -> (b, L, C_out) with zeros outside the spectrum."""
    padded = functional.pad(torch.from_numpy(x).transpose(1, 2), (folded.extent - folded.ahead, folded.ahead))
    return (
        functional.conv1d(padded, folded.weight, folded.bias, dilation=folded.dilation)
        .transpose(1, 2)
        .numpy()
    )


def pairs(y, *, shifted):
    """Maxima of pairs of (b, L, C), after a zero if `shifted`."""
    if shifted:
        y = np.concatenate([np.zeros_like(y[:, :1]), y[:, :-1]], axis=1)
    n = y.shape[1] // 2
    return y[:, : 2 * n].reshape(len(y), n, 2, -1).max(axis=2)


def random_spectra(b, length, n_in):
    return np.random.default_rng([b, length]).standard_normal((b, length, n_in))


def check_block(block, folded, placement, *, b=3, fill=JUNK):
    """Convolve and pool b random spectra; nothing may depend on what the working memory held before."""
    x = random_spectra(b, placement.length, folded.weight.shape[1])
    source = np.zeros((b, block.n_rows, x.shape[2]), dtype=np.float32)
    source[:, block.lead : block.lead + placement.length] = x
    before = source.copy()
    scratch = np.full(block.scratch(b), fill, dtype=np.float32)
    outputs, steps = block.prepare(source, scratch)
    for step in steps:
        step()
    expected = exact_convolution(folded, before[:, block.lead : block.lead + placement.length].astype(float))
    assert outputs.shape == (b, len(block.pixels), expected.shape[2])
    assert np.isfinite(outputs).all()
    allowed = 1e-5 * max(1.0, np.abs(expected).max())
    cells = np.flatnonzero((block.pixels >= 0) & (block.pixels < placement.length))
    assert sorted(block.pixels[cells]) == list(range(placement.length))
    np.testing.assert_allclose(outputs[:, cells], expected[:, block.pixels[cells]], rtol=0, atol=allowed)
    np.testing.assert_array_equal(source, before)
    if placement.paired and placement.length > 1:
        if placement.first:
            outputs[:, 0] = 0
        wider = np.full((b, placement.length // 2 + 5, expected.shape[2]), fill, dtype=np.float32)
        pooled = wider[:, 2 : 2 + placement.length // 2]
        for step in block.pool(outputs, pooled):
            step()
        shifted = placement.first == -1
        np.testing.assert_allclose(pooled, pairs(expected, shifted=shifted), rtol=0, atol=allowed)
        assert np.array_equal(wider[:, :2], np.full_like(wider[:, :2], fill), equal_nan=True)
        assert np.array_equal(wider[:, -3:], np.full_like(wider[:, -3:], fill), equal_nan=True)
    return outputs


def placements(length):
    """Before a pool of a blind-spot network, before a pool of another one, and the last block of both."""
    return [
        Placement(length, first=-1, paired=True),
        Placement(length, first=0, paired=True),
        Placement(length, first=0, paired=False),
    ]


@pytest.mark.parametrize("side", ["causal", "centred"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_length_direct_and_spectral(kernel, side):
    folded = random_folded(*kernel, side=side)
    tiles = legal_tiles(folded)
    for length in [*range(1, 30), 31, 48, 63, 64, 65, 99, 127, 128, 150, 199, 200]:
        tile = tiles[length % min(len(tiles), 20)]
        for placement in placements(length):
            check_block(DirectBlock(folded, placement), folded, placement)
            check_block(SpectralBlock(folded, placement, tile), folded, placement)


@pytest.mark.parametrize("kernel", [(2, 3, 5, 1), (3, 2, 25, 1), (2, 2, 9, 3), (5, 1, 1, 1)])
def test_every_legal_tile(kernel):
    folded = random_folded(*kernel)
    tiles = legal_tiles(folded)
    assert len(tiles) > 50
    for tile in tiles:
        for length in (7, tile.hop, 2 * tile.hop + 1):
            placement = Placement(length, first=-1, paired=True)
            check_block(SpectralBlock(folded, placement, tile), folded, placement)


@pytest.mark.parametrize("length", [1, 12, 45])
def test_even_kernels_are_convolved_directly(length):
    for kernel in (2, 4, 24):
        folded = random_folded(3, 2, kernel, 1)
        assert not [tile for tile in legal_tiles(folded) if tile.hop % 2 == 0]
        for placement in placements(length):
            check_block(DirectBlock(folded, placement), folded, placement)


@pytest.mark.parametrize("fill", [0.0, JUNK, -JUNK, np.nan, np.inf])
@pytest.mark.parametrize("n_channels", [1, 2, 16])
def test_nothing_left_in_working_memory_reaches_an_output(fill, n_channels):
    folded = random_folded(n_channels, n_channels, 5, 1)
    placement = Placement(45, first=-1, paired=True)
    for block in (DirectBlock(folded, placement), SpectralBlock(folded, placement, Tile(16, 12))):
        clean = check_block(block, folded, placement, fill=0.0)
        np.testing.assert_array_equal(check_block(block, folded, placement, fill=fill), clean)


@pytest.mark.parametrize("b", [1, 2, 7, 40])
def test_products_in_several_parts(b, monkeypatch):
    monkeypatch.setattr(spectral, "SMALL_PRODUCT", 2000)
    folded = random_folded(6, 6, 5, 1)
    placement = Placement(50, first=-1, paired=True)
    block = SpectralBlock(folded, placement, Tile(16, 12))
    assert block.chunk < b * 5
    check_block(block, folded, placement, b=b)


def test_steps_run_again_see_the_new_pixels_only():
    folded = random_folded(3, 3, 5, 1)
    placement = Placement(33, first=0, paired=False)
    for block in (DirectBlock(folded, placement), SpectralBlock(folded, placement, Tile(12, 8))):
        source = np.zeros((2, block.n_rows, 3), dtype=np.float32)
        outputs, steps = block.prepare(source, np.zeros(block.scratch(2), dtype=np.float32))
        for scale in (1e6, np.nan, 1.0):
            x = scale * random_spectra(2, 33, 3)
            source[:, block.lead : block.lead + 33] = x
            for step in steps:
                step()
        cells = np.flatnonzero(block.pixels < 33)
        expected = exact_convolution(folded, x)[:, block.pixels[cells]]
        np.testing.assert_allclose(outputs[:, cells], expected, rtol=0, atol=1e-5)


def test_a_bad_spectrum_stays_alone():
    folded = random_folded(4, 4, 5, 1)
    placement = Placement(40, first=-1, paired=True)
    for block in (DirectBlock(folded, placement), SpectralBlock(folded, placement, Tile(16, 12))):
        source = np.zeros((3, block.n_rows, 4), dtype=np.float32)
        source[:, block.lead : block.lead + 40] = random_spectra(3, 40, 4)
        outputs, steps = block.prepare(source, np.zeros(block.scratch(3), dtype=np.float32))
        for step in steps:
            step()
        clean = outputs.copy()
        source[1, block.lead + 20] = np.nan
        for step in steps:
            step()
        np.testing.assert_array_equal(outputs[[0, 2]], clean[[0, 2]])
        assert np.isnan(outputs[1]).any()


@pytest.mark.parametrize(
    ("kernel", "side"),
    [*((k, "causal") for k in (1, 2, 3, 24, 25)), *((k, "centred") for k in (1, 3, 25))],  # centred: odd only
)
@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (2, 5), (4, 3)])
def test_the_first_block(kernel, side, n_in, n_out, monkeypatch):
    folded = random_folded(n_out, n_in, kernel, 1, side=side)
    for small in (first_block.SMALL_PRODUCT, 3000):
        monkeypatch.setattr(first_block, "SMALL_PRODUCT", small)
        for length in (1, 2, 3, 7, 24, 25, 26, 64, 101):
            block = FirstBlock(folded, length)
            b = 1 + length % 3
            pixels = np.zeros((b, block.n_rows, n_in), dtype=np.float32)
            pixels[:, block.lead : block.lead + length] = random_spectra(b, length, n_in)
            x = pixels[:, block.lead : block.lead + length].astype(float)
            wider = np.full((b, length + 4, n_out), np.nan, dtype=np.float32)
            scratch = np.full(block.scratch(b) + 3, np.nan, dtype=np.float32)
            for step in block.prepare(pixels, wider[:, 3:-1], scratch):
                step()
            np.testing.assert_allclose(wider[:, 3:-1], exact_convolution(folded, x), rtol=0, atol=1e-5)
            assert np.isnan(wider[:, :3]).all()
            assert np.isnan(wider[:, -1]).all()
