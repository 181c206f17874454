"""Poolings against loops, and what every pooled number stands for."""

import numpy as np
import pytest
import torch
from encoder_fakes import small_config
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.errors import ConfigError, InputError, UnknownName
from extract.layers import newest_pixels
from extract.pooling import Pooling, UnevenSegments, feature_coordinates, parse_pooling, pool, segment_edges

WAVE = np.linspace(7100.0, 8850.0, 4096)
EVEN = "ignore::extract.pooling.UnevenSegments"


def slow_pool(values, name):
    """One feature map (C, L') by loops."""
    n_channels, n_cells = values.shape
    if name == "none":
        return [values[0, cell] for cell in range(n_cells)]
    if name == "mean_max":
        return [sum(row) / n_cells for row in values] + [max(row) for row in values]
    n_segments = 1 if name == "global_mean" else int(name.removeprefix("seg_mean_K"))
    width = n_cells // n_segments
    features = []
    for segment in range(n_segments):
        end = n_cells if segment == n_segments - 1 else (segment + 1) * width
        for channel in range(n_channels):
            cells = values[channel, segment * width : end]
            features.append(sum(cells) / len(cells))
    return features


@pytest.mark.filterwarnings(EVEN)
@settings(deadline=None, max_examples=60)
@given(
    name=st.one_of(
        st.sampled_from(["global_mean", "mean_max", "none"]),
        st.integers(1, 20).map(lambda number: f"seg_mean_K{number}"),
    ),
    n_channels=st.integers(1, 5),
    n_cells=st.integers(20, 60),
)
def test_every_pooling_equals_its_loop_twin(name, n_channels, n_cells):
    n_channels = 1 if name == "none" else n_channels
    values = np.random.default_rng(n_cells).normal(size=(2, n_channels, n_cells))
    pooled = pool(torch.from_numpy(values), name)
    for row in range(2):
        np.testing.assert_allclose(pooled[row].numpy(), slow_pool(values[row], name), rtol=0, atol=1e-12)
    newest = np.arange(n_cells)
    coordinates = feature_coordinates(name, n_channels, newest, WAVE)
    for row in coordinates.values():
        assert row.shape == (pooled.shape[1],)


def test_the_published_features_are_segment_major():
    feature_map = torch.arange(48 * 16.0).reshape(1, 48, 16)
    pooled = pool(feature_map, "seg_mean_K8")
    assert pooled.shape == (1, 384)
    for segment, channel in ((0, 0), (0, 47), (3, 5), (7, 47)):
        expected = feature_map[0, channel, 2 * segment : 2 * segment + 2].mean()
        assert pooled[0, segment * 48 + channel] == expected


def test_results_keep_the_dtype_and_pass_gradients():
    for name in ("global_mean", "mean_max", "seg_mean_K3"):
        feature_map = torch.randn(2, 3, 7, requires_grad=True)
        pooled = pool(feature_map, name)
        assert pooled.dtype == torch.float32
        pooled.sum().backward()
        assert bool((feature_map.grad != 0).any())


@pytest.mark.parametrize(
    "name", ["seg_mean_K0", "seg_mean_K", "seg_mean_K-1", "seg_mean_k8", "mean", "", "seg_mean_K8 "]
)
def test_unknown_names_list_the_known_ones(name):
    with pytest.raises(
        UnknownName, match=r"unknown pooling .*known: global_mean, mean_max, seg_mean_K<number>"
    ):
        parse_pooling(name)


def test_names_are_parsed():
    assert parse_pooling("seg_mean_K16") == Pooling("seg_mean", 16)
    assert parse_pooling("global_mean") == Pooling("global_mean", 1)


def test_more_segments_than_cells_is_an_error():
    with pytest.raises(
        InputError, match="16 segments asked of a feature map of 13 cells; use a seg_mean_K of at most 13"
    ):
        pool(torch.zeros(1, 2, 13), "seg_mean_K16")
    with pytest.raises(InputError, match="16 segments asked"):
        feature_coordinates("seg_mean_K16", 2, np.arange(13), WAVE)


def test_uneven_segments_are_warned_about():
    with pytest.warns(UnevenSegments, match="8 segments of 13 cells: the last has 6, the others 1"):
        pool(torch.zeros(1, 2, 13), "seg_mean_K8")
    with pytest.warns(UnevenSegments):
        feature_coordinates("seg_mean_K8", 2, np.arange(13), WAVE)
    assert segment_edges(16, 8).tolist() == list(range(0, 17, 2))
    assert segment_edges(5, 4).tolist() == [0, 1, 2, 3, 5]  # exactly twice as long: no warning


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 0), (1, 2, 3, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match=r"expected \(B, C, L'\)"):
        pool(torch.zeros(shape), "global_mean")


def test_unpooled_features_are_for_one_channel_only():
    with pytest.raises(ConfigError, match="pseudo-layers of one channel; this feature map has 2"):
        pool(torch.zeros(1, 2, 5), "none")
    with pytest.raises(ConfigError, match="pseudo-layers"):
        feature_coordinates("none", 2, np.arange(5), WAVE)
    assert pool(torch.arange(5.0)[None, None], "none").tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_coordinates_of_the_published_features(direction):
    config = small_config(num_layers=9, embed_dim=48, kernel_size=25)
    newest = newest_pixels("enc_pre_latent", config, 4096, direction)
    found = feature_coordinates("seg_mean_K8", 48, newest, WAVE)
    offset = 0 if direction == "forward" else 255
    assert [found[name].dtype.name for name in ("channel", "segment", "statistic")] == [
        "int32",
        "int32",
        "int8",
    ]
    for segment in range(8):
        for channel in (0, 17, 47):
            feature = segment * 48 + channel
            assert found["segment"][feature] == segment
            assert found["channel"][feature] == channel
            assert found["statistic"][feature] == 0
            assert found["wave_lo"][feature] == WAVE[512 * segment + offset]
            assert found["wave_hi"][feature] == WAVE[512 * segment + 256 + offset]


def test_coordinates_of_the_other_poolings():
    newest = np.array([3, 5, 9])
    both = feature_coordinates("mean_max", 2, newest, WAVE)
    assert both["statistic"].tolist() == [0, 0, 1, 1]
    assert both["channel"].tolist() == [0, 1, 0, 1]
    assert both["segment"].tolist() == [0, 0, 0, 0]
    assert set(both["wave_lo"]) == {WAVE[3]}
    assert set(both["wave_hi"]) == {WAVE[9]}
    mean = feature_coordinates("global_mean", 2, newest, WAVE)
    assert {name: row.tolist() for name, row in mean.items()} == {
        "channel": [0, 1],
        "segment": [0, 0],
        "statistic": [0, 0],
        "wave_lo": [WAVE[3]] * 2,
        "wave_hi": [WAVE[9]] * 2,
    }
    pixels = feature_coordinates("none", 1, newest, WAVE)
    assert pixels["statistic"].tolist() == [2, 2, 2]
    assert pixels["segment"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(pixels["wave_lo"], WAVE[newest])
    np.testing.assert_array_equal(pixels["wave_hi"], WAVE[newest])


def test_a_wavelength_grid_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="3 cells do not fit a wavelength grid of 9 pixels"):
        feature_coordinates("global_mean", 2, np.array([3, 5, 9]), WAVE[:9])
