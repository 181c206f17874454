"""Tiles, transforms and transfer functions against numpy.fft and a convolution by loops, in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.fast.folding import Folded
from extract.fast.tiles import (
    LARGEST_TILE,
    Tile,
    analysis,
    choose_tile,
    slot_frequencies,
    synthesis,
    transfer,
)

SIZES = (4, 8, 12, 20, 32, 36, 64, 100)


def random_kernel(n_out, n_in, kernel, dilation=1, *, ahead=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n_out, n_in, kernel, generator=generator, dtype=torch.float64)
    bias = torch.randn(n_out, generator=generator, dtype=torch.float64)
    return Folded(weight, bias, dilation, ahead)


def slow_convolution(folded, x):
    """By loops, without bias: x (size, C_in) -> the outputs from `extent` on, (size - extent, C_out)."""
    weight = folded.weight.numpy()
    n_outputs = len(x) - folded.extent
    y = np.zeros((n_outputs, len(weight)))
    for output in range(n_outputs):
        for tap in range(weight.shape[2]):
            y[output] += weight[:, :, tap] @ x[output + tap * folded.dilation]
    return y


def packed_spectrum(x):
    """The rows of `analysis` from numpy.fft: X_0, X_{size/2}, then real and imaginary part of each slot."""
    size = len(x)
    spectrum = np.fft.fft(x, axis=0)
    rows = [spectrum[0].real, spectrum[size // 2].real]
    for k in slot_frequencies(size)[1:]:
        rows += [spectrum[k].real, spectrum[k].imag]
    return np.stack(rows)


def transform(x):
    half = len(x) // 2
    even, odd = (matrix.numpy() for matrix in analysis(len(x)))
    return np.concatenate([even @ (x[:half] + x[half:]), odd @ (x[:half] - x[half:])])


@pytest.mark.parametrize("size", SIZES)
def test_the_analysis_is_the_dft_of_numpy(size):
    x = np.random.default_rng(size).standard_normal((size, 3))
    even, odd = analysis(size)
    assert even.shape == odd.shape == (size // 2, size // 2)
    assert even.dtype == odd.dtype == torch.float64
    np.testing.assert_allclose(transform(x), packed_spectrum(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("size", SIZES)
def test_every_frequency_has_one_slot(size):
    assert sorted(slot_frequencies(size)) == list(range(size // 2))


@pytest.mark.parametrize("size", SIZES)
def test_the_synthesis_undoes_the_analysis_for_the_samples_asked_for(size):
    rng = np.random.default_rng(size)
    x = rng.standard_normal((size, 2))
    for samples in (list(range(size)), [size - 1, 0, 2], rng.permutation(size)[: size // 2].tolist()):
        matrix = synthesis(size, samples)
        assert matrix.shape == (len(samples), size)
        np.testing.assert_allclose(matrix.numpy() @ packed_spectrum(x), x[samples], rtol=0, atol=1e-12)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    n_in=st.integers(1, 5),
    n_out=st.integers(1, 5),
    kernel=st.integers(1, 9),
    dilation=st.integers(1, 3),
    spare=st.integers(0, 9),
)
def test_the_product_of_slots_is_the_convolution(n_in, n_out, kernel, dilation, spare):
    folded = random_kernel(n_out, n_in, kernel, dilation)
    size = max(4, -(-(folded.extent + 1) // 4) * 4 + 4 * spare)
    x = np.random.default_rng(kernel).standard_normal((size, n_in))
    spectra = transform(x).reshape(size // 2, 1, 2 * n_in)
    kernels = transfer(folded, size)
    assert kernels.shape == (size // 2, 2 * n_in, 2 * n_out)
    products = (spectra @ kernels.numpy()).reshape(size, n_out)
    found = synthesis(size, list(range(folded.extent, size))).numpy() @ products
    np.testing.assert_allclose(found, slow_convolution(folded, x), rtol=0, atol=1e-11)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    n_in=st.integers(1, 64),
    n_out=st.integers(1, 64),
    kernel=st.integers(1, 40),
    dilation=st.integers(1, 4),
    n_outputs=st.integers(1, 5000),
)
def test_a_chosen_tile_is_one_that_the_spectral_block_can_use(n_in, n_out, kernel, dilation, n_outputs):
    folded = Folded(torch.empty(n_out, n_in, kernel), torch.empty(n_out), dilation, 0)
    tile = choose_tile(folded, n_outputs)
    if tile is not None:
        assert tile.size == tile.hop + folded.extent
        assert tile.size % 4 == 0
        assert tile.size <= LARGEST_TILE
        assert tile.hop >= 2
        assert tile.hop % 2 == 0


def test_the_reference_network_is_convolved_in_the_frequency_domain_and_a_pointwise_one_is_not():
    assert choose_tile(random_kernel(48, 48, 25), 4097) is not None
    assert choose_tile(random_kernel(48, 48, 1), 4097) is None
    assert choose_tile(random_kernel(48, 48, 24), 4097) is None  # no even hop fits a tile of 4 n
    assert choose_tile(random_kernel(48, 48, 25, 11), 4097) is None  # reaches beyond the largest tile
    assert Tile(64, 40).half == 32
