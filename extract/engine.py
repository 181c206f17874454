"""Running the frozen encoder on a batch and pooling what was asked for; every engine agrees to 1e-4 in fp32."""

from collections.abc import Callable, Sequence

import torch

from cache.arrays import STORED_DIRECTIONS
from cache.errors import ConfigError, UnknownName

from .choices import ENGINES, PRECISIONS, devices_of
from .encoder import BlindspotModel1D
from .fast.direct import DirectEncoder
from .fast.spectral_encoder import SpectralEncoder
from .layers import canonical_layer
from .pooling import KNOWN, parse_pooling, pool_quietly
from .tf32 import float32_products

Taps = dict[tuple[str, str, str], torch.Tensor]
"""(layer, direction, pooling) -> features, (B, D) float32."""

Engine = Callable[[torch.Tensor], Taps]


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
    may be called from several threads at once. Layers may be asked for by an alias; results have the canonical names.
    Raises UnknownName for a layer, pooling, direction, precision or engine that does not exist, ConfigError for a
    precision that the device or engine does not have.
    """
    _check_names("precision", (precision,), PRECISIONS)
    _check_names("engine", (engine,), ENGINES)
    _check_names("direction", directions, STORED_DIRECTIONS)
    layers = tuple(dict.fromkeys(canonical_layer(name, model.config.num_layers) for name in layers))
    _check_names("layer", layers, model.layers)
    check_precision(precision, device=device, engine=engine)
    parsed = {name: parse_pooling(name) for name in poolings}
    if not parsed:
        raise ConfigError(f"no pooling asked for; known: {', '.join(KNOWN)}")
    if "none" in parsed:
        raise ConfigError(
            "pooling 'none' is for pseudo-layers, not for layers of the network; use seg_mean_K"
        )
    if engine == "fast" and precision == "fp32" and device == "cpu" and model.config.norm != "ln":
        return SpectralEncoder(model, layers, poolings, directions)
    if engine == "fast":
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        exact_on_gpu = precision == "fp32" and device != "cpu"
        encode = DirectEncoder(model, dtype=dtype, device=device, axis=2 if exact_on_gpu else 3).encode
    else:
        encode = model.to(device).encode

    def run(x: torch.Tensor) -> Taps:
        taps: Taps = {}
        with torch.inference_mode(), float32_products(precision):
            x = x.to(device, non_blocking=True)
            for direction in directions:
                for layer, feature_map in encode(x, layers, direction).items():
                    for name, pooling in parsed.items():
                        taps[layer, direction, name] = pool_quietly(feature_map.float(), pooling)
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


def choose_device(device: str) -> str:
    """`auto` takes CUDA when there is one; asking for CUDA without one is an error, never a silent CPU run.

    `cuda:0,1` names several GPUs of one machine; see `devices_of`. Raises UnknownName for another text, ConfigError
    for a GPU that is not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    names = devices_of(device)
    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(
            f"--device {device}: this machine has no usable CUDA device; use --device cpu or auto"
        )
    if any(int(name.partition(":")[2] or 0) >= torch.cuda.device_count() for name in names if name != "cpu"):
        raise ConfigError(
            f"--device {device}: this machine has {torch.cuda.device_count()} CUDA device(s), numbered from 0"
        )
    return device
