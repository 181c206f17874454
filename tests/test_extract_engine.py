"""What `make_engine` promises whichever engine answers, and the names of devices."""

import contextlib

import pytest
import torch
from encoder_fakes import assert_features_agree, calm_model, plain_features, random_model, small_config

from cache.errors import ConfigError, InputError, UnknownName
from extract.choices import ENGINES, devices_of
from extract.engine import choose_device, make_engine
from extract.fast.direct import DirectEncoder
from extract.fast.spectral_encoder import SpectralEncoder
from extract.tf32 import exact_float32, float32_products

BOTH = ("forward", "backward")
KINDS = [  # engine, precision, norm: every way through make_engine on a CPU
    ("fast", "fp32", "bn"),
    ("fast", "fp32", "ln"),
    ("fast", "bf16", "bn"),
    ("plain", "fp32", "bn"),
    ("plain", "fp32", "ln"),
]


@pytest.fixture(scope="module")
def model():
    return random_model(small_config()).float()


def engine_of(kind, layers, poolings=("global_mean",), directions=BOTH, **changes):
    engine, precision, norm = kind
    model = calm_model(small_config(norm=norm, **changes)).float()
    return make_engine(model, layers, poolings, directions=directions, precision=precision, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_equals_encode_and_pool(model, engine):
    x = torch.rand(3, 2, 64, generator=torch.Generator().manual_seed(1))
    layers, poolings = ("enc_1", "enc_last"), ("global_mean", "seg_mean_K4")
    taps = make_engine(model, layers, poolings, directions=BOTH, engine=engine)(x)
    assert len(taps) == 8
    assert_features_agree(taps, plain_features(model, x, layers, poolings, directions=BOTH), tolerance=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_was_asked_for_is_answered(kind):
    layers, poolings = ("pool_1", "enc_0"), ("mean_max", "seg_mean_K2")
    found = engine_of(kind, layers, poolings, ("backward",))(torch.rand(2, 2, 16))
    assert set(found) == {(layer, "backward", pooling) for layer in layers for pooling in poolings}
    assert {tuple(values.shape) for values in found.values()} == {(2, 4)}
    assert {values.dtype for values in found.values()} == {torch.float32}
    assert all(values.is_contiguous() for values in found.values())


def test_the_plain_encoder_runs_once_per_direction_and_no_deeper_than_needed(model):
    runs = []
    hooks = [
        block.register_forward_hook(lambda *_, index=index: runs.append(index))
        for index, block in enumerate(model.encoders)
    ]
    poolings = ("global_mean", "mean_max")
    make_engine(model, ("enc_0", "pool_1"), poolings, directions=BOTH, engine="plain")(torch.rand(2, 2, 32))
    for hook in hooks:
        hook.remove()
    assert runs == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("layers", "n_stages"),
    [(("enc_0",), 0), (("enc_1",), 1), (("pool_1", "enc_0"), 1), (("enc_2",), 2), (("enc_last",), 3)],
)
def test_the_fast_encoder_goes_no_deeper_than_needed(model, layers, n_stages):
    engine = make_engine(model, layers, ("global_mean",))
    assert isinstance(engine, SpectralEncoder)
    assert len(engine._stack(32).stages) == n_stages


def test_the_direct_encoder_goes_no_deeper_than_needed(model, monkeypatch):
    encoder = DirectEncoder(model, dtype=torch.float32, device="cpu")
    monkeypatch.setattr(encoder, "_blocks", encoder._blocks[:2])
    assert set(encoder.encode(torch.rand(1, 2, 8), ("pool_1", "enc_0"), "forward")) == {"pool_1", "enc_0"}


def test_names_are_checked_before_anything_runs(model):
    with pytest.raises(UnknownName, match="unknown precision 'fp8'; known: fp32, tf32, bf16"):
        make_engine(model, ("enc_0",), ("global_mean",), precision="fp8")
    with pytest.raises(UnknownName, match="unknown engine 'slow'; known: fast, plain"):
        make_engine(model, ("enc_0",), ("global_mean",), engine="slow")
    with pytest.raises(UnknownName, match="unknown direction 'mean'; known: forward, backward"):
        make_engine(model, ("enc_0",), ("global_mean",), directions=("mean",))
    with pytest.raises(UnknownName, match="unknown layer 'enc_7'; known: enc_0, enc_1"):
        make_engine(model, ("enc_0", "enc_7"), ("global_mean",))
    with pytest.raises(ConfigError, match="no layer asked for; known: enc_0"):
        make_engine(model, (), ("global_mean",))
    with pytest.raises(ConfigError, match="no direction asked for"):
        make_engine(model, ("enc_0",), ("global_mean",), directions=())


@pytest.mark.parametrize("kind", KINDS)
def test_layers_may_be_asked_for_by_their_other_names(kind):
    names = ("enc_3", "dec_input", "pool_2", "enc_0")
    found = engine_of(kind, names, ("global_mean",))(torch.rand(2, 2, 8))
    assert {layer for layer, _, _ in found} == {"enc_last", "enc_pre_latent", "enc_0"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pooling_must_be_known_and_there_must_be_one(kind):
    with pytest.raises(UnknownName, match="unknown pooling 'median'; known: global_mean"):
        engine_of(kind, ("enc_0",), ("median",))(torch.rand(1, 2, 8))
    with pytest.raises(ConfigError, match="no pooling asked for"):
        engine_of(kind, ("enc_0",), ())
    with pytest.raises(ConfigError, match="'none' is for pseudo-layers"):
        engine_of(kind, ("enc_0",), ("none",))(torch.rand(1, 2, 8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 16), (1, 3, 16), (2, 16), (1, 1, 2, 16)])
def test_a_wrong_shape_is_refused(kind, shape):
    with pytest.raises(InputError, match=r"this network takes \(B, 2, L\)"):
        engine_of(kind, ("enc_1",))(torch.rand(shape))


@pytest.mark.parametrize("kind", KINDS)
def test_a_spectrum_too_short_for_the_pools_or_segments_is_refused(kind):
    short = torch.rand(1, 2, 3)
    with pytest.raises(InputError, match="3 pixels is too short: 2 pools need at least 4"):
        engine_of(kind, ("enc_last",))(short)
    with pytest.raises(InputError, match="4 segments asked of a feature map of 3 cells"):
        engine_of(kind, ("enc_1",), ("seg_mean_K4",))(short)
    assert engine_of(kind, ("enc_1",))(short)["enc_1", "forward", "global_mean"].shape == (1, 2)
    assert engine_of(kind, ("enc_2",))(short[..., :2])["enc_2", "forward", "global_mean"].shape == (1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_one_stream_has_no_backward_direction(kind):
    with pytest.raises(ConfigError, match="'backward' asked of a network without blindspot"):
        engine_of(kind, ("enc_1",), blindspot=False)(torch.rand(1, 2, 16))


@pytest.mark.parametrize("kind", KINDS)
def test_no_spectra_give_no_rows(kind):
    found = engine_of(kind, ("enc_1", "enc_last"), ("mean_max", "seg_mean_K2"))(torch.rand(0, 2, 16))
    assert len(found) == 8
    assert {tuple(values.shape) for values in found.values()} == {(0, 4)}


@pytest.mark.parametrize("norm", ["bn", "ln"])
def test_precisions_that_would_not_be_what_they_say_are_refused(norm):
    model = calm_model(small_config(norm=norm)).float()
    for engine in ENGINES:
        with pytest.raises(ConfigError, match="tf32 is arithmetic of NVIDIA GPUs, the device is cpu"):
            make_engine(model, ("enc_0",), ("global_mean",), precision="tf32", engine=engine)
    with pytest.raises(ConfigError, match="--engine plain runs the network in fp32, not in bf16"):
        make_engine(model, ("enc_0",), ("global_mean",), precision="bf16", engine="plain")


@pytest.mark.parametrize(
    "changes", [{}, {"norm": "ln"}, {"norm": "none", "dilation": 2}, {"blindspot": False}]
)
def test_bf16_is_near_fp32_and_comes_as_float32(changes):
    model = calm_model(small_config(num_layers=4, embed_dim=16, kernel_size=9, **changes)).float()
    directions = BOTH if model.config.blindspot else ("forward",)
    x = torch.randn(4, 2, 100, generator=torch.Generator().manual_seed(0))
    poolings = ("mean_max", "seg_mean_K3")
    low = make_engine(model, model.layers, poolings, directions=directions, precision="bf16")(x)
    high = make_engine(model, model.layers, poolings, directions=directions)(x)
    assert_features_agree(low, high, tolerance=5e-2)
    assert any(not torch.equal(low[name], high[name]) for name in low)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (choose_device("auto"), choose_device("cpu")) == ("cpu", "cpu")
    for device in ("cuda", "cuda:1", "cuda:0,1"):
        with pytest.raises(ConfigError, match=f"--device {device}: this machine has no usable CUDA"):
            choose_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("cpu", "cuda", "cuda:0", "cuda:1", "cuda:0,1", "cuda:1,0"):
        assert choose_device(device) == device
    assert choose_device("auto") == "cuda"
    for device in ("cuda:2", "cuda:0,2", "cuda:5,1"):
        with pytest.raises(ConfigError, match=rf"--device {device}: this machine has 2 CUDA device\(s\)"):
            choose_device(device)


@pytest.mark.parametrize(
    "device", ["cuda:", "cuda:x", "cuda:0,", "cuda:,1", "cuda:-1", "cuda0", "cuda:0,0", "gpu"]
)
def test_a_device_that_cannot_be_read_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UnknownName, match=f"unknown device {device!r}"):
        choose_device(device)


def test_several_gpus_are_named_in_one_word():
    assert devices_of("cuda:0,1") == ("cuda:0", "cuda:1")
    assert devices_of("cuda:3,1,12") == ("cuda:3", "cuda:1", "cuda:12")
    for device in ("cpu", "cuda", "cuda:1"):
        assert devices_of(device) == (device,)


def tf32_flags():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(("precision", "inside"), [("fp32", False), ("bf16", False), ("tf32", True)])
def test_tf32_is_on_for_its_own_precision_only_and_as_it_was_outside(precision, inside):
    before = tf32_flags()
    with float32_products(precision):
        assert tf32_flags() == (inside, inside)
        with exact_float32():
            assert tf32_flags() == (False, False)
        assert tf32_flags() == (inside, inside)
    assert tf32_flags() == before
    with pytest.raises(ValueError, match="stop"), float32_products(precision):
        raise ValueError("stop")
    assert tf32_flags() == before


def test_fp32_stays_exact_while_engines_of_other_threads_come_and_go():
    """Two threads of the pipeline, one GPU each: the flags are the process's."""
    before = tf32_flags()
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(exact_float32())
        second.enter_context(exact_float32())
        first.close()
        during = tf32_flags()
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    assert during == (False, False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("norm", ["bn", "ln"])
@pytest.mark.parametrize("engine", ENGINES)
def test_cuda_agrees_with_the_cpu_to_1e_4(engine, norm):
    model = calm_model(small_config(num_layers=4, norm=norm)).float()
    x = torch.rand(3, model.config.n_inputs, 512)
    arguments = (model.layers, ("seg_mean_K4", "mean_max"))
    cpu = make_engine(model, *arguments, directions=BOTH, device="cpu")(x)
    cuda = make_engine(model, *arguments, directions=BOTH, device="cuda", engine=engine)(x)
    assert max((cuda[name].cpu() - cpu[name]).abs().max().item() for name in cpu) < 1e-4
