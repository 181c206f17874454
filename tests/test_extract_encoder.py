"""The network against golden arrays, a loop twin, and the property that gives it its name."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from encoder_fakes import DATA, GOLDEN, NO_GOLDEN, monotone_model, random_model, small_config

from cache.errors import ConfigError, InputError, UnknownName
from extract.checkpoint import load_encoder
from extract.encoder import BlindspotModel1D, shift_right
from extract.error_input import channels
from extract.layers import n_pools_before

KEYS_DIGEST = "7fcf734655ec5f8d26924ce6dcdb27830b8494740681a5ff6a5fbbff37948014"  # golden/state_dict_keys.txt
FLOAT32, FLOAT64 = 1e-4, 1e-9


@pytest.fixture(scope="module")
def cut():
    with np.load(DATA / "golden_cut.npz") as arrays:
        return dict(arrays)


def both_streams(model, x, layer):
    """Forward, then backward as the network sees it (not flipped back), as the golden arrays hold them."""
    forward = model.encode(x, (layer,), "forward")[layer]
    backward = model.encode(x, (layer,), "backward")[layer]
    return torch.cat([forward, backward.flip(-1)]).numpy()


def layer_of(name, num_layers):
    """Our name of a golden array: pre_latent, enc3, enc_last_f64, ..."""
    plain = name.removesuffix("_f64")
    if plain == "pre_latent":
        return "enc_pre_latent"
    number = num_layers if plain == "enc_last" else int(plain.removeprefix("enc"))
    return "enc_last" if number == num_layers else f"enc_{number}"


def test_the_reference_network_has_the_published_size_and_names():
    config = small_config(num_layers=9, embed_dim=48, kernel_size=25)
    model = BlindspotModel1D(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_889_670
    lines = [f"{name}\t{tuple(value.shape)}\t{value.dtype}" for name, value in model.state_dict().items()]
    assert len(lines) == 203
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == KEYS_DIGEST


@pytest.mark.parametrize(("network", "n_pixels"), [("small", 4096), ("small", 3481), ("mu_ln", 4096)])
def test_activations_and_outputs_agree_with_the_groups_own_code(network, n_pixels, cut):
    model = load_encoder(DATA / f"{network}.ckpt", DATA / f"{network}.yaml")
    noisy, error = cut[f"inputs/{n_pixels}/noisy"], cut[f"inputs/{n_pixels}/error"]
    x = channels(model.config.error_mode, noisy, error)
    out = model(x).numpy()[..., ::37]
    np.testing.assert_allclose(out, cut[f"{network}/{n_pixels}/out"], rtol=0, atol=FLOAT32)
    names = [name for name in cut if name.startswith(f"{network}/{n_pixels}/") and not name.endswith("/out")]
    assert len(names) >= 2
    for name in names:
        layer = layer_of(name.rsplit("/", 1)[1], model.config.num_layers)
        exact = name.endswith("_f64")
        module, fed = (model.double(), x.double()) if exact else (model.float(), x)
        found = both_streams(module, fed, layer)[..., ::32]
        np.testing.assert_allclose(found, cut[name], rtol=0, atol=FLOAT64 if exact else FLOAT32)


def every_stream(model, x):
    """Both streams of every layer, in one pass per direction."""
    forward = model.encode(x, model.layers, "forward")
    backward = model.encode(x, model.layers, "backward")
    return {layer: torch.cat([forward[layer], backward[layer].flip(-1)]).numpy() for layer in model.layers}


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=NO_GOLDEN)
@pytest.mark.parametrize(
    ("network", "n_pixels"),
    [("ref", 4096), ("ref", 3481), ("small", 4096), ("small", 3481), ("mu_ln", 4096)],
)
def test_whole_golden_arrays(network, n_pixels):
    model = load_encoder(GOLDEN / f"{network}.ckpt", GOLDEN / f"{network}.yaml")
    with np.load(GOLDEN / f"inputs_L{n_pixels}.npz") as inputs:
        x = channels(model.config.error_mode, inputs["noisy"], inputs["error"])
    with np.load(GOLDEN / f"{network}_L{n_pixels}.npz") as arrays:
        golden = dict(arrays)
    np.testing.assert_allclose(model(x).numpy(), golden.pop("out"), rtol=0, atol=FLOAT32)
    single, double = every_stream(model, x), every_stream(model.double(), x.double())
    for name, expected in golden.items():
        plain, _, statistic = (
            name.partition("_") if name.endswith(("_mean", "_std", "_max")) else (name, "", "")
        )
        layer = layer_of(plain, model.config.num_layers)
        exact = name.endswith("_f64")
        found = (double if exact else single)[layer].astype(np.float64)
        found = getattr(found, statistic)(axis=2) if statistic else found
        np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT64 if exact else FLOAT32, err_msg=name)


def slow_block(state, name, x, *, dilation, kernel_size, causal):
    """Convolution by loops, norm, LeakyReLU: (C, L) -> (C', L), float64."""
    weight, bias = state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]
    before = (kernel_size - 1) * dilation if causal else (kernel_size - 1) * dilation // 2
    n_pixels = x.shape[1]
    out = np.tile(bias[:, None], n_pixels)
    for pixel in range(n_pixels):
        for tap in range(kernel_size):
            source = pixel - before + tap * dilation
            if 0 <= source < n_pixels:
                out[:, pixel] += weight[:, :, tap] @ x[:, source]
    if f"{name}.bn.weight" in state:
        if f"{name}.bn.running_mean" in state:
            mean, var = state[f"{name}.bn.running_mean"][:, None], state[f"{name}.bn.running_var"][:, None]
        else:
            mean, var = out.mean(), out.var()
        scale, offset = state[f"{name}.bn.weight"][:, None], state[f"{name}.bn.bias"][:, None]
        out = (out - mean) / np.sqrt(var + 1e-5) * scale + offset
    return np.where(out > 0, out, 0.1 * out)


