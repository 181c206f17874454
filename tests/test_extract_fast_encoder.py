"""The fast encoders against the plain module in float64: random networks, batches, threads, and stale buffers."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from encoder_fakes import (
    DATA,
    GOLDEN,
    NO_GOLDEN,
    assert_features_agree,
    calm_model,
    plain_features,
    small_config,
)

from extract.checkpoint import load_encoder
from extract.engine import make_engine
from extract.error_input import channels
from extract.fast import blocks, first_block, spectral, stack
from extract.fast.direct import DirectEncoder
from extract.fast.spectral_encoder import BATCH, PROGRAMS, SpectralEncoder
from extract.fast.tiles import LARGEST_TILE, Tile
from extract.pooling import pool

pytestmark = pytest.mark.filterwarnings("ignore::extract.pooling.UnevenSegments")

ERROR_MODES = {0: "none", 1: "pixel", 3: "L1"}
BOTH = ("forward", "backward")
N_NETWORKS = 64


def random_network(seed):
    """A config, and spectra of two lengths, one of them odd, that survive all pools."""
    rng = np.random.default_rng(seed)
    blindspot = seed % 4 != 3
    kernel = int(rng.integers(1, 26))
    n_errors = int(rng.choice([0, 1, 3]))
    config = small_config(
        num_layers=int(rng.integers(2, 7)),
        embed_dim=int(rng.integers(1, 25)),
        kernel_size=kernel if blindspot else kernel // 2 * 2 + 1,
        dilation=int(rng.integers(1, 4)),
        norm=("bn", "none", "ln")[seed % 3],
        error_mode=ERROR_MODES[n_errors],
        error_channels=n_errors,
        blindspot=blindspot,
    )
    shortest = 2 ** (config.num_layers - 1)
    even, odd = shortest + 2 * rng.integers(0, 60), shortest + 1 + 2 * rng.integers(0, 60)
    generator = torch.Generator().manual_seed(seed)
    return config, [torch.randn(2, config.n_inputs, int(n), generator=generator) for n in (even, odd)]


def poolings_for(x, config):
    """All kinds, with as many segments as the shortest layer has cells or fewer."""
    n_cells = x.shape[-1] >> (config.num_layers - 1)
    ks = dict.fromkeys((1, min(2, n_cells), min(8, n_cells), n_cells))
    return ["global_mean", "mean_max", *(f"seg_mean_K{k}" for k in ks)]


def directions_of(config):
    return BOTH if config.blindspot else ("forward",)


def check_network(config, x, makers, *, seed=0):
    model = calm_model(config, seed)
    poolings, directions = poolings_for(x, config), directions_of(config)
    expected = plain_features(model, x.double(), model.layers, poolings, directions=directions)
    model.float()
    for make in makers:
        assert_features_agree(make(model, model.layers, poolings, directions)(x), expected)


def fast(model, layers, poolings, directions):
    return make_engine(model, layers, poolings, directions=directions)


def plain(model, layers, poolings, directions):
    return make_engine(model, layers, poolings, directions=directions, engine="plain")


def direct(model, layers, poolings, directions, *, axis=3):
    encoder = DirectEncoder(model, dtype=torch.float32, device="cpu", axis=axis)

    @torch.inference_mode()
    def run(x):
        return {
            (layer, direction, pooling): pool(values, pooling)
            for direction in directions
            for layer, values in encoder.encode(x, layers, direction).items()
            for pooling in poolings
        }

    return run


@pytest.mark.parametrize("seed", range(N_NETWORKS))
def test_random_networks(seed):
    config, spectra = random_network(seed)
    for x in spectra:
        check_network(config, x, [fast, plain, direct, partial(direct, axis=2)], seed=seed)


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_with_any_legal_tile(seed, monkeypatch):
    rng = np.random.default_rng(seed)

    def any_tile(folded, n_outputs):
        sizes = [
            n for n in range(4, LARGEST_TILE + 1, 4) if n - folded.extent >= 2 and folded.extent % 2 == 0
        ]
        size = int(rng.choice(sizes)) if sizes else 0
        return Tile(size, size - folded.extent) if sizes else None

    monkeypatch.setattr(stack, "choose_tile", any_tile)
    monkeypatch.setattr(spectral, "SMALL_PRODUCT", 20_000)
    monkeypatch.setattr(first_block, "SMALL_PRODUCT", 20_000)
    monkeypatch.setattr(blocks, "CHUNK_PIXELS", 150)
    config, spectra = random_network(3 * seed + seed % 2)
    for x in spectra:
        check_network(config, x, [fast], seed=seed)


@pytest.mark.parametrize("make", [fast, direct])
@pytest.mark.parametrize("changes", [{}, {"norm": "ln"}, {"blindspot": False}])
def test_every_layer_alone_is_what_it_is_among_all(make, changes):
    config = small_config(num_layers=4, embed_dim=6, kernel_size=5, **changes)
    model = calm_model(config)
    x = torch.randn(2, 2, 51)
    expected = plain_features(model, x.double(), model.layers, ["mean_max"], directions=directions_of(config))
    model.float()
    for layer in model.layers:
        found = make(model, (layer,), ["mean_max"], directions_of(config))(x)
        assert_features_agree(found, {name: wanted for name, wanted in expected.items() if name[0] == layer})


@pytest.fixture(scope="module")
def model():
    return calm_model(small_config(num_layers=4, embed_dim=8, kernel_size=9)).float()


@pytest.fixture
def _small_products(monkeypatch):
    """Several chunks and several parts of products per batch, also for small networks."""
    monkeypatch.setattr(spectral, "SMALL_PRODUCT", 10_000)
    monkeypatch.setattr(blocks, "CHUNK_PIXELS", 300)


POOLINGS = ("mean_max", "seg_mean_K3")


def random_x(n, length=101, seed=0):
    return torch.randn(n, 2, length, generator=torch.Generator().manual_seed(seed))


def same_bits(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_sample_has_both_kinds_of_blocks():
    kinds = set()
    for seed in range(N_NETWORKS):
        config, spectra = random_network(seed)
        if config.norm != "ln":
            engine = fast(calm_model(config).float(), ("enc_last",), ("global_mean",), ("forward",))
            kinds |= {type(stage.block).__name__ for stage in engine._stack(spectra[0].shape[-1]).stages}
    assert kinds == {"DirectBlock", "SpectralBlock"}


@pytest.mark.usefixtures("_small_products")
@pytest.mark.parametrize("n", [1, BATCH - 1, BATCH, BATCH + 1, 70])
def test_the_batch_does_not_change_the_rows(model, n):
    engine = fast(model, model.layers, POOLINGS, BOTH)
    x = random_x(n)
    together = engine(x)
    singles = [engine(row[None]) for row in x]
    for name, values in together.items():
        expected = torch.cat([single[name] for single in singles])
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("_small_products")
def test_equal_batches_give_equal_bits_after_other_batches_and_lengths(model):
    engine = fast(model, model.layers, POOLINGS, BOTH)
    x = random_x(40)
    first = engine(x)
    held = {name: values.clone() for name, values in first.items()}
    for n, length in ((40, 101), (40, 64), (1, 101), (3, 101), (70, 102), (8, 101)):
        engine(1000 * random_x(n, length, seed=1))
    assert same_bits(engine(x), held)
    assert same_bits(first, held)  # answers are no views of the buffers
    assert same_bits(fast(model, model.layers, POOLINGS, BOTH)(x), held)


@pytest.mark.usefixtures("_small_products")
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("embed_dim", [1, 8])
def test_a_bad_spectrum_spoils_neither_its_batch_nor_the_next(bad, embed_dim):
    model = calm_model(small_config(num_layers=3, embed_dim=embed_dim, kernel_size=9)).float()
    engine = fast(model, model.layers, POOLINGS, BOTH)
    x = random_x(12)
    clean = engine(x)
    spoilt = x.clone()
    spoilt[5] = bad
    with np.errstate(all="ignore"):
        found = engine(spoilt)
        engine(torch.full_like(x, bad))
    again = engine(x)
    others = [row for row in range(12) if row != 5]
    for name, values in found.items():
        torch.testing.assert_close(values[others], clean[name][others], rtol=0, atol=1e-6)
    assert same_bits(again, clean)


@pytest.mark.usefixtures("_small_products")
def test_four_threads_share_one_engine(model):
    engine = fast(model, model.layers, POOLINGS, BOTH)
    batches = [
        random_x(n, length, seed=n) for n, length in ((5, 101), (33, 64), (1, 101), (8, 120), (40, 101))
    ]
    alone = [engine(x) for x in batches]
    fresh = fast(model, model.layers, POOLINGS, BOTH)
    with ThreadPoolExecutor(4) as threads:
        for engine_of_all in (engine, fresh):
            jobs = [(i % 5, threads.submit(engine_of_all, batches[i % 5])) for i in range(40)]
            assert all(same_bits(job.result(), alone[i]) for i, job in jobs)


def test_a_thread_keeps_few_programs(model):
    engine = fast(model, ("enc_1",), POOLINGS, BOTH)
    for n in range(1, 12):
        engine(random_x(n))
    assert len(engine._threads.programs) <= PROGRAMS


def test_an_engine_is_freed_with_its_buffers(model):
    engine = fast(model, ("enc_1",), POOLINGS, BOTH)
    engine(random_x(3))
    program = weakref.ref(next(iter(engine._threads.programs.values())))
    del engine
    gc.collect()
    assert program() is None


@pytest.mark.parametrize(
    ("norm", "dtype"),
    [
        ("bn", torch.float32),
        ("none", torch.float32),
        ("ln", torch.float32),
        ("bn", torch.float64),
        ("none", torch.float64),
    ],
)
@pytest.mark.parametrize(
    "changes", [{}, {"error_mode": "none", "error_channels": 0, "embed_dim": 1, "kernel_size": 1}]
)
def test_weights_changed_later_do_not_change_the_answers(norm, changes, dtype):
    model = calm_model(small_config(norm=norm, **changes)).to(dtype)
    x = random_x(2, 40)[:, : model.config.n_inputs]
    wanted = fast(model, model.layers, POOLINGS, BOTH)(x)
    engine = fast(model, model.layers, POOLINGS, BOTH)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.full_like(tensor, 7))
    assert same_bits(engine(x), wanted)


@pytest.mark.parametrize("norm", ["bn", "ln"])
@pytest.mark.parametrize("make", [fast, direct])
def test_any_tensor_is_taken_and_none_is_changed(make, norm):
    model = calm_model(small_config(norm=norm, kernel_size=5)).float()
    engine = make(model, model.layers, POOLINGS, BOTH)
    x = random_x(3, 40)
    wanted = engine(x)
    with torch.inference_mode():
        inference = x.clone()
    strided = torch.randn(40, 3, 4).permute(1, 2, 0)[:, ::2]
    strided.copy_(x)
    channels_last = x.transpose(1, 2).contiguous().transpose(1, 2)
    readable = torch.zeros(3, 2, 80)[..., ::2]
    readable.copy_(x)
    for given in (
        x.clone(),
        x.double(),
        x.clone().requires_grad_(),
        inference,
        strided,
        channels_last,
        readable,
    ):
        before = given.detach().clone()
        assert same_bits(engine(given), wanted)
        assert torch.equal(given.detach(), before)
    repeated = x[:1].expand(3, 2, 40)
    found = engine(repeated)
    assert same_bits(found, engine(repeated.contiguous()))


def test_the_model_stays_as_it_was(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grads = [parameter.requires_grad for parameter in model.parameters()]
    for norm_model in (model, calm_model(small_config(norm="ln")).float()):
        fast(norm_model, norm_model.layers, POOLINGS, BOTH)(random_x(2))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == grads


def test_an_engine_of_another_device_leaves_the_model_where_it_is():
    model = calm_model(small_config(norm="ln")).float()
    DirectEncoder(model, dtype=torch.float32, device="meta").encode(random_x(1), ("enc_last",), "forward")
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_the_direct_encoder_flips_the_backward_maps():
    model = calm_model(small_config(num_layers=4, kernel_size=5)).float()
    encoder = DirectEncoder(model, dtype=torch.float32, device="cpu")
    x = random_x(2, 77)
    for direction in BOTH:
        found = encoder.encode(x, model.layers, direction)
        with torch.no_grad():
            expected = model.encode(x, model.layers, direction)
        assert list(found) == list(expected)
        for layer, wanted in expected.items():
            torch.testing.assert_close(found[layer], wanted, rtol=0, atol=1e-5)


def check_checkpoint(network, folder, x, golden):
    """Every layer and both directions of a shipped network against its float64 twin, and what `golden` holds."""
    model = load_encoder(folder / f"{network}.ckpt", folder / f"{network}.yaml")
    poolings = ("global_mean", "mean_max", "seg_mean_K8", "seg_mean_K13")
    found = make_engine(model, model.layers, poolings, directions=BOTH)(x)
    expected = plain_features(model.double(), x.double(), model.layers, poolings, directions=BOTH)
    assert set(found) == set(expected)
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name].double(), wanted, rtol=0, atol=1e-4)
    for name, values in golden.items():
        check_golden(found, name, torch.from_numpy(values).double(), model.config.num_layers, poolings)


def check_golden(found, name, values, depth, poolings):
    """One golden array: a map (16, C, L') or its statistic (16, C), 8 rows forward, then 8 of the flipped spectra."""
    plain_name, _, statistic = name.removesuffix("_f64").partition("_")
    layer = {"pre": "enc_pre_latent", f"enc{depth}": "enc_last"}.get(
        plain_name, plain_name.replace("enc", "enc_")
    )
    layer = "enc_last" if name.startswith("enc_last") else layer
    for direction, rows in zip(BOTH, values.chunk(2), strict=True):
        if values.ndim == 2:
            mean_max = found[layer, direction, "mean_max"].double()
            half = (
                mean_max[:, : mean_max.shape[1] // 2] if statistic == "mean" else mean_max[:, rows.shape[1] :]
            )
            torch.testing.assert_close(half, rows, rtol=0, atol=1e-4)
            continue
        for pooling in poolings:
            wanted = pool(rows if direction == "forward" else rows.flip(-1), pooling)
            torch.testing.assert_close(found[layer, direction, pooling].double(), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("network", ["small", "mu_ln"])
@pytest.mark.parametrize("n_pixels", [4096, 3481])
def test_small_checkpoints(network, n_pixels):
    with np.load(DATA / "golden_cut.npz") as cut:
        noisy, error = cut[f"inputs/{n_pixels}/noisy"], cut[f"inputs/{n_pixels}/error"]
    mode = "pixel" if network == "small" else "L0"
    check_checkpoint(network, DATA, channels(mode, noisy, error), {})


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=NO_GOLDEN)
@pytest.mark.parametrize("n_pixels", [4096, 3481])
@pytest.mark.parametrize("network", ["ref", "small", "mu_ln"])
def test_golden_arrays(network, n_pixels):
    with np.load(GOLDEN / f"inputs_L{n_pixels}.npz") as inputs:
        x = channels("L0" if network == "mu_ln" else "pixel", inputs["noisy"], inputs["error"])
    golden = {}
    if (GOLDEN / f"{network}_L{n_pixels}.npz").exists():
        with np.load(GOLDEN / f"{network}_L{n_pixels}.npz") as arrays:
            golden = {name: arrays[name] for name in arrays if name != "out" and not name.endswith("_std")}
        assert len(golden) >= 2
    check_checkpoint(network, GOLDEN, x, golden)


def test_parts_of_a_batch_are_its_rows(model):
    engine = SpectralEncoder(model, ("enc_last",), ("global_mean",), ("forward",))
    x = random_x(2 * BATCH + 6)
    parts = [engine(x[lo : lo + BATCH]) for lo in range(0, len(x), BATCH)]
    whole = engine(x)["enc_last", "forward", "global_mean"]
    assert torch.equal(whole, torch.cat([part["enc_last", "forward", "global_mean"] for part in parts]))
