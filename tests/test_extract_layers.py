"""Names of the layers and the pixels that their cells have seen."""

import numpy as np
import pytest
import torch
from encoder_fakes import monotone_model, small_config

from cache.errors import ConfigError, InputError, UnknownName
from extract.layers import (
    PSEUDO_LAYERS,
    canonical_layer,
    layer_names,
    n_pools_before,
    newest_pixels,
)

REFERENCE = {"num_layers": 9, "embed_dim": 48, "kernel_size": 25}


def test_names_come_in_the_order_of_computation_without_aliases():
    assert layer_names(4) == (
        "enc_0",
        "enc_1",
        "pool_1",
        "enc_2",
        "pool_2",
        "enc_3",
        "enc_pre_latent",
        "enc_last",
    )
    assert layer_names(2) == ("enc_0", "enc_1", "enc_pre_latent", "enc_last")


@pytest.mark.parametrize("num_layers", [2, 4, 9, 11])
def test_aliases_are_translated_and_canonical_names_kept(num_layers):
    assert canonical_layer(f"enc_{num_layers}", num_layers) == "enc_last"
    assert canonical_layer("dec_input", num_layers) == "enc_last"
    assert canonical_layer(f"pool_{num_layers - 1}", num_layers) == "enc_pre_latent"
    for name in (*layer_names(num_layers), *PSEUDO_LAYERS):
        assert canonical_layer(name, num_layers) == name


@pytest.mark.parametrize("name", ["enc_5", "pool_0", "pool_4", "enc_-1", "latent", "", "ENC_0"])
def test_an_unknown_layer_lists_the_known_ones(name):
    with pytest.raises(UnknownName, match=r"unknown layer .*enc_pre_latent.*input_flux.*dec_input"):
        canonical_layer(name, 4)


def test_pools_are_counted_up_to_and_including_the_layers_own():
    counts = [n_pools_before(name, 4) for name in layer_names(4)]
    assert counts == [0, 0, 1, 1, 2, 2, 3, 3]
    assert n_pools_before("dec_input", 9) == n_pools_before("pool_8", 9) == 8
    assert n_pools_before("denoised", 9) == 0


@pytest.mark.parametrize("layer", ["enc_pre_latent", "enc_last"])
@pytest.mark.parametrize(("n_pixels", "n_cells", "unseen"), [(4096, 16, 255), (3481, 13, 408)])
def test_windows_at_the_bottleneck_of_the_reference_network(layer, n_pixels, n_cells, unseen):
    config = small_config(**REFERENCE)
    cells = np.arange(n_cells)
    forward = newest_pixels(layer, config, n_pixels, "forward")
    backward = newest_pixels(layer, config, n_pixels, "backward")
    assert forward.dtype == backward.dtype == np.int64
    np.testing.assert_array_equal(forward, 256 * cells)
    np.testing.assert_array_equal(backward, 256 * cells + unseen)
    assert n_pixels - 1 - forward[-1] == unseen


@pytest.mark.parametrize("n_pixels", [64, 53, 8])
@pytest.mark.parametrize(
    ("changes", "direction"),
    [
        ({}, "forward"),
        ({}, "backward"),
        ({"dilation": 2}, "forward"),
        ({"kernel_size": 4}, "backward"),
        ({"kernel_size": 1}, "forward"),
        ({"blindspot": False, "kernel_size": 5}, "forward"),
        ({"blindspot": False, "dilation": 3}, "forward"),
    ],
)
def test_newest_pixels_are_those_found_by_perturbing_every_pixel(changes, direction, n_pixels):
    config = small_config(num_layers=4, norm="none", **changes)
    model = monotone_model(config)
    x = torch.rand(1, 2, n_pixels, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    raised = x.repeat(n_pixels, 1, 1)
    raised[torch.arange(n_pixels), :, torch.arange(n_pixels)] += 1e6
    # the same batch shape on both sides: another one may round otherwise
    before = model.encode(x.repeat(n_pixels, 1, 1), model.layers, direction)
    after = model.encode(raised, model.layers, direction)
    for layer in model.layers:
        depends = (after[layer] != before[layer]).any(dim=1).numpy()  # (changed pixel, cell)
        newest = newest_pixels(layer, config, n_pixels, direction)
        for cell in range(depends.shape[1]):
            pixels = np.flatnonzero(depends[:, cell])
            found = pixels.max() if direction == "forward" else pixels.min()
            if not config.blindspot and config.dilation > 1:
                assert found <= newest[cell] < n_pixels, (layer, cell)  # a bound
            else:
                assert found == newest[cell], (layer, cell)


def test_pseudo_layers_keep_every_pixel():
    for layer in PSEUDO_LAYERS:
        np.testing.assert_array_equal(newest_pixels(layer, small_config(), 7, "forward"), np.arange(7))


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(InputError, match="127 pixels is too short: 7 pools need at least 128"):
        newest_pixels("enc_last", small_config(num_layers=8), 127)
    assert newest_pixels("enc_last", small_config(num_layers=8), 128).tolist() == [0]
    with pytest.raises(UnknownName, match=r"unknown direction 'both'; known: forward, backward"):
        newest_pixels("enc_0", small_config(), 16, "both")
    with pytest.raises(ConfigError, match="without blindspot; it has one stream"):
        newest_pixels("enc_0", small_config(blindspot=False), 16, "backward")