def slow_shift(x):
    return np.concatenate([np.zeros((x.shape[0], 1)), x[:, :-1]], axis=1)


def slow_pool(x, *, shifted):
    x = slow_shift(x) if shifted else x
    return np.stack([x[:, 2 * j : 2 * j + 2].max(axis=1) for j in range(x.shape[1] // 2)], axis=1)


def slow_network(config, state, x):
    """All encoder layers of the forward stream, and the output, of one spectrum (C_in, L)."""

    def block(name, x, dilation=1, kernel_size=config.kernel_size):
        return slow_block(state, name, x, dilation=dilation, kernel_size=kernel_size, causal=config.blindspot)

    def unet(x):
        last = config.num_layers
        layers = {"enc_0": block("encoders.0", x)}
        skips, x = [x], layers["enc_0"]
        for index in range(1, last):
            layers[f"enc_{index}"] = block(f"encoders.{index}", x, config.dilation)
            x = slow_pool(layers[f"enc_{index}"], shifted=config.blindspot)
            layers["enc_pre_latent" if index == last - 1 else f"pool_{index}"] = x
            skips.append(x)
        skips.pop()
        x = layers["enc_last"] = block(f"encoders.{last}", x, config.dilation)
        for index in range(last - 1):
            skip = skips.pop()
            nearest = [pixel * x.shape[1] // skip.shape[1] for pixel in range(skip.shape[1])]
            x = block(f"decoders_a.{index}", np.concatenate([x[:, nearest], skip]))
            x = block(f"decoders_b.{index}", x)
        return layers, x

    layers, out = unet(x)
    if config.blindspot:
        _, other = unet(x[:, ::-1])
        out = np.concatenate([slow_shift(out), slow_shift(other)[:, ::-1]])
    for index in range(3):
        out = block(f"nin_layers.{index}", out, kernel_size=1)
    return layers, np.logaddexp(0, out) if config.ending == "softplus" else out


@pytest.mark.parametrize("n_pixels", [32, 45])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "ln", "ending": "linear", "output_channels": 1},
        {"norm": "none", "num_layers": 2, "kernel_size": 5},
        {"dilation": 2, "error_mode": "L1", "error_channels": 3},
        {"kernel_size": 4, "error_mode": "none", "error_channels": 0},
        {"blindspot": False, "ending": "linear"},
        {"blindspot": False, "norm": "ln", "dilation": 2, "num_layers": 4, "ending": "linear"},
    ],
)
def test_the_network_equals_its_loop_twin(changes, n_pixels):
    config = small_config(**changes)
    model = random_model(config)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, config.n_inputs, n_pixels, generator=generator, dtype=torch.float64)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    maps, out = model.encode(x, model.layers), model(x).detach()
    assert tuple(maps) == model.layers
    for row in range(2):
        layers, expected = slow_network(config, state, x[row].numpy())
        np.testing.assert_allclose(out[row].numpy(), expected, rtol=0, atol=1e-12)
        for name, activation in layers.items():
            np.testing.assert_allclose(maps[name][row].detach().numpy(), activation, rtol=0, atol=1e-12)


def changed(model, x):
    """What changes with every pixel in turn: {layer: (pixel, cell)} of the forward stream, (pixel, output)."""
    n_pixels = x.shape[-1]
    moved = x.repeat(n_pixels, 1, 1)
    moved[torch.arange(n_pixels), :, torch.arange(n_pixels)] += 3.0
    before, after = model.encode(x, model.layers), model.encode(moved, model.layers)
    cells = {name: ((before[name] - after[name]).abs() > 1e-12).any(dim=1) for name in model.layers}
    return cells, ((model(x) - model(moved)).abs() > 1e-12).any(dim=1)


