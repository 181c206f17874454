"""Running the frozen encoder on a batch and pooling what was asked for; every engine agrees to 1e-4 in fp32."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch

from cache.errors import ConfigError, UnknownName

from .encoder import BlindspotModel1D
from .fast.direct import DirectEncoder
from .fast.spectral_encoder import SpectralEncoder
from .layers import DIRECTIONS
from .pooling import UnevenSegments, pool

Taps = dict[tuple[str, str, str], torch.Tensor]
"""(layer, direction, pooling) -> features, (B, D) float32."""

Engine = Callable[[torch.Tensor], Taps]

ENGINES = ("fast", "plain")
PRECISIONS = ("fp32", "tf32", "bf16")


def make_engine(
    model: BlindspotModel1D,
    layers: Sequence[str],
    poolings: Sequence[str],
    *,
    directions: Sequence[str] = ("forward",),
    precision: str = "fp32",
    device: str = "cpu",
    engine: str = "fast",
) -> Engine:
    """An engine that maps x (B, C_in, L) to pooled features of every layer, direction and pooling.

    It runs the encoder once per direction, no deeper than the deepest layer, without gradients. `plain` runs the
    module itself. `fast` folds the norms; on the CPU in fp32 it convolves in the frequency domain where that is
    faster, else it convolves directly. The weights are those of the model when the engine was made. `fast` on the CPU
    may be called from several threads at once. Raises UnknownName for a layer, pooling, direction, precision or engine
    that does not exist, ConfigError for a precision that the device or engine does not have.
    """
    _check_names("precision", (precision,), PRECISIONS)
    _check_names("engine", (engine,), ENGINES)
    _check_names("direction", directions, DIRECTIONS)
    _check_names("layer", layers, model.layers)
    check_precision(precision, device=device, engine=engine)
    if engine == "fast" and precision == "fp32" and device == "cpu" and model.config.norm != "ln":
        return SpectralEncoder(model, layers, poolings, directions)
    if engine == "fast":
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        encode = DirectEncoder(model, dtype=dtype, device=device).encode
    else:
        encode = model.to(device).encode

    def run(x: torch.Tensor) -> Taps:
        taps: Taps = {}
        with torch.inference_mode(), float32_products(precision), warnings.catch_warnings():
            warnings.simplefilter("ignore", UnevenSegments)  # said once, when the arrays were planned
            x = x.to(device, non_blocking=True)
            for direction in directions:
                for layer, feature_map in encode(x, layers, direction).items():
                    for pooling in poolings:
                        taps[layer, direction, pooling] = pool(feature_map.float(), pooling)
        return taps

    return run


def _check_names(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    if not names:
        raise ConfigError(f"no {kind} asked for; known: {', '.join(known)}")
    for name in names:
        if name not in known:
            raise UnknownName(kind, name, known)


def check_precision(precision: str, *, device: str, engine: str) -> None:
    """Refuse a precision that would not be what its name says."""
    if precision == "tf32" and not device.startswith("cuda"):
        raise ConfigError(
            f"--precision tf32 is arithmetic of NVIDIA GPUs, the device is {device}; use fp32 or bf16"
        )
    if precision != "fp32" and engine == "plain":
        raise ConfigError(f"--engine plain runs the network in fp32, not in {precision}; use --engine fast")


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Whether CUDA may round the inputs of float32 products to TF32: with `tf32` only (torch's default differs)."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def exact_float32() -> contextlib.AbstractContextManager[None]:
    """Float32 products without TF32."""
    return float32_products("fp32")


def choose_device(device: str) -> str:
    """`auto` takes CUDA when there is one; asking for CUDA without one is an error, never a silent CPU run.

    `cuda:0,1` names several GPUs of one machine; see `devices_of`. Raises ConfigError for a GPU that is not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"--device {device}: this machine has no usable CUDA device; use --device cpu or auto"
        )
    for name in devices_of(device):
        index = name.partition(":")[2]
        if index and int(index) >= torch.cuda.device_count():
            raise ConfigError(
                f"--device {device}: this machine has {torch.cuda.device_count()} CUDA device(s), numbered from 0"
            )
    return device


def devices_of(device: str) -> tuple[str, ...]:
    """The devices that `--device` names: `cuda:0,1` is ('cuda:0', 'cuda:1'), anything else is itself."""
    several = re.fullmatch(r"cuda:(\d+(?:,\d+)+)", device)
    return tuple(f"cuda:{index}" for index in several[1].split(",")) if several else (device,)
