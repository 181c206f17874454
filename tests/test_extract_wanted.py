"""Which arrays a request means; the windows are found again by sending pixel numbers through the network by hand."""

import numpy as np
import pytest
from encoder_fakes import small_config
from survey_fakes import request

from cache.arrays import ArrayName
from cache.errors import ConfigError, UnknownName
from extract.encoder import BlindspotModel1D
from extract.wanted import encoder_layers, wanted_arrays

WAVE = np.linspace(7100.0, 8850.0, 4096)
NOTHING = -1


def masked():
    """The places of the 3481 pixels that a mask keeps: whole stretches are left out, as in the group's."""
    keep = np.ones(4096, dtype=bool)
    keep[200:500] = keep[2000:2300] = keep[-15:] = False
    return np.flatnonzero(keep)


def pixels_read(names, stop, n_pixels):
    """The newest pixel of every cell of layer `stop`, by lists and loops: blocks, shifts by one, pairs."""
    newest = list(range(n_pixels))
    for name in names:
        if name.startswith("enc_") and name != "enc_pre_latent":
            seen, out = NOTHING, []
            for pixel in newest:  # a causal block has read every cell up to its own
                seen = max(seen, pixel)
                out.append(seen)
            newest = out
        else:
            shifted = [NOTHING, *newest[:-1]]
            newest = [max(shifted[2 * j], shifted[2 * j + 1]) for j in range(len(shifted) // 2)]
        if name == stop:
            return newest
    raise AssertionError(stop)


def windows(newest, wave, n_segments):
    width = len(newest) // n_segments
    for segment in range(n_segments):
        cells = newest[segment * width : None if segment == n_segments - 1 else (segment + 1) * width]
        yield min(wave[cells]), max(wave[cells])


@pytest.fixture(scope="module")
def deep():
    """The depth of the reference network: eight pools."""
    return BlindspotModel1D(small_config(num_layers=9))


@pytest.mark.parametrize(("n_pixels", "n_segments"), [(4096, 8), (3481, 4), (3481, 13)])
def test_windows_are_those_of_the_pixels_read(deep, tmp_path, n_pixels, n_segments):
    wave = WAVE if n_pixels == 4096 else WAVE[masked()]
    assert len(wave) == n_pixels
    layers = ("enc_0", "enc_4", "pool_3", "enc_pre_latent", "enc_last")
    poolings = (f"seg_mean_K{n_segments}", "global_mean", "mean_max")
    asked = request(
        tmp_path / "x.h5", tmp_path, layers=layers, poolings=poolings, directions=("forward", "backward")
    )
    wanted = wanted_arrays(asked, deep, wave)
    assert len(wanted.coordinates) == 5 * 3 * 2
    for array, coordinates in wanted.coordinates.items():
        newest = pixels_read(deep.layers, array.layer, n_pixels)
        if array.direction == "backward":  # the same network on the flipped spectrum, its cells flipped back
            newest = [n_pixels - 1 - pixel for pixel in reversed(newest)]
        count = n_segments if array.pooling.startswith("seg") else 1
        expected = list(windows(newest, wave, count))
        n_channels = deep.config.embed_dim
        repeats = 2 if array.pooling == "mean_max" else 1
        lows = np.tile(np.repeat([low for low, _ in expected], n_channels), repeats)
        highs = np.tile(np.repeat([high for _, high in expected], n_channels), repeats)
        np.testing.assert_array_equal(coordinates["wave_lo"], lows)
        np.testing.assert_array_equal(coordinates["wave_hi"], highs)
        assert (coordinates["wave_lo"] <= coordinates["wave_hi"]).all()
        assert coordinates["statistic"].tolist() == [0] * n_channels * count + [1] * n_channels * (
            repeats - 1
        )
        np.testing.assert_array_equal(coordinates["channel"], np.arange(len(lows)) % n_channels)


def test_the_bottleneck_reads_up_to_every_256th_pixel(deep):
    newest = pixels_read(deep.layers, "enc_pre_latent", 4096)
    assert newest == [256 * j for j in range(16)]


def test_widths_are_in_order_of_path(deep, tmp_path):
    asked = request(
        tmp_path / "x.h5",
        tmp_path,
        layers=("input_flux", "enc_last", "enc_9", "dec_input"),
        poolings=("none", "mean_max"),
        directions=("backward", "forward"),
    )
    wanted = wanted_arrays(asked, deep, WAVE)
    assert wanted.widths() == [
        ["enc_last/backward/mean_max", 4],
        ["enc_last/forward/mean_max", 4],
        ["input_flux/forward/mean_max", 2],
        ["input_flux/forward/none", 4096],
    ]
    kept = wanted.restrict({ArrayName("input_flux", "forward", "none"), ArrayName("enc_0", "forward", "x")})
    assert kept.widths() == [["input_flux/forward/none", 4096]]


def test_all_stands_for_every_layer_once(deep, tmp_path):
    asked = request(tmp_path / "x.h5", tmp_path, layers=("enc_2", "all", "denoised"))
    assert set(encoder_layers(asked, deep)) == set(deep.layers)
    assert len(encoder_layers(asked, deep)) == len(deep.layers) == 18


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"layers": ("bottom",)}, UnknownName, "unknown layer 'bottom'; known: enc_0"),
        ({"poolings": ("median",)}, UnknownName, "unknown pooling 'median'"),
        ({"layers": ("input_flux",), "poolings": ("median",)}, UnknownName, "unknown pooling 'median'"),
        ({"poolings": ()}, ConfigError, "give no array"),
        ({"poolings": ("none",)}, ConfigError, "layers of the network need another"),
        ({"directions": ()}, ConfigError, "give no array"),
    ],
)
def test_what_does_not_exist_is_refused(deep, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        wanted_arrays(request(tmp_path / "x.h5", tmp_path, **changes), deep, WAVE)


def test_a_network_without_blindspot_has_no_backward_direction(tmp_path):
    plain = BlindspotModel1D(small_config(blindspot=False))
    with pytest.raises(ConfigError, match="one stream: use 'forward'"):
        wanted_arrays(request(tmp_path / "x.h5", tmp_path, directions=("backward",)), plain, WAVE)
