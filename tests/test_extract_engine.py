import pytest
import torch
from encoder_fakes import random_model, small_config

from cache.errors import ConfigError, UnknownName
from extract.engine import choose_device, exact_float32, make_engine
from extract.pooling import pool


@pytest.fixture(scope="module")
def model():
    return random_model(small_config()).float()


def test_the_engine_equals_encode_and_pool(model):
    x = torch.rand(3, 2, 64, generator=torch.Generator().manual_seed(1))
    layers, poolings = ("enc_1", "enc_last"), ("global_mean", "seg_mean_K4")
    taps = make_engine(model, layers, poolings, directions=("forward", "backward"))(x)
    assert len(taps) == 8
    with torch.no_grad():
        for (layer, direction, pooling), values in taps.items():
            expected = pool(model.encode(x, (layer,), direction)[layer], pooling)
            assert values.dtype == torch.float32
            torch.testing.assert_close(values, expected, atol=1e-6, rtol=0)


def test_the_encoder_runs_once_per_direction_and_no_deeper_than_needed(model):
    runs = []
    hooks = [
        block.register_forward_hook(lambda *_, index=index: runs.append(index))
        for index, block in enumerate(model.encoders)
    ]
    make_engine(model, ("enc_0", "pool_1"), ("global_mean", "mean_max"), directions=("forward", "backward"))(
        torch.rand(2, 2, 32)
    )
    for hook in hooks:
        hook.remove()
    assert runs == [0, 1, 0, 1]


def test_names_are_checked_before_anything_runs(model):
    with pytest.raises(UnknownName, match="unknown precision 'bf16'; known: fp32"):
        make_engine(model, ("enc_0",), ("global_mean",), precision="bf16")
    with pytest.raises(UnknownName, match="unknown direction 'mean'; known: forward, backward"):
        make_engine(model, ("enc_0",), ("global_mean",), directions=("mean",))
    with pytest.raises(UnknownName, match="unknown layer 'enc_7'; known: enc_0, enc_1"):
        make_engine(model, ("enc_0", "enc_7"), ("global_mean",))


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (choose_device("auto"), choose_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(ConfigError, match="--device cuda:1: this machine has no usable CUDA"):
        choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (choose_device("auto"), choose_device("cuda:1")) == ("cuda", "cuda:1")


def test_tf32_is_off_inside_and_as_it_was_outside():
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    with exact_float32():
        assert (convolutions.allow_tf32, products.allow_tf32) == (False, False)
    assert (convolutions.allow_tf32, products.allow_tf32) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_agrees_with_the_cpu_to_1e_4():
    model = random_model(small_config(num_layers=4))
    x = torch.rand(3, model.config.n_inputs, 512)
    arguments = (model.layers, ("seg_mean_K4",))
    cpu = make_engine(model, *arguments, device="cpu")(x)
    cuda = make_engine(model, *arguments, device="cuda")(x)
    assert max((cuda[name].cpu() - cpu[name]).abs().max().item() for name in cpu) < 1e-4
