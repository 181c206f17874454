"""The error channels of every mode against golden values and loop twins."""

import numpy as np
import pytest
import torch
from encoder_fakes import GOLDEN, NO_GOLDEN

from cache.errors import InputError, UnknownName
from extract.error_input import ERROR_MODES, channels, n_error_channels

N_PIXELS = 4099  # odd, and 16 bins leave a tail of 3


def spectra(n_pixels=N_PIXELS):
    rng = np.random.default_rng(0)
    noisy = rng.normal(size=(3, n_pixels))
    error = 0.05 + rng.gamma(2.0, 0.1, size=(3, n_pixels)) * np.linspace(1, 2, n_pixels)
    return noisy, error, error.mean(axis=0)


def slow_mode(mode, error, profile):
    """One spectrum's error channels by plain loops: (L,) -> (C, L), float64."""
    n_pixels = len(error)
    rms = (sum(value * value for value in error) / n_pixels) ** 0.5

    def spread(*scalars):
        return [[scalar] * n_pixels for scalar in scalars]

    def bins():
        width = n_pixels // 16
        means = [np.mean(error[k * width : (k + 1) * width]) for k in range(16)]
        return [[means[min(pixel // width, 15)] for pixel in range(n_pixels)]]

    def smoothed():
        padded = np.concatenate([[error[0]] * 250, error, [error[-1]] * 250])
        return [[padded[pixel : pixel + 501].mean() for pixel in range(n_pixels)]]

    modes = {
        "pixel": lambda: [error],
        "none": lambda: np.zeros((0, n_pixels)),
        "L0": lambda: spread(rms),
        "L1": lambda: spread(rms, sorted(error)[(n_pixels - 1) // 2], np.quantile(error, 0.9)),
        "L2": bins,
        "L3": smoothed,
        "L4": lambda: [profile],
        "L5": lambda: [profile / np.mean(profile) * rms],
    }
    return np.array(modes[mode]())


@pytest.mark.parametrize("n_pixels", [4096, N_PIXELS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ERROR_MODES)
def test_every_mode_equals_its_loop_twin(mode, dtype, n_pixels):
    noisy, error, profile = (values.astype(dtype) for values in spectra(n_pixels))
    x = channels(mode, torch.from_numpy(noisy), torch.from_numpy(error), profile=torch.from_numpy(profile))
    assert x.shape == (3, 1 + n_error_channels(mode), n_pixels)
    assert x.dtype == torch.from_numpy(noisy).dtype
    np.testing.assert_array_equal(x[:, 0].numpy(), noisy)
    for row in range(3):
        expected = slow_mode(mode, error[row].astype(np.float64), profile.astype(np.float64))
        np.testing.assert_allclose(x[row, 1:].numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=NO_GOLDEN)
@pytest.mark.parametrize("n_pixels", [4096, 3481])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_golden_values(n_pixels, dtype):
    with np.load(GOLDEN / f"inputs_L{n_pixels}.npz") as inputs:
        noisy, error = inputs["noisy"].astype(dtype), inputs["error"].astype(dtype)
    with np.load(GOLDEN / f"error_modes_L{n_pixels}.npz") as golden:
        modes = [name for name in golden if name != "profile"]
        assert len(modes) == (6 if n_pixels == 4096 else 5)
        for mode in modes:
            x = channels(mode, noisy, error, profile=golden["profile"])
            np.testing.assert_allclose(x[:, 1:, ::37].numpy(), golden[mode], rtol=0, atol=1e-6, err_msg=mode)


def test_numbers_of_channels():
    assert [n_error_channels(mode) for mode in ERROR_MODES] == [1, 0, 1, 3, 1, 1, 1, 1]
    with pytest.raises(UnknownName, match="unknown error mode 'L6'; known: pixel, none, L0, L1"):
        n_error_channels("L6")
    with pytest.raises(UnknownName, match="unknown error mode 'raw'"):
        channels("raw", *spectra()[:2])


def test_the_median_is_the_lower_of_the_two_middle_values():
    error = np.array([[4.0, 1.0, 3.0, 2.0]])
    assert channels("L1", error, error)[0, 2, 0] == 2.0


@pytest.mark.parametrize("mode", ["L0", "L1"])
def test_broadcast_modes_do_not_know_which_pixel_is_which(mode):
    noisy, error, _ = spectra()
    order = np.random.default_rng(1).permutation(N_PIXELS)
    straight, shuffled = channels(mode, noisy, error), channels(mode, noisy, error[:, order])
    torch.testing.assert_close(straight, shuffled, rtol=0, atol=1e-12)


def test_rows_do_not_depend_on_each_other():
    noisy, error, profile = spectra()
    for mode in ERROR_MODES:
        whole = channels(mode, noisy, error, profile=profile)
        for row in range(3):
            alone = channels(mode, noisy[row : row + 1], error[row : row + 1], profile=profile)
            torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-12)


def test_l2_is_refused_when_its_bins_would_follow_the_flux():
    noisy, error, _ = spectra(4095)
    with pytest.raises(InputError, match="'L2' on 4095 pixels makes bins of 255 pixels; at least 256"):
        channels("L2", noisy, error)


@pytest.mark.parametrize("mode", ["L4", "L5"])
def test_a_profile_is_needed_and_must_fit(mode):
    noisy, error, profile = spectra()
    with pytest.raises(InputError, match=rf"{mode!r} needs the mean error per pixel.*--profile"):
        channels(mode, noisy, error)
    with pytest.raises(InputError, match=r"profile has shape \(4098,\), the spectra have 4099 pixels"):
        channels(mode, noisy, error, profile=profile[:-1])
    profile[3] = np.nan
    with pytest.raises(InputError, match="not finite and positive"):
        channels(mode, noisy, error, profile=profile)


def test_shapes_must_agree():
    noisy, error, _ = spectra()
    with pytest.raises(InputError, match=r"\(3, 4099\) with error of shape \(2, 4099\)"):
        channels("pixel", noisy, error[:2])
    with pytest.raises(InputError, match=r"expected the same \(B, L\)"):
        channels("none", noisy[0], error[0])