@pytest.mark.parametrize("n_pixels", [64, 51])
@pytest.mark.parametrize("changes", [{}, {"dilation": 2}, {"kernel_size": 4, "norm": "none"}])
def test_no_output_depends_on_its_own_pixel_and_no_activation_on_the_future(changes, n_pixels):
    config = small_config(num_layers=4, **changes)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(1, 2, n_pixels, generator=generator, dtype=torch.float64)
    cells, outputs = changed(random_model(config, seed=2), x)
    assert not outputs.diagonal().any()
    assert outputs.any()
    for name, depends in cells.items():
        scale = 2 ** n_pools_before(name, config.num_layers)
        pixel, cell = depends.nonzero(as_tuple=True)
        assert (cell * scale >= pixel).all(), name


def test_every_other_pixel_does_reach_an_output():
    model = monotone_model(small_config(num_layers=4, norm="none", ending="linear"))
    generator = torch.Generator().manual_seed(0)
    _, outputs = changed(model, torch.rand(1, 2, 40, dtype=torch.float64, generator=generator))
    assert torch.equal(outputs, ~torch.eye(40, dtype=torch.bool))


def test_a_network_without_blindspot_sees_its_own_pixel():
    model = monotone_model(small_config(blindspot=False, norm="none", ending="linear"))
    _, outputs = changed(model, torch.rand(1, 2, 32, dtype=torch.float64))
    assert outputs.diagonal().all()


def test_the_backward_stream_is_the_forward_stream_of_the_flipped_spectrum():
    model = random_model(small_config())
    x = torch.randn(2, 2, 45, dtype=torch.float64)
    backward = model.encode(x, model.layers, "backward")
    forward = model.encode(x.flip(-1), model.layers)
    for layer in model.layers:
        assert torch.equal(backward[layer], forward[layer].flip(-1))


def test_the_batch_does_not_change_the_activations():
    model = random_model(small_config(norm="ln"))
    x = torch.randn(5, 2, 45, dtype=torch.float64)
    whole = model.encode(x, ("enc_last",))["enc_last"]
    for row in range(5):
        torch.testing.assert_close(model.encode(x[row : row + 1], ("enc_last",))["enc_last"][0], whole[row])


@pytest.mark.parametrize(
    ("layers", "n_blocks"),
    [
        (("enc_0",), 1),
        (("enc_1",), 2),
        (("pool_1", "enc_0"), 2),
        (("enc_pre_latent",), 3),
        (("dec_input",), 4),
        ((), 0),
    ],
)
def test_encode_stops_at_the_deepest_layer_asked_for(layers, n_blocks):
    model = random_model(small_config())
    calls = []
    for module in model.modules():
        if hasattr(module, "conv"):
            module.register_forward_hook(lambda module, *_: calls.append(module))
    model.encode(torch.zeros(1, 2, 16, dtype=torch.float64), layers)
    assert calls == list(model.encoders)[:n_blocks]


def test_aliases_are_the_same_tensors():
    model = random_model(small_config())
    flux, sigma = torch.randn(2, 1, 32, dtype=torch.float64), torch.rand(2, 32, dtype=torch.float64)
    for alias, name in (("dec_input", "enc_last"), ("enc_3", "enc_last"), ("pool_2", "enc_pre_latent")):
        assert torch.equal(
            model.encode_flux(flux, sigma, layer=alias), model.encode_flux(flux, sigma, layer=name)
        )
    x = torch.cat([flux, sigma[:, None]], dim=1)
    assert list(model.encode(x, ("dec_input", "enc_3", "pool_2"))) == ["enc_pre_latent", "enc_last"]


def test_encode_flux_takes_every_documented_shape():
    model = random_model(small_config())
    flux, sigma = torch.randn(2, 45, dtype=torch.float64), torch.rand(2, 45, dtype=torch.float64)
    expected = model.encode(torch.stack([flux, sigma], dim=1), ("enc_pre_latent",))["enc_pre_latent"]
    assert expected.shape == (2, 2, 11)
    for x_noisy in (flux, flux[:, None]):
        for error in (sigma, sigma[:, None]):
            assert torch.equal(model.encode_flux(x_noisy, error), expected)
    single = model.float().encode_flux(flux, sigma)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-4)
    three = random_model(small_config(error_mode="L1", error_channels=3))
    assert three.encode_flux(flux, torch.rand(2, 3, 45), "enc_0", "backward").shape == (2, 2, 45)
    alone = random_model(small_config(error_mode="none", error_channels=0))
    assert alone.encode_flux(flux).shape == (2, 2, 11)


@pytest.mark.parametrize(
    ("changes", "flux", "sigma", "message"),
    [
        ({}, (2, 45), None, r"takes 1 error channel\(s\): sigma is missing"),
        ({"error_mode": "none", "error_channels": 0}, (2, 45), (2, 45), "sigma was given: leave it out"),
        ({}, (2, 45), (2, 44), r"sigma has shape \(2, 1, 44\); expected 1 channel"),
        ({}, (2, 45), (2, 3, 45), r"sigma has shape \(2, 3, 45\); expected 1 channel"),
        ({"error_mode": "L1", "error_channels": 3}, (2, 45), (2, 45), "expected 3 channel"),
        ({}, (2, 2, 45), (2, 45), r"x_noisy has 2 channels; expected \(B, L\) or \(B, 1, L\)"),
        ({}, (45,), (45,), r"x_noisy has shape \(45,\); expected"),
        ({}, (2, 45), (45,), r"sigma has shape \(45,\); expected"),
        ({}, (2, 3), (2, 3), "3 pixels is too short: 2 pools need at least 4"),
    ],
)
def test_encode_flux_refuses_wrong_inputs(changes, flux, sigma, message):
    model = random_model(small_config(**changes))
    with pytest.raises(InputError, match=message):
        model.encode_flux(torch.zeros(flux), None if sigma is None else torch.ones(sigma))


def test_wrong_calls_are_refused_with_what_is_known():
    model, x = random_model(small_config()), torch.zeros(1, 2, 16, dtype=torch.float64)
    with pytest.raises(UnknownName, match=r"unknown layer 'enc_7'; known: enc_0, enc_1, pool_1"):
        model.encode(x, ("enc_7",))
    with pytest.raises(ConfigError, match="'input_flux' is a pseudo-layer"):
        model.encode(x, ("input_flux",))
    with pytest.raises(UnknownName, match="unknown direction 'mean'; known: forward, backward"):
        model.encode(x, ("enc_0",), "mean")
    with pytest.raises(InputError, match=r"shape \(1, 3, 16\); this network takes \(B, 2, L\)"):
        model(torch.zeros(1, 3, 16))
    with pytest.raises(InputError, match="3 pixels is too short"):
        model(x[..., :3])
    assert model.encode(x[..., :3], ("enc_1",))["enc_1"].shape == (1, 2, 3)
    both = random_model(small_config(blindspot=False))
    with pytest.raises(ConfigError, match="'backward' asked of a network without blindspot"):
        both.encode(x, ("enc_0",), "backward")
    with pytest.raises(ConfigError, match="ending of this network was never stated"):
        random_model(small_config(ending=None))(x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 1}, "num_layers is 1; it must lie between 2 and 11"),
        ({"num_layers": 12}, "num_layers is 12; it must lie between 2 and 11"),
        ({"embed_dim": 0}, "embed_dim is 0; it must be at least 1"),
        ({"kernel_size": 0}, "kernel_size is 0; it must be at least 1"),
        ({"dilation": 0}, "dilation is 0; it must be at least 1"),
        (
            {"kernel_size": 4, "blindspot": False},
            "kernel_size is 4: without blindspot the blocks are centred",
        ),
        ({"norm": "gn"}, "unknown norm 'gn'; known: bn, ln, none"),
        ({"ending": "relu"}, "unknown ending 'relu'; known: softplus, linear"),
        ({"error_mode": "raw"}, "unknown error mode 'raw'; known: pixel, none, L0"),
        ({"error_mode": "L1"}, r"error mode 'L1' has 3 error channel\(s\), the network has 1"),
        ({"error_mode": None, "error_channels": 2}, "2 error channels; the known error modes have 0, 1 or 3"),
        ({"output_channels": 3}, r"output_channels is 3; known: 1 \(mean\) or 2"),
        ({"output_channels": 2, "blindspot": False}, "a network without blindspot has 1"),
        ({"input_channels": 2}, "input_channels is 2; a spectrum has one flux channel"),
    ],
)
def test_impossible_architectures_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small_config(**changes)


def test_what_the_second_output_holds_follows_from_the_ending():
    assert small_config().sigma_kind == "sigma"
    assert small_config(ending="linear").sigma_kind == "log_sigma"
    assert small_config(ending=None).sigma_kind is None
    assert small_config(ending=None, output_channels=1).sigma_kind == "none"
    assert small_config().to_json() == dataclasses.asdict(small_config())


def test_shift_moves_a_zero_in_and_the_last_pixel_out():
    assert shift_right(torch.tensor([[[1.0, 2.0, 3.0]]])).tolist() == [[[0.0, 1.0, 2.0]]]


def test_a_fresh_network_has_torchs_default_weights():
    torch.manual_seed(7)
    model = BlindspotModel1D(small_config())
    torch.manual_seed(7)
    first = torch.nn.Conv1d(2, 2, 3)
    weights = {tuple(block.conv.weight.flatten().tolist()) for block in model.encoders}
    assert tuple(first.weight.flatten().tolist()) in weights
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
